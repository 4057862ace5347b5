// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The values of one probe's options: the plate's defaults until the file, --set or the API change
// them. Only this room writes, after checking; a probe reads through tarsier::Options.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tarsier/options.h"

namespace tarsier::config {

// A checked single value. Integers, durations (nanoseconds) and sizes (bytes) share int64_t.
using Scalar = std::variant<bool, std::int64_t, double, std::string>;

class OptionValues final : public Options {
 public:
  // `declared` outlives this object: it is part of a name plate.
  explicit OptionValues(std::span<const Option> declared);

  [[nodiscard]] bool boolean(std::string_view key) const override;
  [[nodiscard]] std::int64_t integer(std::string_view key) const override;
  [[nodiscard]] double number(std::string_view key) const override;
  [[nodiscard]] std::int64_t duration_ns(std::string_view key) const override;
  [[nodiscard]] std::string text(std::string_view key) const override;

  [[nodiscard]] std::span<const Option> declared() const { return declared_; }
  // By position in declared(). put() is for values that passed the option's check.
  [[nodiscard]] const Scalar& at(std::size_t index) const { return values_[index]; }
  void put(std::size_t index, Scalar value) { values_[index] = std::move(value); }

 private:
  [[nodiscard]] const Scalar& find(std::string_view key, OptionType type) const;

  std::span<const Option> declared_;
  std::vector<Scalar> values_;
};

}  // namespace tarsier::config
