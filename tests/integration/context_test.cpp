// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Names of containers, pods and peers on the daemon's own numbers: real containers, real network
// namespaces with real translation, and a Kubernetes API server in a box.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "enrich/test_dns_message.h"
#include "integration/cri_admin.h"
#include "integration/nat_network.h"
#include "integration/runtime_fixtures.h"
#include "net/kubernetes/fake/fake_cluster.h"
#include "net/kubernetes/fake/objects.h"

namespace tarsier {
namespace {

using live::Child;
using live::Labels;
using live::Signal;
using net::kubernetes::fake::FakeCluster;
using net::kubernetes::fake::FakePod;
using net::kubernetes::fake::Kind;

// ---- Kubernetes on top of a real containerd

class InACluster : public test::Containerd {
 protected:
  void SetUp() override {
    test::Containerd::SetUp();
    if (IsSkipped()) return;
    if (const std::string why = live::unavailable(); !why.empty()) GTEST_SKIP() << why;
    import_image();
    host_ = make_host();
    admin_.emplace(socket_, directory_.path("logs"));
    pod_ = admin_->run_pod({});
    ASSERT_EQ(pod_.size(), 64U) << test::tail(directory_.path("log"));
    container_ = admin_->run(pod_, {.name = "app", .image = std::string(kImage)});
    ASSERT_EQ(container_.size(), 64U);
    cluster_.put(Kind::replica_sets,
                 net::kubernetes::fake::owner_json("shop", {"ReplicaSet", "web-5d4f8c", "rs-1"},
                                                   {"Deployment", "web", "d-1"}));
    put_pod("blue");
  }
  void TearDown() override {
    if (pod_.empty()) return;
    EXPECT_TRUE(admin_->end_pod(pod_));
  }
  void put_pod(const std::string& colour) {
    FakePod pod;
    pod.name = "web-0";
    pod.uid = "uid-1";
    pod.node = "node-a";
    pod.container_id = container_;
    pod.labels = {{"colour", colour}, {"pod-template-hash", "5d4f8c"}};
    pod.owner = {"ReplicaSet", "web-5d4f8c", "rs-1"};
    cluster_.put(Kind::pods, net::kubernetes::fake::pod_json(pod));
  }
  std::vector<std::string> arguments() const {
    return {
        "--set", "node.root=" + host_,          "--set", "kubernetes.api_server=" + cluster_.url(),
        "--set", "kubernetes.node_name=node-a", "--set", "labels.k8s_pod_labels=[\"colour\"]"};
  }
  static Labels in_pod(const std::string& colour) {
    return {{"comm", "sleep"},       {"container", "app"}, {"namespace", "shop"},
            {"pod", "web-0"},        {"workload", "web"},  {"workload_kind", "Deployment"},
            {"label_colour", colour}};
  }

