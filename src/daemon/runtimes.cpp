// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/runtimes.h"

#include "net/cri.h"
#include "net/docker.h"

namespace tarsier::daemon {
namespace {

using enrich::ContainerFacts;
using enrich::Runtime;

ContainerFacts facts_of(net::RuntimeContainer container, Runtime runtime) {
  return {std::move(container.id), std::move(container.name), std::move(container.image), runtime};
}

// Client is net::DockerClient or net::CriClient: present(), list(), get().
template <class Client>
class Source final : public enrich::ContainerSource {
 public:
  Source(std::string_view name, Runtime runtime, std::string socket)
      : name_(name), runtime_(runtime), client_(std::move(socket)) {}

  std::string_view name() const override { return name_; }
  bool serves(Runtime runtime) const override {
    return runtime == runtime_ || runtime == Runtime::unknown;
  }
  bool present() const override { return client_.present(); }

  Result<std::vector<ContainerFacts>> list() override {
    auto containers = client_.list();
    if (!containers) return std::unexpected(containers.error());
    std::vector<ContainerFacts> all;
    all.reserve(containers->size());
    for (net::RuntimeContainer& one : *containers)
      all.push_back(facts_of(std::move(one), runtime_));
    return all;
  }

  Result<ContainerFacts> get(std::string_view id) override {
    auto container = client_.get(id);
    if (!container) return std::unexpected(container.error());
    return facts_of(std::move(*container), runtime_);
  }

 private:
  std::string_view name_;
  Runtime runtime_;
  Client client_;
};

}  // namespace

std::vector<std::unique_ptr<enrich::ContainerSource>> runtime_sources(const base::HostFiles& host) {
  const auto below = [&](std::string_view socket) { return host.path(socket.substr(1)); };
  std::vector<std::unique_ptr<enrich::ContainerSource>> sources;
  sources.push_back(std::make_unique<Source<net::CriClient>>("containerd", Runtime::containerd,
                                                             below(net::kContainerdSocket)));
  sources.push_back(
      std::make_unique<Source<net::CriClient>>("crio", Runtime::crio, below(net::kCrioSocket)));
  sources.push_back(std::make_unique<Source<net::DockerClient>>("docker", Runtime::docker,
                                                                below(net::kDockerSocket)));
  sources.push_back(std::make_unique<Source<net::DockerClient>>("podman", Runtime::podman,
                                                                below(net::kPodmanSocket)));
  return sources;
}

}  // namespace tarsier::daemon
