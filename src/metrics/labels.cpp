// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "metrics/labels.h"

#include <algorithm>

namespace tarsier::metrics {
namespace {

constexpr std::string_view kEscaped = "\\\"\n";

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_taken(std::string_view name) {
  return name.starts_with("__") || name == "le" || name == "quantile" || name == kOverflowLabel;
}

}  // namespace

void append_escaped(std::string& out, std::string_view value) {
  while (true) {
    const auto at = value.find_first_of(kEscaped);
    out.append(value.substr(0, at));
    if (at == std::string_view::npos) return;
    out.push_back('\\');
    out.push_back(value[at] == '\n' ? 'n' : value[at]);
    value.remove_prefix(at + 1);
  }
}

void append_label(std::string& out, std::string_view name, std::string_view value) {
  if (!out.empty()) out.push_back(',');
  out.append(name).append("=\"");
  append_escaped(out, value);
  out.push_back('"');
}

bool next_label(std::string_view& text, std::string_view& name, std::string& value) {
  const auto equals = text.find("=\"");
  if (equals == std::string_view::npos) return false;
  name = text.substr(0, equals);
  value.clear();
  std::size_t i = equals + 2;
  for (; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
      value.push_back(text[i] == 'n' ? '\n' : text[i]);
    } else {
      value.push_back(text[i]);
    }
  }
  text.remove_prefix(std::min(text.size(), i + 2));  // the quote and the comma
  return true;
}

bool is_label_name(std::string_view name) {
  return !name.empty() && is_letter(name[0]) && !is_taken(name) &&
         std::ranges::all_of(name, [](char c) { return is_letter(c) || is_digit(c); });
}

std::string safe_label_name(std::string_view name) {
  std::string safe(name);
  std::ranges::replace_if(safe, [](char c) { return !is_letter(c) && !is_digit(c); }, '_');
  if (safe.empty() || is_digit(safe[0]) || is_taken(safe)) safe.insert(0, "label_");
  return safe;
}

}  // namespace tarsier::metrics
