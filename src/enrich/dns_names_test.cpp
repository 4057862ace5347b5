// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/dns_names.h"

#include <gtest/gtest.h>

#include "enrich/test_dns_message.h"

namespace tarsier::enrich {
namespace {

using test::DnsMessage;

constexpr std::uint64_t kSecond = 1'000'000'000, kStart = 1'000 * kSecond;
constexpr std::uint32_t kShop = 100, kMail = 200, kChild = 300;

class DnsNamesTest : public testing::Test {
 protected:
  static IpAddress address(std::uint16_t host) {
    return {0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0xff,
            0xff,
            10,
            0,
            static_cast<std::uint8_t>(host >> 8U),
            static_cast<std::uint8_t>(host & 0xffU)};
  }
  void learn(std::string_view name, std::uint16_t host, std::uint32_t tgid, std::uint64_t time_ns,
             std::uint32_t ttl_s = 60, DnsSender sender = DnsSender::server) {
    const IpAddress whole = address(host);
    const std::string data(reinterpret_cast<const char*>(whole.data()) + 12, 4);
    names_.learn(DnsMessage(name).a(ttl_s, data).bytes(), tgid, sender, time_ns);
  }
  std::string find(std::uint16_t host, std::uint32_t tgid, std::uint64_t now_ns) {
    const std::string* name = names_.find(address(host), tgid, now_ns);
    return name == nullptr ? "nothing" : *name;
  }

