// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// How functions say that something did not work.
//
// A failure that can happen in the field travels as a value: Result<T> or Status. Its sentence says
// what was tried, on what, why it failed in words and what the user can do; each layer that knows
// more puts its own context in front with in(). A programmer's error is not a Result but an assert.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace tarsier {

// What kind of failure it is, for the few callers that act on it; the message is for people.
enum class ErrorCode {
  failed,         // none of the below
  invalid,        // the input is malformed or out of range
  not_found,      // the thing asked for does not exist
  refused,        // the kernel or a peer said no (rights, lockdown, verifier)
  unavailable,    // not there now; trying again later can help
  limit_reached,  // a named limit was hit
};

struct Error {
  ErrorCode code = ErrorCode::failed;
  std::string message;
  int errno_value = 0;  // 0 where no system call was involved

  // The same error with `context` in front: in("probe tcp") makes "probe tcp: …".
  [[nodiscard]] Error in(std::string_view context) && {
    message.insert(0, ": ").insert(0, context);
    return std::move(*this);
  }
};

template <class T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message), 0});
}

// A failed system call: `what` says what was tried on what; the errno is put into words.
[[nodiscard]] inline std::unexpected<Error> fail_errno(std::string_view what, int error = errno) {
  ErrorCode code = ErrorCode::failed;
  switch (error) {
    case ENOENT:
    case ESRCH: code = ErrorCode::not_found; break;
    case EPERM:
    case EACCES: code = ErrorCode::refused; break;
    case EINVAL: code = ErrorCode::invalid; break;
    case EAGAIN:
    case ECONNREFUSED:
    case ETIMEDOUT: code = ErrorCode::unavailable; break;
    default: break;
  }
  char text[128] = {};
  // The GNU variant may return a static string instead of filling the buffer.
  const char* words = ::strerror_r(error, text, sizeof text);
  std::string message(what);
  message.append(": ").append(words);
  return std::unexpected(Error{code, std::move(message), error});
}

}  // namespace tarsier
