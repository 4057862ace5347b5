// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Real connections, counted by hand and by the daemon. Each test has processes with a name of their
// own, so that nothing else on the machine can be in its numbers.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include "tarsier/livekit.h"

namespace tarsier {
namespace {

using live::Child;
using live::Labels;
using live::Signal;

constexpr int kRequestBytes = 1009, kResponseBytes = 503;  // primes, as are all counts below

enum class Family { v4, v6, v4_mapped };

sockaddr_storage address_of(Family family, std::uint16_t port, socklen_t& size) {
  sockaddr_storage storage{};
  if (family == Family::v4) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v4.sin_port = htons(port);
    size = sizeof v4;
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6.sin6_family = AF_INET6;
    const char* text = family == Family::v6 ? "::1" : "::ffff:127.0.0.1";
    ::inet_pton(AF_INET6, text, &v6.sin6_addr);
    v6.sin6_port = htons(port);
    size = sizeof v6;
  }
  return storage;
}

// A listening socket and its port; made before the fork, owned by whoever listens.
struct Listener {
  int fd = -1;
  std::uint16_t port = 0;
};

Listener bound(Family family) {
  Listener made;
  socklen_t size = 0;
  sockaddr_storage address = address_of(family == Family::v4 ? Family::v4 : Family::v6, 0, size);
  made.fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (family == Family::v4_mapped) {
    reinterpret_cast<sockaddr_in6&>(address).sin6_addr = in6addr_any;
  }
  if (::bind(made.fd, reinterpret_cast<sockaddr*>(&address), size) != 0) return {};
  socklen_t length = sizeof address;
  ::getsockname(made.fd, reinterpret_cast<sockaddr*>(&address), &length);
  made.port = ntohs(family == Family::v4 ? reinterpret_cast<sockaddr_in&>(address).sin_port
                                         : reinterpret_cast<sockaddr_in6&>(address).sin6_port);
  return made;
}

bool send_bytes(int fd, int count) {
  const std::vector<char> bytes(static_cast<std::size_t>(count), 'x');
  return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == count;
}

bool receive_bytes(int fd, int count) {
  std::vector<char> bytes(static_cast<std::size_t>(count));
  return ::recv(fd, bytes.data(), bytes.size(), MSG_WAITALL) == count;
}

// Serves `connections`, one after the other: request in, response out, close.
int serve(int listener, int connections) {
  for (int i = 0; i < connections; ++i) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0 || !receive_bytes(fd, kRequestBytes) || !send_bytes(fd, kResponseBytes)) return 1;
    char end = 0;
    if (::recv(fd, &end, 1, 0) != 0) return 2;  // the client closes first
    ::close(fd);
  }
  return 0;
}

