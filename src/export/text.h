// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The registry as Prometheus text 0.0.4 or OpenMetrics text 1.0.0, in chunks that are pulled.
//
//   Scrape scrape(registry, choose_format(accept));
//   for (std::string chunk; scrape.next(chunk);) send(chunk);
//
// Families come sorted by name, series in a stable order, numbers with the fewest digits that read
// back to the same value. Two scrapes of a quiet registry are equal byte for byte. Between two
// calls of next() a scrape holds nothing of the registry (reader.h), so a client may be slow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "export/negotiate.h"
#include "metrics/reader.h"
#include "tarsier/metric.h"

namespace tarsier::exposition {

// A chunk is never larger.
inline constexpr std::size_t kChunkBytes = 64 * 1024;

// The shortest form that reads back to the same double; whole numbers below 2^53 without an
// exponent; NaN, +Inf, -Inf.
void append_number(std::string& out, double value);
void append_number(std::string& out, std::uint64_t value);
// The bound of a bucket as a label value: like Go's %g, in OpenMetrics with a decimal point
// (OpenMetrics 1.0, "Canonical numbers"), so that the same bound has the same text everywhere.
[[nodiscard]] std::string bound_text(double bound, Format format);
// HELP text: backslash and newline escaped, in OpenMetrics the quote too.
void append_help(std::string& out, std::string_view help, Format format);

// Writes families and samples to a string. Names and labels are taken as they are.
class TextWriter {
 public:
  TextWriter(std::string& out, Format format) : out_(out), format_(format) {}

  // HELP, TYPE and, in OpenMetrics, UNIT. `name` with _total for a counter; `type` as in text
  // 0.0.4: counter, gauge, histogram, summary, untyped.
  void family(std::string_view name, std::string_view help, std::string_view type, Unit unit);
  // name + suffix, then both pieces of rendered labels (either may be empty), then the value.
  template <class Number>
  void sample(std::string_view name, std::string_view suffix, std::string_view labels,
              std::string_view more_labels, Number value) {
    start(name, suffix, labels, more_labels);
    append_number(out_, value);
    out_.push_back('\n');
  }
  // "# EOF" in OpenMetrics.
  void end();

 private:
  void start(std::string_view name, std::string_view suffix, std::string_view labels,
             std::string_view more_labels);

  std::string& out_;
  Format format_;
};

// One scrape of the registry. Any thread, one at a time; the registry outlives it.
class Scrape final : private metrics::Visitor {
 public:
  Scrape(const metrics::Registry& registry, Format format);
  // The next piece, at most kChunkBytes; false (and an empty chunk) at the end.
  bool next(std::string& chunk);

 private:
  void family(const metrics::FamilyView& family) override;
  bool series(const metrics::SeriesView& series) override;
  void histogram(const metrics::SeriesView& series);

  metrics::Reader reader_;
  Format format_;
  std::string buffer_;  // rendered and not yet taken
  TextWriter writer_;
  bool done_ = false;

  // The family that is being written.
  std::string name_;
  Kind kind_ = Kind::counter;
  std::vector<std::string> bounds_;  // rendered le labels, +Inf last
  bool has_sum_ = true;
  std::string labels_;  // scratch
};

}  // namespace tarsier::exposition
