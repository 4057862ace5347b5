// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Any bytes as a configuration: no crash, no hang; a refusal has a reason with a place in the text,
// and what is accepted can be shown and holds rules that compile. The first byte picks the syntax:
// 'j' is JSON, 's' a --set argument, 'p' the body of a PATCH, anything else TOML.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/config.h"

namespace {

using namespace tarsier;

constexpr double kBounds[] = {.001, .01};
constexpr auto kRtt = histogram("tarsier_tcp_rtt_seconds", "Round trip.", Unit::seconds, kBounds);
constexpr const MetricDef* kMetrics[] = {&kRtt};
constexpr Option kOptions[] = {
    boolean_option("edges", "Whether peers are named.", true),
    integer_option("max_connections", "Connections that are kept.", 100, 1, 1000),
    number_option("sample", "Share that is looked at.", 1, 0, 1),
    duration_option("period", "Time between looks.", kSecond, kMillisecond, kMinute),
    text_option("device", "Name of the interface.", "eth0"),
};
constexpr ProbeSpec kTcp{
    .name = "tcp", .summary = "What TCP does.", .metrics = kMetrics, .options = kOptions};
constexpr const ProbeSpec* kPlates[] = {&kTcp};
constexpr config::Catalogue kCatalogue{.probes = kPlates};

void check(const config::Config& config) {
  if (config::to_json(config).empty()) std::abort();
  if (!config::TargetRules::make(config.targets)) std::abort();
}

void check(const config::Problems& problems) {
  if (problems.empty() || problems.size() > config::kMaxProblems + 1) std::abort();
  for (const config::Problem& problem : problems) {
    if (problem.message.empty() || problem.line < 0 || problem.column < 0) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 's') {
    config::Config config = config::defaults(kCatalogue);
    const Status status = config::apply_set(config, text, kCatalogue);
    if (!status && status.error().message.empty()) std::abort();
    check(config);
    return 0;
  }
  if (data[0] == 'p') {
    const config::Config config = config::defaults(kCatalogue);
    const auto patched = config::patch_probe(config.probes.at("tcp"), text);
    if (!patched && patched.error().message.empty()) std::abort();
    return 0;
  }
  const auto format = data[0] == 'j' ? config::Format::json : config::Format::toml;
  const auto read = config::parse(text, format, "f", kCatalogue);
  if (read) {
    check(*read);
  } else {
    check(read.error());
  }
  return 0;
}
