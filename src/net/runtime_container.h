// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the clients of container runtimes return, whatever the runtime.
#pragma once

#include <string>
#include <string_view>

namespace tarsier::net {

struct RuntimeContainer {
  std::string id;     // whole
  std::string name;   // as people know it: without docker's leading "/"
  std::string image;  // as it was asked for, "nginx:1.25"; an id where the runtime knows no name
  friend bool operator==(const RuntimeContainer&, const RuntimeContainer&) = default;
};

inline constexpr int kRuntimeTimeoutMs = 800;
inline constexpr std::size_t kMaxListed = 20'000;  // containers taken from one list

// Whether there is a socket at the path; asks nobody.
[[nodiscard]] bool is_socket(const std::string& path);
// Whether an id may go into a request: 1 to 128 of [A-Za-z0-9_.-], the first a letter or digit.
[[nodiscard]] bool is_container_id(std::string_view id);

}  // namespace tarsier::net