  FakeCluster cluster_;
  std::string host_;
  std::optional<test::CriAdmin> admin_;
  std::string pod_, container_;
};

TEST_F(InACluster, ProcessesCarryPodWorkloadAndChosenLabels) {
  const live::Daemon daemon(arguments());
  EXPECT_TRUE(daemon.becomes("tarsier_processes", in_pod("blue"), 1));
  EXPECT_TRUE(daemon.becomes("tarsier_pod_info",
                             {{"uid", "uid-1"}, {"workload", "web"}, {"label_colour", "blue"}}, 1));
  EXPECT_TRUE(daemon.becomes(
      "tarsier_container_info",
      {{"container", "app"}, {"pod", "web-0"}, {"container_id", container_.substr(0, 12)}}, 1));
  EXPECT_EQ(daemon.scrape().sum("tarsier_processes", {{"comm", "sleep"}, {"container", "app"}}), 1)
      << "no series without the labels";
  // Everybody who is asked, and nobody without an answer.
  const auto targets = live::http(daemon.socket(), "GET", "/api/v1/targets");
  EXPECT_EQ(targets.status, 200);
  EXPECT_NE(targets.body.find("\"unresolved\": 0"), std::string::npos) << targets.body;
  EXPECT_NE(targets.body.find("\"kubernetes/pods\""), std::string::npos) << targets.body;
}

TEST_F(InACluster, AChangedPodChangesWhatRuns) {
  const live::Daemon daemon(arguments());
  EXPECT_TRUE(daemon.becomes("tarsier_processes", in_pod("blue"), 1));
  put_pod("green");
  EXPECT_TRUE(daemon.becomes("tarsier_processes", in_pod("green"), 1));
  EXPECT_TRUE(daemon.becomes("tarsier_processes", in_pod("blue"), 0));
}

TEST_F(InACluster, ADeadApiServerCostsTheWorkloadAndNothingElse) {
  cluster_.stop();
  const live::Daemon daemon(arguments());
  EXPECT_TRUE(daemon.becomes(
      "tarsier_processes",
      {{"comm", "sleep"}, {"container", "app"}, {"namespace", "shop"}, {"pod", "web-0"}}, 1));
  EXPECT_TRUE(daemon.becomes("tarsier_source_up", {{"source", "kubernetes/pods"}}, 0));
  EXPECT_TRUE(
      daemon.becomes_at_least("tarsier_source_failures_total", {{"source", "kubernetes/pods"}}, 1));
  EXPECT_EQ(daemon.scrape().sum("tarsier_processes", {{"workload", "web"}}), 0);
  cluster_.start();
  EXPECT_TRUE(daemon.becomes("tarsier_processes", in_pod("blue"), 1));
  EXPECT_TRUE(daemon.becomes("tarsier_source_up", {{"source", "kubernetes/pods"}}, 1));
}

TEST_F(InACluster, RulesMayNamePodsAndTheirLabels) {
  auto with_rule = arguments();
  with_rule.insert(
      with_rule.end(),
      {"--set", "targets.exclude=[{ namespace = \"shop\", label = { colour = \"red\" } }]"});
  put_pod("red");
  const live::Daemon daemon(with_rule);
  EXPECT_TRUE(daemon.becomes("tarsier_pod_info", {{"label_colour", "red"}}, 1));
  EXPECT_EQ(daemon.scrape().sum("tarsier_processes", {{"comm", "sleep"}, {"container", "app"}}), 0);
  put_pod("blue");
  EXPECT_TRUE(daemon.becomes("tarsier_processes", in_pod("blue"), 1));
}

TEST_F(InACluster, AnEndedContainerIsCounted) {
  const live::Daemon daemon(arguments());
  EXPECT_TRUE(daemon.becomes("tarsier_processes", in_pod("blue"), 1));
  const std::string job = admin_->run(pod_, {.name = "job",
                                             .image = std::string(kImage),
                                             .command = {"/bin/busybox", "sh", "-c", "exit 3"}});
  EXPECT_TRUE(daemon.becomes(
      "tarsier_container_exits_total",
      {{"container", "job"}, {"namespace", "shop"}, {"code", "3"}, {"reason", "Error"}}, 1));
}

// ---- Peers in network namespaces

constexpr int kConnections = 17;  // to each service

class Peers : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = live::unavailable(); !why.empty()) GTEST_SKIP() << why;
    if (!network_.problem().empty()) GTEST_SKIP() << network_.problem();
    if (!test::find_program("nft")) GTEST_SKIP() << "nft is missing (nftables)";
  }
  // Runs in the host's network namespace, where the daemon is.
  void at_host(const std::function<void(const live::Daemon&)>& work) {
    test::inside(network_.host(), [&] {
      const live::Daemon daemon;
      work(daemon);
    });
  }
  static bool enter(int netns_fd) { return ::setns(netns_fd, CLONE_NEWNET) == 0; }

  test::NatNetwork network_;
};

// Takes connections until it is killed: one byte in, one byte out.
int serve(int netns_fd, std::uint16_t port, const Signal& listening) {
  if (::setns(netns_fd, CLONE_NEWNET) != 0) return 1;
  const base::UniqueFd listener = test::serve(netns_fd, SOCK_STREAM, port);
  if (!listener) return 2;
  ::listen(listener.get(), 64);
  listening.send();
  while (true) {
    const base::UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char byte = 0;
    while (client && ::recv(client.get(), &byte, 1, 0) == 1) (void)!::send(client.get(), "x", 1, 0);
  }
}

