// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "export/prometheus_cpp/bridge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "export/text.h"
#include "metrics/labels.h"
#include "metrics/reader.h"

namespace tarsier::exposition {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricType type_of(Kind kind) {
  switch (kind) {
    case Kind::counter: return MetricType::Counter;
    case Kind::gauge: return MetricType::Gauge;
    case Kind::histogram: return MetricType::Histogram;
  }
  return MetricType::Untyped;
}

class Collector final : public metrics::Visitor {
 public:
  std::vector<MetricFamily> families;

  void family(const metrics::FamilyView& family) override {
    families.push_back(
        {std::string(family.name), std::string(family.help), type_of(family.kind), {}});
    bounds_.assign(family.bounds.begin(), family.bounds.end());
    bounds_.push_back(std::numeric_limits<double>::infinity());
  }

  bool series(const metrics::SeriesView& series) override {
    ClientMetric metric;
    add_labels(series.entity_labels, metric);
    add_labels(series.own_labels, metric);
    switch (families.back().type) {
      case MetricType::Counter: metric.counter.value = series.value; break;
      case MetricType::Histogram: add_histogram(series, metric.histogram); break;
      default: metric.gauge.value = series.value; break;
    }
    families.back().metric.push_back(std::move(metric));
    return ++since_pause_ % kPauseAfter != 0;
  }

 private:
  static constexpr std::size_t kPauseAfter = 256;

  static void add_labels(std::string_view text, ClientMetric& metric) {
    std::string_view name;
    for (std::string value; metrics::next_label(text, name, value);) {
      metric.label.push_back({std::string(name), value});
    }
  }

  void add_histogram(const metrics::SeriesView& series, ClientMetric::Histogram& histogram) const {
    histogram.sample_sum = series.value;
    for (std::size_t i = 0; i < series.counts.size(); ++i) {
      histogram.sample_count += series.counts[i];
      histogram.bucket.push_back({histogram.sample_count, bounds_[i]});
    }
  }

  std::vector<double> bounds_;
  std::size_t since_pause_ = 0;
};

std::string labels_of(const ClientMetric& metric) {
  std::string text;
  for (const ClientMetric::Label& label : metric.label) {
    metrics::append_label(text, label.name, base::clean_utf8(label.value).text);
  }
  return text;
}

std::string_view type_name(MetricType type) {
  switch (type) {
    case MetricType::Counter: return "counter";
    case MetricType::Gauge: return "gauge";
    case MetricType::Summary: return "summary";
    case MetricType::Histogram: return "histogram";
    case MetricType::Untyped: break;
  }
  return "untyped";
}

void write_histogram(TextWriter& writer, std::string_view name, const std::string& labels,
                     const ClientMetric::Histogram& histogram, Format format) {
  for (const ClientMetric::Bucket& bucket : histogram.bucket) {
    if (std::isinf(bucket.upper_bound)) continue;
    writer.sample(name, "_bucket", labels, "le=\"" + bound_text(bucket.upper_bound, format) + "\"",
                  bucket.cumulative_count);
  }
  writer.sample(name, "_bucket", labels, "le=\"+Inf\"", histogram.sample_count);
  writer.sample(name, "_sum", labels, "", histogram.sample_sum);
  writer.sample(name, "_count", labels, "", histogram.sample_count);
}

void write_metric(TextWriter& writer, const MetricFamily& family, const ClientMetric& metric,
                  Format format) {
  const std::string labels = labels_of(metric);
  // OpenMetrics wants _total on a counter's sample, whatever the family is called.
  const bool add_total = format == Format::openmetrics && !family.name.ends_with("_total");
  switch (family.type) {
    case MetricType::Counter:
      writer.sample(family.name, add_total ? "_total" : "", labels, "", metric.counter.value);
      break;
    case MetricType::Gauge: writer.sample(family.name, "", labels, "", metric.gauge.value); break;
    case MetricType::Untyped:
      writer.sample(family.name, "", labels, "", metric.untyped.value);
      break;
    case MetricType::Histogram:
      write_histogram(writer, family.name, labels, metric.histogram, format);
      break;
    case MetricType::Summary:
      for (const ClientMetric::Quantile& quantile : metric.summary.quantile) {
        writer.sample(family.name, "", labels,
                      "quantile=\"" + bound_text(quantile.quantile, format) + "\"", quantile.value);
      }
      writer.sample(family.name, "_sum", labels, "", metric.summary.sample_sum);
      writer.sample(family.name, "_count", labels, "", metric.summary.sample_count);
      break;
  }
}

}  // namespace

std::vector<prometheus::MetricFamily> RegistryCollectable::Collect() const {
  Collector collector;
  metrics::Reader reader(registry_);
  while (reader.read(collector)) {
  }
  return std::move(collector.families);
}

std::string to_text(std::vector<prometheus::MetricFamily> families, Format format, bool end) {
  std::ranges::sort(families, {}, &MetricFamily::name);
  std::string out;
  TextWriter writer(out, format);
  for (const MetricFamily& family : families) {
    if (family.metric.empty()) continue;
    writer.family(family.name, base::clean_utf8(family.help, family.help.size() * 3).text,
                  type_name(family.type), Unit::none);
    for (const ClientMetric& metric : family.metric) write_metric(writer, family, metric, format);
  }
  if (end) writer.end();
  return out;
}

}  // namespace tarsier::exposition
