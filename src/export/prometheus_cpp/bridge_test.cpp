// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// prometheus-cpp as the oracle: what it and we write about the same registry is equal once parsed.
// Where it is wrong (1.0.1: HELP, NaN, digits, UTF-8) a test of its own says so.
#include "export/prometheus_cpp/bridge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <bit>
#include <cstdlib>
#include <random>
#include <string>

#include "export/test_parser.h"
#include "export/text.h"
#include "metrics/registry.h"

namespace tarsier::exposition {
namespace {

using metrics::EntityId;
using metrics::Label;
using metrics::Registry;

std::string ours(const Registry& registry) {
  std::string all;
  Scrape scrape(registry, Format::text);
  for (std::string chunk; scrape.next(chunk);) all += chunk;
  return all;
}

std::string theirs(const Registry& registry) {
  return prometheus::TextSerializer().Serialize(RegistryCollectable(registry).Collect());
}

// Random families, labels and values that both sides can write.
class Generator {
 public:
  explicit Generator(std::uint32_t seed) : random_(seed) {}

  std::uint32_t pick(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }

  std::string name() {
    static constexpr std::string_view kChars = "abcxyz_0189";
    std::string name(1, kChars[pick(6)]);
    for (std::uint32_t i = pick(12); i > 0; --i) name.push_back(kChars[pick(kChars.size())]);
    return name;
  }

  std::string text() {
    static constexpr std::string_view kPieces[] = {"a",    "Z",  "7",  " ",   "\"", "\\",
                                                   "\n",   "{",  "}",  "=",   ",",  "é",
                                                   "日本", "😀", "\t", "\\n", "#"};
    std::string text;
    for (std::uint32_t i = pick(8); i > 0; --i) text += kPieces[pick(std::size(kPieces))];
    return text;
  }

  std::string help() {  // without what prometheus-cpp does not escape
    std::string help = text();
    std::erase(help, '\n');
    std::erase(help, '\\');
    return "Help " + help + ".";
  }

  // What survives the 16 digits of prometheus-cpp.
  double value() {
    static constexpr double kSpecial[] = {0,        -0.0,     NAN,    INFINITY, -INFINITY,
                                          5e-324,   2.2e-308, 1e308,  -1e-300,  0.1,
                                          1e15 + 3, 1,        -12345, 1e6,      4503599627370497.5};
    if (pick(3) == 0) return kSpecial[pick(std::size(kSpecial))];
    while (true) {
      const auto value = std::bit_cast<double>(random_());
      std::array<char, 64> digits{};
      std::snprintf(digits.data(), digits.size(), "%.16g", value);
      if (std::isfinite(value) && std::strtod(digits.data(), nullptr) == value) return value;
    }
  }