int dial(Family family, std::uint16_t port) {
  socklen_t size = 0;
  const sockaddr_storage address = address_of(family, port, size);
  const int fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

int exchange(Family family, std::uint16_t port, int connections) {
  for (int i = 0; i < connections; ++i) {
    const int fd = dial(family, port);
    if (fd < 0 || !send_bytes(fd, kRequestBytes) || !receive_bytes(fd, kResponseBytes)) return 1;
    ::close(fd);
  }
  return 0;
}

class TcpLive : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (live::unavailable().empty()) daemon_ = std::make_unique<live::Daemon>();
  }
  static void TearDownTestSuite() { daemon_.reset(); }
  void SetUp() override {
    if (const std::string why = live::unavailable(); !why.empty()) GTEST_SKIP() << why;
  }

  // `count` exchanges between two fresh processes, then every number of both sides.
  void expect_exchanges(Family family, const std::string& name, int count) {
    const std::string client = name + "-c", server = name + "-s";
    const Listener listener = bound(family);
    ASSERT_GE(listener.fd, 0);
    Signal listening;
    Child serving(server, [&] {
      if (::listen(listener.fd, 128) != 0) return 3;
      listening.send();
      return serve(listener.fd, count);
    });
    listening.await();
    Child calling(client, [&] { return exchange(family, listener.port, count); });
    EXPECT_EQ(calling.wait(), 0);
    EXPECT_EQ(serving.wait(), 0);
    ::close(listener.fd);
    const Labels c{{"comm", client}, {"role", "client"}}, s{{"comm", server}, {"role", "server"}};
    EXPECT_TRUE(daemon_->becomes("tarsier_tcp_connections_closed_total", c, count));
    EXPECT_TRUE(daemon_->becomes("tarsier_tcp_connections_closed_total", s, count));
    const live::Scrape scrape = daemon_->scrape();
    EXPECT_EQ(scrape.sum("tarsier_tcp_connections_opened_total", c), count);
    EXPECT_EQ(scrape.sum("tarsier_tcp_connections_opened_total", s), count);
    EXPECT_EQ(scrape.sum("tarsier_tcp_connections_active", {{"comm", client}}), 0);
    EXPECT_EQ(scrape.sum("tarsier_tcp_connections_active", {{"comm", server}}), 0);
    EXPECT_EQ(scrape.sum("tarsier_tcp_sent_bytes_total", c), count * kRequestBytes);
    EXPECT_EQ(scrape.sum("tarsier_tcp_received_bytes_total", c), count * kResponseBytes);
    EXPECT_EQ(scrape.sum("tarsier_tcp_sent_bytes_total", s), count * kResponseBytes);
    EXPECT_EQ(scrape.sum("tarsier_tcp_received_bytes_total", s), count * kRequestBytes);
    EXPECT_EQ(scrape.sum("tarsier_tcp_connect_duration_seconds_count", c), count);
    EXPECT_EQ(scrape.sum("tarsier_tcp_rtt_seconds_count", c), count);
    EXPECT_EQ(scrape.sum("tarsier_tcp_connect_failures_total", {{"comm", client}}), 0);
    // Nothing under the other role, and nobody is counted twice.
    EXPECT_EQ(scrape.sum("tarsier_tcp_connections_opened_total", {{"comm", client}}), count);
    EXPECT_EQ(scrape.sum("tarsier_tcp_connections_opened_total", {{"comm", server}}), count);
  }

  static std::unique_ptr<live::Daemon> daemon_;
};

std::unique_ptr<live::Daemon> TcpLive::daemon_;

TEST_F(TcpLive, CountsIpv4Exactly) {
  expect_exchanges(Family::v4, "tl4", 97);
}
TEST_F(TcpLive, CountsIpv6Exactly) {
  expect_exchanges(Family::v6, "tl6", 53);
}
TEST_F(TcpLive, CountsMappedIpv4Exactly) {
  expect_exchanges(Family::v4_mapped, "tlm", 31);
}

TEST_F(TcpLive, CountsInAnotherNetworkNamespace) {
  Child inside("tlns", [] {
    if (::unshare(CLONE_NEWNET) != 0) return 77;
    const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    request.ifr_flags = IFF_UP;
    if (::ioctl(control, SIOCSIFFLAGS, &request) != 0) return 78;
    const Listener listener = bound(Family::v4);
    if (::listen(listener.fd, 8) != 0) return 79;
    Child calling("tlns-c", [&] { return exchange(Family::v4, listener.port, 13); });
    const int served = serve(listener.fd, 13);
    return served != 0 ? served : calling.wait();
  });
  const int result = inside.wait();
  if (result == 77) GTEST_SKIP() << "this process may not make network namespaces";
  ASSERT_EQ(result, 0);
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_connections_closed_total",
                               {{"comm", "tlns-c"}, {"role", "client"}}, 13));
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_connections_closed_total",
                               {{"comm", "tlns"}, {"role", "server"}}, 13));
  EXPECT_EQ(daemon_->scrape().sum("tarsier_tcp_received_bytes_total", {{"comm", "tlns"}}),
            13 * kRequestBytes);
}

