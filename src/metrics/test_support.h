// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// For the tests of this room: a few families, and the registry as lines.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <map>
#include <string>
#include <string_view>

#include "metrics/reader.h"
#include "metrics/registry.h"

namespace tarsier::metrics {

inline constexpr std::string_view kRequestLabels[] = {"method", "code"};
inline constexpr std::string_view kSizeLabels[] = {"kind"};
inline constexpr std::string_view kCommLabels[] = {"comm"};
inline constexpr double kDelayBounds[] = {.1, 1};
inline constexpr double kSizeBounds[] = {100};
inline constexpr auto kOps = counter("t_ops_total", "Operations.");
inline constexpr auto kRequests =
    counter("t_requests_total", "Requests.", Unit::none, kRequestLabels);
inline constexpr auto kOpen = gauge("t_open", "Open things.");
inline constexpr auto kLoad = gauge("t_load", "A load.", Unit::none, false);
inline constexpr auto kDelay = histogram("t_delay_seconds", "Delays.", Unit::seconds, kDelayBounds);
inline constexpr auto kSize =
    histogram("t_size_bytes", "Sizes.", Unit::bytes, kSizeBounds, kSizeLabels);
// Has a label of its own that entities have too.
inline constexpr auto kNamed = counter("t_named_total", "Things.", Unit::none, kCommLabels);

inline std::array<std::string_view, 2> values(std::string_view a, std::string_view b) {
  return {a, b};
}
inline std::array<Label, 1> comm(std::string_view name) {
  return {Label{"comm", std::string(name)}};
}

// Collects the series as name{labels} -> value; a histogram as counts and sum. Fails the test where
// a series comes twice.
class Lines final : public Visitor {
 public:
  explicit Lines(std::size_t pause_after = 0) : pause_after_(pause_after) {}

  std::map<std::string, std::string> lines;
  std::size_t twice = 0;

  void family(const FamilyView& family) override { name_ = family.name; }
  bool series(const SeriesView& series) override {
    std::string labels(series.entity_labels);
    if (!labels.empty() && !series.own_labels.empty()) labels += ',';
    labels += series.own_labels;
    const std::string value =
        series.counts.empty()
            ? fmt::format("{}", series.value)
            : fmt::format("{} sum {}", fmt::join(series.counts, ","), series.value);
    const std::string line = labels.empty() ? name_ : name_ + "{" + labels + "}";
    if (!lines.emplace(line, value).second) ++twice;
    return pause_after_ == 0 || ++seen_ % pause_after_ != 0;
  }

 private:
  std::string name_;
  std::size_t pause_after_;
  std::size_t seen_ = 0;
};

inline std::map<std::string, std::string> shown(const Registry& registry,
                                                std::size_t pause_after = 0) {
  Lines lines(pause_after);
  Reader reader(registry);
  while (reader.read(lines)) {
  }
  if (lines.twice > 0) lines.lines["A SERIES TWICE"] = std::to_string(lines.twice);
  return lines.lines;
}

}  // namespace tarsier::metrics
