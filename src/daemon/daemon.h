// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The daemon as a whole: puts the rooms together, runs the control loop, stops in order.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tarsier/probe.h"

namespace tarsier::daemon {

struct RunArguments {
  std::string config_path;        // empty: no file, the defaults
  std::vector<std::string> sets;  // "key=value", after the file
};

// Exit codes of the commands.
inline constexpr int kExitOk = 0;
inline constexpr int kExitNotOk = 1;
inline constexpr int kExitUsage = 2;  // wrong usage or configuration
inline constexpr int kExitNoBpf = 3;  // no BPF program can be loaded

// How long a stop may take before the process ends the hard way.
inline constexpr unsigned kStopSeconds = 2;

// Runs until SIGTERM or SIGINT; returns the exit code. Blocks those signals and SIGHUP for the
// process, so nothing else may run in it.
int run_daemon(const RunArguments& arguments, std::span<const ProbeSpec* const> probes);

}  // namespace tarsier::daemon
