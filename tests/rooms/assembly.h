// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The daemon's middle inside a test: loader, collector, registry and stores, put together as
// src/daemon/daemon.cpp does it, without servers and files. Rooms are run through it unchanged.
//
// Whatever forks does so before an Assembly is made: a child would keep the descriptors of BPF
// objects, and with them the objects, alive.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/files.h"
#include "config/config.h"
#include "daemon/collector.h"
#include "daemon/probes.h"
#include "daemon/self_metrics.h"
#include "daemon/sinks.h"
#include "daemon/subjects.h"
#include "enrich/cgroups.h"
#include "enrich/resolver.h"
#include "metrics/registry.h"
#include "store/store.h"
#include "tarsier/livekit.h"

namespace tarsier::rooms {

// Why rooms cannot run here, in words; empty: they can. For GTEST_SKIP.
[[nodiscard]] std::string unavailable();
// Why this kernel has none of the ways of a required hook; empty: it has.
[[nodiscard]] std::string unavailable(const ProbeSpec& spec);

class Assembly {
 public:
  Assembly();
  ~Assembly();
  Assembly(const Assembly&) = delete;
  Assembly& operator=(const Assembly&) = delete;

  // As a change over the API does it. Ends in any state; see status().
  void start(const config::ProbeConfig& wanted);
  void stop(const ProbeSpec& spec);
  [[nodiscard]] daemon::ProbeStatus status(const ProbeSpec& spec) const;

  [[nodiscard]] live::Scrape scrape() const;
  // Wait up to live::kDeadline. The failure says what the number was.
  [[nodiscard]] bool becomes(std::string_view name, const live::Labels& labels, double value) const;
  [[nodiscard]] bool eventually(const std::function<bool(const live::Scrape&)>& condition) const;

  // Runs `work` with the registry where it may be written.
  void on_collector(const std::function<void(metrics::Registry&)>& work);
  [[nodiscard]] const store::Stores& stores() const { return stores_; }

 private:
  base::SystemClock clock_;
  base::HostFiles host_{"/"};
  enrich::CgroupTable cgroups_;
  enrich::Resolver resolver_;
  metrics::Registry registry_;
  store::Stores stores_;
  daemon::SelfMetrics self_;
  daemon::Subjects subjects_;
  daemon::SubjectSinks sinks_;
  daemon::Collector collector_;
  daemon::ProbeManager probes_;
};

// A child with a name of its own that does what it is told, one thing after the other.
class Worker {
 public:
  Worker(const std::string& comm, std::function<int(int)> work);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  // Runs work(argument) in the child and waits for it; its result.
  int run(int argument);
  [[nodiscard]] pid_t pid() const { return child_->pid(); }

 private:
  int fds_[2] = {-1, -1};
  std::unique_ptr<live::Child> child_;
};

// Open descriptors of this process by what they are ("anon_inode:bpf-map"), and how many.
[[nodiscard]] std::map<std::string, int> descriptors();
// BPF programs of the whole machine whose name begins so.
[[nodiscard]] int loaded_programs(std::string_view prefix);

// Starts and stops the probe kRestarts times while something causes its events, and leaves it
// started. `metric` is a counter of the probe that the load makes grow in series with `labels`;
// `programs` is how the names of its BPF programs begin.
inline constexpr int kRestarts = 11;
void restart_under_load(Assembly& assembly, const config::ProbeConfig& wanted,
                        const MetricDef& metric, const live::Labels& labels,
                        std::string_view programs);

}  // namespace tarsier::rooms
