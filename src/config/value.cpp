// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/value.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace tarsier::config {
namespace {

// A basic string of TOML 1.0: the escapes of JSON are a subset of its own.
std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : base::escape_json(text)) {
    // DEL is the one control character that JSON allows and TOML does not.
    c == '\x7F' ? out.append("\\u007F") : out.append(1, c);
  }
  return out.append("\"");
}

}  // namespace

Value Value::of(bool value) {
  Value made;
  made.type = Type::boolean;
  made.boolean = value;
  return made;
}

Value Value::of(std::int64_t value) {
  Value made;
  made.type = Type::integer;
  made.integer = value;
  return made;
}

Value Value::of(double value) {
  Value made;
  made.type = Type::number;
  made.number = value;
  return made;
}

Value Value::of(std::string value) {
  Value made;
  made.type = Type::text;
  made.text = std::move(value);
  return made;
}

Value Value::list() {
  Value made;
  made.type = Type::list;
  return made;
}

Value Value::table() {
  Value made;
  made.type = Type::table;
  return made;
}

void Value::add(std::string_view name, Value item, Position key_at) {
  keys.push_back({std::string(name), key_at});
  items.push_back(std::move(item));
}

bool Value::equals(const Value& other) const {
  if (type != other.type || items.size() != other.items.size()) return false;
  switch (type) {
    case Type::null: return true;
    case Type::boolean: return boolean == other.boolean;
    case Type::integer: return integer == other.integer;
    case Type::number: return number == other.number;
    case Type::text:
    case Type::date: return text == other.text;
    case Type::list: return std::ranges::equal(items, other.items, &Value::equals);
    case Type::table: break;
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto match = std::ranges::find(other.keys, keys[i].name, &Key::name);
    if (match == other.keys.end()) return false;
    if (!items[i].equals(other.items[static_cast<std::size_t>(match - other.keys.begin())])) {
      return false;
    }
  }
  return true;
}

std::string Value::to_toml() const {
  switch (type) {
    case Type::null: return "null";
    case Type::boolean: return boolean ? "true" : "false";
    case Type::integer: return fmt::format("{}", integer);
    case Type::number: return fmt::format("{}", number);
    case Type::text: return toml_string(text);
    case Type::date: return text;
    case Type::list:
    case Type::table: break;
  }
  if (items.empty()) return type == Type::list ? "[]" : "{}";
  std::string inside;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i != 0) inside.append(", ");
    if (type == Type::table) inside.append(toml_key(keys[i].name)).append(" = ");
    inside.append(items[i].to_toml());
  }
  return type == Type::list ? fmt::format("[{}]", inside) : fmt::format("{{ {} }}", inside);
}

std::string_view Value::type_name() const {
  switch (type) {
    case Type::null: return "nothing";
    case Type::boolean: return "a boolean";
    case Type::integer: return "an integer";
    case Type::number: return "a number";
    case Type::text: return "a string";
    case Type::date: return "a date or time";
    case Type::list: return "a list";
    case Type::table: return "a table";
  }
  return "a value";
}

std::string toml_key(std::string_view name) {
  const bool bare = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
  return bare ? std::string(name) : toml_string(name);
}

std::string excerpt(std::string_view text, std::size_t max_bytes) {
  const base::CleanText clean = base::clean_utf8(text, max_bytes);
  return base::escape_control(clean.text).append(clean.cut ? "…" : "");
}

}  // namespace tarsier::config
