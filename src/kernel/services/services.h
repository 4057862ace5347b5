// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What probes share, owned by the framework. A service is described by a name plate like a probe
// and loaded by the same loader; it has no decoder of its own.
#pragma once

#include "tarsier/probe.h"

namespace tarsier::kernel {

// Processes and cgroups that begin, change and end; its ring is drained first in each round.
extern const ProbeSpec lifecycle_service;
// Purposes of two of its hooks: without them somebody else has to look at the cgroups.
inline constexpr std::string_view kCgroupMade = "a cgroup is made";
inline constexpr std::string_view kCgroupRemoved = "a cgroup is removed";
inline constexpr std::string_view kLifecycleSnapshot =
    "snapshot";  // iterator: lifecycle_process records

// Owner, role and addresses of each TCP socket of the node, in the map shared_sockets.
extern const ProbeSpec sockets_service;
// Iterators that write nothing; run once, in this order, after the service is attached.
inline constexpr std::string_view kSocketSnapshots[] = {"snapshot_listeners",
                                                        "snapshot_connections"};

// DNS answers that processes received over UDP: names_answer records (names.h). Optional: where the
// kernel has neither way, the service runs degraded and sends nothing.
extern const ProbeSpec names_service;

}  // namespace tarsier::kernel
