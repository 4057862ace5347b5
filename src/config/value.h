// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What stands in a configuration text, whatever its syntax: values with their places.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tarsier::config {

struct Position {
  int line = 0, column = 0;  // from 1; 0: none
};

struct Key {
  std::string name;
  Position at;
};

struct Value {
  enum class Type : std::uint8_t { null, boolean, integer, number, text, date, list, table };
  Type type = Type::null;
  Position at;
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;
  std::string text;
  std::vector<Key> keys;     // of a table, one for each item
  std::vector<Value> items;  // of a list or table

  [[nodiscard]] static Value of(bool value);
  [[nodiscard]] static Value of(std::int64_t value);
  [[nodiscard]] static Value of(double value);
  [[nodiscard]] static Value of(std::string value);
  [[nodiscard]] static Value list();
  [[nodiscard]] static Value table();
  void add(Value item) { items.push_back(std::move(item)); }
  void add(std::string_view name, Value item, Position key_at = {});

  // Same content; places and the order of a table's keys do not count.
  [[nodiscard]] bool equals(const Value& other) const;
  // The value on one line, and its type with an article ("an integer").
  [[nodiscard]] std::string to_toml() const;
  [[nodiscard]] std::string_view type_name() const;
};

// A bare TOML key where that is possible, else a quoted one.
[[nodiscard]] std::string toml_key(std::string_view name);
// What was written, fit for one line of a message: cut, controls escaped.
[[nodiscard]] std::string excerpt(std::string_view text, std::size_t max_bytes = 60);

struct Flaw {
  Position at;
  std::string message;
};
// A text as a tree, without what is flawed: nested beyond kMaxDepth, or a key that stands twice.
// The root is a table, or null where the text could not be read at all; then there is at least one
// flaw.
struct Reading {
  Value root;
  std::vector<Flaw> flaws;
};
[[nodiscard]] Reading read_toml(std::string_view text);
[[nodiscard]] Reading read_json(std::string_view text);
[[nodiscard]] std::string write_json(const Value& value);

}  // namespace tarsier::config
