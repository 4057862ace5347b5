// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Entities: pending, merged, released; and staleness.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "metrics/test_support.h"

namespace tarsier::metrics {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr std::uint64_t kSecond = 1'000'000'000;

TEST(Entities, EqualLabelSetsAreOneEntity) {
  Registry registry;
  const std::array ab{Label{"a", "1"}, Label{"b", "2"}, Label{"c", ""}};
  const std::array ba{Label{"b", "2"}, Label{"a", "1"}};
  EXPECT_EQ(registry.entity(ab), registry.entity(ba));
  EXPECT_EQ(registry.entity(std::array{Label{"c", ""}}), EntityId::node);
  EXPECT_EQ(registry.entity({}), EntityId::node);
}

TEST(Entities, NamesAndValuesAreMadeValid) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kDelay));
  const std::array labels{Label{"__name__", "x"}, Label{"app.kubernetes.io/name", "y"},
                          Label{"le", "z\xFF"}, Label{"1st", "1"}};
  registry.record(kDelay, registry.entity(labels), 1, {});
  EXPECT_THAT(shown(registry),
              ElementsAre(Pair("t_delay_seconds{app_kubernetes_io_name=\"y\",label_1st=\"1\","
                               "label___name__=\"x\",label_le=\"z\xEF\xBF\xBD\"}",
                               "0,1,0 sum 1")));
  EXPECT_EQ(registry.stats().repaired, 5U);
}

TEST(Entities, PendingSeriesAreHiddenUntilTheyAreResolved) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kRequests));
  const EntityId pending = registry.pending_entity();
  registry.record(kRequests, pending, 3, values("GET", ""));
  Series handle = registry.series(kRequests, pending, values("PUT", ""));
  EXPECT_TRUE(handle.add(1));
  EXPECT_THAT(shown(registry), IsEmpty());
  EXPECT_EQ(registry.stats().series, 2U);  // they count all the same
  Reader before(registry);
  EXPECT_EQ(registry.resolve(pending, comm("web")), pending);
  EXPECT_TRUE(handle.add(1)) << "nobody had these labels, so the series just became visible";
  EXPECT_THAT(shown(registry),
              UnorderedElementsAre(Pair(R"(t_requests_total{comm="web",method="GET"})", "3"),
                                   Pair(R"(t_requests_total{comm="web",method="PUT"})", "2")));
  Lines lines;
  (void)before.read(lines);
  EXPECT_THAT(lines.lines, IsEmpty()) << "what a scrape shows does not change while it runs";
}

TEST(Entities, EqualEntitiesAreMerged) {
  Registry registry;
  for (const MetricDef* def :
       std::initializer_list<const MetricDef*>{&kRequests, &kDelay, &kOpen}) {
    ASSERT_TRUE(registry.add_family(*def));
  }
  const EntityId shown_first = registry.entity(comm("web"));
  const EntityId pending = registry.pending_entity();
  for (const EntityId id : {shown_first, pending}) {
    registry.record(kRequests, id, 2, values("GET", ""));
    registry.record(kDelay, id, 0.5, {});
    EXPECT_TRUE(registry.series(kOpen, id, {}).add(4));
  }
  registry.record(kRequests, pending, 1, values("only", "here"));
  const Series both = registry.series(kRequests, pending, values("GET", ""));
  const Series only = registry.series(kRequests, pending, values("only", "here"));
  Reader before(registry);
  EXPECT_EQ(registry.resolve(pending, comm("web")), shown_first);
  EXPECT_FALSE(both.add(100)) << "its series is gone, the caller asks again";
  EXPECT_TRUE(only.add(1)) << "its series moved";
  EXPECT_THAT(
      shown(registry),
      UnorderedElementsAre(Pair(R"(t_requests_total{comm="web",method="GET"})", "4"),
                           Pair(R"(t_requests_total{comm="web",method="only",code="here"})", "2"),
                           Pair(R"(t_delay_seconds{comm="web"})", "0,2,0 sum 1"),
                           Pair(R"(t_open{comm="web"})", "8")));
  Lines lines;
  (void)before.read(lines);
  EXPECT_EQ(lines.lines.size(), 3U) << "the moved series waits for the next scrape";
  // The moved series is found again under the survivor.
  registry.record(kRequests, shown_first, 1, values("only", "here"));
  EXPECT_EQ(registry.stats().series, 4U);
  // The old id means nobody any more; what is recorded for it is not lost.
  registry.record(kRequests, pending, 9, values("GET", ""));
  EXPECT_EQ(shown(registry).at(R"(t_requests_total{tarsier_overflow="true"})"), "9");
}

TEST(Entities, APendingEntityWithoutLabelsIsTheNode) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kOps));
  const EntityId pending = registry.pending_entity();
  registry.record(kOps, EntityId::node, 1, {});
  registry.record(kOps, pending, 1, {});
  EXPECT_EQ(registry.resolve(pending, {}), EntityId::node);
  EXPECT_THAT(shown(registry), ElementsAre(Pair("t_ops_total", "2")));
}

