// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Connection tracking of the real kernel: services that nftables translates, seen from both ends.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/clock.h"
#include "integration/nat_network.h"
#include "integration/peer.h"
#include "net/conntrack.h"

namespace tarsier::net {
namespace {

using test::accept_any;
using test::endpoint;
using test::inside;
using test::local_of;
using test::open_connection;
using test::remote_of;
using test::serve;
using test::wait_for;

// Both ends of a connection, as their sockets have it.
struct Connection {
  base::UniqueFd client;
  base::UniqueFd server;

  [[nodiscard]] Tuple client_tuple() const {
    return {local_of(client), remote_of(client), IPPROTO_TCP};
  }
  [[nodiscard]] Tuple server_tuple() const {
    return {local_of(server), remote_of(server), IPPROTO_TCP};
  }
};

class Nat : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::geteuid() == 0) network_ = std::make_unique<test::NatNetwork>();
  }
  static void TearDownTestSuite() { network_.reset(); }

  void SetUp() override {
    if (network_ == nullptr) GTEST_SKIP() << "network namespaces and nftables need root";
    if (!network_->problem().empty()) GTEST_SKIP() << network_->problem();
    network_->write_host_sysctl("netfilter/nf_conntrack_events", "2");
    network_->forget();
    for (const std::size_t pod : {1U, 2U}) {
      backends_.push_back(serve(network_->pod(pod), SOCK_STREAM, 8'080));
    }
  }

  static ConntrackOptions options() { return {}; }
  // Listens in the namespace of the host.
  Status start(const ConntrackOptions& options = {}) {
    conntrack_ = std::make_unique<Conntrack>(clock_, options);
    Status started;
    inside(network_->host(), [&] { started = conntrack_->start(); });
    // From the first dump on, an event for whatever begins.
    EXPECT_TRUE(!started || wait_for([&] { return conntrack_->state().dumps > 0; }));
    return started;
  }
  Connection connect(const Endpoint& to, const base::UniqueFd* listener = nullptr) {
    Connection connection;
    connection.client = open_connection(network_->pod(0), SOCK_STREAM, to);
    connection.server =
        listener != nullptr ? accept_any({listener}) : accept_any({&backends_[0], &backends_[1]});
    EXPECT_TRUE(connection.client);
    EXPECT_TRUE(connection.server);
    return connection;
  }
  std::optional<Translation> await(const Tuple& tuple) {
    wait_for([&] { return conntrack_->find(tuple).has_value(); });
    return conntrack_->find(tuple);
  }
  // Opens `count` connections to a service and compares what is known with what the ends say.
  void expect_translated(const Endpoint& service, int count, bool masqueraded) {
    std::size_t first = 0;
    for (int i = 0; i < count; ++i) {
      const Connection connection = connect(service);
      const auto server = await(connection.client_tuple());
      ASSERT_TRUE(server) << i;
      EXPECT_EQ(server->remote, local_of(connection.server)) << i;
      EXPECT_EQ(server->side, NatSide::client);
      if (local_of(connection.server).address == backend_address(service)) ++first;
      const auto client = conntrack_->find(connection.server_tuple());
      EXPECT_EQ(client.has_value(), masqueraded) << i;
      if (!masqueraded) {
        EXPECT_EQ(remote_of(connection.server), local_of(connection.client));
      } else if (client) {
        EXPECT_NE(remote_of(connection.server), local_of(connection.client));
        EXPECT_EQ(client->remote, local_of(connection.client)) << i;
        EXPECT_EQ(client->side, NatSide::server);
      }
    }
    EXPECT_GE(first, static_cast<std::size_t>(count / 2)) << "both backends are taken in turn";
    EXPECT_LE(first, static_cast<std::size_t>(count / 2 + 1));
  }
  static std::array<std::uint8_t, 16> backend_address(const Endpoint& service) {
    const bool v4 = service.address[10] == 0xff;
    return endpoint(v4 ? "10.244.2.2" : "fd00:244:2::2", 0).address;
  }

  static std::unique_ptr<test::NatNetwork> network_;
  base::SystemClock clock_;
  std::vector<base::UniqueFd> backends_;  // of pods 1 and 2
  std::unique_ptr<Conntrack> conntrack_;
};

std::unique_ptr<test::NatNetwork> Nat::network_;

TEST_F(Nat, EachConnectionToAServiceHasItsBackend) {
  ASSERT_TRUE(start());
  expect_translated(endpoint("10.96.0.10", 80), 31, false);
  EXPECT_EQ(conntrack_->state().entries, 31U);
  EXPECT_EQ(conntrack_->state().malformed, 0U);
  EXPECT_EQ(conntrack_->state().namespaces, 1U);
}

TEST_F(Nat, TheServerOfAMasqueradedClientKnowsIt) {
  ASSERT_TRUE(start());
  expect_translated(endpoint("10.96.0.11", 80), 17, true);
  EXPECT_EQ(conntrack_->state().entries, 34U);
}

TEST_F(Nat, ServicesOfIpv6HaveBackendsToo) {
  ASSERT_TRUE(start());
  expect_translated(endpoint("fd00:96::10", 80), 13, false);
}

TEST_F(Nat, AMasqueradedClientWithoutAService) {
  ASSERT_TRUE(start());
  const base::UniqueFd listener = serve(network_->pod(1), SOCK_STREAM, 8'081);
  const Connection connection = connect(endpoint("10.244.2.2", 8'081), &listener);
  const auto client = await(connection.server_tuple());
  ASSERT_TRUE(client);
  EXPECT_EQ(client->remote, local_of(connection.client));
  EXPECT_FALSE(conntrack_->find(connection.client_tuple()));
  EXPECT_EQ(conntrack_->state().entries, 1U);
}

TEST_F(Nat, DatagramsHaveBackendsToo) {
  ASSERT_TRUE(start());
  const std::vector<base::UniqueFd> servers = [&] {
    std::vector<base::UniqueFd> made;
    for (const std::size_t pod : {1U, 2U})
      made.push_back(serve(network_->pod(pod), SOCK_DGRAM, 5'353));
    return made;
  }();
  for (int i = 0; i < 7; ++i) {
    const auto client = open_connection(network_->pod(0), SOCK_DGRAM, endpoint("10.96.0.10", 53));
    ASSERT_EQ(::send(client.get(), "?", 1, 0), 1);
    const auto found = await({local_of(client), remote_of(client), IPPROTO_UDP});
    ASSERT_TRUE(found) << i;
    // The datagram waits at the one server that was named, and at no other.
    const bool first = found->remote == endpoint("10.244.2.2", 5'353);
    EXPECT_TRUE(first || found->remote == endpoint("10.244.3.2", 5'353));
    char byte = 0;
    EXPECT_EQ(::recv(servers[first ? 0 : 1].get(), &byte, 1, 0), 1);
    EXPECT_LT(::recv(servers[first ? 1 : 0].get(), &byte, 1, MSG_DONTWAIT), 0);
  }
}

TEST_F(Nat, ConnectionsFromBeforeTheStartAreFound) {
  std::vector<Connection> before;
  for (int i = 0; i < 11; ++i) before.push_back(connect(endpoint("10.96.0.11", 80)));
  ASSERT_TRUE(start());
  for (const Connection& connection : before) {
    const auto server = await(connection.client_tuple());
    ASSERT_TRUE(server);
    EXPECT_EQ(server->remote, local_of(connection.server));
    const auto client = conntrack_->find(connection.server_tuple());
    ASSERT_TRUE(client);
    EXPECT_EQ(client->remote, local_of(connection.client));
  }
  EXPECT_EQ(conntrack_->state().entries, 22U);
  EXPECT_EQ(conntrack_->state().events, 0U);
  EXPECT_EQ(conntrack_->state().dumps, 1U);
}

TEST_F(Nat, WhatEndedIsKnownForTheTimeOfGrace) {
  ConntrackOptions options;
  options.grace_ns = 2'000'000'000;
  ASSERT_TRUE(start(options));
  const Connection connection = connect(endpoint("10.96.0.10", 80));
  ASSERT_TRUE(await(connection.client_tuple()));
  const std::uint64_t events = conntrack_->state().events;
  const std::uint64_t ended_ns = clock_.boot_ns();
  network_->forget();
  ASSERT_TRUE(wait_for([&] { return conntrack_->state().events > events; }));
  EXPECT_TRUE(conntrack_->find(connection.client_tuple()));
  EXPECT_TRUE(wait_for([&] { return !conntrack_->find(connection.client_tuple()); }));
  EXPECT_GE(clock_.boot_ns() - ended_ns, options.grace_ns);
  EXPECT_EQ(conntrack_->state().entries, 0U);
}

// Where nf_conntrack_events is 2, what began before anyone listened ends without an event.
TEST_F(Nat, TheEndOfConnectionsFromBeforeTheStartIsFoundByADump) {
  if (network_->read_host_sysctl("netfilter/nf_conntrack_events") != "2") {
    GTEST_SKIP() << "this kernel has no automatic mode of nf_conntrack_events (Linux 5.19)";
  }
  const Connection connection = connect(endpoint("10.96.0.10", 80));
  ConntrackOptions options;
  options.grace_ns = 1;
  options.sweep_pause_ns = 1'000'000'000;
  ASSERT_TRUE(start(options));
  ASSERT_TRUE(await(connection.client_tuple()));
  network_->forget();
  EXPECT_TRUE(wait_for([&] { return !conntrack_->find(connection.client_tuple()); }));
  // The dump is counted once it is whole, a moment after what it ended is gone.
  EXPECT_TRUE(wait_for([&] { return conntrack_->state().dumps >= 2U; }));
  // Nothing from before the start is left, so nothing has to be looked for any more.
  const std::uint64_t dumps = conntrack_->state().dumps;
  ASSERT_TRUE(wait_for([&] { return conntrack_->state().entries == 0; }));
  ::usleep(1'500'000);
  EXPECT_EQ(conntrack_->state().dumps, dumps);
}

TEST_F(Nat, AnOverrunIsCountedAndMadeGoodByADump) {
  ConntrackOptions options;
  options.event_buffer_bytes = 4'096;
  ASSERT_TRUE(start(options));
  std::vector<base::UniqueFd> clients;
  inside(network_->pod(0), [&] {
    for (int i = 0; i < 211; ++i) clients.emplace_back(::socket(AF_INET6, SOCK_DGRAM, 0));
  });
  const Endpoint service = endpoint("10.96.0.10", 53);
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(service.port);
  std::memcpy(&to.sin6_addr, service.address.data(), 16);
  for (const auto& client : clients) {
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  for (const auto& client : clients) ASSERT_EQ(::send(client.get(), "?", 1, 0), 1);
  EXPECT_TRUE(wait_for([&] { return conntrack_->state().entries == 211; }));
  const ConntrackState state = conntrack_->state();
  EXPECT_GE(state.lost, 1U);
  EXPECT_GE(state.dumps, 2U);
  EXPECT_LT(state.events, 211U);
  for (const auto& client : clients) {
    EXPECT_TRUE(conntrack_->find({local_of(client), remote_of(client), IPPROTO_UDP}));
  }
}

TEST_F(Nat, AFullTableIsCounted) {
  std::vector<Connection> connections;
  for (int i = 0; i < 7; ++i) connections.push_back(connect(endpoint("10.96.0.10", 80)));
  ConntrackOptions options;
  options.max_translations = 5;
  ASSERT_TRUE(start(options));
  ASSERT_TRUE(wait_for([&] { return conntrack_->state().refused > 0; }));
  EXPECT_EQ(conntrack_->state().refused, 2U);
  EXPECT_EQ(conntrack_->state().entries, 5U);
  const Connection next = connect(endpoint("10.96.0.10", 80));
  EXPECT_TRUE(await(next.client_tuple()));
  EXPECT_EQ(conntrack_->state().evicted, 1U);
  EXPECT_EQ(conntrack_->state().entries, 5U);
}

// How often the thread of that name in this process went to sleep.
std::uint64_t sleeps_of(std::string_view thread) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name != thread) continue;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("voluntary_ctxt_switches:")) return std::stoull(line.substr(24));
    }
  }
  return 0;
}

TEST_F(Nat, ConnectionsThatAreNotTranslatedWakeNobody) {
  ASSERT_TRUE(start());
  const base::UniqueFd listener = serve(network_->pod(1), SOCK_STREAM, 8'082);
  std::vector<Connection> connections;
  connections.push_back(connect(endpoint("10.244.2.2", 8'082), &listener));
  // One that is translated shows that the thread runs and has gone to sleep again.
  const Connection service = connect(endpoint("10.96.0.10", 80));
  ASSERT_TRUE(await(service.client_tuple()));
  ::usleep(50'000);
  const std::uint64_t sleeps = sleeps_of("nat");
  ASSERT_GT(sleeps, 0U);
  for (int i = 0; i < 31; ++i) {
    connections.push_back(connect(endpoint("10.244.2.2", 8'082), &listener));
  }
  for (const Connection& connection : connections) {
    EXPECT_FALSE(conntrack_->find(connection.client_tuple()));
    EXPECT_FALSE(conntrack_->find(connection.server_tuple()));
  }
  EXPECT_EQ(sleeps_of("nat"), sleeps);
  EXPECT_EQ(conntrack_->state().events, 1U);
  EXPECT_EQ(conntrack_->state().entries, 1U);
}

TEST_F(Nat, SaysThatTheKernelSendsNoEvents) {
  network_->write_host_sysctl("netfilter/nf_conntrack_events", "0");
  ASSERT_TRUE(start());
  EXPECT_EQ(conntrack_->state().kind, ConntrackState::Kind::running);
  EXPECT_TRUE(conntrack_->state().reason.contains("nf_conntrack_events is 0"));
  const Connection connection = connect(endpoint("10.96.0.10", 80));
  ::usleep(100'000);
  EXPECT_FALSE(conntrack_->find(connection.client_tuple()));
  EXPECT_EQ(conntrack_->state().events, 0U);
}

// On a thread that gave a capability up.
void without(cap_value_t capability, const std::function<void()>& work) {
  std::thread([&] {
    cap_t caps = ::cap_get_proc();
    ::cap_set_flag(caps, CAP_EFFECTIVE, 1, &capability, CAP_CLEAR);
    ::cap_set_flag(caps, CAP_PERMITTED, 1, &capability, CAP_CLEAR);
    const bool dropped = ::cap_set_proc(caps) == 0;
    ::cap_free(caps);
    if (dropped) work();
  }).join();
}

TEST_F(Nat, IsRefusedWithWordsWithoutTheRight) {
  Conntrack conntrack(clock_);
  EXPECT_EQ(conntrack.state().kind, ConntrackState::Kind::off);
  Status started;
  without(CAP_NET_ADMIN, [&] { started = conntrack.start(); });
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::refused);
  EXPECT_EQ(conntrack.state().kind, ConntrackState::Kind::refused);
  EXPECT_TRUE(conntrack.state().reason.contains("needs CAP_NET_ADMIN")) << conntrack.state().reason;
  EXPECT_FALSE(conntrack.find({}));
}

TEST_F(Nat, AFurtherNamespaceIsListenedToAndLeft) {
  conntrack_ = std::make_unique<Conntrack>(clock_);
  Status started;
  inside(network_->pod(0), [&] { started = conntrack_->start(); });
  ASSERT_TRUE(started);
  const Connection before = connect(endpoint("10.96.0.10", 80));
  ASSERT_TRUE(conntrack_->add_namespace(network_->host()));
  ASSERT_TRUE(conntrack_->add_namespace(network_->host()));
  ASSERT_TRUE(conntrack_->add_namespace(network_->pod(0))) << "its own";
  EXPECT_EQ(conntrack_->state().namespaces, 2U);
  EXPECT_TRUE(await(before.client_tuple()));
  const Connection after = connect(endpoint("10.96.0.11", 80));
  EXPECT_TRUE(await(after.client_tuple()));
  struct stat status{};
  ASSERT_EQ(::fstat(network_->host(), &status), 0);
  conntrack_->remove_namespace(status.st_ino);
  EXPECT_EQ(conntrack_->state().namespaces, 1U);
  const auto events = [&] { return conntrack_->state().events; };
  const std::uint64_t seen = events();
  ::usleep(50'000);
  const Connection unseen = connect(endpoint("10.96.0.10", 80));
  ::usleep(50'000);
  EXPECT_FALSE(conntrack_->find(unseen.client_tuple()));
  EXPECT_EQ(events(), seen);
}

TEST_F(Nat, FurtherNamespacesHaveALimitAndNeedARight) {
  ASSERT_TRUE(start());
  const base::UniqueFd first = test::make_namespace();
  Status added;
  without(CAP_SYS_ADMIN, [&] { added = conntrack_->add_namespace(first.get()); });
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::refused);
  EXPECT_TRUE(added.error().message.contains("CAP_SYS_ADMIN"));
  EXPECT_EQ(conntrack_->state().namespaces_refused, 1U);
  std::vector<base::UniqueFd> namespaces;
  for (std::size_t i = 0; i < kMaxNatNamespaces; ++i) {
    namespaces.push_back(test::make_namespace());
    ASSERT_TRUE(conntrack_->add_namespace(namespaces.back().get())) << i;
  }
  added = conntrack_->add_namespace(first.get());
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::limit_reached);
  EXPECT_EQ(conntrack_->state().namespaces, kMaxNatNamespaces + 1);
  EXPECT_EQ(conntrack_->state().namespaces_refused, 2U);
  EXPECT_TRUE(wait_for([&] { return conntrack_->state().dumps == kMaxNatNamespaces + 1; }));
}

}  // namespace
}  // namespace tarsier::net
