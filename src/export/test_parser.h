// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A strict parser of the Prometheus text format 0.0.4, for tests: what is not exactly as the format
// says is an error with its line. Names and label values come back unescaped.
#pragma once

#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "tarsier/result.h"

namespace tarsier::exposition {

struct ParsedFamily {
  std::string help;
  std::string type;
  // Sample name and its labels, sorted, in an unambiguous form -> value.
  std::map<std::vector<std::string>, double> samples;
};

struct Parsed {
  std::vector<std::string> order;  // of the families
  std::map<std::string, ParsedFamily> families;
};

// NaN equals NaN here and 0 differs from -0.
inline bool same_value(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

inline bool operator==(const ParsedFamily& a, const ParsedFamily& b) {
  if (a.help != b.help || a.type != b.type || a.samples.size() != b.samples.size()) return false;
  for (const auto& [key, value] : a.samples) {
    const auto other = b.samples.find(key);
    if (other == b.samples.end() || !same_value(value, other->second)) return false;
  }
  return true;
}

class TextParser {
 public:
  // `nan` is how NaN is spelled: "NaN" by the format, "Nan" by prometheus-cpp 1.0.1.
  explicit TextParser(std::string_view text, std::string_view nan = "NaN")
      : rest_(text), nan_(nan) {}

  Result<Parsed> parse() {
    if (!base::is_clean_utf8(rest_, rest_.size())) return bad("not UTF-8");
    while (!rest_.empty()) {
      ++number_;
      const auto end = rest_.find('\n');
      if (end == std::string_view::npos) return bad("the last line does not end");
      line_ = rest_.substr(0, end);
      rest_.remove_prefix(end + 1);
      const Status ok = line_.starts_with("#") ? comment() : sample();
      if (!ok) return std::unexpected(ok.error());
    }
    for (const auto& [name, family] : parsed_.families) {
      if (Status ok = check_histogram(name, family); !ok) return std::unexpected(ok.error());
    }
    return parsed_;
  }

 private:
  std::unexpected<Error> bad(std::string_view what) const {
    return fail(ErrorCode::invalid, "line " + std::to_string(number_) + ": " + std::string(what) +
                                        ": " + std::string(line_));
  }

  static bool is_name_char(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
  }
  std::string take_name() {
    std::size_t n = 0;
    while (n < line_.size() && (is_name_char(line_[n], n == 0) || line_[n] == ':')) ++n;
    std::string name(line_.substr(0, n));
    line_.remove_prefix(n);
    return name;
  }
  bool take(std::string_view text) {
    if (!line_.starts_with(text)) return false;
    line_.remove_prefix(text.size());
    return true;
  }
  // Up to `end` (0: the line's end), with \\ and \n and, inside quotes, \".
  bool take_escaped(std::string& out, char end) {
    while (!line_.empty() && line_[0] != end) {
      char c = line_[0];
      line_.remove_prefix(1);
      if (c == '\\') {
        if (line_.empty()) return false;
        const char escape = line_[0];
        line_.remove_prefix(1);
        if (escape != 'n' && escape != '\\' && !(escape == '"' && end == '"')) return false;
        c = escape == 'n' ? '\n' : escape;
      }
      out.push_back(c);
    }
    return end == '\0' ? line_.empty() : !line_.empty();
  }

  Status comment() {
    const bool help = take("# HELP ");
    if (!help && !take("# TYPE ")) return bad("neither HELP nor TYPE");
    const std::string name = take_name();
    if (name.empty() || !take(" ")) return bad("no name");
    if (help || name != current_) {
      if (parsed_.families.contains(name)) return bad("the family comes twice");
      parsed_.order.push_back(name);
      current_ = name;
    }
    ParsedFamily& family = parsed_.families[name];
    if (help) return take_escaped(family.help, '\0') ? Status() : bad("bad escape");
    if (!family.type.empty()) return bad("a second TYPE");
    family.type = line_;
    for (const std::string_view type : {"counter", "gauge", "histogram", "summary", "untyped"}) {
      if (line_ == type) return {};
    }
    return bad("unknown type");
  }

  Status sample() {
    const std::string name = take_name();
    ParsedFamily& family = parsed_.families[current_];
    if (!belongs(name, family.type)) return bad("a sample outside its family");
    std::map<std::string, std::string> labels;
    if (take("{")) {
      do {
        const std::string label = take_name();
        if (label.empty() || label.contains(':') || !take("=\"")) return bad("bad label");
        std::string value;
        if (!take_escaped(value, '"') || !take("\"")) return bad("bad label value");
        if (!labels.emplace(label, value).second) return bad("a label comes twice");
      } while (take(","));
      if (!take("}")) return bad("labels do not end");
    }
    double value = 0;
    if (!take(" ") || !number(line_, value)) return bad("bad value");
    std::vector<std::string> key{name};
    for (const auto& [label, text] : labels) {
      // As numbers, because 1e-05 and 0.00001 are the same bound.
      double bound = 0;
      const bool is_bound = label == "le" && number(text, bound);
      key.push_back(label);
      key.push_back(is_bound ? std::to_string(bound * 1e9) : text);
    }
    if (!family.samples.emplace(key, value).second) return bad("a sample comes twice");
    return {};
  }

  [[nodiscard]] bool belongs(const std::string& name, const std::string& type) const {
    if (current_.empty() || !name.starts_with(current_)) return false;
    const std::string_view suffix = std::string_view(name).substr(current_.size());
    if (type == "histogram") return suffix == "_bucket" || suffix == "_sum" || suffix == "_count";
    if (type == "summary") return suffix.empty() || suffix == "_sum" || suffix == "_count";
    return suffix.empty() && !type.empty();
  }

  bool number(std::string_view text, double& value) const {
    if (text == nan_) return value = std::numeric_limits<double>::quiet_NaN(), true;
    if (text == "+Inf") return value = std::numeric_limits<double>::infinity(), true;
    if (text == "-Inf") return value = -std::numeric_limits<double>::infinity(), true;
    if (text.empty() || text.find_first_not_of("0123456789+-.e") != std::string_view::npos) {
      return false;
    }
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size();
  }

  // Buckets ascend and +Inf is there and equals _count.
  Status check_histogram(const std::string& name, const ParsedFamily& family) const {
    if (family.type != "histogram") return {};
    std::map<std::vector<std::string>, double> infinite;
    for (const auto& [key, value] : family.samples) {
      if (key[0] != name + "_bucket") continue;
      std::vector<std::string> others{name + "_count"};
      bool is_infinite = false;
      for (std::size_t i = 1; i < key.size(); i += 2) {
        if (key[i] == "le") {
          is_infinite = key[i + 1] == "inf";
        } else {
          others.insert(others.end(), {key[i], key[i + 1]});
        }
      }
      const auto count = family.samples.find(others);
      if (count == family.samples.end()) return bad(name + " has no _count");
      if (value > count->second) return bad(name + " has a bucket larger than its _count");
      if (is_infinite) infinite.emplace(others, value);
    }
    for (const auto& [key, value] : family.samples) {
      if (key[0] != name + "_count") continue;
      const auto bucket = infinite.find(key);
      if (bucket == infinite.end() || bucket->second != value) return bad("+Inf is not _count");
    }
    return {};
  }

  std::string_view rest_;
  std::string_view line_;
  std::string_view nan_;
  std::size_t number_ = 0;
  std::string current_;
  Parsed parsed_;
};

}  // namespace tarsier::exposition
