// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/probes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "kernel/services/services.h"

namespace tarsier::daemon {
namespace {

std::string why_degraded(const std::vector<kernel::HookState>& hooks) {
  std::string reason;
  for (const kernel::HookState& hook : hooks) {
    if (hook.available) continue;
    if (!reason.empty()) reason += "; ";
    reason += fmt::format("cannot learn that {} ({})", hook.purpose, hook.reason);
  }
  return reason;
}

ProbeStatus status_of(const ProbeSpec& spec, ProbeState state, std::string reason = {}) {
  ProbeStatus status;
  status.name = spec.name;
  status.summary = spec.summary;
  status.state = state;
  status.reason = std::move(reason);
  return status;
}

ProbeStatus status_of(const RunningProbe& probe) {
  const auto& hooks = probe.loaded->hooks();
  std::string reason = why_degraded(hooks);
  ProbeStatus status =
      status_of(*probe.spec, reason.empty() ? ProbeState::running : ProbeState::degraded, reason);
  status.hooks = hooks;
  return status;
}

bool equal_options(const config::OptionValues& a, const config::OptionValues& b) {
  for (std::size_t i = 0; i < a.declared().size(); ++i) {
    if (a.at(i) != b.at(i)) return false;
  }
  return true;
}

}  // namespace

std::string_view name_of(ProbeState state) {
  switch (state) {
    case ProbeState::off: return "off";
    case ProbeState::starting: return "starting";
    case ProbeState::running: return "running";
    case ProbeState::degraded: return "degraded";
    case ProbeState::failed: return "failed";
  }
  return "failed";
}

ProbeManager::ProbeManager(Parts parts) : parts_(std::move(parts)) {}

ProbeManager::~ProbeManager() {
  stop_all();
}

void ProbeManager::set_status(ProbeStatus status) {
  if (status.state == ProbeState::failed) {
    base::log_error("probe {} failed: {}", status.name, status.reason);
  } else if (status.state == ProbeState::degraded) {
    base::log_warning("probe {} runs degraded: {}", status.name, status.reason);
  } else {
    base::log_debug("probe {} is {}", status.name, name_of(status.state));
  }
  parts_.collector.run([this, &status] { parts_.self.show(status); });
  const std::lock_guard lock(mutex_);
  const std::string name = status.name;
  statuses_[name] = std::move(status);
}

std::unique_ptr<RunningProbe> ProbeManager::start_service(const ProbeSpec& spec) {
  auto running = std::make_unique<RunningProbe>(spec, config::OptionValues(spec.options));
  Status problem;
  if (!parts_.without_bpf.empty()) {
    problem = fail(ErrorCode::unavailable, parts_.without_bpf);
  } else {
    const kernel::LoadInput input{spec, nullptr, parts_.environment, parts_.btf_path};
    auto loaded = kernel::load_probe(input, *facts_, shared_);
    if (loaded) {
      running->loaded = std::move(*loaded);
    } else {
      problem = std::unexpected(loaded.error());
    }
  }
  ProbeStatus status =
      problem ? status_of(*running) : status_of(spec, ProbeState::failed, problem.error().message);
  status.service = true;
  set_status(std::move(status));
  return problem ? std::move(running) : nullptr;
}

void ProbeManager::start_services(bool peers) {
  facts_ = std::make_unique<kernel::RunningKernel>(parts_.btf_path);
  lifecycle_ = start_service(kernel::lifecycle_service);
  if (peers) names_ = start_service(kernel::names_service);
  sockets_ = start_service(kernel::sockets_service);
  if (sockets_ == nullptr) return;
  for (const std::string_view iterator : kernel::kSocketSnapshots) {
    if (const auto status = sockets_->loaded->maps().iterate(iterator, 0, [](Bytes) {}); !status) {
      base::log_warning("{}; connections that are open already will not be seen",
                        status.error().message);
    }
  }
}

bool ProbeManager::tells_of_cgroups() const {
  const auto lifecycle = status(kernel::lifecycle_service.name);
  if (!lifecycle || !lifecycle->up()) return false;
  return std::ranges::all_of(lifecycle->hooks, [](const kernel::HookState& hook) {
    return hook.available ||
           (hook.purpose != kernel::kCgroupMade && hook.purpose != kernel::kCgroupRemoved);
  });
}

Result<std::unique_ptr<RunningProbe>> ProbeManager::make(const config::ProbeConfig& wanted) {
  const ProbeSpec& spec = *wanted.spec;
  if (spec.has_object() && !parts_.without_bpf.empty()) {
    return fail(ErrorCode::unavailable, parts_.without_bpf);
  }
  if (facts_ == nullptr) facts_ = std::make_unique<kernel::RunningKernel>(parts_.btf_path);
  auto running = std::make_unique<RunningProbe>(spec, wanted.options);
  const std::uint64_t now = parts_.clock.boot_ns();
  const kernel::LoadInput input{spec, &running->options, parts_.environment, parts_.btf_path};
  auto loaded = kernel::load_probe(input, *facts_, shared_);
  if (!loaded) return std::unexpected(loaded.error());
  running->loaded = std::move(*loaded);
  running->probe = spec.make({running->options, parts_.host, now, &spec});
  if (!spec.tick_option.empty()) {
    running->tick_period_ns =
        static_cast<std::uint64_t>(running->options.duration_ns(spec.tick_option));
  }
  if (auto status = running->probe->attach_more(running->loaded->attacher()); !status) {
    return std::unexpected(status.error());
  }
  return running;
}

void ProbeManager::start(const config::ProbeConfig& wanted) {
  const ProbeSpec& spec = *wanted.spec;
  if (running_.contains(spec.name)) return;
  set_status(status_of(spec, ProbeState::starting));
  auto made = make(wanted);
  if (!made) {
    set_status(status_of(spec, ProbeState::failed, made.error().message));
    return;
  }
  RunningProbe& probe = **made;
  Status families;
  parts_.collector.run([&] {
    for (const MetricDef* metric : spec.metrics) {
      if (auto status = parts_.registry.add_family(*metric); !status && families) families = status;
    }
    if (families) parts_.collector.add(probe);
  });
  if (!families) {
    set_status(status_of(spec, ProbeState::failed, families.error().message));
    return;
  }
  ProbeStatus status = status_of(probe);
  running_.emplace(spec.name, std::move(*made));
  set_status(std::move(status));
}

void ProbeManager::stop(std::string_view name) {
  const auto found = running_.find(name);
  if (found == running_.end()) return;
  RunningProbe& probe = *found->second;
  parts_.collector.run([&] {
    parts_.collector.remove(probe);
    parts_.sinks.forget_metrics(probe.spec->metrics);
    for (const MetricDef* metric : probe.spec->metrics) parts_.registry.remove_family(*metric);
  });
  const ProbeSpec& spec = *probe.spec;
  running_.erase(found);
  set_status(status_of(spec, ProbeState::off));
}

void ProbeManager::stop_all() {
  while (!running_.empty()) stop(std::string(running_.begin()->first));
}

void ProbeManager::apply(const std::map<std::string, config::ProbeConfig>& wanted) {
  for (const auto& [name, config] : wanted) {
    const auto running = running_.find(name);
    const bool changed =
        running != running_.end() && !equal_options(running->second->options, config.options);
    if (!config.enabled || changed) stop(name);
    if (config.enabled) {
      start(config);
    } else if (!status(name)) {
      set_status(status_of(*config.spec, ProbeState::off));
    }
  }
  facts_.reset();  // several MiB that nobody needs until the next start
}

std::vector<ProbeStatus> ProbeManager::statuses() const {
  const std::lock_guard lock(mutex_);
  std::vector<ProbeStatus> all;
  for (const auto& [name, status] : statuses_) all.push_back(status);
  return all;
}

std::optional<ProbeStatus> ProbeManager::status(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = statuses_.find(name);
  if (found == statuses_.end()) return std::nullopt;
  return found->second;
}

bool ProbeManager::all_ticked() {
  bool all = true;
  parts_.collector.run([&] {
    for (const auto& [name, probe] : running_) {
      all = all && (probe->tick_period_ns == 0 || probe->ticked);
    }
  });
  return all;
}

}  // namespace tarsier::daemon
