// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a single value may be: checked in one place for keys of the file and options of probes.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "config/options.h"
#include "config/value.h"

namespace tarsier::config {

inline constexpr std::size_t kMaxTextBytes = 4096;

enum class Form : std::uint8_t {
  boolean,
  integer,
  number,
  duration,  // std::int64_t nanoseconds
  size,      // std::int64_t bytes
  text,
  choice,
  path,         // absolute, or empty
  socket_path,  // the same or "off", and short enough for sockaddr_un
  listen,
  listen_auto,  // the same or "auto"
  url,          // http:// or https://, or empty
  pattern,      // a regular expression
  label_name,   // of Prometheus
  label_value,
  pod_label,  // the key of a Kubernetes label
  user_name,
  password_hash,
};

// The form and, for those that have them, the range (inclusive) or the choices.
struct Shape {
  Form form = Form::text;
  std::int64_t min = 0, max = 0;
  double number_min = 0, number_max = 0;
  std::span<const std::string_view> choices = {};
};

[[nodiscard]] Shape shape_of(const Option& option);

// Completes "must be …": "an integer from 1 to 100".
[[nodiscard]] std::string describe(const Shape& shape);

// The checked value. On failure the rest of a sentence that starts with the key:
// `is "infoo", but must be "debug", "info", …`. A secret is not repeated in it.
[[nodiscard]] std::expected<Scalar, std::string> read_scalar(const Value& value, const Shape& shape,
                                                             bool secret = false);
// How the value stands in the file; read_scalar's opposite.
[[nodiscard]] Value show_scalar(const Scalar& scalar, const Shape& shape);

}  // namespace tarsier::config
