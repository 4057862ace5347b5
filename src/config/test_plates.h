// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Two made-up probes for the tests of this room, and short ways to read with them.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/config.h"

namespace tarsier::config::test {

inline constexpr double kBounds[] = {.001, .01, .1};
inline constexpr auto kOpened =
    counter("tarsier_tcp_connections_opened_total", "Connections that were established.");
inline constexpr auto kRtt =
    histogram("tarsier_tcp_rtt_seconds", "Smoothed round trip time.", Unit::seconds, kBounds);
inline constexpr auto kOwn = gauge("tarsier_series", "Series that are held.");
inline constexpr const MetricDef* kTcpMetrics[] = {&kOpened, &kRtt};
inline constexpr const MetricDef* kOwnMetrics[] = {&kOwn};

inline constexpr Option kTcpOptions[] = {
    boolean_option("edges", "Whether series name their peer.", true),
    integer_option("max_connections", "Connections that are kept.", 65'536, 16, 1'000'000),
    number_option("sample", "Share of connections that is looked at.", 0.5, 0, 1),
    duration_option("period", "Time between two looks.", 10 * kSecond, 100 * kMillisecond, kMinute),
    text_option("device", "Name of the interface.", "eth0"),
};
inline constexpr ProbeSpec kTcp{
    .name = "tcp", .summary = "What TCP does.", .metrics = kTcpMetrics, .options = kTcpOptions};
inline constexpr ProbeSpec kLock{
    .name = "lock", .summary = "Who waits for locks.", .enabled = false};
inline constexpr const ProbeSpec* kPlates[] = {&kTcp, &kLock};
inline constexpr Catalogue kCatalogue{.probes = kPlates, .metrics = kOwnMetrics};

inline std::vector<std::string> lines_of(const Problems& problems) {
  std::vector<std::string> lines;
  for (const Problem& problem : problems) lines.push_back(problem.text());
  return lines;
}

inline std::vector<std::string> problems_of(std::string_view text, Format format = Format::toml) {
  const auto read = parse(text, format, format == Format::toml ? "c.toml" : "c.json", kCatalogue);
  return read ? std::vector<std::string>{} : lines_of(read.error());
}

inline Config must(std::string_view text, Format format = Format::toml) {
  auto read = parse(text, format, "c", kCatalogue);
  EXPECT_TRUE(read) << testing::PrintToString(lines_of(read ? Problems{} : read.error()));
  return read ? *read : defaults(kCatalogue);
}

}  // namespace tarsier::config::test
