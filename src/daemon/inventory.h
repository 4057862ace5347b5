// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The series that say what containers, pods and node there are. Collector thread only.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "enrich/containers.h"
#include "enrich/identity.h"
#include "enrich/pods.h"
#include "metrics/registry.h"
#include "tarsier/metric.h"

namespace tarsier::daemon {

// The families that are filled here.
[[nodiscard]] std::span<const MetricDef* const> inventory_metrics();

[[nodiscard]] std::vector<metrics::Label> metric_labels(const std::vector<enrich::Label>& labels);

class Inventory {
 public:
  explicit Inventory(metrics::Registry& registry);

  void set_choice(enrich::LabelChoice choice) { choice_ = std::move(choice); }
  // A container about which something else is known now; `pod` may be null. Sandboxes of pods,
  // which run nothing of the user's, show their pod alone.
  void put(const enrich::Container& container, const enrich::PodFacts* pod);
  void put(const enrich::PodFacts& pod);
  void put(const enrich::NodeFacts& node);
  void count(const enrich::ContainerExit& exit, const enrich::PodFacts* pod);
  // Lets go of what is gone. Call it about once a second.
  void refresh(const enrich::ContainerTable& containers, const enrich::PodTable& pods);

 private:
  using Entities = std::unordered_map<std::string, metrics::EntityId>;

  // The entity under which the container's numbers stand, whatever its id and image: a container
  // that is made anew goes on where the old one was.
  metrics::EntityId subject_of(const enrich::ContainerFacts& facts, const enrich::PodFacts* pod);
  void show(Entities& shown, const std::string& id, const std::vector<enrich::Label>& labels,
            const MetricDef& info);
  void let_go(Entities& held, const std::string& id);
  // Holds a reference to the entity for as long as `id` exists; true: it is another one than
  // before.
  bool hold(Entities& held, const std::string& id, metrics::EntityId entity);

  metrics::Registry& registry_;
  enrich::LabelChoice choice_;
  Entities container_infos_, containers_, pods_;  // by id, id and uid
  std::unordered_map<std::string, std::string>
      sandboxes_;  // pods that only a runtime told of: uid to id
  std::optional<std::pair<enrich::NodeFacts, metrics::EntityId>> node_;
};

}  // namespace tarsier::daemon