TEST_F(TcpLive, SaysWhyConnectFailed) {
  const Listener closed =
      bound(Family::v4);  // bound, so that nobody else has it, but not listening
  Child refused("tlrefused", [&] {
    for (int i = 0; i < 11; ++i) {
      if (dial(Family::v4, closed.port) >= 0 || errno != ECONNREFUSED) return 1;
    }
    return 0;
  });
  EXPECT_EQ(refused.wait(), 0);
  ::close(closed.fd);
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_connect_failures_total",
                               {{"comm", "tlrefused"}, {"reason", "refused"}, {"role", "client"}},
                               11));
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_resets_total",
                               {{"comm", "tlrefused"}, {"direction", "received"}}, 11));
  EXPECT_EQ(daemon_->scrape().sum("tarsier_tcp_connections_opened_total", {{"comm", "tlrefused"}}),
            0);

  // A network namespace without a route: connect() fails before there is a packet.
  Child unreachable("tlnoroute", [] {
    if (::unshare(CLONE_NEWNET) != 0) return 77;
    for (int i = 0; i < 5; ++i) {
      if (dial(Family::v4, 9) >= 0 || errno != ENETUNREACH) return 1;
    }
    return 0;
  });
  const int result = unreachable.wait();
  if (result == 77) GTEST_SKIP() << "this process may not make network namespaces";
  EXPECT_EQ(result, 0);
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_connect_failures_total",
                               {{"comm", "tlnoroute"}, {"reason", "unreachable"}}, 5));
}

TEST_F(TcpLive, SeesResetsInBothDirections) {
  const Listener listener = bound(Family::v4);
  Signal listening;
  // It listens itself: a reset that comes before accept() is the listener's.
  Child receiving("tlrst-r", [&] {
    if (::listen(listener.fd, 8) != 0) return 2;
    listening.send();
    for (int i = 0; i < 7; ++i) {
      const int fd = ::accept4(listener.fd, nullptr, nullptr, SOCK_CLOEXEC);
      char byte = 0;
      if (::recv(fd, &byte, 1, 0) != -1 || errno != ECONNRESET) return 1;
      ::close(fd);
    }
    return 0;
  });
  listening.await();
  Child sending("tlrst-s", [&] {
    for (int i = 0; i < 7; ++i) {
      const int fd = dial(Family::v4, listener.port);
      const linger hard{1, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
      ::close(fd);
    }
    return 0;
  });
  EXPECT_EQ(sending.wait(), 0);
  EXPECT_EQ(receiving.wait(), 0);
  ::close(listener.fd);
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_resets_total",
                               {{"comm", "tlrst-s"}, {"direction", "sent"}}, 7));
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_resets_total",
                               {{"comm", "tlrst-r"}, {"direction", "received"}}, 7));
}

TEST_F(TcpLive, AcceptedConnectionsBelongToWhoAccepts) {
  const Listener listener = bound(Family::v4);
  Signal listening, done;
  Child parent("tlparent", [&] {
    if (::listen(listener.fd, 8) != 0) return 1;
    Child worker("tlworker", [&] { return serve(listener.fd, 17); });
    listening.send();
    return worker.wait();
  });
  listening.await();
  Child calling("tlcaller", [&] { return exchange(Family::v4, listener.port, 17); });
  EXPECT_EQ(calling.wait(), 0);
  EXPECT_EQ(parent.wait(), 0);
  ::close(listener.fd);
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_connections_closed_total",
                               {{"comm", "tlworker"}, {"role", "server"}}, 17));
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_received_bytes_total",
                               {{"comm", "tlworker"}, {"role", "server"}}, 17 * kRequestBytes));
  EXPECT_EQ(daemon_->scrape().sum("tarsier_tcp_connections_active", {{"comm", "tlparent"}}), 0);
}

// Until the end of a long connection its bytes must not wait.
TEST_F(TcpLive, FollowsALiveConnection) {
  const Listener listener = bound(Family::v4);
  ASSERT_EQ(::listen(listener.fd, 8), 0);
  Signal sent, finish;
  Child serving("tllong-s", [&] {
    const int fd = ::accept4(listener.fd, nullptr, nullptr, SOCK_CLOEXEC);
    return receive_bytes(fd, 4001) ? (finish.await(), 0) : 1;
  });
  Child calling("tllong-c", [&] {
    const int fd = dial(Family::v4, listener.port);
    if (!send_bytes(fd, 4001)) return 1;
    sent.send();
    finish.await();
    return 0;
  });
  sent.await();
  const Labels client{{"comm", "tllong-c"}, {"role", "client"}};
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_sent_bytes_total", client, 4001));
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_connections_active", client, 1));
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_received_bytes_total", {{"comm", "tllong-s"}}, 4001));
  finish.send();
  finish.send();
  EXPECT_EQ(calling.wait(), 0);
  EXPECT_EQ(serving.wait(), 0);
  ::close(listener.fd);
  EXPECT_TRUE(daemon_->becomes("tarsier_tcp_connections_active", client, 0));
}

