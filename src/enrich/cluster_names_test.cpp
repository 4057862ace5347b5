// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/cluster_names.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace tarsier::enrich {
namespace {

class ClusterNamesTest : public testing::Test {
 protected:
  void put(ClusterKind kind, const std::string& namespace_name, const std::string& object,
           const std::string& name, std::initializer_list<const char*> texts) {
    std::vector<Address> addresses;
    for (const char* text : texts) addresses.push_back(parse_address(text).value());
    names_.put(kind, namespace_name + "/" + object, {kind, name, namespace_name}, addresses);
  }
  std::string find(const char* address) {
    const ClusterName* name = names_.find(parse_address(address).value());
    return name == nullptr ? "nobody" : name->namespace_name + "/" + name->name;
  }
  ClusterNames names_;
};

TEST_F(ClusterNamesTest, ServicesSlicesAndNodes) {
  put(ClusterKind::service, "shop", "web", "web", {"10.96.0.10", "fd00::10"});
  put(ClusterKind::slice, "shop", "web-abcde", "web", {"10.244.2.7", "10.244.3.8"});
  put(ClusterKind::node, "", "node-2", "node-2", {"192.0.2.2"});
  EXPECT_EQ(find("10.96.0.10"), "shop/web");
  EXPECT_EQ(find("fd00::10"), "shop/web");
  EXPECT_EQ(find("10.244.3.8"), "shop/web");
  EXPECT_EQ(find("192.0.2.2"), "/node-2");
  EXPECT_EQ(find("192.0.2.3"), "nobody");
}

TEST_F(ClusterNamesTest, AnUpdateReplacesTheAddresses) {
  put(ClusterKind::slice, "shop", "web-abcde", "web", {"10.244.2.7", "10.244.3.8"});
  put(ClusterKind::slice, "shop", "web-abcde", "web", {"10.244.3.8", "10.244.4.9"});
  EXPECT_EQ(find("10.244.2.7"), "nobody");
  EXPECT_EQ(find("10.244.4.9"), "shop/web");
  names_.remove(ClusterKind::slice, "shop/web-abcde");
  EXPECT_EQ(find("10.244.4.9"), "nobody");
  EXPECT_EQ(names_.addresses(), 0U);
}

// One pod may be behind several services; which one names it does not depend on who came first.
TEST_F(ClusterNamesTest, OfSeveralTheOrderDecides) {
  put(ClusterKind::slice, "shop", "web-b", "web-internal", {"10.244.2.7"});
  put(ClusterKind::slice, "shop", "web-a", "web", {"10.244.2.7"});
  put(ClusterKind::node, "", "a-node", "a-node", {"10.244.2.7"});
  EXPECT_EQ(find("10.244.2.7"), "shop/web");
  names_.remove(ClusterKind::slice, "shop/web-a");
  EXPECT_EQ(find("10.244.2.7"), "shop/web-internal");
  names_.remove(ClusterKind::slice, "shop/web-b");
  EXPECT_EQ(find("10.244.2.7"), "/a-node");
}

TEST_F(ClusterNamesTest, ANewListOfOneKindLeavesTheOthersAlone) {
  put(ClusterKind::service, "shop", "web", "web", {"10.96.0.10"});
  put(ClusterKind::service, "shop", "db", "db", {"10.96.0.11"});
  put(ClusterKind::slice, "shop", "web-a", "web", {"10.244.2.7"});
  names_.begin_list(ClusterKind::service);
  put(ClusterKind::service, "shop", "db", "db", {"10.96.0.11"});
  names_.end_list(ClusterKind::service);
  EXPECT_EQ(find("10.96.0.10"), "nobody");
  EXPECT_EQ(find("10.96.0.11"), "shop/db");
  EXPECT_EQ(find("10.244.2.7"), "shop/web");
}

TEST_F(ClusterNamesTest, TheLimitOfAddressesIsCounted) {
  std::vector<Address> addresses(kMaxClusterAddresses + 3);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    addresses[i][13] = static_cast<std::uint8_t>(i >> 16U);
    addresses[i][14] = static_cast<std::uint8_t>(i >> 8U);
    addresses[i][15] = static_cast<std::uint8_t>(i);
  }
  names_.put(ClusterKind::slice, "shop/huge", {ClusterKind::slice, "huge", "shop"}, addresses);
  EXPECT_EQ(names_.addresses(), kMaxClusterAddresses);
  EXPECT_EQ(names_.stats().refused, 3U);
}

}  // namespace
}  // namespace tarsier::enrich
