// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/runtime_container.h"

#include <gtest/gtest.h>

namespace tarsier::net {
namespace {

TEST(RuntimeTime, IsReadWithFractionAndOffset) {
  constexpr std::int64_t kWhole = 1'700'000'000'000'000'000;
  EXPECT_EQ(parse_time("2023-11-14T22:13:20Z"), kWhole);
  EXPECT_EQ(parse_time("2023-11-14T22:13:20.5Z"), kWhole + 500'000'000);
  EXPECT_EQ(parse_time("2023-11-14T22:13:20.123456789Z"), kWhole + 123'456'789);
  EXPECT_EQ(parse_time("2023-11-14T22:13:20.1234567899999Z"), kWhole + 123'456'789);
  EXPECT_EQ(parse_time("2023-11-14T23:43:20+01:30"), kWhole);
  EXPECT_EQ(parse_time("2023-11-14T20:13:20-02:00"), kWhole);
  EXPECT_EQ(parse_time("1970-01-01T00:00:00Z"), 0);
}

TEST(RuntimeTime, RefusesWhatIsNone) {
  for (const std::string_view text :
       {"", "0001-01-01T00:00:00Z", "2023-11-14", "2023-11-14T22:13:20", "2023-11-14T22:13:20.Z",
        "2023-02-30T00:00:00Z", "2023-13-01T00:00:00Z", "2023-01-01T24:00:00Z",
        "9999-01-01T00:00:00Z", "2023-11-14T22:13:20Zx", "2023-11-14T22:13:20+1:00",
        "1970-01-01T00:00:00+01:00", "x"}) {
    EXPECT_EQ(parse_time(text), std::nullopt) << text;
  }
}

TEST(RuntimeText, DigestsAreWholeOrNone) {
  const std::string hex(64, 'a');
  EXPECT_EQ(digest_of("docker.io/library/nginx@sha256:" + hex), "sha256:" + hex);
  EXPECT_EQ(digest_of("sha256:" + hex), "sha256:" + hex);
  for (const std::string& text : {std::string("sha256:"), std::string("nginx:1"), hex,
                                  "sha256:" + hex + "0", std::string()}) {
    EXPECT_EQ(digest_of(text), "") << text;
  }
}

TEST(RuntimeText, ReasonsAreOneWord) {
  EXPECT_EQ(exit_reason("StartError", 128, false), "StartError");
  EXPECT_EQ(exit_reason("", 0, false), "Completed");
  EXPECT_EQ(exit_reason("", 1, false), "Error");
  EXPECT_EQ(exit_reason("two words", 1, false), "Error");
  EXPECT_EQ(exit_reason(std::string(41, 'x'), 0, false), "Completed");
  EXPECT_EQ(exit_reason("Error", 137, true), "OOMKilled");
}

}  // namespace
}  // namespace tarsier::net
