// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <ctime>
#include <mutex>
#include <string>

#include "base/text.h"

namespace tarsier::base {
namespace {

// A stuck reader of our standard error (a full pipe) may hold the daemon up for this long, once.
constexpr int kWriteTimeoutMs = 100;

struct LogState {
  std::atomic<LogLevel> level{LogLevel::info};
  std::atomic<LogFormat> format{LogFormat::text};
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> suppressed{0};
  std::mutex mutex;  // one line at a time
};

LogState& state() {
  static LogState instance;
  return instance;
}

constexpr std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warning: return "warning";
    case LogLevel::error: return "error";
  }
  return "info";
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto seconds = std::chrono::time_point_cast<std::chrono::seconds>(now);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - seconds).count();
  const std::time_t whole = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  ::gmtime_r(&whole, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, ms);
}

std::string render(LogLevel level, std::string_view message, LogFormat format) {
  if (format == LogFormat::json) {
    return fmt::format("{{\"time\":\"{}\",\"level\":\"{}\",\"message\":\"{}\"}}\n", timestamp(),
                       name_of(level), escape_json(message));
  }
  // One event is one line, whatever a process called itself.
  return fmt::format("{} {:<7} {}\n", timestamp(), name_of(level), escape_control(message));
}

bool write_all(std::string_view line) {
  while (!line.empty()) {
    pollfd ready{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&ready, 1, kWriteTimeoutMs) <= 0) return false;
    const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    line.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

Result<LogLevel> parse_log_level(std::string_view name) {
  for (const LogLevel level :
       {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
    if (name == name_of(level)) return level;
  }
  return fail(ErrorCode::invalid,
              fmt::format("log level \"{}\" is none of debug, info, warning, error", name));
}

void set_log(LogLevel level, LogFormat format) {
  state().level = level;
  state().format = format;
}

bool log_enabled(LogLevel level) {
  return level >= state().level.load(std::memory_order_relaxed);
}

void write_log(LogLevel level, std::string_view message) {
  const std::string line = render(level, message, state().format);
  const std::lock_guard lock(state().mutex);
  if (!write_all(line)) ++state().lost;
}

std::uint64_t log_lines_lost() {
  return state().lost;
}
std::uint64_t log_lines_suppressed() {
  return state().suppressed;
}

bool RateLimit::allow() {
  using namespace std::chrono;
  if (said_.fetch_add(1) < burst_) return true;
  said_ = burst_;
  const auto now = duration_cast<seconds>(steady_clock::now().time_since_epoch()).count();
  auto next = next_s_.load();
  if (now >= next && next_s_.compare_exchange_strong(next, now + 60)) return true;
  ++held_back_;
  ++state().suppressed;
  return false;
}

}  // namespace tarsier::base