int call(int netns_fd, std::string_view address, std::uint16_t port, int connections) {
  for (int i = 0; i < connections; ++i) {
    const base::UniqueFd socket =
        test::open_connection(netns_fd, SOCK_STREAM, test::endpoint(address, port));
    char byte = 0;
    if (!socket || ::send(socket.get(), "x", 1, MSG_NOSIGNAL) != 1) return 1;
    if (::recv(socket.get(), &byte, 1, 0) != 1) return 2;
  }
  return 0;
}

TEST_F(Peers, AreTheBackendsBehindAServicesAddress) {
  at_host([&](const live::Daemon& daemon) {
    Signal first, second;
    const Child one("nat-one", [&] { return serve(network_.pod(1), 8080, first); });
    const Child two("nat-two", [&] { return serve(network_.pod(2), 8080, second); });
    first.await();
    second.await();
    for (const char* service : {"10.96.0.10", "10.96.0.11"}) {  // the second one masquerades
      Child client("nat-client", [&] { return call(network_.pod(0), service, 80, kConnections); });
      EXPECT_EQ(client.wait(), 0) << service;
    }
    constexpr std::string_view kOpened = "tarsier_tcp_connections_opened_total";
    EXPECT_TRUE(daemon.becomes("tarsier_tcp_connections_closed_total", {{"comm", "nat-client"}},
                               2 * kConnections));
    const auto scrape = daemon.scrape();
    for (const char* server : {"nat-one", "nat-two"}) {
      const double served =
          scrape.sum(kOpened, {{"comm", server}, {"role", "server"}, {"peer", "nat-client"}});
      EXPECT_GT(served, 0) << server;
      EXPECT_EQ(scrape.sum(kOpened, {{"comm", "nat-client"}, {"peer", server}}), served);
      EXPECT_EQ(scrape.sum(kOpened, {{"comm", server}, {"role", "server"}}), served)
          << "no connection of another peer";
    }
    EXPECT_EQ(scrape.sum(kOpened, {{"comm", "nat-client"}}), 2 * kConnections);
  });
}

TEST_F(Peers, AreCalledByTheNameThatWasAskedFor) {
  at_host([&](const live::Daemon& daemon) {
    Signal ready;
    const Child resolver("dns-server", [&]() -> int {
      const base::UniqueFd socket = test::serve(network_.pod(1), SOCK_DGRAM, 53);
      if (!socket) return 1;
      ready.send();
      std::array<char, 512> query;
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      if (::recvfrom(socket.get(), query.data(), query.size(), 0,
                     reinterpret_cast<sockaddr*>(&from), &size) < 0) {
        return 2;
      }
      // The address is that of a pod where nobody listens.
      const enrich::test::DnsMessage answer =
          enrich::test::DnsMessage("db.example.org").a(60, std::string_view("\x0a\xf4\x02\x02", 4));
      (void)!::sendto(socket.get(), answer.text().data(), answer.size(), 0,
                      reinterpret_cast<sockaddr*>(&from), size);
      return 0;
    });
    ready.await();
    Child client("dns-client", [&]() -> int {
      const base::UniqueFd socket =
          test::open_connection(network_.pod(0), SOCK_DGRAM, test::endpoint("10.244.2.2", 53));
      std::array<char, 512> answer;
      if (!socket || ::send(socket.get(), "?", 1, 0) != 1) return 1;
      if (::recv(socket.get(), answer.data(), answer.size(), 0) <= 0) return 2;
      (void)test::open_connection(network_.pod(0), SOCK_STREAM, test::endpoint("10.244.2.2", 5432));
      return 0;
    });
    EXPECT_EQ(client.wait(), 0);
    EXPECT_TRUE(daemon.becomes(
        "tarsier_tcp_connect_failures_total",
        {{"comm", "dns-client"}, {"peer", "db.example.org"}, {"reason", "refused"}}, 1));
  });
}

TEST_F(Peers, OfWhomNobodyKnowsANameAreCalledByTheirAddress) {
  at_host([&](const live::Daemon& daemon) {
    Child client("far-client", [&] {
      (void)test::open_connection(network_.pod(0), SOCK_STREAM, test::endpoint("10.244.3.2", 7));
      return 0;
    });
    EXPECT_EQ(client.wait(), 0);
    EXPECT_TRUE(daemon.becomes("tarsier_tcp_connect_failures_total",
                               {{"comm", "far-client"}, {"peer", "10.244.3.2:7"}}, 1));
  });
}

}  // namespace
}  // namespace tarsier
