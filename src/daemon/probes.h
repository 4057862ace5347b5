// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The life of the probes: start, stop, change at run time. Control thread only, except where said.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "config/config.h"
#include "daemon/collector.h"
#include "daemon/running_probe.h"
#include "daemon/self_metrics.h"
#include "kernel/loader.h"

namespace tarsier::daemon {

enum class ProbeState : std::uint8_t { off, starting, running, degraded, failed };
[[nodiscard]] std::string_view name_of(ProbeState state);

// What can be said about a probe at a moment; plain data.
struct ProbeStatus {
  std::string name;
  std::string summary;
  ProbeState state = ProbeState::off;
  std::string reason;  // why it is not simply running
  std::vector<kernel::HookState> hooks;
  bool service = false;  // the framework's own; cannot be stopped
  [[nodiscard]] bool up() const {
    return state == ProbeState::running || state == ProbeState::degraded;
  }
};

class ProbeManager {
 public:
  struct Parts {
    const base::Clock& clock;
    const base::HostFiles& host;
    Collector& collector;
    metrics::Registry& registry;
    SubjectSinks& sinks;
    SelfMetrics& self;
    tarsier_env environment{};
    std::string btf_path;
    // Why no BPF program can be loaded; empty: they can. Probes without an object run all the same.
    std::string without_bpf;
  };
  explicit ProbeManager(Parts parts);
  ~ProbeManager();
  ProbeManager(const ProbeManager&) = delete;
  ProbeManager& operator=(const ProbeManager&) = delete;

  // Loads lifecycle and sockets, and names where peers are wanted. A service that cannot run takes
  // down only what needs it.
  void start_services(bool peers);
  [[nodiscard]] RunningServices services() {
    return {lifecycle_.get(), sockets_.get(), names_.get()};
  }

  // Whether the kernel tells when cgroups are made and removed.
  [[nodiscard]] bool tells_of_cgroups() const;

  // Makes the probes be as the configuration says: starts, stops, restarts those whose options
  // changed. The plates must outlive the manager or a stop() of the probe.
  void apply(const std::map<std::string, config::ProbeConfig>& wanted);
  void start(const config::ProbeConfig& wanted);
  void stop(std::string_view name);
  void stop_all();

  // Any thread.
  [[nodiscard]] std::vector<ProbeStatus> statuses() const;
  [[nodiscard]] std::optional<ProbeStatus> status(std::string_view name) const;
  // Every probe that runs had its first tick.
  [[nodiscard]] bool all_ticked();

 private:
  std::unique_ptr<RunningProbe> start_service(const ProbeSpec& spec);
  Result<std::unique_ptr<RunningProbe>> make(const config::ProbeConfig& wanted);
  void set_status(ProbeStatus status);

  Parts parts_;
  kernel::SharedMaps shared_;
  std::unique_ptr<kernel::RunningKernel> facts_;
  std::unique_ptr<RunningProbe> lifecycle_, sockets_, names_;
  std::map<std::string, std::unique_ptr<RunningProbe>, std::less<>> running_;
  std::map<std::string, config::ProbeConfig, std::less<>> wanted_;
  mutable std::mutex mutex_;  // of statuses_
  std::map<std::string, ProbeStatus, std::less<>> statuses_;
};

}  // namespace tarsier::daemon
