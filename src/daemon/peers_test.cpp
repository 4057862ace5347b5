// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/peers.h"

#include <gtest/gtest.h>

#include <map>

#include "enrich/test_flows.h"
#include "metrics/test_support.h"

namespace tarsier::daemon {
namespace {

using enrich::client_flow;
using metrics::EntityId;

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr auto kCount = counter("tarsier_demo_total", "Counted.", Unit::none);

const Subject kCurl = Subject::process(10, 100);
const Subject kNginx = Subject::process(20, 200);

class PeersTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(registry_.add_family(kCount));
    sources_.pods = &pods_;
    sources_.cluster = &cluster_;
    sources_.process = [this](const enrich::FlowOwner& owner, std::uint64_t) {
      const auto found = processes_.find(owner.tgid);
      return found == processes_.end() ? std::nullopt : std::optional(found->second);
    };
    sources_.dns = [this](const Address& address, std::uint32_t,
                          std::uint64_t) -> std::optional<std::string> {
      const auto found = dns_.find(enrich::format_address(address));
      return found == dns_.end() ? std::nullopt : std::optional(found->second);
    };
    peers_.emplace(registry_, sources_);
    curl_ = entity("curl");
  }

  EntityId entity(const std::string& comm) {
    return registry_.entity(std::array{metrics::Label{"comm", comm}});
  }
  // What a subject's series towards the peer are called, "…" while they are hidden.
  std::string labels(EntityId base, Peer peer) {
    const auto labels = registry_.labels_of(peers_->entity(base, peer.id, now_));
    if (!labels) return "…";
    std::string text;
    for (const metrics::Label& label : *labels) {
      text += (text.empty() ? "" : " ") + label.name + "=" + label.value;
    }
    return text;
  }
  std::string name(Peer peer) { return labels(EntityId::node, peer); }
  Peer connect(const Subject& subject, const Flow& flow) {
    return peers_->connect(subject, flow, now_);
  }
  void pass(std::uint64_t ns) {
    now_ += ns;
    peers_->poll(now_, [this](EntityId before, EntityId after) { merged_[before] = after; });
  }
  static Address address(std::string_view text) { return enrich::parse_address(text).value(); }

  metrics::Registry registry_;
  enrich::PodTable pods_;
  enrich::ClusterNames cluster_;
  std::map<std::uint32_t, PeerSources::LocalName> processes_ = {{10, {"curl", "", true}},
                                                                {20, {"nginx", "", true}}};
  std::map<std::string, std::string> dns_;
  PeerSources sources_;
  std::optional<Peers> peers_;
  EntityId curl_{};
  std::uint64_t now_ = 1000 * kSecond;
  std::map<EntityId, EntityId> merged_;
};

TEST_F(PeersTest, TheOtherEndOnThisNode) {
  const Flow flow = client_flow("127.0.0.1", 40001, "127.0.0.1", 80);
  const Peer first = connect(kCurl, flow);
  EXPECT_FALSE(first.settled);
  EXPECT_EQ(labels(curl_, first), "…") << "its server may tell of itself in a moment";
  const Peer client = connect(kNginx, far_end(flow));
  EXPECT_TRUE(client.settled);
  EXPECT_EQ(name(client), "peer=curl");
  pass(kSecond / 10);
  EXPECT_EQ(labels(curl_, first), "comm=curl peer=nginx");
  const Peer second = connect(kCurl, client_flow("127.0.0.1", 40002, "127.0.0.1", 80));
  EXPECT_TRUE(second.settled) << "the server is known now";
  EXPECT_EQ(name(second), "peer=nginx");
}

