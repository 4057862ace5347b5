// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A scrape of 1,000, 10,000 and 100,000 counters with 8 labels each: ours against prometheus-cpp's
// Registry and TextSerializer in the same run, time and memory.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "export/gzip.h"
#include "export/text.h"
#include "metrics/registry.h"

namespace tarsier::exposition {
namespace {

using metrics::EntityId;
using metrics::Label;

// As on a node with pods: five labels say who, three say what.
constexpr std::string_view kOwn[] = {"http_request_method", "http_response_status_code",
                                     "http_route"};
constexpr auto kRequests = counter("t_requests_total", "Requests.", Unit::none, kOwn);

std::array<Label, 5> who(std::size_t i) {
  const std::string n = std::to_string(i / 100);
  return {Label{"comm", "server-" + n}, Label{"container", "container-" + n},
          Label{"namespace", "production"}, Label{"pod", "server-5f6d8c9b7d-" + n},
          Label{"workload", "server-" + n}};
}
std::array<std::string, 3> what(std::size_t i) {
  return {"GET", "200", "/api/v1/orders/" + std::to_string(i % 100)};
}

double heap_bytes() {
  const struct mallinfo2 info = ::mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

double status_bytes(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return std::stod(line.substr(key.size() + 1)) * 1024;
  }
  return 0;
}

// Bytes per series: `heap` that malloc handed out for the filled registry, `rest` resident after
// filling, `peak` resident at most while it was scraped.
class Memory {
 public:
  explicit Memory(std::size_t series) : series_(static_cast<double>(series)) {
    ::malloc_trim(0);
    heap_ = heap_bytes();
    resident_ = status_bytes("VmRSS");
  }
  void filled(benchmark::State& state) {
    state.counters["heap"] = (heap_bytes() - heap_) / series_;
    state.counters["rest"] = (status_bytes("VmRSS") - resident_) / series_;
    std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM starts again from here
  }
  void scraped(benchmark::State& state) const {
    state.counters["peak"] = (status_bytes("VmHWM") - resident_) / series_;
  }

 private:
  double series_;
  double heap_ = 0;
  double resident_ = 0;
};

std::unique_ptr<metrics::Registry> fill_ours(std::size_t series) {
  auto registry = std::make_unique<metrics::Registry>(
      metrics::Limits{.series = 200'000, .series_per_metric = 200'000});
  if (!registry->add_family(kRequests)) return nullptr;
  for (std::size_t i = 0; i < series; ++i) {
    const auto texts = what(i);
    const std::array<std::string_view, 3> values{texts[0], texts[1], texts[2]};
    const EntityId entity = registry->entity(who(i));
    registry->record(kRequests, entity, static_cast<double>(i) * 1.25, values);
  }
  return registry;
}

void ours(benchmark::State& state) {
  const auto series = static_cast<std::size_t>(state.range(0));
  Memory memory(series);
  const auto registry = fill_ours(series);
  memory.filled(state);
  std::size_t bytes = 0;
  for (auto step : state) {
    Scrape scrape(*registry, Format::text);
    bytes = 0;
    for (std::string chunk; scrape.next(chunk);) bytes += chunk.size();
  }
  memory.scraped(state);
  state.counters["text"] = static_cast<double>(bytes);
}
BENCHMARK(ours)->Arg(1'000)->Arg(10'000)->Arg(100'000)->Unit(benchmark::kMillisecond);

void theirs(benchmark::State& state) {
  const auto series = static_cast<std::size_t>(state.range(0));
  Memory memory(series);
  prometheus::Registry registry;
  auto& family =
      prometheus::BuildCounter().Name("t_requests_total").Help("Requests.").Register(registry);
  for (std::size_t i = 0; i < series; ++i) {
    std::map<std::string, std::string> labels;
    for (const Label& label : who(i)) labels.emplace(label.name, label.value);
    const auto texts = what(i);
    for (std::size_t n = 0; n < 3; ++n) labels.emplace(kOwn[n], texts[n]);
    family.Add(labels).Increment(static_cast<double>(i) * 1.25);
  }
  memory.filled(state);
  const prometheus::TextSerializer serializer;
  std::size_t bytes = 0;
  for (auto step : state) bytes = serializer.Serialize(registry.Collect()).size();
  memory.scraped(state);
  state.counters["text"] = static_cast<double>(bytes);
}
BENCHMARK(theirs)->Arg(1'000)->Arg(10'000)->Arg(100'000)->Unit(benchmark::kMillisecond);

void ours_gzip(benchmark::State& state) {
  const auto registry = fill_ours(100'000);
  std::size_t bytes = 0;
  for (auto step : state) {
    Scrape scrape(*registry, Format::text);
    auto gzip = GzipStream::over([&](std::string& chunk) { return scrape.next(chunk); },
                                 static_cast<int>(state.range(0)));
    bytes = 0;
    for (std::string chunk; gzip && gzip->next(chunk);) bytes += chunk.size();
  }
  state.counters["text"] = static_cast<double>(bytes);
}
BENCHMARK(ours_gzip)->ArgName("level")->Arg(1)->Arg(6)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tarsier::exposition
