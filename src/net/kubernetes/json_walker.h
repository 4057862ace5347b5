// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Walks over JSON and hands out its values with the path to them, keeping nothing: a document tree
// of a hostile answer could take a hundred times the memory of its text.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "net/kubernetes/splitters.h"
#include "tarsier/result.h"

namespace tarsier::net::kubernetes {

// The names that lead to a value; an element of a list has the name "".
class Path {
 public:
  explicit Path(std::span<const std::string> names) : names_(names) {}
  [[nodiscard]] std::size_t size() const { return names_.size(); }
  [[nodiscard]] std::string_view operator[](std::size_t i) const { return names_[i]; }
  [[nodiscard]] bool is(std::initializer_list<std::string_view> names) const {
    if (names.size() != names_.size()) return false;
    std::size_t i = 0;
    for (const std::string_view name : names) {
      if (names_[i++] != name) return false;
    }
    return true;
  }
  [[nodiscard]] bool begins(std::initializer_list<std::string_view> names) const {
    return names_.size() >= names.size() && Path(names_.first(names.size())).is(names);
  }
  [[nodiscard]] Path below(std::size_t count) const { return Path(names_.subspan(count)); }

 private:
  std::span<const std::string> names_;
};

// Gets the values of one JSON object. What it does not know it leaves alone.
class Visitor {
 public:
  Visitor() = default;
  Visitor(const Visitor&) = default;
  Visitor& operator=(const Visitor&) = default;
  virtual ~Visitor() = default;
  virtual void text(const Path& path, const std::string& value) = 0;
  virtual void number(const Path&, std::int64_t) {}
  virtual void boolean(const Path&, bool) {}
  virtual void other(const Path&) {}  // null, or a number with a fraction
  // An object begins or ends at the path.
  virtual void open(const Path&) {}
  virtual void close(const Path&) {}
};

// Errors (invalid): not JSON, not an object, nested deeper than kMaxNesting; they name the byte.
[[nodiscard]] Status walk_json(std::string_view json, Visitor& visitor);

}  // namespace tarsier::net::kubernetes
