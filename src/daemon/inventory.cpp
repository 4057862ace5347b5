// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/inventory.h"

#include <string_view>

namespace tarsier::daemon {
namespace {

constexpr auto kContainerInfo = gauge(
    "tarsier_container_info",
    "A container that runs here: its name, short id, image, digest, runtime and pod; always 1.",
    Unit::none, false);
constexpr auto kContainerStart =
    gauge("tarsier_container_start_time_seconds",
          "When the container was started, in seconds since the Unix epoch by its runtime's clock.",
          Unit::seconds, false);
constexpr auto kContainerRestarts =
    gauge("tarsier_container_restarts",
          "How often the container was started again, as its runtime or Kubernetes counts it.",
          Unit::none, false);
constexpr auto kContainerMemoryLimit = gauge(
    "tarsier_container_memory_limit_bytes",
    "The memory that the container may use; missing where it has no limit.", Unit::bytes, false);
constexpr auto kContainerCpuLimit =
    gauge("tarsier_container_cpu_limit_cores",
          "The CPUs that the container may use; missing where it has no limit.", Unit::none, false);
constexpr std::string_view kExitLabels[] = {"code", "reason"};
constexpr auto kContainerExits =
    counter("tarsier_container_exits_total",
            "Containers that ended, by exit code and the reason that their runtime gives.",
            Unit::none, kExitLabels);
constexpr auto kPodInfo =
    gauge("tarsier_pod_info",
          "A pod of this node: its uid, workload, address and chosen labels; always 1.", Unit::none,
          false);
constexpr auto kNodeInfo =
    gauge("tarsier_kubernetes_node_info",
          "This node as Kubernetes knows it: its name, zone and chosen labels; always 1.",
          Unit::none, false);

constexpr std::string_view kUnknownReason = "unknown";

}  // namespace

std::span<const MetricDef* const> inventory_metrics() {
  static constexpr const MetricDef* kAll[] = {
      &kContainerInfo,     &kContainerStart, &kContainerRestarts, &kContainerMemoryLimit,
      &kContainerCpuLimit, &kContainerExits, &kPodInfo,           &kNodeInfo};
  return kAll;
}

std::vector<metrics::Label> metric_labels(const std::vector<enrich::Label>& labels) {
  std::vector<metrics::Label> converted;
  converted.reserve(labels.size());
  for (const enrich::Label& label : labels) converted.push_back({label.name, label.value});
  return converted;
}

Inventory::Inventory(metrics::Registry& registry) : registry_(registry) {
  for (const MetricDef* metric : inventory_metrics()) (void)registry_.add_family(*metric);
}

bool Inventory::hold(Entities& held, const std::string& id, metrics::EntityId entity) {
  const auto [place, is_new] = held.try_emplace(id, entity);
  if (is_new) return true;
  if (place->second == entity) {
    registry_.release(entity);  // the reference of before is enough
    return false;
  }
  registry_.discard(place->second);  // two names for one thing would break joins
  place->second = entity;
  return true;
}

// An entity of its own for each, so that its series go with it. A gauge that is not zero does not
// go stale: said once is enough.
void Inventory::show(Entities& shown, const std::string& id,
                     const std::vector<enrich::Label>& labels, const MetricDef& info) {
  const metrics::EntityId entity = registry_.entity(metric_labels(labels));
  if (hold(shown, id, entity)) registry_.record(info, entity, 1, {});
}

metrics::EntityId Inventory::subject_of(const enrich::ContainerFacts& facts,
                                        const enrich::PodFacts* pod) {
  enrich::CgroupInfo cgroup;
  cgroup.container_id = facts.id;
  enrich::SubjectFacts subject;
  subject.cgroup = &cgroup;
  subject.container = &facts;
  subject.pod = pod;
  enrich::LabelChoice choice = choice_;
  choice.container = true;
  choice.container_id = choice.image = false;
  return registry_.entity(metric_labels(enrich::labels_of(subject, choice)));
}

void Inventory::put(const enrich::Container& container, const enrich::PodFacts* pod) {
  const enrich::ContainerFacts& facts = container.facts;
  if (container.state != enrich::ContainerState::known) return;
  const enrich::PodFacts told = enrich::pod_told_by(facts);
  if (pod == nullptr && !told.uid.empty()) pod = &told;
  if (facts.is_sandbox()) {
    if (pod != &told) return;
    sandboxes_[told.uid] = facts.id;
    put(told);
    return;
  }
  if (facts.state != enrich::ContainerFacts::State::running) {
    let_go(container_infos_, facts.id);
    let_go(containers_, facts.id);
    return;
  }
  show(container_infos_, facts.id, enrich::container_info_labels(facts, pod, choice_.dialect),
       kContainerInfo);
  const metrics::EntityId subject = subject_of(facts, pod);
  (void)hold(containers_, facts.id, subject);
  if (!facts.complete) return;  // a list does not tell the rest
  const auto set = [&](const MetricDef& metric, double value) {
    if (value > 0) registry_.record(metric, subject, value, {});
  };
  set(kContainerStart, static_cast<double>(facts.started_ns) / 1e9);
  set(kContainerMemoryLimit, static_cast<double>(facts.limits.memory_bytes));
  set(kContainerCpuLimit, facts.limits.cpu_cores);
  registry_.record(kContainerRestarts, subject, facts.restart_count, {});
}

void Inventory::let_go(Entities& held, const std::string& id) {
  const auto found = held.find(id);
  if (found == held.end()) return;
  registry_.release(found->second);
  held.erase(found);
}

void Inventory::put(const enrich::PodFacts& pod) {
  show(pods_, pod.uid, enrich::pod_info_labels(pod, choice_), kPodInfo);
}

void Inventory::put(const enrich::NodeFacts& node) {
  if (node_ && node_->first == node) return;
  if (node_) registry_.discard(node_->second);
  const metrics::EntityId entity =
      registry_.entity(metric_labels(enrich::node_info_labels(node, choice_)));
  registry_.record(kNodeInfo, entity, 1, {});
  node_.emplace(node, entity);
}

void Inventory::count(const enrich::ContainerExit& exit, const enrich::PodFacts* pod) {
  const enrich::PodFacts told = enrich::pod_told_by(exit.facts);
  if (pod == nullptr && !told.uid.empty()) pod = &told;
  const metrics::EntityId subject = subject_of(exit.facts, pod);
  const std::string code = exit.code ? std::to_string(*exit.code) : "";
  const std::string_view reason = exit.reason.empty() ? kUnknownReason : exit.reason;
  const std::string_view labels[] = {code, reason};
  registry_.record(kContainerExits, subject, 1, labels);
  registry_.release(subject);  // the series stays for stale_after, longer if it runs again
}

void Inventory::refresh(const enrich::ContainerTable& containers, const enrich::PodTable& pods) {
  const auto sweep = [&](Entities& held, auto&& is_gone) {
    std::erase_if(held, [&](const auto& entry) {
      if (!is_gone(entry.first)) return false;
      registry_.release(entry.second);
      return true;
    });
  };
  const auto no_container = [&](const std::string& id) { return containers.find(id) == nullptr; };
  sweep(container_infos_, no_container);
  sweep(containers_, no_container);
  std::erase_if(sandboxes_, [&](const auto& entry) { return no_container(entry.second); });
  sweep(pods_, [&](const std::string& uid) {
    return pods.find(uid) == nullptr && !sandboxes_.contains(uid);
  });
}

}  // namespace tarsier::daemon
