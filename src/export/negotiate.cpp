// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "export/negotiate.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "base/text.h"

namespace tarsier::exposition {
namespace {

// More elements or parameters than this are not looked at; no real client sends so many.
constexpr std::size_t kMaxElements = 64;

// One element of a list: "text/plain;version=0.0.4;q=0.5". Types and names of parameters are
// compared without case.
struct Element {
  std::string value;
  std::string version;
  double q = 1;
};

bool same(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

// A weight that is not a number from 0 to 1 makes its element worthless, not the best.
double parse_q(std::string_view text) {
  double q = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), q, std::chars_format::fixed);
  const bool ok = error == std::errc{} && end == text.data() + text.size() && q >= 0 && q <= 1;
  return ok ? q : 0;
}

std::vector<Element> parse(std::string_view header) {
  std::vector<Element> elements;
  for (const std::string_view piece : base::split(header, ',')) {
    if (elements.size() >= kMaxElements) break;
    Element element;
    bool first = true;
    for (const std::string_view part : base::split(piece, ';')) {
      const auto equals = part.find('=');
      const std::string_view name = base::trim(part.substr(0, equals));
      std::string_view value =
          equals == std::string_view::npos ? "" : base::trim(part.substr(equals + 1));
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
        value = value.substr(1, value.size() - 2);
      }
      if (first) {
        element.value = base::trim(part);
      } else if (same(name, "q")) {
        element.q = parse_q(value);
      } else if (same(name, "version")) {
        element.version = value;
      }
      first = false;
    }
    if (!element.value.empty()) elements.push_back(std::move(element));
  }
  return elements;
}

struct Weight {
  double q = 0;
  int precision = -1;  // of the element that gave it: 0 */*, 1 type/*, 2 type, 3 type with version
};

// The weight of a format comes from the most precise element that matches it.
Weight weight_of(const std::vector<Element>& elements, std::string_view type,
                 std::string_view version) {
  Weight weight;
  const std::string any = std::string(type.substr(0, type.find('/'))) + "/*";
  for (const Element& element : elements) {
    int precision = -1;
    if (same(element.value, "*/*")) {
      precision = 0;
    } else if (same(element.value, any)) {
      precision = 1;
    } else if (same(element.value, type)) {
      if (!element.version.empty() && element.version != version) continue;
      precision = element.version.empty() ? 2 : 3;
    }
    if (precision > weight.precision) weight = {element.q, precision};
  }
  return weight;
}

}  // namespace

std::string_view content_type(Format format) {
  return format == Format::openmetrics
             ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
             : "text/plain; version=0.0.4; charset=utf-8";
}

Format choose_format(std::string_view accept) {
  const std::vector<Element> elements = parse(accept);
  const Weight open = weight_of(elements, "application/openmetrics-text", "1.0.0");
  const Weight text = weight_of(elements, "text/plain", "0.0.4");
  const bool named = open.precision >= 2 && open.q > 0;
  return named && open.q >= text.q ? Format::openmetrics : Format::text;
}

bool accepts_gzip(std::string_view accept_encoding) {
  double gzip = -1, identity = -1, any = -1;
  for (const Element& element : parse(accept_encoding)) {
    if (same(element.value, "gzip") || same(element.value, "x-gzip")) gzip = element.q;
    if (same(element.value, "identity")) identity = element.q;
    if (same(element.value, "*")) any = element.q;
  }
  if (gzip < 0) gzip = any;
  return gzip > 0 && gzip >= identity;
}

}  // namespace tarsier::exposition
