// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/local_flows.h"

#include <gtest/gtest.h>

#include "enrich/test_flows.h"

namespace tarsier::enrich {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

constexpr FlowOwner kCurl{10, 100}, kNginx{20, 200}, kOther{30, 300};

TEST(LocalFlowsTest, EachEndKnowsTheOther) {
  LocalFlows flows;
  const Flow curl = client_flow("127.0.0.1", 40001, "127.0.0.1", 80, 7);
  const Flow nginx = far_end(curl);
  flows.connected(curl, kCurl, kSecond);
  EXPECT_EQ(flows.owner_of(far_end(curl)), std::nullopt) << "nobody was seen to serve it yet";
  flows.connected(nginx, kNginx, kSecond);
  EXPECT_EQ(flows.owner_of(far_end(curl)), kNginx);
  EXPECT_EQ(flows.owner_of(far_end(nginx)), kCurl);
}

TEST(LocalFlowsTest, AServerIsKnownToItsNextClientAtOnce) {
  LocalFlows flows;
  const Flow first = client_flow("127.0.0.1", 40001, "127.0.0.1", 80, 7);
  flows.connected(far_end(first), kNginx, kSecond);
  EXPECT_EQ(flows.owner_of(far_end(client_flow("127.0.0.1", 40002, "127.0.0.1", 80, 7))), kNginx);
  EXPECT_EQ(flows.owner_of(far_end(client_flow("127.0.0.1", 40002, "127.0.0.1", 81, 7))),
            std::nullopt);
}

TEST(LocalFlowsTest, LoopbackOfAnotherNamespaceIsAnotherMachine) {
  LocalFlows flows;
  const Flow here = client_flow("127.0.0.1", 40001, "127.0.0.1", 80, 7);
  const Flow there = client_flow("127.0.0.1", 40001, "127.0.0.1", 80, 8);
  flows.connected(far_end(here), kNginx, kSecond);
  EXPECT_EQ(flows.owner_of(far_end(there)), std::nullopt);
  flows.connected(far_end(there), kOther, kSecond);
  EXPECT_EQ(flows.owner_of(far_end(here)), kNginx);
  EXPECT_EQ(flows.owner_of(far_end(there)), kOther);
}

TEST(LocalFlowsTest, OtherAddressesMeanTheSameInEachNamespace) {
  LocalFlows flows;
  Flow pod = client_flow("10.244.1.5", 40001, "10.244.1.9", 8080, 7);
  Flow server = far_end(pod);
  server.netns = 8;
  flows.connected(pod, kCurl, kSecond);
  flows.connected(server, kNginx, kSecond);
  EXPECT_EQ(flows.owner_of(far_end(pod)), kNginx);
  EXPECT_EQ(flows.owner_of(far_end(server)), kCurl);
}

// The kernel gives one local port to connections that differ in their remote end.
TEST(LocalFlowsTest, TwoClientsMayShareALocalPort) {
  LocalFlows flows;
  const Flow one = client_flow("10.0.0.1", 40001, "10.0.0.2", 80, 7);
  const Flow two = client_flow("10.0.0.1", 40001, "10.0.0.3", 80, 7);
  flows.connected(one, kCurl, kSecond);
  flows.connected(two, kOther, kSecond);
  EXPECT_EQ(flows.owner_of(one), kCurl);
  EXPECT_EQ(flows.owner_of(two), kOther);
}

TEST(LocalFlowsTest, AcceptHandsTheConnectionOver) {
  LocalFlows flows;
  const Flow server = far_end(client_flow("10.0.0.1", 40001, "10.0.0.2", 80, 7));
  flows.connected(server, kNginx, kSecond);
  flows.connected(server, kOther, kSecond);
  EXPECT_EQ(flows.owner_of(server), kOther);
}

TEST(LocalFlowsTest, WhatIsOverIsForgottenAfterItsGraceTime) {
  LocalFlows flows;
  const Flow client = client_flow("10.0.0.1", 40001, "10.0.0.2", 80, 7);
  flows.connected(client, kCurl, kSecond);
  flows.connected(far_end(client), kNginx, kSecond);
  flows.expire(100 * kClientGraceNs);
  EXPECT_EQ(flows.clients(), 1U) << "it lives";
  flows.disconnected(client, 2 * kSecond);
  flows.expire(2 * kSecond + kClientGraceNs - 1);
  EXPECT_EQ(flows.clients(), 1U);
  flows.expire(2 * kSecond + kClientGraceNs);
  EXPECT_EQ(flows.clients(), 0U);
  EXPECT_EQ(flows.servers(), 1U);
  flows.expire(kSecond + kServerGraceNs);
  EXPECT_EQ(flows.servers(), 0U);
}

TEST(LocalFlowsTest, TheLimitIsCounted) {
  LocalFlows flows;
  for (std::size_t i = 0; i < kMaxLocalServers + 3; ++i) {
    Flow flow = far_end(client_flow("10.0.0.1", 40001, "10.0.0.2", 80, 7));
    flow.local.address[13] = static_cast<std::uint8_t>(i >> 16U);
    flow.local.address[14] = static_cast<std::uint8_t>(i >> 8U);
    flow.local.address[15] = static_cast<std::uint8_t>(i);
    flows.connected(flow, kNginx, kSecond);
  }
  EXPECT_EQ(flows.servers(), kMaxLocalServers);
  EXPECT_EQ(flows.stats().servers_refused, 3U);
}

}  // namespace
}  // namespace tarsier::enrich
