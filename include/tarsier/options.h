// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The options of a probe: [probes.<name>] in the configuration, the same keys over the API.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tarsier {

enum class OptionType : std::uint8_t { boolean, integer, number, duration, text };

// One option. The factory functions below fill it; exactly the members of its type have a meaning.
struct Option {
  std::string_view key;
  std::string_view help;  // a sentence
  OptionType type = OptionType::boolean;
  bool boolean = false;
  std::int64_t integer = 0, min = 0, max = 0;  // durations: nanoseconds
  double number = 0, number_min = 0, number_max = 0;
  std::string_view text = {};
};

consteval Option boolean_option(std::string_view key, std::string_view help, bool fallback) {
  Option option{key, help};
  option.boolean = fallback;
  return option;
}
consteval Option integer_option(std::string_view key, std::string_view help, std::int64_t fallback,
                                std::int64_t min, std::int64_t max) {
  if (fallback < min || fallback > max) throw "the default is out of range";
  Option option{key, help, OptionType::integer};
  option.integer = fallback;
  option.min = min;
  option.max = max;
  return option;
}
consteval Option number_option(std::string_view key, std::string_view help, double fallback,
                               double min, double max) {
  if (fallback < min || fallback > max) throw "the default is out of range";
  Option option{key, help, OptionType::number};
  option.number = fallback;
  option.number_min = min;
  option.number_max = max;
  return option;
}
// Nanoseconds here, "5s" or "250ms" in the file.
consteval Option duration_option(std::string_view key, std::string_view help,
                                 std::int64_t fallback_ns, std::int64_t min_ns,
                                 std::int64_t max_ns) {
  Option option = integer_option(key, help, fallback_ns, min_ns, max_ns);
  option.type = OptionType::duration;
  return option;
}
consteval Option text_option(std::string_view key, std::string_view help,
                             std::string_view fallback) {
  Option option{key, help, OptionType::text};
  option.text = fallback;
  return option;
}

inline constexpr std::int64_t kMillisecond = 1'000'000;
inline constexpr std::int64_t kSecond = 1'000 * kMillisecond;
inline constexpr std::int64_t kMinute = 60 * kSecond;

// The options of one probe after defaults and range checks. Asking for a key that the name plate
// does not declare, or for another type, is a programmer's error and aborts.
class Options {
 public:
  virtual ~Options() = default;
  [[nodiscard]] virtual bool boolean(std::string_view key) const = 0;
  [[nodiscard]] virtual std::int64_t integer(std::string_view key) const = 0;
  [[nodiscard]] virtual double number(std::string_view key) const = 0;
  [[nodiscard]] virtual std::int64_t duration_ns(std::string_view key) const = 0;
  [[nodiscard]] virtual std::string text(std::string_view key) const = 0;
};

}  // namespace tarsier
