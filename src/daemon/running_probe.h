// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One probe that runs: made by the control thread, then the collector's until it is removed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "config/options.h"
#include "kernel/loader.h"
#include "tarsier/probe.h"

namespace tarsier::daemon {

struct RunningProbe {
  RunningProbe(const ProbeSpec& plate, config::OptionValues values)
      : spec(&plate), options(std::move(values)) {}

  const ProbeSpec* spec;
  config::OptionValues options;
  std::unique_ptr<kernel::LoadedProbe> loaded;
  std::unique_ptr<Probe> probe;

  std::uint64_t tick_period_ns = 0;  // 0: never
  std::uint64_t next_tick_ns = 0;
  bool ticked = false;

  // Since it was started.
  std::uint64_t events = 0;
  std::uint64_t decode_errors = 0;
  std::uint64_t handler_ns = 0;

  // What the self-metrics have said already; totals only grow, so the difference is added.
  std::uint64_t said_events = 0, said_decode_errors = 0, said_handler_ns = 0;
  std::map<std::string, std::uint64_t> said_losses, said_runs, said_run_ns;
};

// The framework's own; null: it does not run.
struct RunningServices {
  RunningProbe* lifecycle = nullptr;
  RunningProbe* sockets = nullptr;
  RunningProbe* names = nullptr;
};

}  // namespace tarsier::daemon
