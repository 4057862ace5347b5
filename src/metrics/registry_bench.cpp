// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What an update costs: through a handle, and with look-up.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/registry.h"

namespace tarsier::metrics {
namespace {

constexpr std::string_view kLabels[] = {"http_request_method", "http_response_status_code",
                                        "http_route"};
constexpr auto kRequests =
    histogram("http_server_request_duration_seconds", "Duration of requests.", Unit::seconds,
              kKernelLatencyBuckets, kLabels);
constexpr auto kBytes = counter("t_bytes_total", "Bytes.", Unit::bytes);

void handle_add(benchmark::State& state) {
  Registry registry;
  if (!registry.add_family(kBytes)) return state.SkipWithError("add_family");
  const Series series = registry.series(kBytes, EntityId::node, {});
  for (auto step : state) benchmark::DoNotOptimize(series.add(1));
}
BENCHMARK(handle_add);

void handle_observe(benchmark::State& state) {
  Registry registry;
  if (!registry.add_family(kRequests)) return state.SkipWithError("add_family");
  const std::array<std::string_view, 3> values{"GET", "200", "/"};
  const Series series = registry.series(kRequests, EntityId::node, values);
  double value = .00001;
  for (auto step : state) {
    benchmark::DoNotOptimize(series.observe(value));
    value = value > 5 ? .00001 : value * 1.5;
  }
}
BENCHMARK(handle_observe);

// One observation of three labels, over so many series (8 entities, the rest routes).
void record(benchmark::State& state) {
  const auto series = static_cast<std::size_t>(state.range(0));
  Registry registry({.series = 200'000, .series_per_metric = 200'000});
  if (!registry.add_family(kRequests)) return state.SkipWithError("add_family");
  std::vector<EntityId> entities;
  for (int i = 0; i < 8; ++i) {
    entities.push_back(registry.entity(
        std::array{Label{"comm", "server-" + std::to_string(i)}, Label{"container", "web"}}));
  }
  const std::size_t routes = std::max<std::size_t>(1, series / 8);
  std::size_t i = 0;
  for (auto step : state) {
    i = i * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;
    // As a parser would leave it: just written, in the cache.
    std::array<char, 32> route{"/api/v1/orders/"};
    const auto end = std::to_chars(&route[15], route.end(), (i >> 33) % routes).ptr;
    const std::array<std::string_view, 3> values{"GET", "200", {route.data(), end}};
    registry.record(kRequests, entities[(i >> 20) % 8], .003, values);
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["series"] = static_cast<double>(registry.stats().series);
}
BENCHMARK(record)->Arg(8)->Arg(1'000)->Arg(10'000)->Arg(100'000);

// The same when the budget refuses every label set: one hostile client must not slow the rest.
void record_refused(benchmark::State& state) {
  Registry registry({.series = 0});
  if (!registry.add_family(kRequests)) return state.SkipWithError("add_family");
  const std::array<std::string_view, 3> values{"GET", "200", "/api/v1/orders"};
  for (auto step : state) registry.record(kRequests, EntityId::node, .003, values);
}
BENCHMARK(record_refused);

// A process that comes, counts and goes.
void entity_life(benchmark::State& state) {
  Registry registry;
  if (!registry.add_family(kBytes)) return state.SkipWithError("add_family");
  std::uint64_t now = 0;
  std::size_t i = 0;
  for (auto step : state) {
    const EntityId pending = registry.pending_entity();
    registry.record(kBytes, pending, 1, {});
    const std::array labels{Label{"comm", "worker-" + std::to_string(i % 100)}};
    registry.release(registry.resolve(pending, labels));
    if (++i % 1000 == 0) registry.sweep(now += 1'000'000);
  }
}
BENCHMARK(entity_life);

}  // namespace
}  // namespace tarsier::metrics
