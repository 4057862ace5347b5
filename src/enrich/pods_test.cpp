// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/pods.h"

#include <gtest/gtest.h>

namespace tarsier::enrich {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

PodFacts pod(const std::string& uid, const std::string& name, std::string_view address = "") {
  PodFacts facts;
  facts.uid = uid;
  facts.name = name;
  facts.namespace_name = "shop";
  if (!address.empty()) facts.addresses = {parse_address(address).value()};
  return facts;
}

std::string name_of(const PodFacts* facts) {
  return facts == nullptr ? "nobody" : facts->name;
}

TEST(PodTableTest, IsFoundByUidContainerAndAddress) {
  PodTable pods;
  PodFacts web = pod("u1", "web", "10.244.1.5");
  web.containers = {{"c1", "nginx", "", 0}, {"", "starting", "", 0}};
  EXPECT_TRUE(pods.put(web));
  EXPECT_EQ(name_of(pods.find("u1")), "web");
  EXPECT_EQ(name_of(pods.of_container("c1")), "web");
  EXPECT_EQ(name_of(pods.of_container("")), "nobody");
  EXPECT_EQ(name_of(pods.at(parse_address("10.244.1.5").value())), "web");
  EXPECT_EQ(name_of(pods.at(parse_address("10.244.1.6").value())), "nobody");
}

TEST(PodTableTest, AStaticPodIsFoundByTheUidOfItsCgroup) {
  PodTable pods;
  PodFacts etcd = pod("api-uid", "etcd-node-1");
  etcd.cgroup_uid = "hash-of-its-file";
  pods.put(etcd);
  EXPECT_EQ(name_of(pods.find("hash-of-its-file")), "etcd-node-1");
  EXPECT_EQ(name_of(pods.find("api-uid")), "etcd-node-1");
}

TEST(PodTableTest, TheHostsAddressIsNoPods) {
  PodTable pods;
  PodFacts proxy = pod("u1", "kube-proxy", "192.0.2.1");
  proxy.host_network = true;
  pods.put(proxy);
  EXPECT_EQ(name_of(pods.at(parse_address("192.0.2.1").value())), "nobody");
}

TEST(PodTableTest, SaysWhetherLabelsChanged) {
  PodTable pods;
  PodFacts web = pod("u1", "web", "10.244.1.5");
  EXPECT_TRUE(pods.put(web));
  EXPECT_FALSE(pods.put(web));
  web.addresses = {parse_address("10.244.1.6").value()};
  EXPECT_FALSE(pods.put(web)) << "no label shows an address";
  EXPECT_EQ(name_of(pods.at(parse_address("10.244.1.5").value())), "nobody");
  EXPECT_EQ(name_of(pods.at(parse_address("10.244.1.6").value())), "web");
  web.workload = "web";
  EXPECT_TRUE(pods.put(web));
}

TEST(PodTableTest, AnAddressThatIsUsedAgainIsTheNewPods) {
  PodTable pods;
  pods.put(pod("u1", "old", "10.244.1.5"));
  pods.remove("u1", kSecond);
  pods.put(pod("u2", "new", "10.244.1.5"));
  pods.expire(kSecond + kPodGraceNs);
  EXPECT_EQ(pods.size(), 1U);
  EXPECT_EQ(name_of(pods.at(parse_address("10.244.1.5").value())), "new");
}

TEST(PodTableTest, ARemovedPodStaysForItsGraceTime) {
  PodTable pods;
  pods.put(pod("u1", "web"));
  pods.remove("u1", kSecond);
  pods.expire(kSecond + kPodGraceNs - 1);
  EXPECT_EQ(name_of(pods.find("u1")), "web");
  pods.expire(kSecond + kPodGraceNs);
  EXPECT_EQ(name_of(pods.find("u1")), "nobody");
}

TEST(PodTableTest, WhatANewListDoesNotNameIsGone) {
  PodTable pods;
  pods.put(pod("u1", "stays"));
  pods.put(pod("u2", "goes"));
  pods.begin_list();
  pods.put(pod("u1", "stays"));
  pods.end_list(kSecond);
  pods.expire(kSecond + kPodGraceNs);
  EXPECT_EQ(name_of(pods.find("u1")), "stays");
  EXPECT_EQ(name_of(pods.find("u2")), "nobody");
}

TEST(PodTableTest, TheLimitIsCounted) {
  PodTable pods;
  for (std::size_t i = 0; i < kMaxPods + 3; ++i) pods.put(pod("u" + std::to_string(i), "p"));
  EXPECT_EQ(pods.size(), kMaxPods);
  EXPECT_EQ(pods.stats().refused, 3U);
}

}  // namespace
}  // namespace tarsier::enrich
