// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The commands of the one binary; each returns the exit code (daemon.h).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tarsier/probe.h"

namespace tarsier::daemon {

// Reads the command line and runs what it names.
int run_command(std::span<char* const> arguments, std::span<const ProbeSpec* const> probes);

// tarsier doctor [--json]: loads everything for a moment and says what this kernel can do.
int run_doctor(bool json, const std::string& config_path, std::span<const ProbeSpec* const> probes);

// tarsier status, tarsier probes …: short-lived looks through the control socket.
int show_status(const std::string& socket);
int list_targets(const std::string& socket, bool as_json, bool unresolved);
int list_probes(const std::string& socket);
int show_probe(const std::string& socket, const std::string& name);
int enable_probe(const std::string& socket, const std::string& name, bool enabled);
int set_options(const std::string& socket, const std::string& name,
                std::span<const std::string> assignments);

}  // namespace tarsier::daemon
