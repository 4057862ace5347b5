// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Reading the registry, from any thread, in pieces.
//
// A Reader shows the series that were visible when it was made, families by name and series in a
// stable order, each at most once. It holds no lock and, between two calls of read(), no memory of
// the registry either: a client that is slow to take its scrape costs nothing. A series that is
// removed half-way is missing from the rest; one that is added half-way waits for the next Reader.
// Values are those of the moment they are read; the buckets of a histogram are read once, so that
// +Inf and _count agree. A value that is being updated may be ahead of the others by that update.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/registry.h"
#include "tarsier/metric.h"

namespace tarsier::metrics {

// The views are valid during the call that gets them.
struct FamilyView {
  std::string_view name;
  std::string_view help;
  Kind kind = Kind::counter;
  Unit unit = Unit::none;
  std::span<const double> bounds;  // histograms: without +Inf
};

struct SeriesView {
  // Rendered for the text formats: a="x",b="y"; empty where there is none. See labels.h:
  // next_label.
  std::string_view entity_labels;
  std::string_view own_labels;
  double value = 0;                       // counter, gauge; a histogram's sum
  std::span<const std::uint64_t> counts;  // histograms: bounds.size() + 1, not cumulated
};

class Visitor {
 public:
  virtual ~Visitor() = default;
  // Once per family, before its first series; a family without a visible series is left out.
  virtual void family(const FamilyView& family) = 0;
  // false: enough for now; the next read() goes on behind this series. The few series that the
  // registry makes up itself (self.h) come without a pause.
  virtual bool series(const SeriesView& series) = 0;
};

class Reader {
 public:
  // The registry outlives the reader.
  explicit Reader(const Registry& registry);

  // Visits series until the visitor pauses or the end. true: there may be more. A visitor should
  // pause after about 100 µs, because nothing that is removed meanwhile can be given back.
  bool read(Visitor& visitor);

 private:
  bool read_family(const detail::Family& family, Visitor& visitor);
  void read_made_up(const detail::Family& family, const detail::FamilyList& families,
                    Visitor& visitor);
  void show_family(const detail::Family& family, Visitor& visitor);

  const Registry& registry_;
  std::uint64_t version_;     // what is newer is not shown
  std::string name_;          // the family that comes next, or that is half read
  std::uint64_t family_ = 0;  // its id, 0: not begun
  std::size_t slot_ = 0;
  bool shown_ = false;  // Visitor::family was called for it
  bool done_ = false;
  std::vector<std::uint64_t> counts_;
};

}  // namespace tarsier::metrics
