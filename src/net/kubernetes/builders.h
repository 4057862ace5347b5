// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Visitors that make the structs of objects.h; used by object_reader.cpp alone.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/text.h"
#include "net/kubernetes/json_walker.h"
#include "net/kubernetes/object_reader.h"

namespace tarsier::net::kubernetes {

class Builder : public Visitor {
 public:
  explicit Builder(ReadCounters& counters) : counters_(counters) {}
  // The object that was read; monostate where it lacks its identity.
  virtual Object take() = 0;

 protected:
  [[nodiscard]] std::string clean(std::string_view value, std::size_t limit = kMaxText) {
    auto clean = base::clean_utf8(value, limit);
    counters_.cut += clean.cut ? 1 : 0;
    return std::move(clean.text);
  }
  // Whether a list may grow by one.
  template <class List>
  [[nodiscard]] bool room(const List& list, std::size_t limit) {
    if (list.size() < limit) return true;
    ++counters_.cut;
    return false;
  }
  void add_label(Labels& labels, std::string_view name, std::string_view value,
                 std::size_t limit = kMaxText) {
    if (room(labels, kMaxLabels)) labels.emplace_back(clean(name), clean(value, limit));
  }
  // An address of an object: kept once, and only if it is an IP address.
  void add_address(std::vector<std::string>& list, const std::string& value);

 private:
  ReadCounters& counters_;
};

[[nodiscard]] bool is_ip(const std::string& text);

// The builder for a resource. The options outlive it.
[[nodiscard]] std::unique_ptr<Builder> make_builder(Resource resource, const ReadOptions& options,
                                                    ReadCounters& counters);
[[nodiscard]] std::unique_ptr<Builder> make_pod_builder(const ReadOptions& options,
                                                        ReadCounters& counters);

}  // namespace tarsier::net::kubernetes
