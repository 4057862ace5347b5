// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/runtimes.h"

#include <utility>

#include "net/cri.h"
#include "net/docker.h"

namespace tarsier::daemon {
namespace {

using enrich::ContainerEvent;
using enrich::ContainerFacts;
using enrich::Runtime;

ContainerFacts::State state_of(net::RuntimeState state) {
  switch (state) {
    case net::RuntimeState::created: return ContainerFacts::State::created;
    case net::RuntimeState::exited: return ContainerFacts::State::exited;
    default: return ContainerFacts::State::running;
  }
}

ContainerEvent::Kind kind_of(net::RuntimeEvent::Kind kind) {
  using From = net::RuntimeEvent::Kind;
  using To = ContainerEvent::Kind;
  switch (kind) {
    case From::created: return To::created;
    case From::started: return To::started;
    case From::ended: return To::ended;
    case From::out_of_memory: return To::out_of_memory;
    case From::removed: return To::removed;
    default: return To::changed;
  }
}

class Events final : public enrich::EventStream {
 public:
  Events(std::unique_ptr<net::RuntimeEvents> stream, Runtime runtime)
      : stream_(std::move(stream)), runtime_(runtime) {}

  Status wait(int timeout_ms, std::vector<ContainerEvent>& events) override {
    events_.clear();
    auto status = stream_->wait(timeout_ms, events_);
    for (net::RuntimeEvent& event : events_) {
      ContainerEvent converted;
      converted.kind = kind_of(event.kind);
      converted.id = std::move(event.id);
      converted.time_ns = event.time_ns;
      converted.exit_code = event.exit_code;
      if (event.container) converted.facts = container_facts(std::move(*event.container), runtime_);
      events.push_back(std::move(converted));
    }
    return status;
  }
  bool answered() const override { return stream_->answered(); }
  std::size_t take_losses() override { return stream_->take_losses(); }

 private:
  std::unique_ptr<net::RuntimeEvents> stream_;
  Runtime runtime_;
  std::vector<net::RuntimeEvent> events_;
};

// Client is net::DockerClient or net::CriClient: present(), list(), get(), watch().
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
    for (net::RuntimeContainer& one : *containers) {
      all.push_back(container_facts(std::move(one), runtime_));
    }
    return all;
  }

  Result<ContainerFacts> get(std::string_view id) override {
    auto container = client_.get(id);
    if (!container) return std::unexpected(container.error());
    return container_facts(std::move(*container), runtime_);
  }

  Result<std::unique_ptr<enrich::EventStream>> watch() override {
    auto stream = client_.watch();
    if (!stream) return std::unexpected(stream.error());
    return std::make_unique<Events>(std::move(*stream), runtime_);
  }

 private:
  std::string_view name_;
  Runtime runtime_;
  Client client_;
};

}  // namespace

ContainerFacts container_facts(net::RuntimeContainer container, Runtime runtime) {
  ContainerFacts facts;
  facts.id = std::move(container.id);
  facts.name = std::move(container.name);
  facts.image = std::move(container.image);
  facts.runtime = runtime;
  facts.image_digest = std::move(container.image_digest);
  facts.labels.reserve(container.labels.size());
  for (auto& [key, value] : container.labels) {
    facts.labels.push_back({std::move(key), std::move(value)});
  }
  facts.labels_refused = container.labels_refused;
  facts.sandbox_id = std::move(container.sandbox_id);
  facts.pod = {std::move(container.pod.uid), std::move(container.pod.name),
               std::move(container.pod.namespace_name)};
  facts.created_ns = container.created_ns;
  facts.state = state_of(container.state);
  facts.complete = container.complete;
  facts.started_ns = container.started_ns;
  facts.restart_count = container.restart_count;
  facts.limits = {container.limits.memory_bytes, container.limits.cpu_cores};
  if (container.exit) {
    facts.exit = enrich::ExitFacts{container.exit->code, std::move(container.exit->reason),
                                   container.exit->finished_ns};
  }
  return facts;
}

std::unique_ptr<enrich::ContainerSource> cri_source(std::string_view name, Runtime runtime,
                                                    std::string socket) {
  return std::make_unique<Source<net::CriClient>>(name, runtime, std::move(socket));
}

std::unique_ptr<enrich::ContainerSource> docker_source(std::string_view name, Runtime runtime,
                                                       std::string socket) {
  return std::make_unique<Source<net::DockerClient>>(name, runtime, std::move(socket));
}

std::vector<std::unique_ptr<enrich::ContainerSource>> runtime_sources(const base::HostFiles& host) {
  const auto below = [&](std::string_view socket) { return host.path(socket.substr(1)); };
  std::vector<std::unique_ptr<enrich::ContainerSource>> sources;
  sources.push_back(cri_source("containerd", Runtime::containerd, below(net::kContainerdSocket)));
  sources.push_back(cri_source("crio", Runtime::crio, below(net::kCrioSocket)));
  sources.push_back(docker_source("docker", Runtime::docker, below(net::kDockerSocket)));
  sources.push_back(docker_source("podman", Runtime::podman, below(net::kPodmanSocket)));
  return sources;
}

}  // namespace tarsier::daemon
