// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/dns_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "enrich/test_dns_message.h"

namespace tarsier::enrich {
namespace {

using test::DnsMessage;
using testing::ElementsAre;

const std::string kFour("\xc0\x00\x02\x07", 4);  // 192.0.2.7
const std::string kOtherFour("\xc0\x00\x02\x08", 4);
const std::string kSix("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);  // 2001:db8::1

IpAddress mapped(std::uint8_t last) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, last};
}

DnsFault fault_of(const DnsMessage& message) {
  const auto answer = read_dns_answer(message.bytes());
  EXPECT_FALSE(answer) << answer->name;
  return answer ? DnsFault{255} : answer.error();
}

TEST(DnsMessage, TheQuestionsNameAndItsAddresses) {
  const auto answer =
      read_dns_answer(DnsMessage("www.example.org").a(300, kFour).a(60, kOtherFour).bytes());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->name, "www.example.org");
  EXPECT_THAT(answer->addresses,
              ElementsAre(DnsAddress{mapped(7), 300}, DnsAddress{mapped(8), 60}));
  EXPECT_TRUE(answer->complete);
}

TEST(DnsMessage, Ipv6) {
  const auto answer = read_dns_answer(DnsMessage("six.example", DnsMessage::kAaaa)
                                          .record(0xc00c, DnsMessage::kAaaa, 5, kSix)
                                          .bytes());
  ASSERT_TRUE(answer);
  const IpAddress expected = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  EXPECT_THAT(answer->addresses, ElementsAre(DnsAddress{expected, 5}));
}

// The names may differ in case; the shortest time on the way counts.
TEST(DnsMessage, AliasesLeadToTheAddressOfTheQuestion) {
  DnsMessage message("Shop.Example.ORG");
  message.record(DnsMessage::kQuestionName, DnsMessage::kCname, 30,
                 DnsMessage::wire_name("edge.cdn.example"));
  message.record("EDGE.cdn.example", DnsMessage::kCname, 900,
                 DnsMessage::wire_name("a1.cdn.example"));
  message.record("a1.cdn.example", DnsMessage::kA, 20, kFour);
  message.record("a1.cdn.example", DnsMessage::kA, 600, kOtherFour);
  const auto answer = read_dns_answer(message.bytes());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->name, "shop.example.org");
  EXPECT_THAT(answer->addresses, ElementsAre(DnsAddress{mapped(7), 20}, DnsAddress{mapped(8), 30}));
}

TEST(DnsMessage, AnAliasMayBeCompressed) {
  DnsMessage message("www.example.org");
  // "cdn" and a pointer to "example.org", four bytes behind the question's start.
  const std::size_t alias_at = message.size() + 12;
  message.record(DnsMessage::kQuestionName, DnsMessage::kCname, 60,
                 std::string("\x03") + "cdn" + "\xc0\x10");
  message.record(static_cast<std::uint16_t>(0xc000U + alias_at), DnsMessage::kA, 60, kFour);
  const auto answer = read_dns_answer(message.bytes());
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->addresses, ElementsAre(DnsAddress{mapped(7), 60}));
}

TEST(DnsMessage, AddressesOfOtherNamesAreLeftOut) {
  DnsMessage message("www.example.org");
  message.record("evil.example.org", DnsMessage::kA, 60, kOtherFour);
  message.a(60, kFour);
  const auto answer = read_dns_answer(message.bytes());
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->addresses, ElementsAre(DnsAddress{mapped(7), 60}));
}

TEST(DnsMessage, OtherRecordsAndLengthsAreStepsOver) {
  DnsMessage message("www.example.org");
  message.record(DnsMessage::kQuestionName, DnsMessage::kTxt, 60, "\x03txt");
  message.record(DnsMessage::kQuestionName, DnsMessage::kA, 60, "five!");
  message.record(DnsMessage::kQuestionName, DnsMessage::kA, 60, "");
  message.a(60, kOtherFour);
  message.set16(message.size() - 12, 3);  // its class is CHAOS
  message.a(60, kFour);
  const auto answer = read_dns_answer(message.bytes());
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->addresses, ElementsAre(DnsAddress{mapped(7), 60}));
}

