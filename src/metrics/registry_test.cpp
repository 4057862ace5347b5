// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "metrics/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "metrics/reader.h"
#include "metrics/self.h"
#include "metrics/store.h"
#include "metrics/test_support.h"

namespace tarsier::metrics {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST(Registry, ShowsWhatWasRecorded) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kRequests));
  ASSERT_TRUE(registry.add_family(kOpen));
  ASSERT_TRUE(registry.add_family(kDelay));
  const EntityId nginx = registry.entity(comm("nginx"));
  registry.record(kRequests, nginx, 2, values("GET", "200"));
  registry.record(kRequests, nginx, 3, values("GET", "200"));
  registry.record(kRequests, EntityId::node, 1, values("PUT", ""));
  registry.record(kOpen, nginx, 7, {});
  registry.record(kOpen, nginx, 5, {});
  for (const double delay : {0.05, 0.1, 0.5, 5.0}) registry.record(kDelay, nginx, delay, {});
  EXPECT_THAT(
      shown(registry),
      UnorderedElementsAre(Pair(R"(t_requests_total{comm="nginx",method="GET",code="200"})", "5"),
                           Pair(R"(t_requests_total{method="PUT"})", "1"),
                           Pair(R"(t_open{comm="nginx"})", "5"),
                           Pair(R"(t_delay_seconds{comm="nginx"})", "2,1,1 sum 5.65")));
}

TEST(Registry, AReaderShowsTheSeriesOfItsBeginningOnce) {
  Registry registry({.stale_after_ns = 1'000'000'000});
  ASSERT_TRUE(registry.add_family(kRequests));
  for (const std::string name : {"a", "b", "c"}) {
    registry.record(kRequests, EntityId::node, 1, values(name, ""));
  }
  Lines lines(1);
  Reader reader(registry);
  ASSERT_TRUE(reader.read(lines));  // "a"
  // "a" goes and comes back in a slot that is still to be read; "d" and a family are new.
  registry.drop(kRequests, EntityId::node, values("a", ""));
  registry.record(kRequests, EntityId::node, 1, values("d", ""));
  registry.record(kRequests, EntityId::node, 1, values("a", ""));
  registry.drop(kRequests, EntityId::node, values("b", ""));
  ASSERT_TRUE(registry.add_family(kSize));
  registry.record(kSize, EntityId::node, 1, std::array<std::string_view, 1>{"x"});
  while (reader.read(lines)) {
  }
  EXPECT_EQ(lines.twice, 0U);
  EXPECT_THAT(lines.lines, ElementsAre(Pair(R"(t_requests_total{method="a"})", "1"),
                                       Pair(R"(t_requests_total{method="c"})", "1")));
  EXPECT_EQ(shown(registry).size(), 4U);
}

TEST(Registry, AFamilyWithoutSeriesIsNotShown) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kRequests));
  EXPECT_THAT(shown(registry), IsEmpty());
}

TEST(Registry, LabelValuesAreMadeFitAndCounted) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kRequests));
  const std::string longer(200, 'x');
  registry.record(kRequests, EntityId::node, 1, values("a\"b\\c\nd", "bad\xFF"));
  registry.record(kRequests, EntityId::node, 1, values("a\"b\\c\nd", "bad\xFF"));
  registry.record(kRequests, EntityId::node, 1, values(longer, "1"));
  const std::string at_most(128, 'x');
  EXPECT_THAT(
      shown(registry),
      UnorderedElementsAre(
          Pair("t_requests_total{method=\"a\\\"b\\\\c\\nd\",code=\"bad\xEF\xBF\xBD\"}", "2"),
          Pair("t_requests_total{method=\"" + at_most + "\",code=\"1\"}", "1")));
  EXPECT_EQ(registry.stats().repaired, 2U);
  EXPECT_EQ(registry.stats().cut, 1U);
}

// The comparison behind the hash: nothing but the very same values is the same series.
TEST(Store, SameValuesMeansEachOfThem) {
  const detail::Family family(kRequests);
  const auto node_of = [](std::string_view a, std::string_view b) {
    std::string text;
    if (!a.empty()) append_label(text, "method", a);
    if (!b.empty()) append_label(text, "code", b);
    const std::array lengths{static_cast<std::uint8_t>(a.size()),
                             static_cast<std::uint8_t>(b.size())};
    return detail::make_node(0, text, lengths);
  };
  const std::vector<std::array<std::string_view, 2>> all{
      {"", ""},     {"ab", ""},  {"", "ab"},    {"a", "b"},   {"b", "a"}, {"a\",code=\"b", ""},
      {"a\n", "b"}, {"an", "b"}, {"a\\n", "b"}, {"a\\", "nb"}};
  for (const auto& mine : all) {
    const detail::NodePtr node = node_of(mine[0], mine[1]);
    for (const auto& other : all) {
      EXPECT_EQ(family.same_values(*node, other), mine == other)
          << mine[0] << "|" << mine[1] << " and " << other[0] << "|" << other[1];
    }
  }
}