 private:
  std::mt19937_64 random_;
};

struct OwnedDef {
  std::string name, help;
  std::vector<std::string> labels;
  std::vector<std::string_view> views;
  std::vector<double> bounds;
  MetricDef def;
};

std::unique_ptr<OwnedDef> random_def(Generator& random, std::uint32_t index) {
  auto owned = std::make_unique<OwnedDef>();
  const auto kind = static_cast<Kind>(random.pick(3));
  owned->name = random.name() + "_" + std::to_string(index) + "x";
  if (kind == Kind::counter) owned->name += "_total";
  owned->help = random.help();
  for (std::uint32_t i = random.pick(4); i > 0; --i) {
    owned->labels.push_back(random.name() + std::to_string(i));
  }
  owned->views.assign(owned->labels.begin(), owned->labels.end());
  if (kind == Kind::histogram) {
    for (std::uint32_t i = 0; i < random.pick(5); ++i) owned->bounds.push_back(.25 * (i + 1) * i);
  }
  owned->def = {kind, owned->name, owned->help, Unit::none, owned->views, owned->bounds};
  return owned;
}

void fill(Registry& registry, Generator& random, const OwnedDef& owned) {
  for (std::uint32_t i = random.pick(6); i > 0; --i) {
    std::vector<Label> about;
    for (std::uint32_t n = random.pick(3); n > 0; --n)
      about.push_back({random.name(), random.text()});
    std::vector<std::string> texts(owned.labels.size());
    for (std::string& text : texts) text = random.text();
    const std::vector<std::string_view> values(texts.begin(), texts.end());
    const Series series = registry.series(owned.def, registry.entity(about), values);
    if (owned.def.kind == Kind::histogram) {
      EXPECT_TRUE(series.observe(random.pick(4000) / 1024.0, random.pick(1000)));
    } else {
      EXPECT_TRUE(series.set(random.value()));
    }
  }
}

TEST(Oracle, RandomFamiliesAreEqualAfterParsing) {
  std::size_t samples = 0;
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    Generator random(seed);
    Registry registry;
    std::vector<std::unique_ptr<OwnedDef>> defs;
    for (std::uint32_t i = 0; i < 8; ++i) {
      defs.push_back(random_def(random, i));
      ASSERT_TRUE(registry.add_family(defs.back()->def)) << defs.back()->name;
      fill(registry, random, *defs.back());
    }
    const auto a = TextParser(ours(registry)).parse();
    const auto b = TextParser(theirs(registry), "Nan").parse();
    ASSERT_TRUE(a) << a.error().message << "\n" << ours(registry);
    ASSERT_TRUE(b) << b.error().message << "\n" << theirs(registry);
    ASSERT_EQ(a->order, b->order);
    ASSERT_TRUE(std::ranges::is_sorted(a->order));
    for (const auto& [name, family] : a->families) {
      ASSERT_EQ(family.help, b->families.at(name).help);
      ASSERT_TRUE(family == b->families.at(name)) << "seed " << seed << " " << name << "\n"
                                                  << ours(registry) << "\n"
                                                  << theirs(registry);
      samples += family.samples.size();
    }
    // And back again: their families through our writer.
    const auto c =
        TextParser(to_text(RegistryCollectable(registry).Collect(), Format::text)).parse();
    ASSERT_TRUE(c) << c.error().message;
    ASSERT_TRUE(c->families == a->families) << "seed " << seed;
  }
  EXPECT_GT(samples, 10'000U) << "the generator has to generate";
}

constexpr auto kOps = counter("t_ops_total", "Operations.");
constexpr std::string_view kWhat[] = {"what"};
constexpr auto kWarm = gauge("t_warm", "Warmth.", Unit::none, kWhat);

TEST(Difference, HelpIsEscaped) {
  const MetricDef odd{Kind::gauge, "t_odd", "Two\nlines and a \\."};
  Registry registry;
  ASSERT_TRUE(registry.add_family(odd));
  registry.record(odd, EntityId::node, 1, {});
  EXPECT_FALSE(TextParser(theirs(registry)).parse()) << "prometheus-cpp has learned it";
  const auto parsed = TextParser(ours(registry)).parse();
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->families.at("t_odd").help, odd.help);
}

TEST(Difference, NaNIsSpelledAsTheFormatSays) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kWarm));
  registry.record(kWarm, EntityId::node, NAN, std::array<std::string_view, 1>{""});
  EXPECT_THAT(theirs(registry), testing::HasSubstr("t_warm Nan\n"));
  EXPECT_THAT(ours(registry), testing::HasSubstr("t_warm NaN\n"));
}

TEST(Difference, NoDigitIsLost) {
  constexpr double kLarge = 123456789012345678.0;
  Registry registry;
  ASSERT_TRUE(registry.add_family(kOps));
  registry.record(kOps, EntityId::node, kLarge, {});
  const auto value = [](const std::string& text) {
    const auto parsed = TextParser(text).parse();
    return parsed ? parsed->families.at("t_ops_total").samples.begin()->second : -1;
  };
  EXPECT_NE(value(theirs(registry)), kLarge) << "prometheus-cpp has learned it";
  EXPECT_EQ(value(ours(registry)), kLarge);
}

TEST(Difference, TextIsUtf8WhateverIsRecorded) {
  Registry registry;
  ASSERT_TRUE(registry.add_family(kWarm));
  registry.record(kWarm, EntityId::node, 1, std::array<std::string_view, 1>{"bad\xFF\xC3"});
  EXPECT_TRUE(TextParser(ours(registry)).parse());

  prometheus::Registry foreign;
  prometheus::BuildGauge().Name("t_warm").Register(foreign).Add({{"what", "bad\xFF\xC3"}}).Set(1);
  EXPECT_FALSE(TextParser(prometheus::TextSerializer().Serialize(foreign.Collect())).parse());
  EXPECT_TRUE(TextParser(to_text(foreign.Collect(), Format::text)).parse());
}

TEST(Foreign, FamiliesOfAllTypesComeThroughOurWriter) {
  prometheus::Registry foreign;
  prometheus::BuildCounter()
      .Name("z_total")
      .Help("A \\ in\nhelp")
      .Register(foreign)
      .Add({})
      .Increment(3);
  prometheus::BuildHistogram()
      .Name("h")
      .Register(foreign)
      .Add({{"a", "b"}}, prometheus::Histogram::BucketBoundaries{1, 2})
      .Observe(1.5);
  prometheus::BuildSummary()
      .Name("s")
      .Register(foreign)
      .Add({}, prometheus::Summary::Quantiles{{0.5, 0.05}})
      .Observe(4);
  prometheus::BuildGauge().Name("empty").Register(foreign);
  EXPECT_EQ(to_text(foreign.Collect(), Format::openmetrics), R"(# TYPE h histogram
h_bucket{a="b",le="1.0"} 0
h_bucket{a="b",le="2.0"} 1
h_bucket{a="b",le="+Inf"} 1
h_sum{a="b"} 1.5
h_count{a="b"} 1
# TYPE s summary
s{quantile="0.5"} 4
s_sum 4
s_count 1
# HELP z A \\ in\nhelp
# TYPE z counter
z_total 3
# EOF
)");
}

}  // namespace
}  // namespace tarsier::exposition