TEST(DnsMessage, ATtlWithTheHighestBitIsZero) {
  const auto answer = read_dns_answer(DnsMessage("a.b").a(0x8000'0001U, kFour).bytes());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->addresses.front().ttl_s, 0U);
}

TEST(DnsMessage, WhatIsNoAnswer) {
  EXPECT_EQ(fault_of(DnsMessage("a.b", DnsMessage::kA, 0x0100).a(1, kFour)), DnsFault::no_answer);
  EXPECT_EQ(fault_of(DnsMessage("a.b", DnsMessage::kA, 0x8183).a(1, kFour)), DnsFault::no_answer);
  EXPECT_EQ(fault_of(DnsMessage("a.b", DnsMessage::kA, 0xa800).a(1, kFour)), DnsFault::no_answer);
  EXPECT_EQ(fault_of(DnsMessage("a.b")), DnsFault::no_answer);
  EXPECT_EQ(fault_of(DnsMessage("a.b").a(1, kFour).set16(4, 2)), DnsFault::no_answer);
  EXPECT_EQ(fault_of(DnsMessage("a.b").a(1, kFour).set16(4, 0)), DnsFault::no_answer);
  DnsMessage chaos("a.b");
  chaos.set16(chaos.size() - 2, 3);
  EXPECT_EQ(fault_of(chaos.a(1, kFour)), DnsFault::no_answer);
}

TEST(DnsMessage, NamesOfOtherCharactersAreDropped) {
  for (const char* name : {"a b.example", "a\nb", "caf\xc3\xa9.example", "*.example", "a\"b"}) {
    EXPECT_EQ(fault_of(DnsMessage(name).a(1, kFour)), DnsFault::bad_name) << name;
  }
  EXPECT_EQ(fault_of(DnsMessage("").a(1, kFour)), DnsFault::bad_name);
  // A dot inside of a label is none between labels.
  EXPECT_EQ(fault_of(DnsMessage("aXb").set16(14, 0x2e62).a(1, kFour)), DnsFault::bad_name);
  const auto service = read_dns_answer(DnsMessage("_http._tcp.x-1.example").a(1, kFour).bytes());
  ASSERT_TRUE(service);
  EXPECT_EQ(service->name, "_http._tcp.x-1.example");
}

TEST(DnsMessage, TheLongestNameAndOneLonger) {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  ASSERT_EQ(longest.size(), kMaxDnsName);
  const auto answer = read_dns_answer(DnsMessage(longest).a(1, kFour).bytes());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->name, longest);
  EXPECT_EQ(fault_of(DnsMessage(longest + "b").a(1, kFour)), DnsFault::malformed);
}

// RFC 1035, 4.1.4: "a prior occurrence". A pointer to itself, to what follows, in a ring, into the
// header, and one whose labels run back into it.
TEST(DnsMessage, PointersThatDoNotGoBack) {
  const std::size_t behind = DnsMessage("a.b").size();
  const auto with_owner = [](unsigned pointer) {
    return DnsMessage("a.b").record(static_cast<std::uint16_t>(0xc000U + pointer), DnsMessage::kA,
                                    1, kFour);
  };
  EXPECT_EQ(fault_of(with_owner(static_cast<unsigned>(behind))), DnsFault::malformed);
  EXPECT_EQ(fault_of(with_owner(static_cast<unsigned>(behind) + 2)), DnsFault::malformed);
  EXPECT_EQ(fault_of(with_owner(0x3fff)), DnsFault::malformed);
  EXPECT_EQ(fault_of(with_owner(0)), DnsFault::malformed);
  EXPECT_EQ(fault_of(with_owner(11)), DnsFault::malformed);
  DnsMessage question_is_a_loop("");
  question_is_a_loop.set16(12, 0xc00c).raw(std::string("\0\1\0\1", 4));
  EXPECT_EQ(fault_of(question_is_a_loop), DnsFault::malformed);

  DnsMessage ring("a.b");  // two aliases whose data point to each other
  const std::size_t first = ring.size() + 12, second = first + 2 + 12;
  const auto pointer = [](std::size_t at) {
    return std::string{static_cast<char>(0xc0U | at >> 8U), static_cast<char>(at & 0xffU)};
  };
  ring.record(DnsMessage::kQuestionName, DnsMessage::kCname, 1, pointer(second));
  ring.record(DnsMessage::kQuestionName, DnsMessage::kCname, 1, pointer(first));
  EXPECT_EQ(fault_of(ring), DnsFault::malformed);

  DnsMessage again("a.b");  // "x" and a pointer to "x"
  const std::size_t x = again.size() + 12;
  again.record(DnsMessage::kQuestionName, DnsMessage::kCname, 1, "\x01x" + pointer(x));
  EXPECT_EQ(fault_of(again), DnsFault::malformed);
}

TEST(DnsMessage, ALongChainOfPointersThatGoBackIsRead) {
  DnsMessage message("a.b");
  std::string chain = "\xc0\x0c";
  std::size_t at = message.size() + 12;
  for (int i = 0; i < 5'000; ++i, at += 2) {
    chain.push_back(static_cast<char>(0xc0U | at >> 8U));
    chain.push_back(static_cast<char>(at & 0xffU));
  }
  message.record(DnsMessage::kQuestionName, DnsMessage::kTxt, 1, chain);
  message.record(static_cast<std::uint16_t>(0xc000U | at), DnsMessage::kA, 1, kFour);
  const auto answer = read_dns_answer(message.bytes());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->addresses.size(), 1U);
}

