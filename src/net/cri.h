// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The Kubernetes Container Runtime Interface (runtime.v1) of containerd and CRI-O, over grpc++.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/runtime_container.h"
#include "net/runtime_events.h"
#include "tarsier/result.h"

namespace tarsier::net {

inline constexpr std::string_view kContainerdSocket = "/run/containerd/containerd.sock";
inline constexpr std::string_view kCrioSocket = "/var/run/crio/crio.sock";

struct CriVersion {
  std::string runtime;  // "containerd"
  std::string version;  // "1.6.20"
};

// The gRPC channel comes to exist with the first call that finds the socket: it costs some MiB and
// threads, which a node without CRI does not pay. One thread at a time; present() and watch() are
// for any thread.
class CriClient {
 public:
  explicit CriClient(std::string socket, int timeout_ms = kRuntimeTimeoutMs);
  ~CriClient();
  CriClient(CriClient&&) noexcept;
  CriClient& operator=(CriClient&&) noexcept;

  [[nodiscard]] const std::string& socket() const;
  [[nodiscard]] bool present() const;
  [[nodiscard]] Result<CriVersion> version();
  // The containers that run, and the sandboxes of the pods that are ready: two calls, and one more
  // for each container whose image the list gives as an id, once in its life and as far as the
  // deadline reaches.
  [[nodiscard]] Result<std::vector<RuntimeContainer>> list();
  // A container or a sandbox, running or not. not_found: the runtime answered that it has no such
  // container.
  [[nodiscard]] Result<RuntimeContainer> get(std::string_view id);
  // GetContainerEvents, on a channel of its own. not_found from its wait(): the runtime does not
  // have it (containerd before 1.7, CRI-O before 1.26).
  [[nodiscard]] Result<std::unique_ptr<RuntimeEvents>> watch() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tarsier::net