// Values that look alike once they are joined are different series.
TEST(Registry, HostileValuesAreNotMistakenForOthers) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kRequests));
  registry.record(kRequests, EntityId::node, 1, values("a", "b"));
  registry.record(kRequests, EntityId::node, 1, values("a\",code=\"b", ""));
  registry.record(kRequests, EntityId::node, 1, values("ab", ""));
  registry.record(kRequests, EntityId::node, 1, values("", "ab"));
  registry.record(kRequests, EntityId::node, 1, values("a\",code=\"b", ""));
  EXPECT_EQ(registry.stats().series, 4U);
  EXPECT_EQ(shown(registry).at(R"(t_requests_total{method="a\",code=\"b"})"), "2");
}

TEST(Registry, CountersAndHistogramsRefuseWhatIsNoAmount) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kOps));
  ASSERT_TRUE(registry.add_family(kDelay));
  registry.record(kOps, EntityId::node, 4, {});
  registry.record(kOps, EntityId::node, -1, {});
  registry.record(kOps, EntityId::node, std::nan(""), {});
  registry.record(kDelay, EntityId::node, std::nan(""), {});
  const auto lines = shown(registry);
  EXPECT_EQ(lines.at("t_ops_total"), "4");
  EXPECT_EQ(lines.at("t_delay_seconds"), "0,0,0 sum 0");
  ASSERT_TRUE(registry.add_family(self::kSeriesRefused));
  EXPECT_EQ(shown(registry).at(R"(tarsier_series_refused_total{metric="t_ops_total"})"), "2");
}

TEST(Registry, HandlesAddWithoutLookUp) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kDelay));
  const Series series = registry.series(kDelay, EntityId::node, {});
  EXPECT_TRUE(series.observe(0.01, 1000));
  EXPECT_EQ(shown(registry).at("t_delay_seconds"), "1000,0,0 sum 10");
}

TEST(Registry, ADroppedSeriesIsGoneAtOnce) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kRequests));
  registry.record(kRequests, EntityId::node, 1, values("bad\xFF", ""));
  registry.record(kRequests, EntityId::node, 1, values("stays", ""));
  const Series series = registry.series(kRequests, EntityId::node, values("bad\xFF", ""));
  registry.drop(kRequests, EntityId::node, values("not there", ""));
  registry.drop(kOps, EntityId::node, {});
  registry.drop(kRequests, EntityId::node, values("bad\xFF", ""));
  EXPECT_FALSE(series.add(1));
  EXPECT_THAT(shown(registry), ElementsAre(Pair(R"(t_requests_total{method="stays"})", "1")));
}

TEST(Families, AddingTwiceIsFineAndAnotherDefinitionIsNot) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kOps));
  EXPECT_TRUE(registry.add_family(kOps));
  MetricDef same = kOps;
  EXPECT_TRUE(registry.add_family(same));
  MetricDef other = kOps;
  other.help = "Something else.";
  const Status refused = registry.add_family(other);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("another definition"));
  // The series stay until the last of the equal definitions is removed.
  registry.record(same, EntityId::node, 1, {});
  registry.remove_family(kOps);
  EXPECT_EQ(shown(registry).size(), 1U);
  registry.remove_family(same);
  EXPECT_THAT(shown(registry), IsEmpty());
}

TEST(Families, MalformedDefinitionsAreRefused) {
  Registry registry;
  const auto refused = [&](MetricDef def, std::string_view why) {
    const Status status = registry.add_family(def);
    ASSERT_FALSE(status) << why;
    EXPECT_THAT(status.error().message, HasSubstr(why));
  };
  const std::string_view le[] = {"le"}, twice[] = {"a", "a"}, bad[] = {"a-b"};
  const double down[] = {2, 1}, infinite[] = {1, INFINITY};
  refused({Kind::gauge, "9lives", "Help."}, "name");
  refused({Kind::counter, "t_ops", "Help."}, "_total");
  refused({Kind::gauge, "t_x", "Help.", Unit::none, le}, "\"le\"");
  refused({Kind::gauge, "t_x", "Help.", Unit::none, bad}, "a-b");
  refused({Kind::gauge, "t_x", "Help.", Unit::none, twice}, "twice");
  refused({Kind::histogram, "t_x", "Help.", Unit::none, {}, down}, "ascend");
  refused({Kind::histogram, "t_x", "Help.", Unit::none, {}, infinite}, "finite");
  refused({Kind::gauge, "t_x", "Help.", Unit::none, {}, down}, "only a histogram");
  refused({Kind::gauge, "t_x", "bad \xFF"}, "UTF-8");
}

