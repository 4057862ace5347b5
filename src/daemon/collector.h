// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The collector: the one thread that drains rings, runs the probes' callbacks and writes the
// registry.
//
// It sleeps on a clock of its own, 1 to 100 ms, shorter the more there is to do, and is woken early
// only by a ring that fills past its watermark. In each round it reads the lifecycle of processes
// first and then the other rings only up to that moment, so that every record meets the process
// table as it was (docs/architecture.md, "Time").
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "daemon/running_probe.h"
#include "daemon/self_metrics.h"
#include "daemon/sinks.h"
#include "daemon/sources.h"
#include "daemon/subjects.h"
#include "metrics/registry.h"

namespace tarsier::daemon {

inline constexpr int kMinPeriodMs = 1;
inline constexpr int kMaxPeriodMs = 100;
// Records of one ring in one round, so that no ring starves another.
inline constexpr std::size_t kMaxRecordsPerTurn = 4'096;
inline constexpr std::uint64_t kMaxTurnNs = 2'000'000;

class Collector {
 public:
  struct Parts {
    const base::Clock& clock;
    metrics::Registry& registry;
    Subjects& subjects;
    SubjectSinks& sinks;
    SelfMetrics& self;
    Sources* sources = nullptr;  // null: nobody but the kernel tells names
  };
  explicit Collector(const Parts& parts);
  ~Collector() { stop(); }
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  // The services outlive the collector's thread.
  Status start(const RunningServices& services);
  void stop();

  // Runs `work` on the collector thread between two rounds and waits for it. Any other thread.
  void run(std::function<void()> work);
  // Inside run() only. The probe must be removed before it is destroyed.
  void add(RunningProbe& probe);
  void remove(RunningProbe& probe);

  // When the last round began, CLOCK_BOOTTIME; the watchdog watches it.
  [[nodiscard]] std::uint64_t heartbeat_ns() const { return heartbeat_ns_; }
  [[nodiscard]] std::uint64_t rounds() const { return rounds_; }

 private:
  void loop();
  void round();
  void run_work();
  std::uint64_t drain_lifecycle(std::uint64_t now_ns, std::size_t& records);
  void drain_names();
  bool drain_ring(RunningProbe& probe, kernel::Ring& ring, std::uint64_t until_ns,
                  std::size_t& records);
  void tick(RunningProbe& probe, std::uint64_t now_ns);
  void watch_lifecycle_losses();
  void take_snapshot();
  void adapt(std::size_t records, bool more);
  void watch_rings(RunningProbe& probe, int operation);
  void wait();

  const base::Clock& clock_;
  metrics::Registry& registry_;
  Subjects& subjects_;
  SubjectSinks& sinks_;
  SelfMetrics& self_;
  Sources* sources_;

  RunningProbe* lifecycle_ = nullptr;
  RunningProbe* names_ = nullptr;
  std::uint64_t lifecycle_lost_ = 0;
  std::vector<RunningProbe*> services_;
  std::vector<RunningProbe*> probes_;
  std::size_t first_ = 0;  // whose turn it is to be drained first

  base::UniqueFd epoll_, wake_;
  int period_ms_ = kMaxPeriodMs;
  std::uint64_t next_second_ns_ = 0;

  std::mutex mutex_;
  std::condition_variable done_;
  std::vector<std::function<void()>> work_;
  std::uint64_t work_given_ = 0, work_done_ = 0;

  std::atomic<std::uint64_t> heartbeat_ns_{0};
  std::atomic<std::uint64_t> rounds_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace tarsier::daemon
