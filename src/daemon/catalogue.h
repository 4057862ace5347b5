// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// All metrics that this binary can show: `tarsier metrics`, docs/metrics.md, GET /api/v1/metrics.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "config/config.h"
#include "tarsier/probe.h"

namespace tarsier::daemon {

struct CatalogueEntry {
  const MetricDef* metric;
  std::string_view probe;  // empty: the framework
};

// Of the framework first, then of the probes, each in the order of its declaration.
[[nodiscard]] std::vector<CatalogueEntry> metric_catalogue(
    std::span<const ProbeSpec* const> probes);
// What the configuration may speak about.
[[nodiscard]] config::Catalogue config_catalogue(std::span<const ProbeSpec* const> probes);

[[nodiscard]] std::string catalogue_markdown(std::span<const ProbeSpec* const> probes);
[[nodiscard]] std::string catalogue_json(std::span<const ProbeSpec* const> probes);

}  // namespace tarsier::daemon
