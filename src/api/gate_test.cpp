// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The rules of the gate with a clock of the test's own and socket pairs instead of clients.
#include "api/gate.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <vector>

#include "api/test_client.h"

namespace tarsier::api {
namespace {

using namespace std::chrono_literals;

class GateTest : public ::testing::Test {
 protected:
  struct Pair {
    base::UniqueFd server, client;
  };
  // The number of the server's descriptor, or -1 if the gate has no place.
  int enter(const std::string& address) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pairs_.push_back({base::UniqueFd(fds[0]), base::UniqueFd(fds[1])});
    Peer peer;
    peer.address = address;
    peer.local = address.empty();
    const auto worker = gate_.admit(fds[0], {peer, "127.0.0.1", false}, 0, 2, now_);
    if (!worker) return -1;
    worker_ = *worker;
    return fds[0];
  }
  bool cut(int fd) const {
    for (const Pair& pair : pairs_) {
      char byte = 0;
      if (pair.server.get() == fd) {
        return ::recv(pair.client.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
      }
    }
    return false;
  }
  void sweep() {
    gate_.sweep(now_, [this](void*) { ++woken_; });
  }

  ServerOptions options_ = [] {
    ServerOptions options;
    options.max_connections = 4;
    options.max_per_client = 2;
    options.request_timeout_ms = 5'000;
    options.idle_timeout_ms = 60'000;
    options.write_stall_ms = 10'000;
    return options;
  }();
  Gate gate_{options_};
  Instant now_{1h};
  std::vector<Pair> pairs_;
  std::size_t worker_ = 0;
  int woken_ = 0;
};

TEST_F(GateTest, EachPhaseHasItsLimit) {
  const int fresh = enter("a");
  const int idle = enter("a");
  const int writing = enter("b");
  gate_.end_request(*gate_.start(idle), now_);
  Connection& connection = *gate_.start(writing);
  gate_.begin_request(connection, now_);
  EXPECT_TRUE(gate_.begin_work(connection, now_));
  now_ += 30s;  // a handler may take its time
  gate_.end_work(connection, now_);
  sweep();
  EXPECT_TRUE(cut(fresh));
  EXPECT_FALSE(cut(idle));
  EXPECT_FALSE(cut(writing));
  now_ += 10s;
  sweep();
  EXPECT_FALSE(cut(writing));
  now_ += 1ms;
  sweep();
  EXPECT_TRUE(cut(writing));
  EXPECT_FALSE(gate_.begin_work(connection, now_));
  now_ += 30s;
  sweep();
  EXPECT_TRUE(cut(idle));
  const ServerStats stats = gate_.stats();
  EXPECT_EQ(stats.request_timeouts, 1U);
  EXPECT_EQ(stats.idle_timeouts, 1U);
  EXPECT_EQ(stats.write_timeouts, 1U);
}

TEST_F(GateTest, TheLongestInTheWayGoesFirst) {
  const int first = enter("a");
  now_ += 1s;
  const int second = enter("b");
  now_ += 1s;
  enter("c");
  enter("c");
  gate_.begin_request(*gate_.start(first), now_);  // it has begun to talk, so it waits shorter
  EXPECT_GE(enter("d"), 0);
  EXPECT_TRUE(cut(second));
  EXPECT_FALSE(cut(first));
  EXPECT_EQ(gate_.stats().evicted, 1U);
  EXPECT_EQ(gate_.stats().connections, 4U);
}

TEST_F(GateTest, AClientPaysForItselfFirst) {
  enter("a");
  now_ += 1ms;
  const int mine = enter("b");
  now_ += 1ms;
  enter("b");
  EXPECT_GE(enter("b"), 0);
  EXPECT_TRUE(cut(mine));
}

TEST_F(GateTest, WhoIsServedStaysUnlessItTakesTooLong) {
  std::vector<int> fds;
  for (const char* address : {"a", "b", "c", "d"}) {
    fds.push_back(enter(address));
    Connection& connection = *gate_.start(fds.back());
    gate_.begin_request(connection, now_);
    gate_.begin_work(connection, now_);
    gate_.end_work(connection, now_);
    now_ += 1ms;
  }
  EXPECT_EQ(enter("e"), -1);
  EXPECT_EQ(gate_.stats().refused, 1U);
  now_ += 9s;
  for (const int fd : fds) {  // all of them keep reading, none is stalled
    gate_.begin_work(*gate_.start(fd), now_);
    gate_.end_work(*gate_.start(fd), now_);
  }
  now_ += 2s;
  EXPECT_GE(enter("e"), 0);
  EXPECT_TRUE(cut(fds[0]));
}

TEST_F(GateTest, LocalPeersHaveNoClientLimit) {
  for (int i = 0; i < 4; ++i) EXPECT_GE(enter(""), 0);
  EXPECT_EQ(gate_.stats().evicted, 0U);
}

// The library closes what was shut down, but a worker in a long handler does not get to it.
TEST_F(GateTest, WhatIsShutButNotClosedIsBounded) {
  std::size_t admitted = 0;
  for (std::size_t i = 0; i < 2 * Gate::kMaxDoomed; ++i) admitted += enter("a") >= 0 ? 1U : 0U;
  EXPECT_EQ(admitted, options_.max_per_client + Gate::kMaxDoomed);
}

TEST_F(GateTest, ABusyWorkerGetsNoNewcomers) {
  Connection& connection = *gate_.start(enter("a"));
  gate_.begin_work(connection, now_);
  const std::size_t busy = worker_;
  enter("b");
  EXPECT_NE(worker_, busy);
  enter("c");
  EXPECT_NE(worker_, busy);
  gate_.end_work(connection, now_);
  enter("d");
  EXPECT_EQ(worker_, busy);
}

TEST_F(GateTest, WhoWaitsIsWokenByTheClock) {
  Connection& connection = *gate_.start(enter("a"));
  gate_.begin_work(connection, now_);
  EXPECT_TRUE(gate_.wait(connection, nullptr, now_, [] {}));
  sweep();
  EXPECT_EQ(woken_, 0);
  now_ += 1ms * kStreamPollMs;
  sweep();
  EXPECT_EQ(woken_, 1);
  sweep();
  EXPECT_EQ(woken_, 1);
  gate_.begin_work(connection, now_);
  EXPECT_TRUE(gate_.wait(connection, nullptr, now_, [] {}));
  gate_.stop([this](void*) { ++woken_; });
  EXPECT_EQ(woken_, 2);
  EXPECT_FALSE(gate_.wait(connection, nullptr, now_, [] { FAIL() << "parked while stopping"; }));
  EXPECT_EQ(enter("b"), -1);
}

// A pending request of a client that only listens from now on is not lost.
TEST_F(GateTest, AClientThatEndedIsLetGoUnlessItsWorkerIsBusy) {
  const int fd = enter("a");
  gate_.end_request(*gate_.start(fd), now_);
  const int other = enter("b");
  Connection& working = *gate_.start(other);
  working.worker = gate_.start(fd)->worker;
  gate_.begin_work(working, now_);
  ::shutdown(pairs_[0].client.get(), SHUT_WR);
  now_ += 1s;
  sweep();
  EXPECT_FALSE(cut(fd));
  gate_.end_work(working, now_);
  sweep();
  EXPECT_TRUE(cut(fd));
  EXPECT_EQ(gate_.stats().idle_timeouts, 0U);
}

TEST_F(GateTest, ForgetsWhatTheLibraryNeverTook) {
  enter("a");
  now_ += 6s;
  sweep();
  EXPECT_TRUE(gate_.sweep(now_, [](void*) {}).any);
  now_ += 1h;
  EXPECT_TRUE(gate_.sweep(now_, [](void*) {}).any);  // seen empty by the next one
  EXPECT_FALSE(gate_.sweep(now_, [](void*) {}).any);
  EXPECT_EQ(gate_.stats().connections, 0U);
}

}  // namespace
}  // namespace tarsier::api
