// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One writer that does everything a writer can do, several readers that never stop. Made for
// ThreadSanitizer and AddressSanitizer; without them it still checks what readers see.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "metrics/self.h"
#include "metrics/test_support.h"

namespace tarsier::metrics {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr int kRounds = 150;
constexpr int kReaders = 3;
constexpr std::size_t kSteady = 20;

// Reads over and over; kOps{comm="steady-N"} has to be there each time and never to fall.
class SteadyReader {
 public:
  void run(const Registry& registry, const std::atomic<bool>& stop, std::size_t pause_after) {
    while (!stop.load(std::memory_order_relaxed)) {
      const auto lines = shown(registry, pause_after);
      if (lines.contains("A SERIES TWICE")) ++twice;
      std::size_t found = 0;
      for (const auto& [line, value] : lines) {
        if (!line.starts_with("t_ops_total{comm=\"steady-")) continue;
        ++found;
        double now = 0;
        std::from_chars(value.data(), value.data() + value.size(), now);
        double& last = last_[line];
        if (now < last) ++fell;
        last = now;
      }
      if (found != kSteady) ++missing;
      ++scrapes;
    }
  }
  std::size_t twice = 0, fell = 0, missing = 0, scrapes = 0;

 private:
  std::map<std::string, double> last_;
};

void churn(Registry& registry, std::mt19937& random, std::uint64_t now) {
  std::vector<EntityId> ids;
  for (int i = 0; i < 40; ++i) {
    const EntityId id = registry.pending_entity();
    registry.record(kOps, id, 1, {});
    registry.record(kDelay, id, 0.5, {});
    const std::string own = std::to_string(random() % 8);
    const std::array<std::string_view, 1> label{own};
    registry.record(kNamed, id, 1, label);
    registry.record(kRequests, id, 1, values(own, std::to_string(random() % 50)));
    ids.push_back(registry.resolve(id, comm(std::to_string(random() % 30))));
  }
  for (const EntityId id : ids) registry.release(id);
  if (random() % 4 == 0) {
    registry.remove_family(kRequests);
    ASSERT_TRUE(registry.add_family(kRequests));
  }
  if (random() % 8 == 0) {
    ASSERT_TRUE(registry.configure({.series = 400, .stale_after_ns = 3 * kSecond},
                                   {{"t_delay_seconds", random() % 2 == 0, {.2, .4, .8}}}));
  }
  registry.sweep(now);
}

TEST(Concurrency, ReadersSeeAConsistentRegistryWhileTheWriterWorks) {
  Registry registry({.series = 400, .stale_after_ns = 3 * kSecond});
  for (const MetricDef* def : std::initializer_list<const MetricDef*>{
           &kOps, &kDelay, &kNamed, &kRequests, &self::kSeries, &self::kLabelValuesChanged}) {
    ASSERT_TRUE(registry.add_family(*def));
  }
  std::vector<Series> steady;
  for (std::size_t i = 0; i < kSteady; ++i) {
    const EntityId id = registry.entity(comm("steady-" + std::to_string(i)));
    steady.push_back(registry.series(kOps, id, {}));
  }
  std::atomic<bool> stop{false};
  std::vector<SteadyReader> readers(kReaders);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < kReaders; ++i) {
      threads.emplace_back([&, i] { readers[i].run(registry, stop, i * 7); });
    }
    std::mt19937 random(7);
    for (std::uint64_t round = 1; round <= kRounds; ++round) {
      for (const Series& series : steady) EXPECT_TRUE(series.add(1));
      churn(registry, random, round * kSecond);
    }
    stop = true;
  }
  for (const SteadyReader& reader : readers) {
    EXPECT_GT(reader.scrapes, 0U);
    EXPECT_EQ(reader.twice, 0U);
    EXPECT_EQ(reader.fell, 0U);
    EXPECT_EQ(reader.missing, 0U);
  }
  // With no reader left, all that was removed is given back.
  for (int i = 0; i < 5; ++i) registry.sweep(kRounds * kSecond);
  EXPECT_EQ(registry.stats().limbo, 0U);
}

// A visitor that stops in the middle of a read: memory it may look at stays, and is bounded.
class StuckVisitor final : public Visitor {
 public:
  std::atomic<bool> inside{false};
  std::atomic<bool> go_on{false};
  std::string seen;
  void family(const FamilyView&) override {}
  bool series(const SeriesView& series) override {
    inside = true;
    inside.notify_all();
    go_on.wait(false);
    seen = series.entity_labels;
    return true;
  }
};

TEST(Concurrency, AStuckReadKeepsABoundedAmountOfMemoryAndTheWriterGoesOn) {
  Registry registry({.series = 50'000, .series_per_metric = 50'000, .stale_after_ns = kSecond});
  ASSERT_TRUE(registry.add_family(kOps));
  const EntityId web = registry.entity(comm("web"));
  registry.record(kOps, web, 1, {});
  registry.release(web);
  StuckVisitor visitor;
  Reader reader(registry);
  std::jthread thread([&] { (void)reader.read(visitor); });
  visitor.inside.wait(false);

  std::uint64_t now = kSecond;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 5'000; ++i) {
      const EntityId id = registry.entity(comm(std::to_string(i)));
      registry.record(kOps, id, 1, {});
      registry.release(id);
    }
    for (int i = 0; i < 3; ++i) registry.sweep(now += 2 * kSecond);
  }
  EXPECT_GE(registry.stats().limbo, kMaxLimbo) << "the test has to reach the limit";
  EXPECT_LT(registry.stats().limbo, kMaxLimbo + 2 * 5'000 + 10);
  visitor.go_on = true;
  visitor.go_on.notify_all();
  thread.join();
  EXPECT_EQ(visitor.seen, "comm=\"web\"") << "the entity is long gone, its text was not";
  for (int i = 0; i < 5; ++i) registry.sweep(now += 2 * kSecond);
  EXPECT_EQ(registry.stats().limbo, 0U);
}

}  // namespace
}  // namespace tarsier::metrics
