// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Labels as the text formats write them: a="x",b="y", backslash, quote and newline escaped.
// The registry keeps labels in this form, because a scrape then only copies them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tarsier::metrics {

struct Label {
  std::string name;
  std::string value;
  friend auto operator<=>(const Label&, const Label&) = default;
};

// The label of the series that takes what the budget refused, and its rendered form.
inline constexpr std::string_view kOverflowLabel = "tarsier_overflow";
inline constexpr std::string_view kOverflowText = "tarsier_overflow=\"true\"";

// Appends `value` with \\, \" and \n escaped, as both text formats want it.
void append_escaped(std::string& out, std::string_view value);
// Appends name="value", behind a comma if `out` is not empty.
void append_label(std::string& out, std::string_view name, std::string_view value);

// Takes the first label off `text` (which append_label made); false at the end.
bool next_label(std::string_view& text, std::string_view& name, std::string& value);

// [a-zA-Z_][a-zA-Z0-9_]*, not reserved (__x) and not one the formats use themselves (le, quantile,
// tarsier_overflow).
[[nodiscard]] bool is_label_name(std::string_view name);
// The nearest such name: other characters become _, what is still not one gets label_ in front.
[[nodiscard]] std::string safe_label_name(std::string_view name);

}  // namespace tarsier::metrics
