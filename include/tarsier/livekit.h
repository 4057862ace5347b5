// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a live test needs: the real daemon, processes with a name of their own that cause real
// events, and the numbers of /metrics. Implemented in tests/livekit.
//
//   live::Daemon daemon;
//   live::as("demo-live", [] { for (int i = 0; i < 13; ++i) ::close(::open("/dev/null", O_RDONLY));
//   }); EXPECT_TRUE(daemon.becomes("tarsier_demo_opens_total", {{"comm", "demo-live"}}, 13));
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tarsier::live {

using Labels = std::map<std::string, std::string>;

struct Sample {
  std::string name;
  Labels labels;
  double value = 0;
};

// Why live tests cannot run here, in words; empty: they can. For GTEST_SKIP.
[[nodiscard]] std::string unavailable();

// How long a number may take to show; far above the probes' periods, never slept out.
inline constexpr std::chrono::seconds kDeadline{40};

class Scrape {
 public:
  explicit Scrape(std::string text);
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const std::vector<Sample>& samples() const { return samples_; }
  // The sum over all series of that name that have these labels; 0 if there is none.
  [[nodiscard]] double sum(std::string_view name, const Labels& labels = {}) const;
  [[nodiscard]] bool has(std::string_view name, const Labels& labels = {}) const;

 private:
  std::string text_;
  std::vector<Sample> samples_;
};

// The daemon under test: the one at TARSIER_METRICS (host:port) if that is set, else TARSIER_BIN,
// started on free ports and stopped at the end. Fails the process with words if it does not start.
class Daemon {
 public:
  explicit Daemon(std::vector<std::string> arguments = {});
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  [[nodiscard]] Scrape scrape() const;
  // Waits until the sum over the matching series is `value`. On failure says what it was.
  [[nodiscard]] bool becomes(std::string_view name, const Labels& labels, double value) const;
  [[nodiscard]] bool becomes_at_least(std::string_view name, const Labels& labels,
                                      double value) const;
  // Waits until the condition holds.
  [[nodiscard]] bool eventually(const std::function<bool(const Scrape&)>& condition) const;
  // All losses that the daemon counted.
  [[nodiscard]] double lost() const;

  [[nodiscard]] bool foreign() const { return pid_ < 0; }  // not started by us
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::string& metrics_address() const { return metrics_; }
  [[nodiscard]] const std::string& api_address() const { return api_; }
  [[nodiscard]] const std::string& socket() const { return socket_; }
  [[nodiscard]] std::string log() const;
  // SIGTERM, and how it ended: the exit code, or 128 + signal; and how long that took.
  int stop();
  [[nodiscard]] std::chrono::milliseconds stop_took() const { return stop_took_; }

 private:
  void start(std::vector<std::string> arguments);

  pid_t pid_ = -1;
  std::string directory_;  // log and socket
  std::string metrics_, api_, socket_;
  std::chrono::milliseconds stop_took_{0};
};

// An answer over HTTP: status and body; status 0: none.
struct Answer {
  int status = 0;
  std::string headers;
  std::string body;
};
// `address` is host:port or the path of a socket.
[[nodiscard]] Answer http(const std::string& address, std::string_view method,
                          std::string_view path, std::string_view body = {},
                          const std::vector<std::string>& headers = {});

// A child process with its own comm that runs `work` and ends with its result (or 0 for void).
class Child {
 public:
  Child(const std::string& comm, const std::function<int()>& work);
  ~Child();  // kills it if it still runs
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }
  // Waits for its end; the exit code, or 128 + signal.
  int wait();

 private:
  pid_t pid_ = -1;
};
// Runs `work` in such a child and waits; the exit code.
int as(const std::string& comm, const std::function<void()>& work);

// A pipe that lets one process wait for another without sleeping.
class Signal {
 public:
  Signal();
  ~Signal();
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  void send() const;
  void await() const;  // ends the process after kDeadline

 private:
  int fds_[2] = {-1, -1};
};

}  // namespace tarsier::live
