// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/runtime_container.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "base/text.h"

namespace tarsier::net {
namespace {

// What runtimes note for themselves; nobody selects by it.
constexpr std::array<std::string_view, 5> kBookkeeping = {
    "annotation.", "io.buildah.", "io.container.", "io.cri-containerd.", "io.podman.annotations."};

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view label(const RuntimeContainer& container, std::string_view key) {
  for (const auto& [name, value] : container.labels) {
    if (name == key) return value;
  }
  return {};
}

void fill(std::string& place, std::string_view value) {
  if (place.empty()) place = value;
}

// Takes exactly `digits` digits from the front.
bool take(std::string_view& text, std::size_t digits, int& value) {
  if (text.size() < digits || !std::ranges::all_of(text.substr(0, digits), is_digit)) return false;
  std::from_chars(text.data(), text.data() + digits, value);
  text.remove_prefix(digits);
  return true;
}
bool take(std::string_view& text, char expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(1);
  return true;
}

// ".5" of a second; digits after the ninth are cut.
bool take_fraction(std::string_view& text, std::int64_t& ns) {
  if (!take(text, '.')) return true;
  std::int64_t unit = 100'000'000;
  const std::size_t before = text.size();
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), unit /= 10) {
    ns += (text.front() - '0') * unit;
  }
  return text.size() < before;
}

// "Z" or "+02:00"; the whole rest.
bool take_offset(std::string_view text, std::int64_t& seconds) {
  if (text == "Z" || text == "z") return true;
  const bool west = text.starts_with('-');
  int hours = 0, minutes = 0;
  if (!west && !text.starts_with('+')) return false;
  text.remove_prefix(1);
  if (!take(text, 2, hours) || !take(text, ':') || !take(text, 2, minutes) || !text.empty()) {
    return false;
  }
  seconds = (hours * 60 + minutes) * 60 * (west ? -1 : 1);
  return hours < 24 && minutes < 60;
}

}  // namespace

bool is_socket(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

bool is_container_id(std::string_view id) {
  const auto letter_or_digit = [](char c) { return is_letter(c) || is_digit(c); };
  return !id.empty() && id.size() <= 128 && letter_or_digit(id.front()) &&
         std::ranges::all_of(
             id, [&](char c) { return letter_or_digit(c) || c == '_' || c == '.' || c == '-'; });
}

void add_label(RuntimeContainer& container, std::string_view key, std::string_view value) {
  if (key.empty() || std::ranges::any_of(kBookkeeping, [&](std::string_view prefix) {
        return key.starts_with(prefix);
      })) {
    return;
  }
  if (container.labels.size() >= kMaxLabels) {
    ++container.labels_refused;
    return;
  }
  container.labels.emplace_back(base::clean_utf8(key, kMaxLabelText).text,
                                base::clean_utf8(value, kMaxLabelText).text);
}

void settle_labels(RuntimeContainer& container) {
  std::ranges::sort(container.labels);
  fill(container.pod.uid, label(container, "io.kubernetes.pod.uid"));
  fill(container.pod.name, label(container, "io.kubernetes.pod.name"));
  fill(container.pod.namespace_name, label(container, "io.kubernetes.pod.namespace"));
  // As cri-dockerd marks the two kinds of containers that it makes.
  fill(container.sandbox_id, label(container, "io.kubernetes.sandbox.id"));
  if (label(container, "io.kubernetes.docker.type") == "podsandbox") {
    container.sandbox_id = container.id;
  }
}

std::string digest_of(std::string_view reference) {
  constexpr std::string_view kKind = "sha256:";
  constexpr std::size_t kDigits = 64;
  if (const auto at = reference.rfind('@'); at != std::string_view::npos) {
    reference.remove_prefix(at + 1);
  }
  const bool whole =
      reference.size() == kKind.size() + kDigits && reference.starts_with(kKind) &&
      reference.find_first_not_of("0123456789abcdef", kKind.size()) == std::string_view::npos;
  return whole ? std::string(reference) : std::string();
}

std::string exit_reason(std::string_view word, std::int32_t code, bool oom_killed) {
  if (oom_killed) return "OOMKilled";
  if (!word.empty() && word.size() <= kMaxReason && std::ranges::all_of(word, is_letter)) {
    return std::string(word);
  }
  return code == 0 ? "Completed" : "Error";
}

double cpu_cores(std::int64_t quota, std::int64_t period) {
  return quota > 0 && period > 0 ? static_cast<double>(quota) / static_cast<double>(period) : 0;
}

std::optional<std::int64_t> parse_time(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  std::int64_t fraction_ns = 0, offset_s = 0;
  if (!take(text, 4, year) || !take(text, '-') || !take(text, 2, month) || !take(text, '-') ||
      !take(text, 2, day) || (!take(text, 'T') && !take(text, 't')) || !take(text, 2, hour) ||
      !take(text, ':') || !take(text, 2, minute) || !take(text, ':') || !take(text, 2, second) ||
      !take_fraction(text, fraction_ns) || !take_offset(text, offset_s)) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  // The upper bound keeps the nanoseconds within 64 bits.
  if (!date.ok() || year < 1970 || year > 2200 || hour > 23 || minute > 59 || second > 60) {
    return std::nullopt;
  }
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = days * 86'400 + hour * 3'600 + minute * 60 + second - offset_s;
  if (seconds < 0) return std::nullopt;
  return seconds * 1'000'000'000 + fraction_ns;
}

}  // namespace tarsier::net
