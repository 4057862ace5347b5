// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/options.h"

#include <cstdlib>

#include "base/log.h"

namespace tarsier::config {
namespace {

Scalar default_of(const Option& option) {
  switch (option.type) {
    case OptionType::boolean: return option.boolean;
    case OptionType::integer:
    case OptionType::duration: return option.integer;
    case OptionType::number: return option.number;
    case OptionType::text: return std::string(option.text);
  }
  std::abort();
}

}  // namespace

OptionValues::OptionValues(std::span<const Option> declared) : declared_(declared) {
  for (const Option& option : declared) values_.push_back(default_of(option));
}

const Scalar& OptionValues::find(std::string_view key, OptionType type) const {
  for (std::size_t i = 0; i < declared_.size(); ++i) {
    if (declared_[i].key == key && declared_[i].type == type) return values_[i];
  }
  base::log_error(
      "a probe asks for the option \"{}\", which its name plate does not declare with "
      "that type: this is an error in the probe",
      key);
  std::abort();
}

bool OptionValues::boolean(std::string_view key) const {
  return std::get<bool>(find(key, OptionType::boolean));
}
std::int64_t OptionValues::integer(std::string_view key) const {
  return std::get<std::int64_t>(find(key, OptionType::integer));
}
double OptionValues::number(std::string_view key) const {
  return std::get<double>(find(key, OptionType::number));
}
std::int64_t OptionValues::duration_ns(std::string_view key) const {
  return std::get<std::int64_t>(find(key, OptionType::duration));
}
std::string OptionValues::text(std::string_view key) const {
  return std::get<std::string>(find(key, OptionType::text));
}

}  // namespace tarsier::config
