// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Metrics as compile-time facts, and the handle through which a hot path adds to a series.
//
// A probe declares each family once, with consteval counter()/gauge()/histogram(); a name without
// its unit, a counter without _total or a help text that is not a sentence does not compile. The
// registry, docs/metrics.md, `tarsier metrics` and the API all read these declarations.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tarsier {

enum class Kind : std::uint8_t { counter, gauge, histogram };
enum class Unit : std::uint8_t { none, seconds, bytes, ratio };

// One metric family. Its address is its identity: a definition outlives the registry it is added
// to.
struct MetricDef {
  Kind kind = Kind::counter;
  std::string_view name;
  std::string_view help;  // a sentence
  Unit unit = Unit::none;
  std::span<const std::string_view> labels = {};
  // Histograms only: upper bounds, strictly ascending, finite, in the metric's unit; +Inf is
  // implied.
  std::span<const double> buckets = {};
  // Gauges only: whether the sum over several subjects means something (bytes do, a ratio does
  // not). The overflow series of a full family exists for additive gauges alone.
  bool additive = true;
};

// A family with N labels; the number is in the type so that a wrong label count does not compile.
template <std::size_t N>
struct Metric : MetricDef {};

namespace detail {

consteval bool is_metric_name(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::ranges::all_of(
      name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

consteval void check_name(std::string_view name, std::string_view help, Unit unit, bool total) {
  if (!is_metric_name(name)) throw "a metric's name is lower case letters, digits and _";
  if (help.empty() || help.back() != '.' || help[0] < 'A' || help[0] > 'Z') {
    throw "a metric's help is a sentence: capital letter first, full stop last";
  }
  if (total != name.ends_with("_total")) throw "a counter's name, and no other, ends in _total";
  const std::string_view stem = total ? name.substr(0, name.size() - 6) : name;
  if (unit == Unit::seconds && !stem.ends_with("_seconds"))
    throw "the name lacks its unit _seconds";
  if (unit == Unit::bytes && !stem.ends_with("_bytes")) throw "the name lacks its unit _bytes";
  if (unit == Unit::ratio && !stem.ends_with("_ratio")) throw "the name lacks its unit _ratio";
}

template <std::size_t N>
consteval Metric<N> define(Kind kind, std::string_view name, std::string_view help, Unit unit,
                           std::span<const std::string_view> labels,
                           std::span<const double> buckets, bool additive) {
  check_name(name, help, unit, kind == Kind::counter);
  for (std::size_t i = 1; i < buckets.size(); ++i) {
    if (buckets[i] <= buckets[i - 1]) throw "a histogram's bounds ascend";
  }
  Metric<N> metric;
  static_cast<MetricDef&>(metric) = {kind, name, help, unit, labels, buckets, additive};
  return metric;
}

}  // namespace detail

// Label names are passed as a named static constexpr array, because a family only refers to them.
template <std::size_t N>
consteval Metric<N> counter(std::string_view name, std::string_view help, Unit unit,
                            const std::string_view (&labels)[N]) {
  return detail::define<N>(Kind::counter, name, help, unit, labels, {}, true);
}
consteval Metric<0> counter(std::string_view name, std::string_view help, Unit unit = Unit::none) {
  return detail::define<0>(Kind::counter, name, help, unit, {}, {}, true);
}
template <std::size_t N>
consteval Metric<N> gauge(std::string_view name, std::string_view help, Unit unit,
                          const std::string_view (&labels)[N], bool additive = true) {
  return detail::define<N>(Kind::gauge, name, help, unit, labels, {}, additive);
}
consteval Metric<0> gauge(std::string_view name, std::string_view help, Unit unit = Unit::none,
                          bool additive = true) {
  return detail::define<0>(Kind::gauge, name, help, unit, {}, {}, additive);
}
template <std::size_t N>
consteval Metric<N> histogram(std::string_view name, std::string_view help, Unit unit,
                              std::span<const double> buckets,
                              const std::string_view (&labels)[N]) {
  return detail::define<N>(Kind::histogram, name, help, unit, labels, buckets, true);
}
consteval Metric<0> histogram(std::string_view name, std::string_view help, Unit unit,
                              std::span<const double> buckets) {
  return detail::define<0>(Kind::histogram, name, help, unit, {}, buckets, true);
}

// Latency of kernel quantities: 10 µs to 10 s in steps of 1, 2.5 and 5.
inline constexpr double kKernelLatencyBuckets[] = {
    .00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01,
    .025,   .05,     .1,     .25,   .5,     1,     2.5,  5,     10};

// The value of one series, in memory that the registry owns and never gives back while it lives, so
// that a handle can always look at the generation. Written by the collector thread alone; read by
// scrapes at any time, hence the relaxed atomics. Half a cache line, because there are as many as
// series.
struct Cell {
  std::atomic<std::uint32_t> generation{0};  // odd: in use; moves on when the series goes away
  std::uint8_t touched = 0;                  // set by each update, cleared by the staleness sweep
  std::uint16_t bounds_size = 0;             // histogram: number of bounds
  std::atomic<double> value{0};              // counter, gauge; a histogram's sum
  std::atomic<std::uint64_t>* counts = nullptr;  // histogram: bounds_size + 1 cells, not cumulated
  const double* bounds = nullptr;
};
static_assert(sizeof(Cell) == 32);

// A handle to one series: two words, copied freely, for the collector thread only. Adding takes a
// few nanoseconds and no look-up. After staleness, a merge of entities or a restart of the probe
// the handle is stale: the call does nothing and returns false, and the caller gets a new handle
// from Sink::series() and repeats.
class Series {
 public:
  Series() = default;
  Series(Cell* cell, std::uint32_t generation) : cell_(cell), generation_(generation) {}

  [[nodiscard]] bool valid() const {
    return cell_ != nullptr && cell_->generation.load(std::memory_order_relaxed) == generation_;
  }

  // Counters take delta >= 0; gauges take either sign.
  [[nodiscard]] bool add(double delta) const {
    if (!valid()) return false;
    cell_->touched = 1;
    cell_->value.store(cell_->value.load(std::memory_order_relaxed) + delta,
                       std::memory_order_relaxed);
    return true;
  }

  // Gauges only.
  [[nodiscard]] bool set(double value) const {
    if (!valid()) return false;
    cell_->touched = 1;
    cell_->value.store(value, std::memory_order_relaxed);
    return true;
  }

  // Histograms only: `times` observations of the same value.
  [[nodiscard]] bool observe(double value, std::uint64_t times = 1) const {
    if (!valid()) return false;
    cell_->touched = 1;
    const std::span bounds(cell_->bounds, cell_->bounds_size);
    const auto bound = std::ranges::lower_bound(bounds, value);
    auto& count = cell_->counts[static_cast<std::size_t>(bound - bounds.begin())];
    count.store(count.load(std::memory_order_relaxed) + times, std::memory_order_relaxed);
    cell_->value.store(
        cell_->value.load(std::memory_order_relaxed) + value * static_cast<double>(times),
        std::memory_order_relaxed);
    return true;
  }

 private:
  Cell* cell_ = nullptr;
  std::uint32_t generation_ = 0;
};

}  // namespace tarsier
