// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/address.h"

#include <gtest/gtest.h>

namespace tarsier::enrich {
namespace {

TEST(AddressTest, BothFamiliesThereAndBack) {
  for (const char* text : {"10.0.0.1", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1"}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(format_address(*address), text);
  }
  EXPECT_EQ(parse_address("::ffff:10.0.0.1"), parse_address("10.0.0.1"));
  for (const char* text : {"", "10.0.0", "10.0.0.1:80", "fe80::1%eth0", "host", "1.2.3.4 "}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

TEST(AddressTest, EndpointsAsInAUrl) {
  EXPECT_EQ(format_endpoint({*parse_address("10.0.0.1"), 80}), "10.0.0.1:80");
  EXPECT_EQ(format_endpoint({*parse_address("2001:db8::1"), 443}), "[2001:db8::1]:443");
}

TEST(AddressTest, LoopbackAndLinkLocal) {
  for (const char* own : {"127.0.0.1", "127.8.9.1", "::1", "fe80::1", "169.254.1.1"}) {
    EXPECT_TRUE(is_namespace_local(*parse_address(own))) << own;
  }
  for (const char* common : {"10.0.0.1", "::2", "2001:db8::1", "128.0.0.1", "fec0::1"}) {
    EXPECT_FALSE(is_namespace_local(*parse_address(common))) << common;
  }
  EXPECT_TRUE(is_unspecified(*parse_address("0.0.0.0")));
  EXPECT_TRUE(is_unspecified(*parse_address("::")));
  EXPECT_FALSE(is_unspecified(*parse_address("::1")));
}

}  // namespace
}  // namespace tarsier::enrich
