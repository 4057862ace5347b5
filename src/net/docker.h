// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The Docker Engine API, which podman's service speaks too, over its UNIX socket.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_client.h"
#include "net/runtime_container.h"
#include "tarsier/result.h"

namespace tarsier::net {

inline constexpr std::string_view kDockerSocket = "/var/run/docker.sock";
inline constexpr std::string_view kPodmanSocket = "/run/podman/podman.sock";
inline constexpr int kMaxJsonDepth = 64;

// The answers of GET /containers/json and GET /containers/ID/json. Anything but what the API
// promises (not JSON, other types, no id) is ErrorCode::invalid. Unknown members are skipped
// without being kept, so memory is bounded by the text. A container of a pod is called by the name
// in its label io.kubernetes.container.name. From a list, entries without an id are left out.
[[nodiscard]] Result<std::vector<RuntimeContainer>> parse_docker_list(std::string_view json);
[[nodiscard]] Result<RuntimeContainer> parse_docker_container(std::string_view json);

// One thread at a time.
class DockerClient {
 public:
  explicit DockerClient(std::string socket, int timeout_ms = kRuntimeTimeoutMs)
      : socket_(std::move(socket)), timeout_ms_(timeout_ms) {}

  [[nodiscard]] const std::string& socket() const { return socket_; }
  [[nodiscard]] bool present() const { return is_socket(socket_); }
  // The containers that run.
  [[nodiscard]] Result<std::vector<RuntimeContainer>> list();
  // not_found: the runtime answered that it has no such container.
  [[nodiscard]] Result<RuntimeContainer> get(std::string_view id);

 private:
  std::string socket_;
  int timeout_ms_;
  HttpClient http_;
};

}  // namespace tarsier::net
