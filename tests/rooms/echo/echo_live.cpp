// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "assembly.h"
#include "echo/echo.h"

namespace tarsier {

extern const ProbeSpec echo_room;

namespace {

using live::Labels;
using rooms::Assembly;

constexpr std::uint32_t kFrameBytes = 100;
constexpr int kExchanges = 1'009;
constexpr std::uint32_t kWatched = 37;  // exchanges until it is enough
// Calls per exchange: the client sends once and receives header and body, the server likewise.
constexpr int kMessages = 6;

// What the client is told beside a number of exchanges.
enum Command { kReconnect = -1, kLookAway = -2, kEnoughAt = -3, kThreeAtOnce = -4 };

struct Listener {
  int fd = -1;
  std::uint16_t port = 0;
};

Listener listening() {
  Listener made;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  made.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(made.fd, reinterpret_cast<sockaddr*>(&address), size) != 0) return made;
  if (::listen(made.fd, 16) != 0) return made;
  ::getsockname(made.fd, reinterpret_cast<sockaddr*>(&address), &size);
  made.port = ntohs(address.sin_port);
  return made;
}

bool receive_frame(int fd, echo_frame& frame) {
  std::array<char, kFrameBytes> body;
  if (::recv(fd, &frame, sizeof frame, MSG_WAITALL) != sizeof frame) return false;
  return frame.body_bytes == 0 ||
         (frame.body_bytes <= body.size() &&
          ::recv(fd, body.data(), frame.body_bytes, MSG_WAITALL) == ssize_t{frame.body_bytes});
}

bool send_frame(int fd, const echo_frame& frame) {
  std::array<char, kFrameBytes> bytes{};
  std::memcpy(bytes.data(), &frame, sizeof frame);
  const std::size_t size = sizeof frame + frame.body_bytes;
  return ::send(fd, bytes.data(), size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

echo_frame request(std::uint32_t sequence, echo_verb verb = ECHO_PLAIN,
                   std::uint32_t argument = 0) {
  return {{'E', 'C'}, 'Q', static_cast<char>(verb), sequence, kFrameBytes - sizeof(echo_frame),
          argument};
}

// Answers one connection after the other until it is killed.
int serve(int listener) {
  while (true) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return 1;
    echo_frame frame;
    while (receive_frame(fd, frame)) {
      frame.kind = 'R';
      if (!send_frame(fd, frame)) break;
    }
    ::close(fd);
  }
}

class Client {
 public:
  explicit Client(std::uint16_t port) : port_(port) {}

  // Number of exchanges that went well.
  int obey(int command) {
    switch (command) {
      case kReconnect: return connect() ? 1 : 0;
      case kLookAway: return exchange(ECHO_LOOK_AWAY) ? 1 : 0;
      case kEnoughAt: return exchange(ECHO_ENOUGH_AT, kWatched * kFrameBytes) ? 1 : 0;
      case kThreeAtOnce: return three_at_once();
      default: break;
    }
    int done = 0;
    while (done < command && exchange()) ++done;
    return done;
  }
  bool connect() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port_);
    return ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

 private:
  bool exchange(echo_verb verb = ECHO_PLAIN, std::uint32_t argument = 0) {
    echo_frame answer;
    return send_frame(fd_, request(++sequence_, verb, argument)) && receive_frame(fd_, answer) &&
           answer.kind == 'R' && answer.sequence == sequence_;
  }
  int three_at_once() {
    std::array<echo_frame, 3> frames;
    for (echo_frame& frame : frames) {
      frame = request(++sequence_);
      frame.body_bytes = 0;
    }
    if (::send(fd_, frames.data(), sizeof frames, MSG_NOSIGNAL) != sizeof frames) return 0;
    int done = 0;
    for (echo_frame answer; done < 3 && receive_frame(fd_, answer);) ++done;
    return done;
  }

  std::uint16_t port_;
  int fd_ = -1;
  std::uint32_t sequence_ = 0;
};

// The same room by either way: `ways` of the plate's only hook, from the first that is tried.
class EchoRoom : public testing::TestWithParam<std::size_t> {
 protected:
  EchoRoom() {
    hook_ = echo_room.hooks[0];
    hook_.ways = hook_.ways.subspan(GetParam(), 1);
    plate_ = echo_room;
    plate_.hooks = {&hook_, 1};
  }
  config::ProbeConfig wanted() const {
    config::ProbeConfig config(plate_);
    config.options.put(0, std::int64_t{listener_.port});
    config.options.put(1, std::int64_t{load_listener_.port});
    return config;
  }
  double sum(const Assembly& assembly, std::string_view name, const Labels& labels = {}) {
    return assembly.scrape().sum(name, labels);
  }

