// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Durations ("250ms", "5m") and sizes ("256MiB") as they stand in the file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tarsier::config {

// A whole number and one of ns, us, ms, s, m, h; a bare "0" too. Nothing for anything else,
// including what does not fit into 63 bits of nanoseconds.
[[nodiscard]] std::optional<std::int64_t> parse_duration(std::string_view text);
[[nodiscard]] std::string format_duration(std::int64_t ns);

// A whole number, alone (bytes) or with B, KiB, MiB, GiB or TiB.
[[nodiscard]] std::optional<std::int64_t> parse_size(std::string_view text);
[[nodiscard]] std::string format_size(std::int64_t bytes);

}  // namespace tarsier::config