TEST_F(PeersTest, AnAddressThatNobodyNamesIsShownAfterASecond) {
  const Peer peer = connect(kCurl, client_flow("192.0.2.1", 40001, "198.51.100.7", 443));
  const EntityId hidden = peers_->entity(curl_, peer.id, now_);
  registry_.record(kCount, hidden, 3, {});
  pass(kPeerPendingNs - 1);
  EXPECT_EQ(labels(curl_, peer), "…");
  pass(kSecond);
  EXPECT_EQ(labels(curl_, peer), "comm=curl peer=198.51.100.7:443");
  const Peer again = connect(kCurl, client_flow("192.0.2.1", 40002, "198.51.100.7", 443));
  EXPECT_EQ(labels(curl_, again), "comm=curl peer=198.51.100.7:443") << "it waits no second time";
  EXPECT_FALSE(again.settled) << "a connection that lives on may find a name later";
}

TEST_F(PeersTest, ClientsAreCalledByTheirAddressWithoutThePort) {
  const auto from = [](std::uint16_t port) {
    return far_end(client_flow("198.51.100.7", port, "192.0.2.1", 80));
  };
  const Peer peer = connect(kNginx, from(50001));
  pass(2 * kSecond);
  EXPECT_EQ(name(peer), "peer=198.51.100.7");
  EXPECT_EQ(name(connect(kNginx, from(50002))), "peer=198.51.100.7");
}

// A connection that opens and closes in one round: its two records must be shown together.
TEST_F(PeersTest, TheNextQuestionForTheSameEndSettlesWhoWaits) {
  const Flow flow = client_flow("127.0.0.1", 40001, "127.0.0.1", 80);
  const Peer first = connect(kCurl, flow);
  EXPECT_EQ(labels(curl_, first), "…");
  (void)connect(kNginx, far_end(flow));
  EXPECT_EQ(labels(curl_, connect(kCurl, flow)), "comm=curl peer=nginx");
  pass(0);
  EXPECT_EQ(labels(curl_, first), "comm=curl peer=nginx");
}

// Two clients on one address that wait at the same time are not one.
TEST_F(PeersTest, WaitingClientsAreToldApartByTheirPorts) {
  const Flow curl = client_flow("127.0.0.1", 40001, "127.0.0.1", 80);
  const Flow other = client_flow("127.0.0.1", 40002, "127.0.0.1", 80);
  processes_[30] = {"wget", "", true};
  const Peer one = connect(kNginx, far_end(curl));
  const Peer two = connect(kNginx, far_end(other));
  (void)connect(kCurl, curl);
  (void)connect(Subject::process(30, 300), other);
  pass(kSecond / 10);
  EXPECT_EQ(name(one), "peer=curl");
  EXPECT_EQ(name(two), "peer=wget");
}

TEST_F(PeersTest, PodsServicesNodesAndDnsInThisOrder) {
  const Flow flow = client_flow("10.244.1.5", 40001, "10.244.2.7", 8080);
  dns_["10.244.2.7"] = "web.example.org";
  EXPECT_EQ(name(connect(kCurl, flow)), "peer=web.example.org");
  cluster_.put(enrich::ClusterKind::slice, "shop/web-1",
               {enrich::ClusterKind::slice, "web-svc", "shop"}, std::vector{address("10.244.2.7")});
  EXPECT_EQ(name(connect(kCurl, flow)), "peer=web-svc peer_namespace=shop");
  enrich::PodFacts pod;
  pod.uid = "u1";
  pod.name = "web-0";
  pod.namespace_name = "shop";
  pod.addresses = {address("10.244.2.7")};
  pods_.put(pod);
  EXPECT_EQ(name(connect(kCurl, flow)), "peer=web-0 peer_namespace=shop");
  pod.workload = "web";
  pods_.put(pod);
  EXPECT_EQ(name(connect(kCurl, flow)), "peer=web peer_namespace=shop");
}