TEST(Entities, AFamilysOwnLabelWinsAndNothingComesTwice) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kNamed));
  ASSERT_TRUE(registry.add_family(kOps));
  const auto in_pod = [](std::string name) {
    return std::array{Label{"comm", std::move(name)}, Label{"pod", "p"}};
  };
  const EntityId a = registry.entity(in_pod("a"));
  const EntityId b = registry.entity(in_pod("b"));
  const EntityId pending = registry.pending_entity();
  const std::array<std::string_view, 1> own{"own"};
  for (const EntityId id : {a, b, pending}) {
    registry.record(kNamed, id, 1, own);
    registry.record(kOps, id, 1, {});
  }
  registry.resolve(pending, in_pod("c"));
  EXPECT_THAT(shown(registry),
              UnorderedElementsAre(Pair(R"(t_named_total{pod="p",comm="own"})", "3"),
                                   Pair(R"(t_ops_total{comm="a",pod="p"})", "1"),
                                   Pair(R"(t_ops_total{comm="b",pod="p"})", "1"),
                                   Pair(R"(t_ops_total{comm="c",pod="p"})", "1")));
  for (const EntityId id : {a, b, pending}) registry.release(id);
  for (std::uint64_t now = 1; now < 1000; now += 100) registry.sweep(now * kSecond);
  EXPECT_THAT(shown(registry), IsEmpty());
  EXPECT_EQ(registry.stats().entities, 1U) << "only the node is left";
}

TEST(Entities, AReleasedPendingEntityIsFoldedIntoTheOverflowSeries) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kOps));
  ASSERT_TRUE(registry.add_family(kDelay));
  const EntityId pending = registry.pending_entity();
  registry.record(kOps, pending, 7, {});
  registry.record(kDelay, pending, 0.5, {});
  registry.release(pending);
  EXPECT_THAT(
      shown(registry),
      UnorderedElementsAre(Pair(R"(t_ops_total{tarsier_overflow="true"})", "7"),
                           Pair(R"(t_delay_seconds{tarsier_overflow="true"})", "0,1,0 sum 0.5")));
  EXPECT_EQ(registry.stats().entities, 1U);
  EXPECT_EQ(registry.stats().series, 0U);
}

TEST(Entities, TooManyEntitiesOverflow) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kOps));
  EntityId last{};
  for (std::size_t i = 0; i < kMaxEntities; ++i) last = registry.entity(comm(std::to_string(i)));
  registry.record(kOps, last, 5, {});
  EXPECT_EQ(registry.stats().entities, kMaxEntities);
  EXPECT_EQ(registry.stats().entities_refused, 1U);
  EXPECT_THAT(shown(registry), ElementsAre(Pair(R"(t_ops_total{tarsier_overflow="true"})", "5")));
  registry.release(last);  // nobody: no effect
}

class Staleness : public testing::Test {
 protected:
  Staleness() {
    for (const MetricDef* def : std::initializer_list<const MetricDef*>{&kOps, &kOpen}) {
      EXPECT_TRUE(registry.add_family(*def));
    }
  }
  void pass(std::uint64_t seconds) {
    for (std::uint64_t i = 0; i < seconds; ++i) registry.sweep(clock.boot += kSecond);
  }
  base::ManualClock clock;
  Registry registry{Limits{.stale_after_ns = 300 * kSecond}};
};

TEST_F(Staleness, ASeriesWithoutUpdatesGoesAndItsHandleIsStale) {
  const EntityId web = registry.entity(comm("web"));
  const Series series = registry.series(kOps, web, {});
  EXPECT_TRUE(series.add(5));
  pass(300);
  EXPECT_THAT(shown(registry), ElementsAre(Pair(R"(t_ops_total{comm="web"})", "5")));
  EXPECT_TRUE(series.add(1));  // an update: it stays for another five minutes
  pass(300);
  EXPECT_EQ(shown(registry).size(), 1U);
  pass(2);
  EXPECT_THAT(shown(registry), IsEmpty());
  EXPECT_FALSE(series.add(1));
  registry.record(kOps, web, 2, {});
  EXPECT_THAT(shown(registry), ElementsAre(Pair(R"(t_ops_total{comm="web"})", "2")));
}

// A cell that is used again must not obey the handle of the series it had before.
TEST_F(Staleness, AnOldHandleNeverTouchesTheNextUserOfItsCell) {
  const EntityId web = registry.entity(comm("web"));
  const Series old = registry.series(kOps, web, {});
  pass(400);
  const EntityId other = registry.entity(comm("other"));
  const Series fresh = registry.series(kOps, other, {});
  EXPECT_TRUE(fresh.add(1));
  EXPECT_FALSE(old.add(100));
  EXPECT_THAT(shown(registry), ElementsAre(Pair(R"(t_ops_total{comm="other"})", "1")));
}

