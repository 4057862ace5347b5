// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The only file of this room that knows nlohmann-json.
//
// The library keeps no places. Its SAX reader pulls characters through an iterator, so the iterator
// watches where tokens begin: when the reader reports a value, the last string, number or literal
// that began is that value (a number makes the reader look one character ahead, which can only be
// punctuation or space).
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "config/config.h"
#include "config/value.h"

namespace tarsier::config {
namespace {

// Where the reader is, and where the last tokens began.
class Places {
 public:
  void pass(char c) {
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
    } else {
      begin(c);
    }
    move_on(c);
  }
  [[nodiscard]] Position scalar() const { return scalar_; }
  [[nodiscard]] Position bracket() const { return bracket_; }
  [[nodiscard]] Position here() const { return here_; }

 private:
  void begin(char c) {
    constexpr std::string_view kBetween = " \t\r\n,:{}[]";
    const bool between = kBetween.contains(c);
    if (c == '{' || c == '[') bracket_ = here_;
    if (c == '"') in_string_ = true;
    if (c == '"' || (!between && !in_word_)) scalar_ = here_;
    in_word_ = !between && c != '"';
  }
  void move_on(char c) {
    if (c == '\n') {
      here_ = {here_.line + 1, 1};
    } else if ((static_cast<unsigned char>(c) & 0xC0U) != 0x80U) {  // not inside a character
      ++here_.column;
    }
  }

  Position here_{1, 1}, scalar_{1, 1}, bracket_{1, 1};
  bool in_string_ = false, escaped_ = false, in_word_ = false;
};

class Watcher {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Watcher(const char* at, Places* places) : at_(at), places_(places) {}
  reference operator*() const { return *at_; }
  Watcher& operator++() {
    places_->pass(*at_++);
    return *this;
  }
  Watcher operator++(int) {
    const Watcher before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const Watcher& a, const Watcher& b) { return a.at_ == b.at_; }

 private:
  const char* at_;
  Places* places_;
};

// Builds the tree. Returning false from a callback ends the reading.
class Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(const Places& places) : places_(places) {}

  bool null() override { return put({}, places_.scalar()); }
  bool boolean(bool value) override { return put(Value::of(value), places_.scalar()); }
  bool number_integer(number_integer_t value) override {
    return put(Value::of(value), places_.scalar());
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
      return put(Value::of(static_cast<double>(value)), places_.scalar());
    }
    return put(Value::of(static_cast<std::int64_t>(value)), places_.scalar());
  }
  bool number_float(number_float_t value, const string_t& /*text*/) override {
    return put(Value::of(value), places_.scalar());
  }
  bool string(string_t& value) override {
    return put(Value::of(std::move(value)), places_.scalar());
  }
  bool binary(binary_t& /*value*/) override { return false; }  // not in JSON text
  bool start_object(std::size_t /*size*/) override { return open(Value::table()); }
  bool start_array(std::size_t /*size*/) override { return open(Value::list()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Frame& frame = open_.back();
    frame.key = {std::move(name), places_.scalar()};
    frame.duplicate = !frame.names.insert(frame.key.name).second;
    if (frame.duplicate) {
      reading_.flaws.push_back(
          {frame.key.at, fmt::format("the key \"{}\" stands here twice", excerpt(frame.key.name))});
    }
    return true;
  }

  bool parse_error(std::size_t /*offset*/, const std::string& /*token*/,
                   const nlohmann::json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while …"
    std::string_view words = error.what();
    if (const auto at = words.find("error while "); at != std::string_view::npos) {
      words.remove_prefix(at);
    } else if (const auto end = words.find("] "); end != std::string_view::npos) {
      words.remove_prefix(end + 2);
    }
    reading_.flaws.push_back(
        {places_.here(), fmt::format("this is not JSON: {}", excerpt(words, 200))});
    return false;
  }

  [[nodiscard]] Reading& reading() { return reading_; }

 private:
  struct Frame {
    Value value;
    Key key;  // that the next value belongs to
    bool duplicate = false;
    std::set<std::string> names;  // so far
  };

  bool open(Value value) {
    value.at = places_.bracket();
    if (open_.size() > kMaxDepth) {
      reading_.flaws.push_back(
          {value.at, fmt::format("tables and lists stand more than {} deep inside each "
                                 "other",
                                 kMaxDepth)});
      return false;
    }
    open_.push_back({std::move(value), {}, false, {}});
    return true;
  }

  bool close() {
    Value value = std::move(open_.back().value);
    open_.pop_back();
    const Position at = value.at;
    return put(std::move(value), at);
  }

  bool put(Value value, Position at) {
    value.at = at;
    if (open_.empty()) {
      reading_.root = std::move(value);
      return true;
    }
    Frame& frame = open_.back();
    if (frame.value.type == Value::Type::list) {
      frame.value.add(std::move(value));
    } else if (!frame.duplicate) {
      frame.value.add(frame.key.name, std::move(value), frame.key.at);
    }
    return true;
  }

  const Places& places_;
  std::vector<Frame> open_;
  Reading reading_;
};

nlohmann::ordered_json to_library(const Value& value) {
  switch (value.type) {
    case Value::Type::null: return nullptr;
    case Value::Type::boolean: return value.boolean;
    case Value::Type::integer: return value.integer;
    case Value::Type::number: return value.number;
    case Value::Type::text:
    case Value::Type::date: return value.text;
    case Value::Type::list: {
      auto list = nlohmann::ordered_json::array();
      for (const Value& item : value.items) list.push_back(to_library(item));
      return list;
    }
    case Value::Type::table: break;
  }
  auto object = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    object[value.keys[i].name] = to_library(value.items[i]);
  }
  return object;
}

}  // namespace

Reading read_json(std::string_view text) {
  Places places;
  Builder builder(places);
  const char* const begin = text.data();
  const bool read = nlohmann::json::sax_parse(Watcher(begin, &places),
                                              Watcher(begin + text.size(), &places), &builder);
  Reading reading = std::move(builder.reading());
  if (!read) {
    reading.root = {};
  } else if (reading.root.type != Value::Type::table) {
    reading.flaws.push_back({reading.root.at, fmt::format("the file must hold an object, not {}",
                                                          reading.root.type_name())});
    reading.root = {};
  }
  return reading;
}

std::string write_json(const Value& value) {
  return to_library(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace tarsier::config
