// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Durations, sizes and addresses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/listen.h"
#include "config/units.h"

namespace tarsier::config {
namespace {

using testing::Eq;
using testing::HasSubstr;
using testing::Optional;

TEST(Units, Durations) {
  EXPECT_THAT(parse_duration("250ms"), Optional(250'000'000));
  EXPECT_THAT(parse_duration("5s"), Optional(5'000'000'000));
  EXPECT_THAT(parse_duration("5m"), Optional(300'000'000'000));
  EXPECT_THAT(parse_duration("1h"), Optional(3'600'000'000'000));
  EXPECT_THAT(parse_duration("7us"), Optional(7'000));
  EXPECT_THAT(parse_duration("0"), Optional(0));
  for (const char* bad : {"", "5", "5 s", " 5s", "-5s", "+5s", "1.5s", "5S", "5sec", "s", "5s ",
                          "9223372036854775808ns", "2562048h"}) {
    EXPECT_THAT(parse_duration(bad), Eq(std::nullopt)) << bad;
  }
}

TEST(Units, Sizes) {
  EXPECT_THAT(parse_size("256MiB"), Optional(268'435'456));
  EXPECT_THAT(parse_size("1KiB"), Optional(1'024));
  EXPECT_THAT(parse_size("2GiB"), Optional(2'147'483'648));
  EXPECT_THAT(parse_size("17"), Optional(17));
  for (const char* bad : {"", "MiB", "1MB", "1 MiB", "-1", "1.5MiB", "8388608TiB"}) {
    EXPECT_THAT(parse_size(bad), Eq(std::nullopt)) << bad;
  }
}

TEST(Units, WhatIsWrittenReadsBack) {
  for (const std::int64_t ns : {0L, 1L, 999L, 1'000L, 1'500'000L, 60'000'000'000L, 90'000'000'000L,
                                86'400'000'000'000L, INT64_MAX}) {
    EXPECT_THAT(parse_duration(format_duration(ns)), Optional(ns)) << format_duration(ns);
    EXPECT_THAT(parse_size(format_size(ns)), Optional(ns)) << format_size(ns);
  }
  EXPECT_EQ(format_duration(300'000'000'000), "5m");
  EXPECT_EQ(format_duration(1'500'000'000), "1500ms");
  EXPECT_EQ(format_size(268'435'456), "256MiB");
  EXPECT_EQ(format_size(1'000), "1000B");
}

TEST(Listen, Addresses) {
  const auto v4 = parse_listen("127.0.0.1:9921");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->host, "127.0.0.1");
  EXPECT_EQ(v4->port, 9921);
  EXPECT_FALSE(v4->ipv6);
  EXPECT_TRUE(v4->local());
  const auto v6 = parse_listen("[::]:0");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "::");
  EXPECT_EQ(v6->port, 0);
  EXPECT_TRUE(v6->ipv6);
  EXPECT_FALSE(v6->local());
  EXPECT_EQ(parse_listen("auto")->mode, ListenAddress::Mode::automatic);
  EXPECT_FALSE(parse_listen("auto")->local());
  EXPECT_EQ(parse_listen("off")->mode, ListenAddress::Mode::off);
  EXPECT_EQ(parse_listen("")->mode, ListenAddress::Mode::off);
  EXPECT_TRUE(parse_listen("off")->local());
}

TEST(Listen, WhatOnlyThisHostReaches) {
  for (const char* local : {"127.9.9.9:1", "[::1]:1", "[0:0::1]:1", "[::ffff:127.0.0.1]:1"}) {
    EXPECT_TRUE(parse_listen(local)->local()) << local;
  }
  for (const char* remote :
       {"0.0.0.0:1", "10.127.0.1:1", "[::]:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"}) {
    EXPECT_FALSE(parse_listen(remote)->local()) << remote;
  }
}

TEST(Listen, WhatIsWrongIsSaid) {
  const auto why = [](std::string_view text) {
    const auto address = parse_listen(text);
    return address ? std::string("accepted") : address.error().message;
  };
  EXPECT_THAT(why("127.0.0.1"), HasSubstr("port is missing"));
  EXPECT_THAT(why("9920"), HasSubstr("port is missing"));
  EXPECT_THAT(why(":9920"), HasSubstr("[::] is every address"));
  EXPECT_THAT(why("::1:9920"), HasSubstr("in brackets"));
  EXPECT_THAT(why("[::1:9920"), HasSubstr("not closed"));
  EXPECT_THAT(why("[:9920"), HasSubstr("not closed"));
  EXPECT_THAT(why("[127.0.0.1]:1"), HasSubstr("not an IP address"));
  EXPECT_THAT(why("127.1:1"), HasSubstr("not an IP address"));
  for (const char* port :
       {"1.1.1.1:", "1.1.1.1:x", "1.1.1.1:-1", "1.1.1.1:65536", "1.1.1.1: 1", "1.1.1.1:1 "}) {
    EXPECT_THAT(why(port), HasSubstr("from 0 to 65535")) << port;
  }
}

}  // namespace
}  // namespace tarsier::config
