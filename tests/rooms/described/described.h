// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A probe that is not compiled in: its name plate comes from a description in JSON, its programs
// from a file, its decoder from the offsets that the description declares.
//
//   auto plate = Described::parse(text);
//   if (!plate) log_error("{}", plate.error().message);
//   manager.start(config::ProbeConfig(**plate));   // the plate outlives the probe's run
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tarsier/probe.h"

namespace tarsier::rooms {

inline constexpr std::size_t kMaxDescriptionBytes = 64 * 1024;
inline constexpr std::size_t kMaxDescribedMetrics = 64;
inline constexpr std::size_t kMaxDescribedLabels = 8;

// Where a value stands in a record, in bytes from its begin, header included.
struct Field {
  std::size_t offset = 0;
  std::size_t size = 0;  // 1, 2, 4 or 8 for numbers; the room of a text
  bool text = false;
  bool present = false;
  std::vector<std::pair<std::uint64_t, std::string>> names;  // of numbers; else in digits
};

struct DescribedMetric {
  MetricDef def;
  std::vector<std::string_view> label_names;
  std::vector<Field> labels;
  std::vector<double> buckets;
  Field value;  // not present: 1
};

// Owns what the views of its plate look at; hence neither copied nor moved.
class Described final : public ProbeSpec {
 public:
  // The description whole; reads the object file that it names. The error names the place.
  [[nodiscard]] static Result<std::unique_ptr<Described>> parse(std::string_view json);
  Described(const Described&) = delete;
  Described& operator=(const Described&) = delete;

  [[nodiscard]] const std::deque<DescribedMetric>& described_metrics() const { return described_; }
  [[nodiscard]] std::size_t record_size() const { return record_size_; }

 private:
  friend class Reader;
  Described() = default;
  std::string_view keep(std::string text) { return strings_.emplace_back(std::move(text)); }

  std::deque<std::string> strings_;  // deques: what they hold stays where it is
  std::deque<DescribedMetric> described_;
  std::deque<Attachment> attachments_;
  std::deque<Way> ways_;
  std::vector<const MetricDef*> metric_list_;
  std::vector<Hook> hook_list_;
  std::vector<std::string_view> ring_list_;
  std::string image_;
  std::size_t record_size_ = 0;
};

}  // namespace tarsier::rooms