TEST(DnsMessage, AnAliasMustEndWhereItsDataEnd) {
  for (const std::string& data :
       {std::string("\x01x"), std::string("\x01x\0\0", 4), std::string("\x41")}) {
    DnsMessage message("a.b");
    message.record(DnsMessage::kQuestionName, DnsMessage::kCname, 1, data).a(1, kFour);
    EXPECT_EQ(fault_of(message), DnsFault::malformed);
  }
}

// Cut off at every place: never more than the whole says, and what was whole before the end.
TEST(DnsMessage, CutAnywhere) {
  DnsMessage message("www.example.org");
  const std::size_t question_end = message.size();
  message.a(300, kFour);
  const std::size_t first_end = message.size();
  message.a(300, kOtherFour);
  for (std::size_t size = 0; size < message.size(); ++size) {
    const auto answer = read_dns_answer(message.front(size));
    if (size < question_end) {
      ASSERT_FALSE(answer) << size;
      EXPECT_EQ(answer.error(), DnsFault::malformed) << size;
    } else if (size < first_end) {
      ASSERT_FALSE(answer) << size;
      EXPECT_EQ(answer.error(), DnsFault::no_answer) << size;
    } else {
      ASSERT_TRUE(answer) << size;
      EXPECT_FALSE(answer->complete);
      EXPECT_THAT(answer->addresses, ElementsAre(DnsAddress{mapped(7), 300}));
    }
  }
}

TEST(DnsMessage, CountsAreNotBelieved) {
  const auto lies = read_dns_answer(DnsMessage("a.b").a(1, kFour).set16(6, 0xffff).bytes());
  ASSERT_TRUE(lies);
  EXPECT_EQ(lies->addresses.size(), 1U);
  EXPECT_FALSE(lies->complete);

  DnsMessage many("a.b");
  for (std::size_t i = 0; i < kMaxDnsAddresses + 1; ++i) many.a(1, kFour);
  const auto bounded = read_dns_answer(many.bytes());
  ASSERT_TRUE(bounded);
  EXPECT_EQ(bounded->addresses.size(), kMaxDnsAddresses);
  EXPECT_FALSE(bounded->complete);

  DnsMessage texts("a.b");
  for (std::size_t i = 0; i < kMaxDnsRecords; ++i) {
    texts.record(DnsMessage::kQuestionName, DnsMessage::kTxt, 1, "");
  }
  EXPECT_EQ(fault_of(texts.a(1, kFour)), DnsFault::no_answer);

  DnsMessage one_too_many("a.b");
  for (std::size_t i = 0; i < kMaxDnsRecords; ++i) {
    one_too_many.record(DnsMessage::kQuestionName, i == 0 ? DnsMessage::kA : DnsMessage::kTxt, 1,
                        kFour);
  }
  EXPECT_TRUE(read_dns_answer(one_too_many.bytes())->complete);
  one_too_many.a(1, kOtherFour);
  EXPECT_FALSE(read_dns_answer(one_too_many.bytes())->complete);
}

}  // namespace
}  // namespace tarsier::enrich