TEST_F(TcpLive, SeesConnectionsThatWereOpenBefore) {
  if (daemon_->foreign()) GTEST_SKIP() << "the daemon was started by somebody else";
  const Listener listener = bound(Family::v4);
  ASSERT_EQ(::listen(listener.fd, 8), 0);
  Signal connected, go, sent, finish;
  Child serving("tlpre-s", [&] {
    const int fd = ::accept4(listener.fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (!receive_bytes(fd, kRequestBytes)) return 1;
    connected.send();
    if (!receive_bytes(fd, 8009)) return 2;
    sent.send();
    finish.await();
    return 0;
  });
  Child calling("tlpre-c", [&] {
    const int fd = dial(Family::v4, listener.port);
    if (!send_bytes(fd, kRequestBytes)) return 1;
    go.await();
    if (!send_bytes(fd, 8009)) return 2;
    finish.await();
    return 0;
  });
  connected.await();
  live::Daemon late;
  const Labels client{{"comm", "tlpre-c"}, {"role", "client"}};
  const Labels server{{"comm", "tlpre-s"}, {"role", "server"}};
  // On the first scrape: open, owned, with its role, and not counted as opened.
  EXPECT_EQ(late.scrape().sum("tarsier_tcp_connections_active", client), 1);
  EXPECT_EQ(late.scrape().sum("tarsier_tcp_connections_active", server), 1);
  EXPECT_EQ(late.scrape().sum("tarsier_tcp_connections_opened_total", client), 0);
  go.send();
  sent.await();
  EXPECT_TRUE(late.becomes("tarsier_tcp_sent_bytes_total", client, 8009));
  EXPECT_TRUE(late.becomes("tarsier_tcp_received_bytes_total", server, 8009));
  finish.send();
  finish.send();
  EXPECT_EQ(calling.wait(), 0);
  EXPECT_EQ(serving.wait(), 0);
  ::close(listener.fd);
  EXPECT_TRUE(late.becomes("tarsier_tcp_connections_active", client, 0));
  EXPECT_TRUE(late.becomes("tarsier_tcp_connections_closed_total", client, 1));
}

// Sets the wall clock, and at the end to where it would be.
class WallClock {
 public:
  WallClock() : offset_s_(now(CLOCK_REALTIME) - now(CLOCK_BOOTTIME)) {}
  ~WallClock() { (void)step(0); }
  WallClock(const WallClock&) = delete;
  WallClock& operator=(const WallClock&) = delete;
  // So far off what it was; false: not allowed.
  [[nodiscard]] bool step(long seconds) const {
    const timespec time{now(CLOCK_BOOTTIME) + offset_s_ + seconds, 0};
    return ::clock_settime(CLOCK_REALTIME, &time) == 0;
  }

 private:
  static long now(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return time.tv_sec;
  }
  long offset_s_;
};

TEST_F(TcpLive, AStepOfTheWallClockChangesNoNumber) {
  if (std::getenv("TARSIER_VM") == nullptr) {
    GTEST_SKIP() << "sets the clock of the machine, hence only in a virtual one";
  }
  const double started = daemon_->scrape().sum("process_start_time_seconds");
  const WallClock clock;
  ASSERT_TRUE(clock.step(3'600));
  expect_exchanges(Family::v4, "tlahead", 13);
  ASSERT_TRUE(clock.step(-86'400));
  expect_exchanges(Family::v4, "tlback", 17);
  const live::Scrape scrape = daemon_->scrape();
  EXPECT_EQ(scrape.sum("tarsier_tcp_connections_opened_total", {{"comm", "tlahead-c"}}), 13)
      << "a series of before the step is gone";
  EXPECT_EQ(scrape.sum("process_start_time_seconds"), started);
}

TEST_F(TcpLive, LosesNothingAtManyShortConnections) {
  // An emulated machine (tests/kernels) proves the count, not the rate.
  expect_exchanges(Family::v4, "tlmany", std::getenv("TARSIER_VM") != nullptr ? 503 : 10007);
  EXPECT_EQ(daemon_->lost(), 0);
}

}  // namespace
}  // namespace tarsier
