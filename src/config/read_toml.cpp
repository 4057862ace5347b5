// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The only file that knows toml++.
//
// Its 3.3 is not fit for hostile text, so a screen looks at the text first and refuses what would
// hurt: a dotted key of unbounded length (tables are destroyed by recursion; 500,000 dots in a 1
// MiB file take the stack), and a character beyond ASCII where white space is looked for (undefined
// behaviour, its issues 190 and 295). Its assertions fail on malformed text ("[&", its issue 294)
// and become assumptions in release builds, though the code behind reports the error; they are off.
#undef NDEBUG
#define TOML_ASSERT(expression) static_cast<void>(0)
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_MAX_NESTED_VALUES 16
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "config/config.h"
#include "config/value.h"

namespace tarsier::config {
namespace {

Position position_of(const toml::source_region& region) {
  return {static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

std::string too_deep() {
  return fmt::format("tables and lists stand more than {} deep inside each other", kMaxDepth);
}

struct Refusal {
  std::size_t at;
  std::string message;
};

// Goes through a text as a reader of TOML would, up to the first thing that toml++ must not see.
// Where the text is malformed the two may part; that is behind the place where toml++ stops.
class Screen {
 public:
  explicit Screen(std::string_view text) : text_(text) {}

  std::optional<Refusal> check() {
    while (at_ < text_.size() && !refusal_) {
      const char c = text_[at_];
      if (c == '"' || c == '\'') {
        pass_string(c);
      } else if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else {
        pass_plain(c);
      }
    }
    return std::move(refusal_);
  }

 private:
  static bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80U; }

  void pass_plain(char c) {
    constexpr std::string_view kEndsKey = "=,\n[]{}";
    if (kEndsKey.contains(c)) dots_ = 0;
    if (c == '.' && ++dots_ > kMaxDepth) {
      refusal_ = {at_, too_deep()};
    } else if (!is_ascii(c) && !(at_ == 0 && text_.starts_with(kByteOrderMark))) {
      refusal_ = {at_, "only strings and comments may hold characters beyond ASCII"};
    }
    at_ += at_ == 0 && text_.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 1;
  }

  // An unclosed string ends its line or the text; toml++ says so later.
  void pass_string(char quote) {
    const std::string triple(3, quote);
    const bool multiline = text_.substr(at_, 3) == triple;
    for (at_ += multiline ? 3 : 1; at_ < text_.size() && !refusal_;) {
      if (quote == '"' && text_[at_] == '\\') {
        pass_escape();
      } else if (multiline ? text_.substr(at_, 3) == triple : text_[at_] == quote) {
        at_ += multiline ? 3 : 1;
        // Up to two quotes right before the closing three belong to the string.
        for (int n = 0; multiline && n < 2 && text_.substr(at_).starts_with(quote); ++n) ++at_;
        return;
      } else if (!multiline && text_[at_] == '\n') {
        return;
      } else {
        ++at_;
      }
    }
  }

  // At a backslash. One that ends its line eats the white space up to the next character.
  void pass_escape() {
    const std::size_t next = text_.find_first_not_of(" \t\r\n", at_ + 1);
    if (next == at_ + 1 || next == std::string_view::npos) {
      at_ += 2;
      return;
    }
    if (!is_ascii(text_[next])) {
      refusal_ = {next, "a line after one that ends in a backslash must start with ASCII"};
    }
    at_ = next;
  }

  static constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t dots_ = 0;  // of the key that is being passed
  std::optional<Refusal> refusal_;
};

class Converter {
 public:
  Value convert(const toml::node& node, std::size_t depth) {
    Value value = convert_content(node, depth);
    value.at = position_of(node.source());
    return value;
  }
  [[nodiscard]] std::vector<Flaw>& flaws() { return flaws_; }

 private:
  Value convert_content(const toml::node& node, std::size_t depth) {
    if (const auto* boolean = node.as_boolean()) return Value::of(boolean->get());
    if (const auto* integer = node.as_integer()) return Value::of(integer->get());
    if (const auto* number = node.as_floating_point()) return Value::of(number->get());
    if (const auto* text = node.as_string()) return Value::of(text->get());
    if (node.is_table() || node.is_array()) {
      return convert_nested(node, depth);
    }
    Value date;
    date.type = Value::Type::date;
    return date;
  }

  bool fits(const toml::node& node, std::size_t depth) {
    if (depth <= kMaxDepth || node.is_value()) return true;
    flaws_.push_back({position_of(node.source()), too_deep()});
    return false;
  }

  Value convert_nested(const toml::node& node, std::size_t depth) {
    if (const auto* items = node.as_array()) {
      Value list = Value::list();
      for (const toml::node& item : *items) {
        if (fits(item, depth + 1)) list.add(convert(item, depth + 1));
      }
      return list;
    }
    Value table = Value::table();
    for (const auto& [key, item] : *node.as_table()) {
      if (!fits(item, depth + 1)) continue;
      table.add(key.str(), convert(item, depth + 1), position_of(key.source()));
    }
    return table;
  }

  std::vector<Flaw> flaws_;
};

Position position_at(std::string_view text, std::size_t offset) {
  const auto before = text.substr(0, offset);
  const auto line = before.substr(before.rfind('\n') + 1);  // npos + 1 is 0
  const auto starts_character = [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  };
  return {static_cast<int>(std::ranges::count(before, '\n')) + 1,
          static_cast<int>(std::ranges::count_if(line, starts_character)) + 1};
}

}  // namespace

Reading read_toml(std::string_view text) {
  Reading reading;
  if (auto refusal = Screen(text).check()) {
    reading.flaws.push_back({position_at(text, refusal->at), std::move(refusal->message)});
    return reading;
  }
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    reading.flaws.push_back(
        {position_of(error.source()),
         fmt::format("this is not TOML: {}", excerpt(error.description(), 200))});
    return reading;
  }
  Converter converter;
  reading.root = converter.convert(parsed.table(), 0);
  reading.flaws = std::move(converter.flaws());
  return reading;
}

}  // namespace tarsier::config