TEST(Families, SampleNamesDoNotCollide) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kDelay));
  ASSERT_TRUE(registry.add_family(kOps));
  const MetricDef count{Kind::gauge, "t_delay_seconds_count", "Help."};
  const MetricDef ops{Kind::gauge, "t_ops", "Help."};  // the OpenMetrics name of t_ops_total
  EXPECT_FALSE(registry.add_family(count));
  EXPECT_FALSE(registry.add_family(ops));
  registry.remove_family(kDelay);
  EXPECT_TRUE(registry.add_family(count));
}

TEST(Families, ARemovedFamilyIsGoneAndItsHandlesAreStale) {
  Registry registry;
  // A run-time owner: the definition and all it refers to go away right after the removal.
  auto name = std::make_unique<std::string>("t_runtime_total");
  auto label = std::make_unique<std::string_view>("kind");
  auto def = std::make_unique<MetricDef>(
      MetricDef{Kind::counter, *name, "Help.", Unit::none, std::span(label.get(), 1)});
  ASSERT_TRUE(registry.add_family(*def));
  const std::array<std::string_view, 1> a{"a"};
  const Series series = registry.series(*def, EntityId::node, a);
  EXPECT_TRUE(series.add(1));
  Reader half_way(registry);  // began before the removal
  registry.remove_family(*def);
  def.reset();
  label.reset();
  name.reset();
  EXPECT_FALSE(series.add(1));
  EXPECT_THAT(shown(registry), IsEmpty());
  Lines lines;
  EXPECT_FALSE(half_way.read(lines));
  EXPECT_THAT(lines.lines, IsEmpty());
  registry.sweep(1);
  EXPECT_EQ(registry.stats().limbo, 0U);
  EXPECT_EQ(registry.stats().series, 0U);
}

TEST(Families, UpdatesOfAnUnknownFamilyAreCounted) {
  Registry registry;
  registry.record(kOps, EntityId::node, 1, {});
  EXPECT_TRUE(registry.series(kOps, EntityId::node, {}).add(1));
  EXPECT_EQ(registry.stats().unregistered, 2U);
  EXPECT_THAT(shown(registry), IsEmpty());
}

TEST(Families, SettingsChangeBucketsAndSwitchOff) {
  Registry registry({}, {{"t_delay_seconds", true, {1, 2}}, {"t_ops_total", false, {}}});
  ASSERT_TRUE(registry.add_family(kDelay));
  ASSERT_TRUE(registry.add_family(kOps));
  ASSERT_TRUE(registry.add_family(kOpen));
  registry.record(kDelay, EntityId::node, 1.5, {});
  registry.record(kOpen, EntityId::node, 1, {});
  const Series off = registry.series(kOps, EntityId::node, {});
  EXPECT_TRUE(off.add(1));  // valid, or the caller would ask for ever
  EXPECT_THAT(shown(registry),
              ElementsAre(Pair("t_delay_seconds", "0,1,0 sum 1.5"), Pair("t_open", "1")));

  ASSERT_TRUE(registry.configure({}, {{"t_open", false, {}}}));
  EXPECT_FALSE(off.add(1));
  registry.record(kDelay, EntityId::node, 0.05, {});
  registry.record(kOps, EntityId::node, 1, {});
  registry.record(kOpen, EntityId::node, 1, {});
  EXPECT_THAT(shown(registry),
              ElementsAre(Pair("t_delay_seconds", "1,0,0 sum 0.05"), Pair("t_ops_total", "1")));
}

TEST(Families, ABadSettingChangesNothing) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kDelay));
  ASSERT_TRUE(registry.add_family(kOps));
  registry.record(kOps, EntityId::node, 1, {});
  const Status ok =
      registry.configure({}, {{"t_ops_total", false, {}}, {"t_delay_seconds", true, {2, 1}}});
  ASSERT_FALSE(ok);
  EXPECT_THAT(ok.error().message, HasSubstr("metrics.t_delay_seconds.buckets"));
  EXPECT_EQ(shown(registry).size(), 1U);
  EXPECT_FALSE(check_setting(kOps, {"t_ops_total", true, {1}}));
}

