// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// From a full ring to the registry: the collector as the daemon runs it, fed by a BPF program. The
// time is what the collector spent in the probe's turns (tarsier_probe_handler_seconds_total), so
// that items_per_second are events per second and core.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <memory>

#include "assembly.h"
#include "bench_flood_object.h"
#include "flood.h"
#include "tarsier/probe.h"

namespace tarsier {

extern const ProbeSpec tcp_probe;

namespace {

constexpr int kCalls = 400;  // about 100,000 records an iteration
constexpr int kRecords = kCalls * FLOOD_RECORDS;

constexpr auto kEvents = counter("tarsier_flood_events_total", "Records of the flood.");
constexpr const MetricDef* kMetrics[] = {&kEvents};

// The cheapest probe that is one: decode, look the process up, add to its series.
class Counting final : public Probe {
 public:
  bool on_event(Bytes bytes, Sinks& sinks) override {
    tarsier_header header;
    if (!copy_from(bytes, header)) return false;
    sinks.at(Subject::process(header.tgid, header.start_ns)).record(kEvents, 1);
    return true;
  }
};

constexpr Attachment kSeek[] = {{Method::tracepoint, "syscalls/sys_enter_lseek", "flood"}};
constexpr Way kWays[] = {kSeek};
constexpr Hook kHooks[] = {{"the benchmark asks for records", kWays}};
constexpr std::string_view kRings[] = {"events"};

constexpr ProbeSpec kCounting{
    .name = "flood",
    .summary = "Counts records.",
    .metrics = kMetrics,
    .hooks = kHooks,
    .rings = kRings,
    .object = bench_flood_object,
    .make = [](const ProbeContext&) -> std::unique_ptr<Probe> {
      return std::make_unique<Counting>();
    },
};

// The real decoder of the probe `tcp`, with the flood in place of its programs.
ProbeSpec flooded_tcp() {
  ProbeSpec spec = tcp_probe;
  spec.name = "flood";
  spec.hooks = kHooks;
  spec.options = {};
  spec.services = {};
  spec.tick_option = {};
  spec.object = bench_flood_object;
  spec.object_bytes = {};
  return spec;
}

void drain(benchmark::State& state, const ProbeSpec& spec, int kind) {
  if (const auto why = rooms::unavailable(); !why.empty()) {
    state.SkipWithError(why.c_str());
    return;
  }
  // Before the assembly: a child would keep its descriptors.
  rooms::Worker worker("flood", [kind](int calls) {
    for (int i = 0; i < calls; ++i) (void)::lseek(FLOOD_FD, 0, kind);
    return 0;
  });
  rooms::Assembly assembly;
  assembly.start(config::ProbeConfig(spec));
  const live::Labels labels{{"probe", "flood"}};
  double seconds = 0, events = 0, lost = 0;
  const auto arrived = [&](double wanted) {
    return assembly.eventually([&](const live::Scrape& scrape) {
      seconds = scrape.sum("tarsier_probe_handler_seconds_total", labels);
      events = scrape.sum("tarsier_probe_events_total", labels);
      lost = scrape.sum("tarsier_probe_events_lost_total", labels);
      return events + lost >= wanted;
    });
  };
  (void)worker.run(kCalls);  // caches and series
  double wanted = kRecords;
  if (!arrived(wanted)) state.SkipWithError("the records did not arrive");
  for (auto _ : state) {
    const double seconds_before = seconds, events_before = events;
    (void)worker.run(kCalls);
    wanted += kRecords;
    if (!arrived(wanted)) state.SkipWithError("the records did not arrive");
    state.SetIterationTime((seconds - seconds_before) * kRecords / (events - events_before));
  }
  state.SetItemsProcessed(state.iterations() * kRecords);
  state.counters["lost"] = lost;
}

void bench_drain_counting(benchmark::State& state) {
  drain(state, kCounting, FLOOD_COUNT);
}
BENCHMARK(bench_drain_counting)->Iterations(7)->UseManualTime()->Unit(benchmark::kMillisecond);

void bench_drain_tcp(benchmark::State& state) {
  const ProbeSpec spec = flooded_tcp();
  drain(state, spec, FLOOD_TCP);
}
BENCHMARK(bench_drain_tcp)->Iterations(7)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tarsier