TEST_F(Staleness, AGaugeThatIsNotZeroStaysWhileSomebodyHoldsTheEntity) {
  const EntityId web = registry.entity(comm("web"));
  ASSERT_EQ(registry.entity(comm("web")), web);  // a second reference
  EXPECT_TRUE(registry.series(kOpen, web, {}).add(2));
  EXPECT_TRUE(registry.series(kOpen, EntityId::node, {}).add(0));
  pass(1000);
  EXPECT_THAT(shown(registry), ElementsAre(Pair(R"(t_open{comm="web"})", "2")));
  registry.release(web);
  pass(1000);
  EXPECT_EQ(shown(registry).size(), 1U);
  registry.release(web);
  pass(300);
  EXPECT_EQ(shown(registry).size(), 1U) << "stale_after begins with the release";
  pass(2);
  EXPECT_THAT(shown(registry), IsEmpty());
  EXPECT_EQ(registry.stats().entities, 1U);
}

TEST_F(Staleness, AnEntityThatIsTakenUpAgainKeepsItsSeries) {
  const EntityId web = registry.entity(comm("web"));
  registry.record(kOps, web, 5, {});
  registry.release(web);
  pass(200);
  EXPECT_EQ(registry.entity(comm("web")), web);
  registry.record(kOps, web, 1, {});
  pass(200);
  EXPECT_THAT(shown(registry), ElementsAre(Pair(R"(t_ops_total{comm="web"})", "6")));
}

TEST_F(Staleness, OneSweepDoesABoundedAmountOfWork) {
  ASSERT_TRUE(registry.configure(
      {.series = 100'000, .series_per_metric = 100'000, .stale_after_ns = 10 * kSecond}, {}));
  ASSERT_TRUE(registry.add_family(kSize));
  for (int i = 0; i < 25'000; ++i) {
    const std::string text = std::to_string(i);
    const std::array<std::string_view, 1> label{text};
    registry.record(kSize, EntityId::node, 1, label);
  }
  pass(3);  // looks at each series once
  clock.boot += 20 * kSecond;
  registry.sweep(clock.boot);
  EXPECT_EQ(registry.stats().series, 15'000U);
  pass(2);
  EXPECT_EQ(registry.stats().series, 0U);
  EXPECT_EQ(registry.stats().limbo, 0U);
}

// Random work against the one thing that must hold: nothing that was counted is lost, nothing is
// shown twice, whatever is merged, refused or resolved when.
TEST(Property, TotalsAreKeptThroughMergesAndOverflow) {
  for (std::uint32_t seed = 1; seed <= 100; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    Registry registry({.series = 5 + pick(60), .series_per_metric = 3 + pick(30)});
    const std::vector<const MetricDef*> defs{&kOps, &kNamed, &kOpen, &kDelay};
    for (const MetricDef* def : defs) ASSERT_TRUE(registry.add_family(*def));
    std::vector<EntityId> entities{EntityId::node};
    std::vector<EntityId> pending;
    std::map<const MetricDef*, double> total;
    for (int step = 0; step < 400; ++step) {
      const std::uint32_t what = pick(20);
      if (what == 0) {
        entities.push_back(registry.entity(comm(std::to_string(pick(6)))));
      } else if (what == 1) {
        pending.push_back(registry.pending_entity());
      } else if (what == 2 && !pending.empty()) {
        entities.push_back(registry.resolve(pending.back(), comm(std::to_string(pick(6)))));
        pending.pop_back();
      } else if (what == 3 && !pending.empty() && pick(4) == 0) {
        registry.release(pending.back());
        pending.pop_back();
      } else {
        const bool hidden = !pending.empty() && pick(2) == 0;
        const EntityId id = hidden ? pending[pick(static_cast<std::uint32_t>(pending.size()))]
                                   : entities[pick(static_cast<std::uint32_t>(entities.size()))];
        const MetricDef* def = defs[pick(4)];
        const std::string own = std::to_string(pick(5));
        const std::array<std::string_view, 1> label{own};
        const auto given = def == &kNamed ? std::span<const std::string_view>(label)
                                          : std::span<const std::string_view>();
        if (def->kind == Kind::gauge) {
          EXPECT_TRUE(registry.series(*def, id, given).add(1));
        } else {
          registry.record(*def, id, 1, given);
        }
        total[def] += 1;
      }
    }
    for (const EntityId id : pending) registry.resolve(id, comm(std::to_string(pick(6))));
    std::map<std::string, double> sums;
    for (const auto& [line, value] : shown(registry, 1 + pick(5))) {
      ASSERT_NE(line, "A SERIES TWICE") << value << " with seed " << seed;
      const auto sum = value.find("sum ");
      sums[line.substr(0, line.find('{'))] +=
          std::stod(sum == std::string::npos ? value : value.substr(sum + 4));
    }
    for (const MetricDef* def : defs) {
      EXPECT_EQ(sums[std::string(def->name)], total[def]) << def->name << " with seed " << seed;
    }
  }
}

}  // namespace
}  // namespace tarsier::metrics
