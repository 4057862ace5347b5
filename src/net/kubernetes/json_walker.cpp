// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/json_walker.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace tarsier::net::kubernetes {
namespace {

constexpr std::size_t kMaxKey = 512;  // a longer name is cut, and then is none that we know

class Walker : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Walker(Visitor& visitor) : visitor_(visitor) {}
  std::string problem;

  bool null() override { return skip(); }
  bool boolean(bool value) override {
    if (!inside()) return false;
    visitor_.boolean(path(), value);
    return true;
  }
  bool number_integer(number_integer_t value) override {
    if (!inside()) return false;
    visitor_.number(path(), value);
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
    return number_integer(
        value > static_cast<number_unsigned_t>(kMax) ? kMax : static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t, const string_t&) override { return skip(); }
  bool binary(binary_t&) override { return skip(); }
  bool string(string_t& value) override {
    if (!inside()) return false;
    visitor_.text(path(), value);
    return true;
  }
  bool key(string_t& name) override {
    names_[depth_ - 1].assign(name, 0, kMaxKey);
    return true;
  }
  bool start_object(std::size_t) override {
    if (!enter(true)) return false;
    visitor_.open(around());
    return true;
  }
  bool end_object() override {
    visitor_.close(around());
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override { return enter(false); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem = fmt::format("it is not JSON from byte {} on", position);
    return false;
  }

 private:
  bool inside() {
    if (depth_ == 0) problem = "it is not a JSON object";
    return depth_ > 0;
  }
  bool skip() {
    if (!inside()) return false;
    visitor_.other(path());
    return true;
  }
  bool enter(bool object) {
    if (depth_ == 0 && !object) return inside();
    if (depth_ >= kMaxNesting) {
      problem = fmt::format("it is nested deeper than {}", kMaxNesting);
      return false;
    }
    names_[depth_++].clear();  // keeps its memory for the next name
    return true;
  }
  [[nodiscard]] Path path() const { return Path({names_.data(), depth_}); }
  [[nodiscard]] Path around() const { return Path({names_.data(), depth_ - 1}); }

  Visitor& visitor_;
  std::array<std::string, kMaxNesting> names_;  // per open bracket the key that is being read
  std::size_t depth_ = 0;
};

}  // namespace

Status walk_json(std::string_view json, Visitor& visitor) {
  Walker walker(visitor);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &walker)) {
    return fail(ErrorCode::invalid, walker.problem);
  }
  return {};
}

}  // namespace tarsier::net::kubernetes
