// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The addresses of http.listen and api.listen.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tarsier/result.h"

namespace tarsier::config {

inline constexpr std::uint16_t kDefaultHttpPort = 9920;

struct ListenAddress {
  enum class Mode : std::uint8_t {
    off,        // "off" or "": do not listen
    automatic,  // "auto": [::]:9920 for IPv6 and IPv4, 0.0.0.0:9920 where IPv6 is off
    fixed,
  };
  Mode mode = Mode::fixed;
  std::string host;  // an IP address without brackets
  bool ipv6 = false;
  std::uint16_t port = 0;  // 0: any free one

  // Whether nobody but this host can reach it (off, 127.0.0.0/8, ::1).
  [[nodiscard]] bool local() const;
};

// "127.0.0.1:9921", "[::]:9920", "off" or "auto". The failure says what is wrong, not with which
// key.
[[nodiscard]] Result<ListenAddress> parse_listen(std::string_view text);

}  // namespace tarsier::config
