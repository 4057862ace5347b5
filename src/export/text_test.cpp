// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "export/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "export/gzip.h"
#include "metrics/registry.h"

namespace tarsier::exposition {
namespace {

using metrics::EntityId;
using metrics::Label;
using metrics::Registry;

constexpr std::string_view kMethod[] = {"method"};
constexpr double kBounds[] = {.00001, .00025, 1, 2500000};
constexpr auto kOps =
    counter("a_ops_seconds_total", "Time \\ in \"ops\".\nSecond line.", Unit::seconds, kMethod);
constexpr auto kTemperature = gauge("b_temperature", "How warm it is.");
constexpr auto kDelay = histogram("c_delay_seconds", "Delays.", Unit::seconds, kBounds, kMethod);

std::string scrape(const Registry& registry, Format format) {
  std::string all;
  Scrape scrape(registry, format);
  for (std::string chunk; scrape.next(chunk);) {
    EXPECT_LE(chunk.size(), kChunkBytes);
    all += chunk;
  }
  return all;
}

std::string number(double value) {
  std::string text;
  append_number(text, value);
  return text;
}

TEST(Numbers, ShortestFormThatReadsBack) {
  EXPECT_EQ(number(0), "0");
  EXPECT_EQ(number(-0.0), "-0");
  EXPECT_EQ(number(1), "1");
  EXPECT_EQ(number(-1000000), "-1000000");
  EXPECT_EQ(number(100000000), "100000000");
  EXPECT_EQ(number(9007199254740991), "9007199254740991");
  EXPECT_EQ(number(123456789012345678.0), "123456789012345680");
  EXPECT_EQ(number(1e300), "1e+300");
  EXPECT_EQ(number(0.1), "0.1");
  EXPECT_EQ(number(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(number(5e-324), "5e-324");
  EXPECT_EQ(number(std::nan("")), "NaN");
  EXPECT_EQ(number(-std::nan("")), "NaN");
  EXPECT_EQ(number(INFINITY), "+Inf");
  EXPECT_EQ(number(-INFINITY), "-Inf");
  std::string largest;
  append_number(largest, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(largest, "18446744073709551615");
}

TEST(Numbers, AnyBitPatternReadsBack) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200'000; ++i) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    const std::string text = number(value);
    double back = 0;
    std::from_chars(text.data(), text.data() + text.size(), back);
    ASSERT_EQ(std::bit_cast<std::uint64_t>(back), std::bit_cast<std::uint64_t>(value)) << text;
  }
}

TEST(Bounds, AsGoWritesThem) {
  EXPECT_EQ(bound_text(.00001, Format::text), "1e-05");
  EXPECT_EQ(bound_text(.0001, Format::text), "0.0001");
  EXPECT_EQ(bound_text(.025, Format::text), "0.025");
  EXPECT_EQ(bound_text(1, Format::text), "1");
  EXPECT_EQ(bound_text(1, Format::openmetrics), "1.0");
  EXPECT_EQ(bound_text(1e6, Format::openmetrics), "1e+06");
  EXPECT_EQ(bound_text(.5, Format::openmetrics), "0.5");
  EXPECT_EQ(bound_text(INFINITY, Format::openmetrics), "+Inf");
}

class Exposition : public testing::Test {
 protected:
  Exposition() {
    for (const MetricDef* def :
         std::initializer_list<const MetricDef*>{&kDelay, &kOps, &kTemperature}) {
      EXPECT_TRUE(registry.add_family(*def));
    }
    const std::array<std::string_view, 1> get{"GE\"T"}, put{"PUT"}, none{""};
    const EntityId web = registry.entity(std::array{Label{"comm", "web"}});
    registry.record(kOps, web, 1.5, get);
    registry.record(kOps, EntityId::node, 2, put);
    registry.record(kTemperature, web, -3.25, {});
    registry.record(kTemperature, EntityId::node, NAN, {});
    for (const double delay : {0.00001, 0.5, 1.0, 3e6}) registry.record(kDelay, web, delay, put);
    registry.record(kDelay, EntityId::node, 0.0002, none);
  }
  Registry registry;
};

TEST_F(Exposition, PrometheusText) {
  EXPECT_EQ(scrape(registry, Format::text),
            R"(# HELP a_ops_seconds_total Time \\ in "ops".\nSecond line.
# TYPE a_ops_seconds_total counter
a_ops_seconds_total{comm="web",method="GE\"T"} 1.5
a_ops_seconds_total{method="PUT"} 2
# HELP b_temperature How warm it is.
# TYPE b_temperature gauge
b_temperature{comm="web"} -3.25
b_temperature NaN
# HELP c_delay_seconds Delays.
# TYPE c_delay_seconds histogram
c_delay_seconds_bucket{comm="web",method="PUT",le="1e-05"} 1
c_delay_seconds_bucket{comm="web",method="PUT",le="0.00025"} 1
c_delay_seconds_bucket{comm="web",method="PUT",le="1"} 3
c_delay_seconds_bucket{comm="web",method="PUT",le="2.5e+06"} 3
c_delay_seconds_bucket{comm="web",method="PUT",le="+Inf"} 4
c_delay_seconds_sum{comm="web",method="PUT"} 3000001.50001
c_delay_seconds_count{comm="web",method="PUT"} 4
c_delay_seconds_bucket{le="1e-05"} 0
c_delay_seconds_bucket{le="0.00025"} 1
c_delay_seconds_bucket{le="1"} 1
c_delay_seconds_bucket{le="2.5e+06"} 1
c_delay_seconds_bucket{le="+Inf"} 1
c_delay_seconds_sum 2e-04
c_delay_seconds_count 1
)");
}

TEST_F(Exposition, OpenMetrics) {
  EXPECT_EQ(scrape(registry, Format::openmetrics),
            R"(# HELP a_ops_seconds Time \\ in \"ops\".\nSecond line.
# TYPE a_ops_seconds counter
# UNIT a_ops_seconds seconds
a_ops_seconds_total{comm="web",method="GE\"T"} 1.5
a_ops_seconds_total{method="PUT"} 2
# HELP b_temperature How warm it is.
# TYPE b_temperature gauge
b_temperature{comm="web"} -3.25
b_temperature NaN
# HELP c_delay_seconds Delays.
# TYPE c_delay_seconds histogram
# UNIT c_delay_seconds seconds
c_delay_seconds_bucket{comm="web",method="PUT",le="1e-05"} 1
c_delay_seconds_bucket{comm="web",method="PUT",le="0.00025"} 1
c_delay_seconds_bucket{comm="web",method="PUT",le="1.0"} 3
c_delay_seconds_bucket{comm="web",method="PUT",le="2.5e+06"} 3
c_delay_seconds_bucket{comm="web",method="PUT",le="+Inf"} 4
c_delay_seconds_sum{comm="web",method="PUT"} 3000001.50001
c_delay_seconds_count{comm="web",method="PUT"} 4
c_delay_seconds_bucket{le="1e-05"} 0
c_delay_seconds_bucket{le="0.00025"} 1
c_delay_seconds_bucket{le="1.0"} 1
c_delay_seconds_bucket{le="2.5e+06"} 1
c_delay_seconds_bucket{le="+Inf"} 1
c_delay_seconds_sum 2e-04
c_delay_seconds_count 1
# EOF
)");
}

TEST(OpenMetrics, NoSumWhereNegativeValuesMayBeObserved) {
  static constexpr double kNegative[] = {-1, 1};
  static constexpr auto kShift = histogram("t_shift", "Shifts.", Unit::none, kNegative);
  Registry registry;
  ASSERT_TRUE(registry.add_family(kShift));
  registry.record(kShift, EntityId::node, -2, {});
  EXPECT_THAT(scrape(registry, Format::text), testing::HasSubstr("t_shift_sum -2\n"));
  EXPECT_THAT(scrape(registry, Format::openmetrics), testing::Not(testing::HasSubstr("_sum")));
}

TEST(Scrape, AnEmptyRegistryIsEmptyText) {
  const Registry registry;
  EXPECT_EQ(scrape(registry, Format::text), "");
  EXPECT_EQ(scrape(registry, Format::openmetrics), "# EOF\n");
}

// Far more than one chunk, in a family whose single series is larger than a chunk.
class Large : public testing::Test {
 protected:
  Large() {
    for (std::size_t i = 0; i < many_.size(); ++i) many_[i] = static_cast<double>(i);
    for (std::size_t i = 0; i < names_.size(); ++i) {
      strings_[i] = "label_with_a_rather_long_name_" + std::to_string(i);
      names_[i] = strings_[i];
      values_[i] = wide_;
    }
    wide = {Kind::histogram, "t_wide", "Wide.", Unit::none, names_, many_};
    EXPECT_TRUE(registry.add_family(wide));
    EXPECT_TRUE(registry.add_family(kOps));
    for (int i = 0; i < 5'000; ++i) {
      const std::string text = "method-" + std::to_string(i);
      const std::array<std::string_view, 1> method{text};
      registry.record(kOps, EntityId::node, i, method);
    }
    registry.record(wide, EntityId::node, 5, values_);
  }

  const std::string wide_ = std::string(128, 'w');
  std::array<double, metrics::kMaxBuckets> many_{};
  std::array<std::string, metrics::kMaxFamilyLabels> strings_;
  std::array<std::string_view, metrics::kMaxFamilyLabels> names_, values_;
  MetricDef wide;
  Registry registry{{.series = 50'000}};
};

TEST_F(Large, ComesInChunksThatMakeUpTheWhole) {
  Scrape chunks(registry, Format::text);
  std::string all, chunk;
  std::size_t smaller = 0;
  while (chunks.next(chunk)) {
    ASSERT_LE(chunk.size(), kChunkBytes);
    if (chunk.size() < kChunkBytes) ++smaller;
    all += chunk;
  }
  EXPECT_EQ(smaller, 1U) << "only the last chunk is not full";
  EXPECT_EQ(std::ranges::count(all, '\n'), 2 + 5'000 + 2 + 129 + 2);
  EXPECT_GT(all.size(), 5 * kChunkBytes);
  EXPECT_EQ(all, scrape(registry, Format::text)) << "a quiet registry reads the same again";
}

std::string gunzip(const std::string& data) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  std::string all(32 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(all.data());
  stream.avail_out = static_cast<uInt>(all.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  EXPECT_EQ(stream.avail_in, 0U);
  all.resize(stream.total_out);
  inflateEnd(&stream);
  return all;
}

TEST_F(Large, GzipGivesTheSameText) {
  Scrape chunks(registry, Format::openmetrics);
  auto gzip = GzipStream::over([&](std::string& chunk) { return chunks.next(chunk); });
  ASSERT_TRUE(gzip);
  GzipStream moved = std::move(*gzip);
  std::string packed;
  for (std::string chunk; moved.next(chunk);) {
    EXPECT_FALSE(chunk.empty());
    EXPECT_LE(chunk.size(), kChunkBytes);
    packed += chunk;
  }
  const std::string plain = scrape(registry, Format::openmetrics);
  EXPECT_LT(packed.size(), plain.size() / 5);
  EXPECT_EQ(gunzip(packed), plain);
}

TEST(Gzip, AnEmptySourceIsAValidStream) {
  auto gzip = GzipStream::over([](std::string&) { return false; });
  ASSERT_TRUE(gzip);
  std::string packed;
  for (std::string chunk; gzip->next(chunk);) packed += chunk;
  EXPECT_EQ(gunzip(packed), "");
}

TEST(Gzip, OutputLargerThanAChunk) {
  std::mt19937 random(3);
  std::string noise(300'000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  std::size_t at = 0;
  auto gzip = GzipStream::over([&](std::string& chunk) {
    chunk = noise.substr(at, 50'000);
    at += chunk.size();
    return !chunk.empty();
  });
  ASSERT_TRUE(gzip);
  std::string packed;
  for (std::string chunk; gzip->next(chunk);) {
    EXPECT_LE(chunk.size(), kChunkBytes);
    packed += chunk;
  }
  EXPECT_EQ(gunzip(packed), noise);
}

}  // namespace
}  // namespace tarsier::exposition
