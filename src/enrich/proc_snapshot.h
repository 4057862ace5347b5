// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A look at all processes through /proc, for the start and for after events were lost.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "enrich/cgroups.h"
#include "enrich/processes.h"

namespace tarsier::enrich {

// The parts of /proc/PID/stat (proc(5)) that we need. comm may hold any bytes, ")" too.
struct ProcStat {
  std::uint32_t pid = 0;
  std::uint32_t parent = 0;
  Comm comm = {};
  std::uint64_t start_ticks = 0;  // since boot, in units of 1/ticks_per_second
};
[[nodiscard]] std::optional<ProcStat> parse_proc_stat(std::string_view text);

// All processes now. Those that end while we look are left out; what cannot be read of one (its
// cgroup) is 0. ticks_per_second is sysconf(_SC_CLK_TCK).
[[nodiscard]] Result<std::vector<SnapshotEntry>> read_processes(const base::HostFiles& host,
                                                                const CgroupTable& cgroups,
                                                                long ticks_per_second);

}  // namespace tarsier::enrich
