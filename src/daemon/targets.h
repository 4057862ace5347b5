// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What is known about whom the daemon observes: GET /api/v1/targets and `tarsier targets`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "daemon/source_figures.h"
#include "enrich/containers.h"
#include "enrich/identity.h"

namespace tarsier::daemon {

// Of each list; the report says how many there are in all.
inline constexpr std::size_t kMaxReported = 20'000;

struct ReportedProcess {
  std::uint32_t pid = 0;
  std::uint64_t since_ns = 0;  // CLOCK_BOOTTIME: under this name and in this cgroup
  std::string comm, cgroup;
  bool observed = true;  // false: left out by [targets], or a tarsier
  std::vector<enrich::Label> labels;
  std::string unresolved;  // why something about it is not known; empty: all is
};

struct ReportedContainer {
  enrich::ContainerFacts facts;
  std::string unresolved;
};

// A copy, so that nobody waits for whoever reads it.
struct TargetsReport {
  std::size_t processes_total = 0, containers_total = 0, pods_total = 0, unresolved_total = 0;
  std::vector<ReportedProcess> processes;
  std::vector<ReportedContainer> containers;
  std::vector<enrich::PodFacts> pods;
};

struct TargetsQuery {
  std::size_t limit = 1'000;
  bool only_unresolved = false;
  bool processes = true;
};

[[nodiscard]] std::string targets_json(const TargetsReport& report,
                                       std::span<const SourceFigures> sources,
                                       std::uint64_t now_boot_ns);

}  // namespace tarsier::daemon
