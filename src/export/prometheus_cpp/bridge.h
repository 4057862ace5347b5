// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Between our registry and prometheus-cpp, both ways. A target of its own (tarsier_prometheus_cpp):
// the daemon does not link prometheus-cpp; tests, benchmarks and programs that embed tarsier do.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "export/negotiate.h"
#include "metrics/registry.h"

namespace tarsier::exposition {

// Our registry as a Collectable: for prometheus::Exposer, or beside other Collectables. Any thread.
class RegistryCollectable final : public prometheus::Collectable {
 public:
  // The registry outlives it.
  explicit RegistryCollectable(const metrics::Registry& registry) : registry_(registry) {}
  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const metrics::Registry& registry_;
};

// A foreign Collectable's families through our writer: valid UTF-8, escaped HELP, all digits.
// Families come sorted by name; `end` closes an OpenMetrics exposition.
[[nodiscard]] std::string to_text(std::vector<prometheus::MetricFamily> families, Format format,
                                  bool end = true);

}  // namespace tarsier::exposition
