// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The container runtimes of src/net as sources of src/enrich.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "enrich/source.h"
#include "net/runtime_container.h"

namespace tarsier::daemon {

// containerd, CRI-O, docker and podman at their usual sockets below the host's root. A runtime
// whose socket is not there costs a look at the file.
[[nodiscard]] std::vector<std::unique_ptr<enrich::ContainerSource>> runtime_sources(
    const base::HostFiles& host);

// One runtime at any socket. `name` outlives the source.
[[nodiscard]] std::unique_ptr<enrich::ContainerSource> cri_source(std::string_view name,
                                                                  enrich::Runtime runtime,
                                                                  std::string socket);
[[nodiscard]] std::unique_ptr<enrich::ContainerSource> docker_source(std::string_view name,
                                                                     enrich::Runtime runtime,
                                                                     std::string socket);

[[nodiscard]] enrich::ContainerFacts container_facts(net::RuntimeContainer container,
                                                     enrich::Runtime runtime);

}  // namespace tarsier::daemon