class TranslatedPeersTest : public PeersTest {
 protected:
  void SetUp() override {
    PeersTest::SetUp();
    sources_.translate = [this](const Flow& flow) -> std::optional<Endpoint> {
      const auto found = translations_.find(flow.remote);
      return found == translations_.end() ? std::nullopt : std::optional(found->second);
    };
    peers_.emplace(registry_, sources_);
    cluster_.put(enrich::ClusterKind::service, "shop/web-svc",
                 {enrich::ClusterKind::service, "web-svc", "shop"},
                 std::vector{address("10.96.0.10")});
    enrich::PodFacts pod;
    pod.uid = "u1";
    pod.name = "web-0";
    pod.addresses = {address("10.244.1.9")};
    pods_.put(pod);
  }
  std::map<Endpoint, Endpoint> translations_;
  const Flow flow_ = client_flow("10.244.1.5", 40001, "10.96.0.10", 80);
};

TEST_F(TranslatedPeersTest, AConnectionIsNamedAfterItsBackend) {
  const Peer early = connect(kCurl, flow_);
  EXPECT_EQ(name(early), "…") << "the translation may not have been told yet";
  translations_[flow_.remote] = {address("10.244.1.9"), 8080};
  pass(kSecond / 10);
  EXPECT_EQ(name(early), "peer=web-0");
  translations_[flow_.remote] = {address("10.244.9.9"), 8080};
  EXPECT_EQ(name(connect(kCurl, flow_)), "peer=web-svc peer_namespace=shop")
      << "a backend without a name: the service has one";
}

TEST_F(TranslatedPeersTest, WithoutATranslationTheServiceIsTheNameAfterASecond) {
  const Peer peer = connect(kCurl, flow_);
  pass(kSecond / 2);
  EXPECT_EQ(name(peer), "…");
  pass(kSecond);
  EXPECT_EQ(name(peer), "peer=web-svc peer_namespace=shop");
}

// One address stands for several backends: what one connection learns says nothing of another.
TEST_F(TranslatedPeersTest, ConnectionsToOneServiceWaitEachForItsOwnBackend) {
  std::map<std::uint16_t, Endpoint> backends;  // by the client's port
  sources_.translate = [&](const Flow& flow) -> std::optional<Endpoint> {
    const auto found = backends.find(flow.local.port);
    return found == backends.end() ? std::nullopt : std::optional(found->second);
  };
  peers_.emplace(registry_, sources_);
  enrich::PodFacts other;
  other.uid = "u2";
  other.name = "web-1";
  other.addresses = {address("10.244.2.9")};
  pods_.put(other);
  const auto flow = [](std::uint16_t port) {
    return client_flow("10.244.1.5", port, "10.96.0.10", 80);
  };
  const Peer one = connect(kCurl, flow(40001));
  const Peer two = connect(kCurl, flow(40002));
  backends[40002] = {address("10.244.2.9"), 8080};
  EXPECT_EQ(name(connect(kCurl, flow(40002))), "peer=web-1");
  EXPECT_EQ(name(one), "…") << "it may have the other backend";
  backends[40001] = {address("10.244.1.9"), 8080};
  pass(kSecond / 10);
  EXPECT_EQ(name(one), "peer=web-0");
  EXPECT_EQ(name(two), "peer=web-1");
}

// The client sees the service's address, the server a masqueraded one; both are on this node.
TEST_F(TranslatedPeersTest, BothEndsFindEachOtherBehindTwoTranslations) {
  const Flow server = far_end(client_flow("192.0.2.1", 61001, "10.244.1.9", 8080));
  (void)connect(kCurl, flow_);  // before the translation is told
  translations_[flow_.remote] = {address("10.244.1.9"), 8080};
  translations_[server.remote] = flow_.local;
  (void)connect(kNginx, server);
  EXPECT_EQ(name(connect(kCurl, flow_)), "peer=nginx");
  EXPECT_EQ(name(connect(kNginx, server)), "peer=curl");
  peers_->disconnected(flow_, now_);
  peers_->disconnected(server, now_);
  pass(enrich::kClientGraceNs + 10 * kSecond);
  EXPECT_EQ(peers_->flows().clients(), 0U) << "under both of its addresses";
}