  Hook hook_;
  ProbeSpec plate_;
  Listener listener_ = listening(), load_listener_ = listening();
  const Labels client_{{"comm", "echo-client"}, {"role", "client"}};
  const Labels server_{{"comm", "echo-server"}, {"role", "server"}};
};

TEST_P(EchoRoom, ObeysVerdictsAndCountsExactlyAfterRestartsUnderLoad) {
  if (const auto why = rooms::unavailable(); !why.empty()) GTEST_SKIP() << why;
  if (const auto why = rooms::unavailable(plate_); !why.empty()) GTEST_SKIP() << why;
  const live::Child load_server("echo-load-s", [&] { return serve(load_listener_.fd); });
  const live::Child server("echo-server", [&] { return serve(listener_.fd); });
  const live::Child load("echo-load-c", [&] {
    Client client(load_listener_.port);
    if (!client.connect()) return 1;
    while (client.obey(16) == 16) ::usleep(1'000);
    return 1;
  });
  Client client(listener_.port);
  rooms::Worker worker("echo-client", [&](int command) { return client.obey(command); });
  ::close(listener_.fd);
  ::close(load_listener_.fd);
  ASSERT_EQ(worker.run(kReconnect), 1);
  ASSERT_EQ(worker.run(kExchanges), kExchanges);  // unseen, on a connection that stays

  Assembly assembly;
  restart_under_load(assembly, wanted(), *plate_.metrics[0], {{"comm", "echo-load-c"}},
                     "room_echo");
  if (testing::Test::HasFatalFailure()) return;
  constexpr std::string_view kRequests = "tarsier_room_echo_requests_total";
  constexpr std::string_view kVerdicts = "tarsier_room_echo_verdicts_total";
  constexpr std::string_view kHeldBack = "tarsier_room_echo_held_back_total";

  // A connection from before the start, then several frames in one message. The server was inside
  // recvfrom() when the probe was attached: what pairs entry and exit of calls cannot see that one.
  const double missed = GetParam() == 1 ? 1 : 0;
  ASSERT_EQ(worker.run(kExchanges), kExchanges);
  ASSERT_EQ(worker.run(kThreeAtOnce), 3);
  double count = kExchanges + 3;
  EXPECT_TRUE(assembly.becomes(kRequests, client_, count));
  EXPECT_TRUE(assembly.becomes(kRequests, server_, count - missed));
  EXPECT_TRUE(assembly.becomes("tarsier_room_echo_duration_seconds_count", client_, count));
  EXPECT_EQ(sum(assembly, kVerdicts), 0);

  // Nothing more of this connection.
  ASSERT_EQ(worker.run(kLookAway), 1);
  ASSERT_TRUE(assembly.becomes(kVerdicts, {}, 2));
  ASSERT_EQ(worker.run(kExchanges), kExchanges);
  double held_back = kExchanges * kMessages;
  EXPECT_TRUE(assembly.becomes(kHeldBack, {}, held_back));
  count += 1;
  EXPECT_TRUE(assembly.becomes(kRequests, client_, count));
  EXPECT_TRUE(assembly.becomes(kRequests, server_, count - missed));

  // Of the next one, the first kWatched frames of either direction.
  ASSERT_EQ(worker.run(kReconnect), 1);
  ASSERT_EQ(worker.run(kEnoughAt), 1);
  ASSERT_TRUE(assembly.becomes(kVerdicts, {}, 4));
  ASSERT_EQ(worker.run(kExchanges - 1), kExchanges - 1);
  held_back += (kExchanges - double{kWatched}) * kMessages;
  EXPECT_TRUE(assembly.becomes(kHeldBack, {}, held_back));
  count += kWatched;
  EXPECT_TRUE(assembly.becomes(kRequests, client_, count));
  EXPECT_TRUE(assembly.becomes(kRequests, server_, count - missed));

  EXPECT_EQ(sum(assembly, "tarsier_room_echo_out_of_step_total", {{"comm", "echo-client"}}), 0);
  // The body without its header, and the answer to it.
  EXPECT_EQ(sum(assembly, "tarsier_room_echo_out_of_step_total", {{"comm", "echo-server"}}),
            2 * missed);
  EXPECT_EQ(sum(assembly, "tarsier_probe_decode_errors_total", {{"probe", "echo"}}), 0);
  assembly.stop(plate_);
}

INSTANTIATE_TEST_SUITE_P(Ways, EchoRoom, testing::Values(0, 1), [](const auto& way) {
  return way.param == 0 ? "TypedTracepoints" : "SystemCalls";
});

}  // namespace
}  // namespace tarsier
