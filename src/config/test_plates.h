// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Two made-up probes for the tests of this room.
#pragma once

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

}  // namespace tarsier::config::test
