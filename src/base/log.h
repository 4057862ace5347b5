// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The log: lines to standard error, as text or JSON, with a rate limit per place.
//
// Levels go by who must act: error = the operator, now; warning = data is degraded; info = life
// cycle; debug = a developer. Never a line per event. A line that cannot be written (closed
// standard error, full disk) is dropped and counted; the daemon never blocks or dies on it.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <string_view>

#include "tarsier/result.h"

namespace tarsier::base {

enum class LogLevel : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };

// Reads "debug", "info", "warning" or "error".
Result<LogLevel> parse_log_level(std::string_view name);

// Process-wide, because a log is; thread-safe. Everything else is passed in.
void set_log(LogLevel level, LogFormat format);
[[nodiscard]] bool log_enabled(LogLevel level);
void write_log(LogLevel level, std::string_view message);
// Lines that could not be written, and lines that a RateLimit held back, since the start.
[[nodiscard]] std::uint64_t log_lines_lost();
[[nodiscard]] std::uint64_t log_lines_suppressed();

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::debug)) {
    write_log(LogLevel::debug, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::info)) {
    write_log(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::warning)) {
    write_log(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
}

// Lets the first `burst` messages of a place through, then one a minute with the number that was
// held back: if (limit.allow()) log_warning("… ({} more of these)", …, limit.held_back());
class RateLimit {
 public:
  explicit RateLimit(std::uint32_t burst = 5) : burst_(burst) {}
  [[nodiscard]] bool allow();
  [[nodiscard]] std::uint64_t held_back() { return held_back_.exchange(0); }

 private:
  std::uint32_t burst_;
  std::atomic<std::uint32_t> said_{0};
  std::atomic<std::uint64_t> held_back_{0};
  std::atomic<std::int64_t> next_s_{0};
};

}  // namespace tarsier::base
