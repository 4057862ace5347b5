// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The series that say what containers and pods there are. Collector thread only.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
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
  // A container about which something else is known now; `pod` may be null.
  void put(const enrich::Container& container, const enrich::PodFacts* pod);
  void put(const enrich::PodFacts& pod);
  // Lets go of what is gone. Call it about once a second.
  void refresh(const enrich::ContainerTable& containers, const enrich::PodTable& pods);

 private:
  using Entities = std::unordered_map<std::string, metrics::EntityId>;

  void show(Entities& shown, const std::string& id, const std::vector<enrich::Label>& labels,
            const MetricDef& info);

  metrics::Registry& registry_;
  enrich::LabelChoice choice_;
  Entities containers_, pods_;  // by id and uid
};

}  // namespace tarsier::daemon
