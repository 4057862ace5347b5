// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the Docker Engine API answers, read member by member.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "net/runtime_container.h"
#include "net/runtime_events.h"
#include "tarsier/result.h"

namespace tarsier::net {

inline constexpr int kMaxJsonDepth = 64;

// The answers of GET /containers/json and GET /containers/ID/json. Anything but what the API
// promises (not JSON, other types, no id) is ErrorCode::invalid. Unknown members are skipped
// without being kept, so memory is bounded by the text. A container of a pod is called by the name
// in its label io.kubernetes.container.name. From a list, entries without an id are left out.
[[nodiscard]] Result<std::vector<RuntimeContainer>> parse_docker_list(std::string_view json);
[[nodiscard]] Result<RuntimeContainer> parse_docker_container(std::string_view json);
// One line of GET /events. nullopt: an event of another kind, or of something that is no container.
[[nodiscard]] Result<std::optional<RuntimeEvent>> parse_docker_event(std::string_view json);

// What a verbose answer of the CRI says in its member "info": containerd and CRI-O write the same
// JSON there, with the OCI specification of the container.
struct CriInfo {
  std::string sandbox_id{};
  RuntimeLimits limits{};
};
[[nodiscard]] Result<CriInfo> parse_cri_info(std::string_view json);

}  // namespace tarsier::net
