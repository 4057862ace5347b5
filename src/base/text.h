// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Text that came from outside, made fit for labels, logs and JSON.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tarsier::base {

// Longest label value in bytes (docs/metrics.md, "Labels").
inline constexpr std::size_t kMaxLabelBytes = 128;

struct CleanText {
  std::string text;
  bool repaired = false;  // bytes that are not UTF-8 became U+FFFD
  bool cut = false;       // longer than the limit, cut at a character
};
// Valid UTF-8 (RFC 3629: no overlong forms, no surrogates) of at most `max_bytes`.
[[nodiscard]] CleanText clean_utf8(std::string_view text, std::size_t max_bytes = kMaxLabelBytes);
[[nodiscard]] bool is_clean_utf8(std::string_view text, std::size_t max_bytes = kMaxLabelBytes);

// The inside of a JSON string (RFC 8259); bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string escape_json(std::string_view text);
// Control characters as \n, \t, \xNN, so that a line stays a line.
[[nodiscard]] std::string escape_control(std::string_view text);

[[nodiscard]] std::string_view trim(std::string_view text);
// The pieces between separators; two separators in a row give an empty piece.
[[nodiscard]] std::vector<std::string_view> split(std::string_view text, char separator);
// A fixed-size kernel string, which may lack its end.
[[nodiscard]] std::string_view until_zero(std::span<const char> text);
// The candidate with the smallest edit distance to `word`, if it is near enough to be meant
// (at most a third of the letters differ); else empty.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       std::span<const std::string_view> candidates);

}  // namespace tarsier::base
