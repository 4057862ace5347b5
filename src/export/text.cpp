// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "export/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace tarsier::exposition {
namespace {

// Whole numbers up to here are exact in a double.
constexpr double kMaxWhole = 9007199254740992;  // 2^53

std::string_view type_name(Kind kind) {
  switch (kind) {
    case Kind::counter: return "counter";
    case Kind::gauge: return "gauge";
    case Kind::histogram: return "histogram";
  }
  return "untyped";
}

std::string_view unit_name(Unit unit) {
  switch (unit) {
    case Unit::none: return "";
    case Unit::seconds: return "seconds";
    case Unit::bytes: return "bytes";
    case Unit::ratio: return "ratio";
  }
  return "";
}

template <class... Args>
void append_chars(std::string& out, Args... args) {
  std::array<char, 40> buffer;  // the longest double takes 24
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), args...);
  out.append(buffer.data(), result.ptr);
}

}  // namespace

void append_number(std::string& out, std::uint64_t value) {
  append_chars(out, value);
}

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out.append("NaN");
  } else if (std::isinf(value)) {
    out.append(value > 0 ? "+Inf" : "-Inf");
  } else if (std::abs(value) < kMaxWhole && value == std::trunc(value)) {
    if (std::signbit(value)) out.push_back('-');  // -0 too
    append_chars(out, static_cast<std::uint64_t>(std::abs(value)));
  } else {
    append_chars(out, value);
  }
}

std::string bound_text(double bound, Format format) {
  if (std::isinf(bound)) return bound > 0 ? "+Inf" : "-Inf";
  std::string text;
  append_chars(text, bound, std::chars_format::general);
  if (format == Format::openmetrics && text.find_first_of(".en") == std::string::npos) {
    text.append(".0");
  }
  return text;
}

void append_help(std::string& out, std::string_view help, Format format) {
  for (const char c : help) {
    if (c == '\n') {
      out.append("\\n");
    } else if (c == '\\' || (c == '"' && format == Format::openmetrics)) {
      out.append({'\\', c});
    } else {
      out.push_back(c);
    }
  }
}

void TextWriter::family(std::string_view name, std::string_view help, std::string_view type,
                        Unit unit) {
  const bool open = format_ == Format::openmetrics;
  if (open && type == "counter" && name.ends_with("_total")) name.remove_suffix(6);
  if (open && type == "untyped") type = "unknown";
  if (!help.empty()) {
    out_.append("# HELP ").append(name).append(" ");
    append_help(out_, help, format_);
    out_.push_back('\n');
  }
  out_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
  const std::string_view word = unit_name(unit);
  const bool ends_in_unit = !word.empty() && name.size() > word.size() && name.ends_with(word) &&
                            name[name.size() - word.size() - 1] == '_';
  if (open && ends_in_unit) {
    out_.append("# UNIT ").append(name).append(" ").append(word).append("\n");
  }
}

void TextWriter::start(std::string_view name, std::string_view suffix, std::string_view labels,
                       std::string_view more_labels) {
  out_.append(name).append(suffix);
  if (!labels.empty() || !more_labels.empty()) {
    out_.push_back('{');
    out_.append(labels);
    if (!labels.empty() && !more_labels.empty()) out_.push_back(',');
    out_.append(more_labels);
    out_.push_back('}');
  }
  out_.push_back(' ');
}

void TextWriter::end() {
  if (format_ == Format::openmetrics) out_.append("# EOF\n");
}

Scrape::Scrape(const metrics::Registry& registry, Format format)
    : reader_(registry), format_(format), writer_(buffer_, format) {}

bool Scrape::next(std::string& chunk) {
  while (!done_ && buffer_.size() < kChunkBytes) {
    if (!reader_.read(*this)) {
      writer_.end();
      done_ = true;
    }
  }
  chunk.assign(buffer_, 0, kChunkBytes);
  buffer_.erase(0, chunk.size());
  return !chunk.empty();
}

void Scrape::family(const metrics::FamilyView& family) {
  name_ = family.name;
  kind_ = family.kind;
  has_sum_ = true;
  bounds_.clear();
  if (kind_ == Kind::histogram) {
    for (const double bound : family.bounds) {
      bounds_.push_back("le=\"" + bound_text(bound, format_) + "\"");
    }
    bounds_.emplace_back("le=\"+Inf\"");
    // OpenMetrics 1.0 forbids the sum of a histogram that may observe negative values.
    has_sum_ = format_ == Format::text || family.bounds.empty() || family.bounds.front() >= 0;
  }
  writer_.family(family.name, family.help, type_name(family.kind), family.unit);
}

bool Scrape::series(const metrics::SeriesView& series) {
  if (kind_ == Kind::histogram) {
    histogram(series);
  } else {
    writer_.sample(name_, "", series.entity_labels, series.own_labels, series.value);
  }
  return buffer_.size() < kChunkBytes;
}

void Scrape::histogram(const metrics::SeriesView& series) {
  labels_.assign(series.entity_labels);
  if (!labels_.empty() && !series.own_labels.empty()) labels_.push_back(',');
  labels_.append(series.own_labels);
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < std::min(series.counts.size(), bounds_.size()); ++i) {
    count += series.counts[i];
    writer_.sample(name_, "_bucket", labels_, bounds_[i], count);
  }
  if (has_sum_) writer_.sample(name_, "_sum", labels_, "", series.value);
  writer_.sample(name_, "_count", labels_, "", count);
}

}  // namespace tarsier::exposition
