// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the endpoints answer. Handlers run on HTTP workers; they read copies and atomics, and hand
// changes to the control queue.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "api/routes.h"
#include "base/clock.h"
#include "config/config.h"
#include "daemon/control.h"
#include "daemon/probes.h"
#include "daemon/self_metrics.h"
#include "daemon/sources.h"
#include "daemon/subjects.h"
#include "metrics/registry.h"

namespace tarsier::daemon {

// Shared by the control thread (writes) and the handlers (read).
struct DaemonState {
  std::uint64_t started_boot_ns = 0;
  std::atomic<bool> ready{false};
  std::atomic<bool> stopping{false};
  std::mutex mutex;  // of what follows
  std::vector<std::string> listening;
  config::Config config;
};

struct RouteParts {
  const base::Clock& clock;
  const metrics::Registry& registry;
  SelfMetrics& self;
  ProbeManager& probes;
  const Sources& sources;
  ControlQueue& control;
  DaemonState& state;
  Collector& collector;
  Subjects& subjects;  // touched on the collector's thread alone
  std::span<const ProbeSpec* const> specs;
  // On the control thread: starts, stops or changes a probe.
  std::function<void(const config::ProbeConfig&)> change_probe;
};

// [http]: metrics and health, nothing that carries payload or changes state.
[[nodiscard]] api::Routes metrics_routes(const RouteParts& parts);
// [api] and the control socket.
[[nodiscard]] api::Routes api_routes(const RouteParts& parts);

}  // namespace tarsier::daemon