  DnsNames names_;
};

TEST_F(DnsNamesTest, TheAskerAndEveryoneElseFindIt) {
  learn("www.example.org", 1, kShop, kStart);
  EXPECT_EQ(find(1, kShop, kStart), "www.example.org");
  EXPECT_EQ(find(1, kChild, kStart), "www.example.org");
  EXPECT_EQ(find(2, kShop, kStart), "nothing");
  EXPECT_EQ(names_.stats().learnt, 1U);
}

TEST_F(DnsNamesTest, EachAskerFindsItsOwnNameOfASharedAddress) {
  learn("shop.example", 1, kShop, kStart);
  learn("mail.example", 1, kMail, kStart + 1);
  EXPECT_EQ(find(1, kShop, kStart + 2), "shop.example");
  EXPECT_EQ(find(1, kMail, kStart + 2), "mail.example");
  EXPECT_EQ(find(1, kChild, kStart + 2), "mail.example");  // the last one
  learn("new.example", 1, kShop, kStart + 3);
  EXPECT_EQ(find(1, kShop, kStart + 4), "new.example");
  EXPECT_EQ(find(1, kMail, kStart + 4), "mail.example");
}

TEST_F(DnsNamesTest, AnUnknownSenderIsBelievedByTheReceiverAlone) {
  learn("www.example.org", 1, kMail, kStart);
  learn("evil.example", 1, kShop, kStart + 1, 60, DnsSender::unknown);
  learn("evil.example", 2, kShop, kStart + 1, 60, DnsSender::unknown);
  EXPECT_EQ(find(1, kShop, kStart + 2), "evil.example");
  EXPECT_EQ(find(1, kMail, kStart + 2), "www.example.org");
  EXPECT_EQ(find(1, kChild, kStart + 2), "www.example.org");
  EXPECT_EQ(find(2, kChild, kStart + 2), "nothing");
}

TEST_F(DnsNamesTest, AreKeptForTheirTtlButNeitherTooShortNorTooLong) {
  learn("short.example", 1, kShop, kStart, 0);
  learn("middle.example", 2, kShop, kStart, 3'600);
  learn("long.example", 3, kShop, kStart, 7 * 24 * 3'600);
  EXPECT_EQ(find(1, kShop, kStart + kMinDnsKeepNs - 1), "short.example");
  EXPECT_EQ(find(1, kShop, kStart + kMinDnsKeepNs), "nothing");
  EXPECT_EQ(find(2, kShop, kStart + 3'600 * kSecond - 1), "middle.example");
  EXPECT_EQ(find(2, kShop, kStart + 3'600 * kSecond), "nothing");
  EXPECT_EQ(find(3, kShop, kStart + kMaxDnsKeepNs - 1), "long.example");
  EXPECT_EQ(find(3, kShop, kStart + kMaxDnsKeepNs), "nothing");
}

TEST_F(DnsNamesTest, ANewAnswerKeepsTheNameLonger) {
  learn("www.example.org", 1, kShop, kStart);
  learn("www.example.org", 1, kShop, kStart + 200 * kSecond);
  EXPECT_EQ(find(1, kShop, kStart + 499 * kSecond), "www.example.org");
  EXPECT_EQ(find(1, kChild, kStart + 499 * kSecond), "www.example.org");
  EXPECT_EQ(names_.size(), 2U);
}

TEST_F(DnsNamesTest, AnAskersNameThatRanOutGivesWayToEveryones) {
  learn("old.example", 1, kShop, kStart);
  learn("www.example.org", 1, kMail, kStart + 200 * kSecond);
  EXPECT_EQ(find(1, kShop, kStart + 299 * kSecond), "old.example");
  EXPECT_EQ(find(1, kShop, kStart + 300 * kSecond), "www.example.org");
}

TEST_F(DnsNamesTest, TheLeastRecentlyRefreshedGoesAtTheLimit) {
  names_ = DnsNames(6);
  learn("a.example", 1, kShop, kStart);
  learn("b.example", 2, kShop, kStart + 1);
  learn("c.example", 3, kShop, kStart + 2);
  learn("a.example", 1, kShop, kStart + 3);
  EXPECT_EQ(names_.stats().evicted, 0U);
  learn("d.example", 4, kShop, kStart + 4);
  EXPECT_EQ(names_.size(), 6U);
  EXPECT_EQ(names_.stats().evicted, 2U);  // for the asker and for everyone
  EXPECT_EQ(find(1, kShop, kStart + 5), "a.example");
  EXPECT_EQ(find(2, kShop, kStart + 5), "nothing");
  EXPECT_EQ(find(2, kChild, kStart + 5), "nothing");
  EXPECT_EQ(find(3, kShop, kStart + 5), "c.example");
  EXPECT_EQ(find(4, kShop, kStart + 5), "d.example");
}

TEST_F(DnsNamesTest, WhatHadRunOutIsNoLoss) {
  names_ = DnsNames(2);
  learn("a.example", 1, kShop, kStart);
  learn("b.example", 2, kShop, kStart + kMinDnsKeepNs);
  EXPECT_EQ(names_.stats().evicted, 0U);
  EXPECT_EQ(find(2, kShop, kStart + kMinDnsKeepNs), "b.example");
}

TEST_F(DnsNamesTest, NeverMoreThanTheLimit) {
  for (std::uint32_t i = 0; i < 40'000; ++i) {
    learn("n" + std::to_string(i) + ".example", static_cast<std::uint16_t>(i), kShop, kStart);
  }
  EXPECT_EQ(names_.size(), kMaxDnsNames);
  EXPECT_EQ(names_.stats().evicted, 2 * 40'000 - kMaxDnsNames);
}

TEST_F(DnsNamesTest, CountsWhatItCouldNotTake) {
  const std::string four("\x0a\0\0\1", 4);
  const auto take = [&](const DnsMessage& message) {
    names_.learn(message.bytes(), kShop, DnsSender::server, kStart);
  };
  take(DnsMessage("a b").a(1, four));
  take(DnsMessage("a.b").record(std::uint16_t{0xffff}, DnsMessage::kA, 1, four));
  take(DnsMessage("a.b"));  // no address is no fault
  take(DnsMessage("a.b").a(1, four).set16(6, 2));
  EXPECT_EQ(names_.stats().bad_names, 1U);
  EXPECT_EQ(names_.stats().malformed, 1U);
  EXPECT_EQ(names_.stats().incomplete, 1U);
  EXPECT_EQ(names_.stats().learnt, 1U);
}

}  // namespace
}  // namespace tarsier::enrich
