// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/nat_table.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <atomic>
#include <thread>

namespace tarsier::net {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

Endpoint v4(std::uint8_t c, std::uint8_t d, std::uint16_t port) {
  return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, c, d}, port};
}

// Pod 10.0.1.2 asks the ClusterIP 10.0.96.10:80 and gets 10.0.2.3:8080.
NatRecord cluster_ip(std::uint16_t port, std::uint32_t id = 7) {
  return {IPPROTO_TCP, false, id, v4(1, 2, port), v4(96, 10, 80), v4(2, 3, 8080), v4(1, 2, port)};
}

// The same, and the server sees the node's address 10.0.0.1 with a port of its own.
NatRecord masqueraded(std::uint16_t port, std::uint32_t id = 7) {
  NatRecord record = cluster_ip(port, id);
  record.reply_destination = v4(0, 1, static_cast<std::uint16_t>(port + 10'000));
  return record;
}

Tuple client_of(std::uint16_t port) {
  return {v4(1, 2, port), v4(96, 10, 80), IPPROTO_TCP};
}
Tuple server_of(std::uint16_t port) {
  return {v4(2, 3, 8080), v4(0, 1, static_cast<std::uint16_t>(port + 10'000)), IPPROTO_TCP};
}

TEST(NatTable, TellsTheClientItsServer) {
  NatTable table;
  table.begin(cluster_ip(1'000), 0);
  const auto found = table.find(client_of(1'000));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->remote, v4(2, 3, 8080));
  EXPECT_EQ(found->side, NatSide::client);
  EXPECT_EQ(table.size(), 1U) << "the server sees the true client: there is nothing to keep";
  EXPECT_FALSE(table.find({v4(2, 3, 8080), v4(1, 2, 1'000), IPPROTO_TCP}));
}

TEST(NatTable, TellsTheServerItsClient) {
  NatTable table;
  table.begin(masqueraded(1'000), 0);
  EXPECT_EQ(table.size(), 2U);
  const auto found = table.find(server_of(1'000));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->remote, v4(1, 2, 1'000));
  EXPECT_EQ(found->side, NatSide::server);
  EXPECT_EQ(table.find(client_of(1'000))->remote, v4(2, 3, 8080));
}

TEST(NatTable, KeepsMasqueradeAloneForTheServerOnly) {
  NatTable table;
  NatRecord record = masqueraded(1'000);
  record.original_destination = record.reply_source;
  table.begin(record, 0);
  EXPECT_EQ(table.size(), 1U);
  EXPECT_EQ(table.find(server_of(1'000))->remote, v4(1, 2, 1'000));
  EXPECT_FALSE(table.find({v4(1, 2, 1'000), v4(2, 3, 8080), IPPROTO_TCP}));
}

TEST(NatTable, TellsProtocolsAndDirectionsApart) {
  NatTable table;
  table.begin(cluster_ip(1'000), 0);
  Tuple other = client_of(1'000);
  other.protocol = IPPROTO_UDP;
  EXPECT_FALSE(table.find(other));
  other = client_of(1'000);
  std::swap(other.local, other.remote);
  EXPECT_FALSE(table.find(other));
}

TEST(NatTable, KeepsWhatEndedForTheTimeOfGrace) {
  NatTable table(8, 15 * kSecond);
  table.begin(masqueraded(1'000), 0);
  EXPECT_FALSE(table.next_expiry_ns());
  table.end(masqueraded(1'000), 100 * kSecond);
  EXPECT_EQ(table.next_expiry_ns(), 115 * kSecond);
  table.expire(115 * kSecond);
  EXPECT_TRUE(table.find(client_of(1'000)));
  EXPECT_TRUE(table.find(server_of(1'000)));
  table.expire(115 * kSecond + 1);
  EXPECT_FALSE(table.find(client_of(1'000)));
  EXPECT_FALSE(table.find(server_of(1'000)));
  EXPECT_EQ(table.size(), 0U);
  EXPECT_FALSE(table.next_expiry_ns());
}

TEST(NatTable, TakesTheNewerConnectionOfTheSamePorts) {
  NatTable table(8, 15 * kSecond);
  table.begin(cluster_ip(1'000, 7), 0);
  table.end(cluster_ip(1'000, 7), kSecond);
  NatRecord next = cluster_ip(1'000, 8);
  next.reply_source = v4(2, 4, 8080);
  table.begin(next, 0);
  EXPECT_EQ(table.find(client_of(1'000))->remote, v4(2, 4, 8080));
  table.end(cluster_ip(1'000, 7), 2 * kSecond);  // told late; it is not the one that lives
  EXPECT_FALSE(table.next_expiry_ns());
  table.expire(100 * kSecond);
  EXPECT_EQ(table.find(client_of(1'000))->remote, v4(2, 4, 8080));
  EXPECT_EQ(table.size(), 1U);
}

TEST(NatTable, GivesUpTheOldestWhenFullButFirstWhatEnded) {
  NatTable table(3, 15 * kSecond);
  for (std::uint16_t port = 1'000; port <= 1'002; ++port) table.begin(cluster_ip(port), 0);
  table.end(cluster_ip(1'001), kSecond);
  table.begin(cluster_ip(1'003), 0);
  EXPECT_FALSE(table.find(client_of(1'001)));
  EXPECT_TRUE(table.find(client_of(1'000)));
  EXPECT_EQ(table.evicted(), 1U);
  table.begin(cluster_ip(1'004), 0);
  EXPECT_FALSE(table.find(client_of(1'000)));
  EXPECT_EQ(table.evicted(), 2U);
  EXPECT_EQ(table.size(), 3U);
  EXPECT_EQ(table.refused(), 0U);
}

TEST(NatTable, TakesNoMoreFromADumpThanFits) {
  NatTable table(3, 15 * kSecond);
  table.start_sweep();
  for (std::uint16_t port = 1'000; port < 1'007; ++port) table.found(cluster_ip(port), 0);
  table.finish_sweep(0, kSecond);
  EXPECT_EQ(table.size(), 3U);
  EXPECT_EQ(table.refused(), 4U);
  EXPECT_EQ(table.evicted(), 0U);
  EXPECT_TRUE(table.find(client_of(1'002)));
  EXPECT_FALSE(table.find(client_of(1'003)));
  EXPECT_EQ(table.found_alive(), 3U);
}

TEST(NatTable, EndsWhatADumpDoesNotFind) {
  NatTable table(8, 15 * kSecond);
  table.begin(cluster_ip(1'000), 0);
  table.begin(cluster_ip(1'001), 0);
  table.begin(cluster_ip(1'002), 5);  // of another namespace, which is not dumped
  table.start_sweep();
  table.found(cluster_ip(1'001), 0);
  table.found(cluster_ip(1'003), 0);
  table.finish_sweep(0, kSecond);
  EXPECT_EQ(table.size(), 4U);
  table.expire(17 * kSecond);
  EXPECT_FALSE(table.find(client_of(1'000)));
  for (std::uint16_t port = 1'001; port <= 1'003; ++port) EXPECT_TRUE(table.find(client_of(port)));
}

TEST(NatTable, KnowsWhichEntriesNoEventToldOf) {
  NatTable table(8, 15 * kSecond);
  table.begin(cluster_ip(1'000), 0);
  table.start_sweep();
  table.found(cluster_ip(1'000), 0);
  table.found(cluster_ip(1'001), 0);
  table.found(cluster_ip(1'002), 0);
  table.finish_sweep(0, kSecond);
  EXPECT_EQ(table.found_alive(), 2U);
  table.end(cluster_ip(1'001), kSecond);
  EXPECT_EQ(table.found_alive(), 1U);
  table.begin(cluster_ip(1'002, 9), 0);  // the same ports, and now an event
  EXPECT_EQ(table.found_alive(), 0U);
}

// A reader beside the writer; ThreadSanitizer watches.
TEST(NatTable, IsReadWhileItChanges) {
  NatTable table(64, kSecond);
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      for (std::uint16_t port = 1'000; port < 1'100; ++port) {
        const auto found = table.find(client_of(port));
        EXPECT_EQ(found.value_or(Translation{v4(2, 3, 8080)}).remote, v4(2, 3, 8080));
      }
    }
  });
  for (std::uint64_t round = 1; round <= 200; ++round) {
    table.start_sweep();
    for (std::uint16_t port = 1'000; port < 1'100; ++port) table.begin(cluster_ip(port), 0);
    for (std::uint16_t port = 1'050; port < 1'075; ++port) table.end(cluster_ip(port), round);
    table.start_sweep();
    table.finish_sweep(0, round * kSecond);
    table.expire(round * kSecond);
  }
  stop = true;
  reader.join();
  EXPECT_LE(table.size(), 64U);
}

}  // namespace
}  // namespace tarsier::net
