// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The Docker Engine API, which podman's service speaks too, over its UNIX socket.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/docker_json.h"
#include "net/http_client.h"
#include "net/runtime_container.h"
#include "net/runtime_events.h"
#include "tarsier/result.h"

namespace tarsier::net {

inline constexpr std::string_view kDockerSocket = "/var/run/docker.sock";
inline constexpr std::string_view kPodmanSocket = "/run/podman/podman.sock";

// One thread at a time; present() and watch() are for any thread.
class DockerClient {
 public:
  explicit DockerClient(std::string socket, int timeout_ms = kRuntimeTimeoutMs)
      : socket_(std::move(socket)), timeout_ms_(timeout_ms) {}

  [[nodiscard]] const std::string& socket() const { return socket_; }
  [[nodiscard]] bool present() const { return is_socket(socket_); }
  // The containers that run, without what only get() tells.
  [[nodiscard]] Result<std::vector<RuntimeContainer>> list();
  // Running or not. not_found: the runtime answered that it has no such container.
  [[nodiscard]] Result<RuntimeContainer> get(std::string_view id);
  // GET /events of the containers, from now on. It connects with the first wait().
  [[nodiscard]] Result<std::unique_ptr<RuntimeEvents>> watch() const;

 private:
  std::string socket_;
  int timeout_ms_;
  HttpClient http_;
};

}  // namespace tarsier::net
