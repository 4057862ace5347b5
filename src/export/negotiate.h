// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a client wants, by its Accept and Accept-Encoding headers (RFC 9110, section 12.5).
#pragma once

#include <cstdint>
#include <string_view>

namespace tarsier::exposition {

enum class Format : std::uint8_t {
  text,         // Prometheus text 0.0.4
  openmetrics,  // OpenMetrics text 1.0.0
};

[[nodiscard]] std::string_view content_type(Format format);

// OpenMetrics where the client names it (version 1.0.0 or none) and likes it at least as much as
// text; text in every other case, also for an absent, malformed or unsatisfiable header, because a
// scrape in the wrong format still beats none.
[[nodiscard]] Format choose_format(std::string_view accept);

// Whether to compress: gzip (or *) is accepted and not less welcome than identity.
[[nodiscard]] bool accepts_gzip(std::string_view accept_encoding);

}  // namespace tarsier::exposition