TEST_F(PeersTest, APendingSubjectAndAPendingPeerBecomeOneShownSeries) {
  const EntityId pending = registry_.pending_entity();
  const Peer peer = connect(kCurl, client_flow("192.0.2.1", 40001, "198.51.100.7", 443));
  const EntityId hidden = peers_->entity(pending, peer.id, now_);
  registry_.record(kCount, hidden, 3, {});
  // The same pair is shown already, by another process with the same name.
  pass(2 * kSecond);
  const Peer named = connect(kCurl, client_flow("192.0.2.1", 40002, "198.51.100.7", 443));
  const EntityId shown = peers_->entity(curl_, named.id, now_);
  registry_.record(kCount, shown, 5, {});
  const EntityId after = registry_.resolve(pending, std::array{metrics::Label{"comm", "curl"}});
  EXPECT_EQ(after, curl_);
  peers_->on_entity_named(pending, after);
  pass(kSecond);
  EXPECT_EQ(merged_[hidden], shown);
  EXPECT_EQ(peers_->entity(curl_, peer.id, now_), shown) << "the old number leads there too";
  EXPECT_EQ(
      metrics::shown(registry_).at("tarsier_demo_total{comm=\"curl\",peer=\"198.51.100.7:443\"}"),
      "8");
}

TEST_F(PeersTest, TooManyExternalNamesAreOneOther) {
  for (std::size_t i = 0; i < kMaxExternalPeers + 5; ++i) {
    const std::string host = "10.9." + std::to_string(i / 256) + "." + std::to_string(i % 256);
    dns_[host] = "host-" + std::to_string(i) + ".example.org";
    (void)connect(kCurl, client_flow("192.0.2.1", 40001, host, 443));
  }
  EXPECT_EQ(name(connect(kCurl, client_flow("192.0.2.1", 40001, "10.9.4.4", 443))), "peer=~other");
  EXPECT_EQ(name(connect(kCurl, client_flow("192.0.2.1", 40001, "10.9.0.4", 443))),
            "peer=host-4.example.org");
  EXPECT_EQ(peers_->figures().external, kMaxExternalPeers);
  EXPECT_EQ(peers_->figures().external_refused, 6U);
  (void)connect(kNginx, far_end(client_flow("127.0.0.1", 1, "127.0.0.1", 80)));
  EXPECT_EQ(name(connect(kCurl, client_flow("127.0.0.1", 1, "127.0.0.1", 80))), "peer=nginx")
      << "those of the node have room of their own";
}

TEST_F(PeersTest, TheIdleIsForgottenAndItsRoomUsedAgain) {
  dns_["10.9.0.1"] = "one.example.org";
  const Flow flow = client_flow("192.0.2.1", 40001, "10.9.0.1", 443);
  const Peer before = connect(kCurl, flow);
  EXPECT_EQ(labels(curl_, before), "comm=curl peer=one.example.org");
  pass(kPeerIdleNs - 1);
  EXPECT_EQ(peers_->figures().edges, 1U);
  pass(kPeerIdleNs);
  EXPECT_EQ(peers_->figures().edges, 0U);
  EXPECT_EQ(peers_->figures().peers, 0U);
  EXPECT_EQ(peers_->figures().external, 0U);
  EXPECT_EQ(labels(curl_, before), "comm=curl") << "a number of long ago names nobody";
  EXPECT_EQ(labels(curl_, connect(kCurl, flow)), "comm=curl peer=one.example.org");
}

TEST_F(PeersTest, SwitchedOffItSaysNothing) {
  peers_->enable(false);
  const Peer peer = connect(kCurl, client_flow("192.0.2.1", 40001, "198.51.100.7", 443));
  EXPECT_EQ(peer, Peer{});
  EXPECT_EQ(labels(curl_, peer), "comm=curl");
}

TEST_F(PeersTest, AnUnknownAddressIsNobody) {
  EXPECT_EQ(connect(kCurl, client_flow("0.0.0.0", 0, "0.0.0.0", 0)), Peer{});
  EXPECT_EQ(connect(kCurl, Flow{}), Peer{});
}

}  // namespace
}  // namespace tarsier::daemon