TEST(Budget, TotalsStayRightInTheOverflowSeries) {
  Registry registry({.series = 6, .series_per_metric = 4});
  for (const MetricDef* def :
       {static_cast<const MetricDef*>(&kRequests), static_cast<const MetricDef*>(&kSize),
        static_cast<const MetricDef*>(&self::kSeriesRefused)}) {
    ASSERT_TRUE(registry.add_family(*def));
  }
  for (int i = 0; i < 10; ++i) {
    registry.record(kRequests, EntityId::node, 1, values(std::to_string(i), ""));
    registry.record(kRequests, EntityId::node, 1, values(std::to_string(i), ""));
  }
  for (int i = 0; i < 5; ++i) {
    const std::string text = std::to_string(i);
    const std::array<std::string_view, 1> label{text};
    registry.record(kSize, EntityId::node, 50 * (i + 1), label);
  }
  const auto lines = shown(registry);
  EXPECT_EQ(lines.size(), 4U + 1 + 2 + 1 + 2);  // series, overflow, series, overflow, refused
  EXPECT_EQ(lines.at(R"(t_requests_total{tarsier_overflow="true"})"), "12");
  EXPECT_EQ(lines.at(R"(t_size_bytes{tarsier_overflow="true"})"), "0,3 sum 600");
  EXPECT_EQ(lines.at(R"(tarsier_series_refused_total{metric="t_requests_total"})"), "12");
  EXPECT_EQ(lines.at(R"(tarsier_series_refused_total{metric="t_size_bytes"})"), "3");
  EXPECT_EQ(registry.stats().series, 6U);
}

TEST(Budget, AdditiveGaugesOverflowThroughHandlesOthersAreDropped) {
  Registry registry({.series = 0});
  ASSERT_TRUE(registry.add_family(kOpen));
  ASSERT_TRUE(registry.add_family(kLoad));
  EXPECT_TRUE(registry.series(kLoad, EntityId::node, {}).set(3));
  registry.record(kLoad, EntityId::node, 3, {});
  registry.record(kOpen, EntityId::node, 3, {});  // would set the sum to one part of it
  EXPECT_THAT(shown(registry), IsEmpty());
  const Series a = registry.series(kOpen, registry.entity(comm("a")), {});
  const Series b = registry.series(kOpen, registry.entity(comm("b")), {});
  EXPECT_TRUE(a.add(5) && b.add(2) && a.add(-5));
  EXPECT_THAT(shown(registry), ElementsAre(Pair(R"(t_open{tarsier_overflow="true"})", "2")));
}

TEST(Budget, OverflowHandlesAskAgainWhenThereIsRoom) {
  base::ManualClock clock;
  Registry registry({.series = 1, .stale_after_ns = 60'000'000'000});
  ASSERT_TRUE(registry.add_family(kRequests));
  registry.record(kRequests, EntityId::node, 1, values("first", ""));
  Series second = registry.series(kRequests, EntityId::node, values("second", ""));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(second.add(1)) << "no room yet";
    registry.sweep(clock.boot += 30'000'000'000);
  }
  // The first series is stale now; the overflow series is not.
  ASSERT_FALSE(second.add(1));
  second = registry.series(kRequests, EntityId::node, values("second", ""));
  EXPECT_TRUE(second.add(5));
  EXPECT_THAT(shown(registry),
              UnorderedElementsAre(Pair(R"(t_requests_total{method="second"})", "5"),
                                   Pair(R"(t_requests_total{tarsier_overflow="true"})", "3")));
}

TEST(Budget, ASmallerBudgetKeepsWhatIsThere) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kRequests));
  registry.record(kRequests, EntityId::node, 1, values("a", ""));
  registry.record(kRequests, EntityId::node, 1, values("b", ""));
  ASSERT_TRUE(registry.configure({.series = 1}, {}));
  registry.record(kRequests, EntityId::node, 1, values("a", ""));
  registry.record(kRequests, EntityId::node, 1, values("c", ""));
  const auto lines = shown(registry);
  EXPECT_EQ(lines.at(R"(t_requests_total{method="a"})"), "2");
  EXPECT_EQ(lines.at(R"(t_requests_total{tarsier_overflow="true"})"), "1");
  EXPECT_EQ(lines.size(), 3U);
}

TEST(Self, SeriesAreCountedPerMetric) {
  Registry registry;
  for (const MetricDef* def : self::self_metrics())
    ASSERT_TRUE(registry.add_family(*def)) << def->name;
  ASSERT_TRUE(registry.add_family(kRequests));
  registry.record(kRequests, EntityId::node, 1, values("a", ""));
  registry.record(kRequests, EntityId::node, 1, values("b\xFF", ""));
  const auto lines = shown(registry);
  EXPECT_EQ(lines.at(R"(tarsier_series{metric="t_requests_total"})"), "2");
  EXPECT_EQ(lines.at(R"(tarsier_series_refused_total{metric="t_requests_total"})"), "0");
  EXPECT_EQ(lines.at(R"(tarsier_label_values_changed_total{reason="repaired"})"), "1");
  EXPECT_EQ(lines.at(R"(tarsier_label_values_changed_total{reason="cut"})"), "0");
}

}  // namespace
}  // namespace tarsier::metrics
