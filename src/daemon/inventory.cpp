// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/inventory.h"

namespace tarsier::daemon {
namespace {

constexpr auto kContainerInfo =
    gauge("tarsier_container_info",
          "A container that runs here: its name, short id, image, runtime and pod; always 1.",
          Unit::none, false);
constexpr auto kPodInfo =
    gauge("tarsier_pod_info",
          "A pod of this node: its uid, workload, address and chosen labels; always 1.", Unit::none,
          false);

}  // namespace

std::span<const MetricDef* const> inventory_metrics() {
  static constexpr const MetricDef* kAll[] = {&kContainerInfo, &kPodInfo};
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

// An entity of its own for each, so that its series go with it. A gauge that is not zero does not
// go stale: said once is enough.
void Inventory::show(Entities& shown, const std::string& id,
                     const std::vector<enrich::Label>& labels, const MetricDef& info) {
  const metrics::EntityId entity = registry_.entity(metric_labels(labels));
  const auto [place, is_new] = shown.try_emplace(id, entity);
  if (!is_new) {
    if (place->second == entity) {
      registry_.release(entity);  // the reference of before is enough
      return;
    }
    registry_.discard(place->second);  // two names for one container would break joins
    place->second = entity;
  }
  registry_.record(info, entity, 1, {});
}

void Inventory::put(const enrich::Container& container, const enrich::PodFacts* pod) {
  if (container.state != enrich::ContainerState::known) return;
  show(containers_, container.facts.id,
       enrich::container_info_labels(container.facts, pod, choice_.dialect), kContainerInfo);
}

void Inventory::put(const enrich::PodFacts& pod) {
  show(pods_, pod.uid, enrich::pod_info_labels(pod, choice_), kPodInfo);
}

void Inventory::refresh(const enrich::ContainerTable& containers, const enrich::PodTable& pods) {
  std::erase_if(containers_, [&](const auto& entry) {
    if (containers.find(entry.first) != nullptr) return false;
    registry_.release(entry.second);
    return true;
  });
  std::erase_if(pods_, [&](const auto& entry) {
    if (pods.find(entry.first) != nullptr) return false;
    registry_.release(entry.second);
    return true;
  });
}

}  // namespace tarsier::daemon
