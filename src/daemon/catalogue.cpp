// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/catalogue.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "daemon/subjects.h"
#include "metrics/self.h"

namespace tarsier::daemon {
namespace {

// One list for the configuration's sake, which wants a span that stays.
const std::vector<const MetricDef*>& framework_metrics() {
  static const std::vector<const MetricDef*> kAll = [] {
    const auto self = metrics::self::self_metrics();
    std::vector<const MetricDef*> all(self.begin(), self.end());
    for (const MetricDef* metric : inventory_metrics()) all.push_back(metric);
    return all;
  }();
  return kAll;
}

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::counter: return "counter";
    case Kind::gauge: return "gauge";
    case Kind::histogram: return "histogram";
  }
  return "";
}

std::string_view name_of(Unit unit) {
  switch (unit) {
    case Unit::none: return "";
    case Unit::seconds: return "seconds";
    case Unit::bytes: return "bytes";
    case Unit::ratio: return "ratio";
  }
  return "";
}

void append_table(std::string& text, std::span<const MetricDef* const> metrics) {
  text += "| name | type | labels | help |\n|---|---|---|---|\n";
  for (const MetricDef* metric : metrics) {
    std::string labels;
    for (const std::string_view label : metric->labels) {
      labels += fmt::format("{}`{}`", labels.empty() ? "" : ", ", label);
    }
    text += fmt::format("| `{}` | {} | {} | {} |\n", metric->name, name_of(metric->kind), labels,
                        metric->help);
  }
}

}  // namespace

std::vector<CatalogueEntry> metric_catalogue(std::span<const ProbeSpec* const> probes) {
  std::vector<CatalogueEntry> all;
  for (const MetricDef* metric : framework_metrics()) all.push_back({metric, {}});
  for (const ProbeSpec* probe : probes) {
    for (const MetricDef* metric : probe->metrics) all.push_back({metric, probe->name});
  }
  return all;
}

config::Catalogue config_catalogue(std::span<const ProbeSpec* const> probes) {
  return {.probes = probes, .metrics = framework_metrics()};
}

std::string catalogue_markdown(std::span<const ProbeSpec* const> probes) {
  std::string text =
      "# Metrics\n\nWritten by `tarsier metrics --format md`; do not edit.\n\n"
      "Besides the labels below, the series of a process carry its identity: `comm`, and "
      "`container` "
      "where it runs in one ([labels] in the configuration chooses). Empty labels are left out. "
      "Values of labels are valid UTF-8 of at most 128 bytes. Counters start from zero when the "
      "daemon starts or first sees their subject.\n";
  for (const ProbeSpec* probe : probes) {
    text += fmt::format("\n## Probe `{}`\n\n{}\n\n", probe->name, probe->summary);
    append_table(text, probe->metrics);
  }
  text += "\n## The daemon itself\n\n";
  append_table(text, framework_metrics());
  return text;
}

std::string catalogue_json(std::span<const ProbeSpec* const> probes) {
  auto list = nlohmann::ordered_json::array();
  for (const CatalogueEntry& entry : metric_catalogue(probes)) {
    const MetricDef& metric = *entry.metric;
    nlohmann::ordered_json one;
    one["name"] = metric.name;
    one["type"] = name_of(metric.kind);
    one["unit"] = name_of(metric.unit);
    one["labels"] = std::vector<std::string>(metric.labels.begin(), metric.labels.end());
    one["help"] = metric.help;
    one["probe"] = entry.probe;
    if (metric.kind == Kind::histogram) one["buckets"] = metric.buckets;
    list.push_back(std::move(one));
  }
  nlohmann::ordered_json all;
  all["metrics"] = std::move(list);
  return all.dump(2);
}

}  // namespace tarsier::daemon
