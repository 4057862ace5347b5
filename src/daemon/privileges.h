// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Rights of the daemon, settled before the first thread starts (capabilities are per thread).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tarsier/result.h"

namespace tarsier::daemon {

struct Capability {
  std::string_view name;    // "CAP_BPF"
  int number;               // linux/capability.h
  std::string_view reason;  // what it is kept for, the end of "is needed to …"
};
// What the daemon keeps for life; docs/operations.md repeats the reasons.
[[nodiscard]] const std::vector<Capability>& kept_capabilities();

// What dropping CAP_SYS_ADMIN costs, in a sentence.
[[nodiscard]] std::string_view cost_without_sys_admin();

[[nodiscard]] bool has_capability(int number);

// Where nobody has mounted tracefs, mounts it in a mount namespace of the daemon's own, so that
// plain tracepoints can be found and nothing is left behind. Needs CAP_SYS_ADMIN, so it comes
// before settle_privileges() and before the first thread; without it the probes take other ways.
void see_tracefs();

// Not dumpable, no core files, locked-memory limit raised where that is allowed (kernels before
// 5.11 charge BPF maps to it), and no capability but the kept ones. Where the kernel has no CAP_BPF
// (before 5.8) CAP_SYS_ADMIN stays. What cannot be had is logged, not fatal: the probes then say
// what they miss.
Status settle_privileges();

}  // namespace tarsier::daemon
