// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/units.h"

#include <fmt/format.h>

#include <charconv>
#include <span>

namespace tarsier::config {
namespace {

struct Suffix {
  std::string_view name;
  std::int64_t factor;
};

constexpr Suffix kDurations[] = {
    {"h", 3'600'000'000'000}, {"m", 60'000'000'000}, {"s", 1'000'000'000},
    {"ms", 1'000'000},        {"us", 1'000},         {"ns", 1}};
constexpr Suffix kSizes[] = {{"TiB", std::int64_t{1} << 40U},
                             {"GiB", std::int64_t{1} << 30U},
                             {"MiB", std::int64_t{1} << 20U},
                             {"KiB", std::int64_t{1} << 10U},
                             {"B", 1}};

std::optional<std::int64_t> parse(std::string_view text, std::span<const Suffix> suffixes,
                                  bool bare_allowed) {
  std::int64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, count);
  if (error != std::errc{} || count < 0) return std::nullopt;
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  if (unit.empty() && (bare_allowed || count == 0)) return count;
  for (const auto& suffix : suffixes) {
    if (unit != suffix.name) continue;
    std::int64_t product = 0;
    if (__builtin_mul_overflow(count, suffix.factor, &product)) return std::nullopt;
    return product;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> parse_duration(std::string_view text) {
  return parse(text, kDurations, false);
}

std::string format_duration(std::int64_t ns) {
  if (ns == 0) return "0s";
  for (const auto& unit : kDurations) {
    if (ns % unit.factor == 0) return fmt::format("{}{}", ns / unit.factor, unit.name);
  }
  return {};  // not reached: the last factor is 1
}

std::optional<std::int64_t> parse_size(std::string_view text) {
  return parse(text, kSizes, true);
}

std::string format_size(std::int64_t bytes) {
  for (const auto& unit : kSizes) {
    if (unit.factor > 1 && bytes != 0 && bytes % unit.factor == 0) {
      return fmt::format("{}{}", bytes / unit.factor, unit.name);
    }
  }
  return fmt::format("{}B", bytes);
}

}  // namespace tarsier::config
