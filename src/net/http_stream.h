// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// An endless HTTP answer over a UNIX socket, line by line.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "tarsier/result.h"

namespace tarsier::net {

inline constexpr std::size_t kMaxLine = 64U << 10U;  // a longer line is left out and counted
inline constexpr int kStreamConnectMs = 800;

// One thread at a time. Its destructor closes the connection and waits for nobody.
class HttpLineStream {
 public:
  // Begins GET of `target` ("/events"); the connection is made in read(). Errors: out of memory.
  [[nodiscard]] static Result<HttpLineStream> open(const std::string& socket,
                                                   std::string_view target);
  ~HttpLineStream();
  HttpLineStream(HttpLineStream&&) noexcept;
  HttpLineStream& operator=(HttpLineStream&&) noexcept;

  // Waits until bytes come, at most the time given, and calls on_line for each line that they
  // complete. An error: the stream is over. unavailable: nobody there, or closed; not_found: the
  // status is 404 or 501; failed: another status, or no HTTP. Lines before the error are given.
  Status read(int timeout_ms, const std::function<void(std::string_view)>& on_line);
  // Whether the head of the answer is there, with status 200.
  [[nodiscard]] bool answered() const;
  // Lines that were too long, since the last call.
  std::size_t take_losses();

 private:
  struct Impl;
  explicit HttpLineStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tarsier::net
