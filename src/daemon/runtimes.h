// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The container runtimes of src/net as sources of src/enrich.
#pragma once

#include <memory>
#include <vector>

#include "base/files.h"
#include "enrich/resolver.h"

namespace tarsier::daemon {

// containerd, CRI-O, docker and podman at their usual sockets below the host's root. A runtime
// whose socket is not there costs a look at the file.
[[nodiscard]] std::vector<std::unique_ptr<enrich::ContainerSource>> runtime_sources(
    const base::HostFiles& host);

}  // namespace tarsier::daemon
