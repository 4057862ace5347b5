// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Real answers of a DNS server, received in every way that a resolver might, against the service as
// the daemon loads it. What the asker received it also tells the test, byte for byte; all records
// of its network namespace must be exactly that.
#include "kernel/services/names.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <nss.h>
#include <resolv.h>
#include <sys/uio.h>

#include <array>
#include <functional>
#include <limits>
#include <memory>
#include <thread>

#include "kernel/facts.h"
#include "kernel/loader.h"
#include "kernel/services/services.h"
#include "kernel/services/test_dns.h"
#include "kernel/services/test_uring.h"
#include "tarsier/livekit.h"

namespace tarsier::kernel {
namespace {

using live::Child;
using live::Signal;
using test::dns_query;
using test::Endpoint;

constexpr std::uint16_t kDns = 53, kMulticastDns = 5353, kOther = 5301;
constexpr int kMayNot = 77;

// What the asker tells the test: its namespace, then each message as it received it.
class Pipe {
 public:
  Pipe() {
    if (::pipe2(fds_, O_CLOEXEC) != 0) std::abort();
  }
  ~Pipe() {
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void tell(std::string_view bytes) const {
    const auto size = static_cast<std::uint32_t>(bytes.size());
    if (::write(fds_[1], &size, sizeof size) < 0 || ::write(fds_[1], bytes.data(), size) < 0) {
      std::abort();
    }
  }
  // All that was told; the tellers have ended.
  std::vector<std::string> hear() {
    ::close(std::exchange(fds_[1], -1));
    std::vector<std::string> told;
    for (std::uint32_t size = 0; ::read(fds_[0], &size, sizeof size) == sizeof size;) {
      told.emplace_back(size, '\0');
      if (size != 0 && ::read(fds_[0], told.back().data(), size) != size) std::abort();
    }
    return told;
  }

 private:
  int fds_[2] = {-1, -1};
};

struct Asked {
  std::uint32_t netns = 0;
  std::uint32_t tgid = 0;
  std::vector<std::string> messages;
};

struct Answer {
  names_answer record{};
  std::string message;
};

class NamesLive : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::geteuid() != 0) {
      why_not_ = "live tests load BPF programs and need root";
      return;
    }
    const RunningKernel facts("");
    tarsier_env environment{};
    environment.ring_watermark = 1U << 18U;
    auto loaded = load_probe({names_service, nullptr, environment, ""}, facts, shared_);
    ASSERT_TRUE(loaded) << loaded.error().message;
    loaded_ = std::move(*loaded);
    const HookState& hook = loaded_->hooks().front();
    if (!hook.available) why_not_ = hook.reason;
    std::printf("names: by %s %s (%s)\n", hook.method.c_str(), hook.target.c_str(),
                hook.reason.c_str());
  }
  static void TearDownTestSuite() { loaded_.reset(); }
  void SetUp() override {
    if (!why_not_.empty()) GTEST_SKIP() << why_not_;
    lost_before_ = lost();
  }

  // With the iterator every message is found, by the tracepoint some cannot be.
  static bool by_iterator() { return loaded_->hooks().front().method == "fexit"; }
  static std::uint64_t lost() {
    for (const auto& [reason, count] : loaded_->losses()) {
      if (reason == "unreachable_payload") return count;
    }
    return std::numeric_limits<std::uint64_t>::max();
  }
  [[nodiscard]] std::uint64_t newly_lost() const { return lost() - lost_before_; }

  // Runs `ask` in a process beside a DNS server, both alone in a network namespace.
  static void ask(const std::function<int(const Pipe&)>& work, Asked& asked) {
    Pipe pipe;
    Child asker("names-live", [&] {
      if (!test::enter_own_network()) return kMayNot;
      const std::uint32_t netns = test::own_netns();
      pipe.tell({reinterpret_cast<const char*>(&netns), sizeof netns});
      auto sockets = test::dns_sockets({kDns, kMulticastDns, kOther});
      if (sockets.empty()) return 78;
      // Bound before the fork, so nobody has to wait for it.
      const Child server("names-server", [&]() -> int { test::serve_dns(sockets); });
      for (const pollfd& one : sockets) ::close(one.fd);
      return work(pipe);
    });
    asked.tgid = static_cast<std::uint32_t>(asker.pid());
    const int result = asker.wait();
    if (result == kMayNot) GTEST_SKIP() << "this process may not make network namespaces";
    ASSERT_EQ(result, 0);
    asked.messages = pipe.hear();
    std::memcpy(&asked.netns, asked.messages.front().data(), sizeof asked.netns);
    asked.messages.erase(asked.messages.begin());
  }

  // The records of the namespace; those of others on this machine are none of our business.
  static std::vector<Answer> answers(const Asked& asked) {
    std::vector<Answer> found;
    loaded_->rings().front().drain(
        std::numeric_limits<std::uint64_t>::max(), 100'000, [&](Bytes bytes) {
          Answer answer;
          ASSERT_EQ(bytes.size(), sizeof answer.record);
          ASSERT_TRUE(copy_from(bytes, answer.record));
          if (answer.record.netns != asked.netns) return;
          ASSERT_LE(answer.record.captured, NAMES_MESSAGE_MAX);
          answer.message.assign(reinterpret_cast<const char*>(answer.record.message),
                                answer.record.captured);
          EXPECT_EQ(answer.record.header.tgid, asked.tgid);
          found.push_back(std::move(answer));
        });
    return found;
  }
  static std::vector<std::string> messages_of(const std::vector<Answer>& answers) {
    std::vector<std::string> messages;
    for (const Answer& answer : answers) messages.push_back(answer.message);
    return messages;
  }

  static std::unique_ptr<LoadedProbe> loaded_;
  static SharedMaps shared_;
  static std::string why_not_;
  std::uint64_t lost_before_ = 0;
};

std::unique_ptr<LoadedProbe> NamesLive::loaded_;
SharedMaps NamesLive::shared_;
std::string NamesLive::why_not_;

// The system calls by which a message can come. All of them block until it is there.
enum class Call { recvfrom, recv, read, readv, recvmsg, recvmmsg };

ssize_t receive(int fd, Call call, char* buffer, std::size_t size, int flags = 0) {
  sockaddr_in6 from{};
  socklen_t from_size = sizeof from;
  iovec vector{buffer, size};
  mmsghdr one{};
  one.msg_hdr.msg_name = &from;
  one.msg_hdr.msg_namelen = sizeof from;
  one.msg_hdr.msg_iov = &vector;
  one.msg_hdr.msg_iovlen = 1;
  switch (call) {
    case Call::recvfrom:
      return ::recvfrom(fd, buffer, size, flags, reinterpret_cast<sockaddr*>(&from), &from_size);
    case Call::recv: return ::recv(fd, buffer, size, flags);
    case Call::read: return ::read(fd, buffer, size);
    case Call::readv: return ::readv(fd, &vector, 1);
    case Call::recvmsg: return ::recvmsg(fd, &one.msg_hdr, flags);
    case Call::recvmmsg:
      return ::recvmmsg(fd, &one, 1, flags, nullptr) == 1 ? static_cast<ssize_t>(one.msg_len) : -1;
  }
  return -1;
}

int connected(const Endpoint& server) {
  const int fd = ::socket(server.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  return ::connect(fd, server.get(), server.size()) == 0 ? fd : -1;
}

// Asks over a connected socket `count` times; what came is told if `tell`.
int exchange(int fd, Call call, int count, const std::string& name, const Pipe* pipe) {
  for (int i = 0; i < count; ++i) {
    const std::string query = dns_query(static_cast<std::uint16_t>(1000 + i), name);
    if (::send(fd, query.data(), query.size(), 0) < 0) return 3;
    std::array<char, 2048> buffer{};
    const ssize_t size = receive(fd, call, buffer.data(), buffer.size());
    if (size < static_cast<ssize_t>(test::kHeaderBytes)) return 4;
    if (pipe != nullptr) pipe->tell({buffer.data(), static_cast<std::size_t>(size)});
  }
  return 0;
}

struct Case {
  std::string name;
  Call call;
  int family;
  int count;  // a prime number
};

class NamesLiveConnected : public NamesLive, public testing::WithParamInterface<Case> {};

TEST_P(NamesLiveConnected, EachAnswerOnceWithItsBytes) {
  const Case& tried = GetParam();
  Asked asked;
  ask(
      [&](const Pipe& pipe) {
        const int fd = connected(Endpoint(tried.family, kDns));
        return exchange(fd, tried.call, tried.count, "www.example.org", &pipe);
      },
      asked);
  const auto found = answers(asked);
  ASSERT_EQ(found.size(), static_cast<std::size_t>(tried.count));
  EXPECT_EQ(messages_of(found), asked.messages);
  std::array<std::uint8_t, 16> server{};
  server[15] = 1;
  if (tried.family == AF_INET) server = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  for (const Answer& answer : found) {
    EXPECT_EQ(answer.record.server_port, kDns);
    EXPECT_EQ(std::memcmp(answer.record.server_address, server.data(), server.size()), 0);
    EXPECT_EQ(answer.record.length, answer.record.captured);
  }
  EXPECT_EQ(newly_lost(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Ways, NamesLiveConnected,
                         testing::Values(Case{"recvfrom4", Call::recvfrom, AF_INET, 31},
                                         Case{"recvfrom6", Call::recvfrom, AF_INET6, 13},
                                         Case{"recv4", Call::recv, AF_INET, 7},
                                         Case{"read4", Call::read, AF_INET, 11},
                                         Case{"read6", Call::read, AF_INET6, 5},
                                         Case{"readv4", Call::readv, AF_INET, 7},
                                         Case{"recvmsg4", Call::recvmsg, AF_INET, 17},
                                         Case{"recvmsg6", Call::recvmsg, AF_INET6, 5},
                                         Case{"recvmmsg4", Call::recvmmsg, AF_INET, 19},
                                         Case{"recvmmsg6", Call::recvmmsg, AF_INET6, 3}),
                         [](const auto& one) { return one.param.name; });

// musl asks like this: no connect(), the sender is asked for.
class NamesLiveUnconnected : public NamesLive, public testing::WithParamInterface<Case> {};

TEST_P(NamesLiveUnconnected, TheSenderDecides) {
  const Case& tried = GetParam();
  Asked asked;
  ask(
      [&](const Pipe& pipe) {
        const int fd = ::socket(tried.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        for (int i = 0; i < tried.count; ++i) {
          const Endpoint server(tried.family, kDns);
          const std::string query = dns_query(static_cast<std::uint16_t>(i), "musl.example.org");
          ::sendto(fd, query.data(), query.size(), 0, server.get(), server.size());
          std::array<char, 512> buffer{};
          const ssize_t size = receive(fd, tried.call, buffer.data(), buffer.size());
          if (size < 0) return 3;
          pipe.tell({buffer.data(), static_cast<std::size_t>(size)});
        }
        return 0;
      },
      asked);
  const auto found = answers(asked);
  EXPECT_EQ(messages_of(found), asked.messages);
  ASSERT_EQ(found.size(), static_cast<std::size_t>(tried.count));
  // Nobody but the iterator's way sees the sender, and read() does not ask for it.
  const bool known = by_iterator() && tried.call != Call::read;
  for (const Answer& answer : found) EXPECT_EQ(answer.record.server_port, known ? kDns : 0);
  EXPECT_EQ(newly_lost(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Ways, NamesLiveUnconnected,
                         testing::Values(Case{"recvfrom4", Call::recvfrom, AF_INET, 23},
                                         Case{"recvfrom6", Call::recvfrom, AF_INET6, 11},
                                         Case{"recvmsg4", Call::recvmsg, AF_INET, 13},
                                         Case{"recvmsg6", Call::recvmsg, AF_INET6, 5},
                                         Case{"recvmmsg4", Call::recvmmsg, AF_INET, 7},
                                         Case{"read4", Call::read, AF_INET, 3}),
                         [](const auto& one) { return one.param.name; });

TEST_F(NamesLive, OtherPortsAndAnswersWithoutAddressesGiveNothing) {
  Asked asked;
  ask(
      [](const Pipe&) {
        for (const int family : {AF_INET, AF_INET6}) {
          for (const std::uint16_t port : {kOther, kMulticastDns}) {
            if (exchange(connected(Endpoint(family, port)), Call::recvfrom, 13, "www.example.org",
                         nullptr) != 0) {
              return 3;
            }
          }
          const int fd = connected(Endpoint(family, kDns));
          if (exchange(fd, Call::recvfrom, 5, "none.example.org", nullptr) != 0) return 4;
          if (exchange(fd, Call::recvmsg, 5, "empty.example.org", nullptr) != 0) return 5;
          if (exchange(fd, Call::read, 5, "query.example.org", nullptr) != 0) return 6;
        }
        return 0;
      },
      asked);
  EXPECT_EQ(answers(asked).size(), 0U);
  EXPECT_EQ(newly_lost(), 0U);
}

TEST_F(NamesLive, ALongAnswerIsCutVisibly) {
  Asked asked;
  ask(
      [](const Pipe& pipe) {
        return exchange(connected(Endpoint(AF_INET, kDns)), Call::recvfrom, 3, "big.example.org",
                        &pipe);
      },
      asked);
  const auto found = answers(asked);
  ASSERT_EQ(found.size(), 3U);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_GT(asked.messages[i].size(), std::size_t{NAMES_MESSAGE_MAX});
    EXPECT_EQ(found[i].record.length, asked.messages[i].size());
    EXPECT_EQ(found[i].message, asked.messages[i].substr(0, NAMES_MESSAGE_MAX));
  }
}

// The buffer may be exactly as long as the message, or shorter, or in pieces.
TEST_F(NamesLive, BuffersOfAnyShape) {
  static constexpr std::size_t kPiece = 20;
  const std::string query = dns_query(7, "shape.example.org");
  const std::string answer = test::dns_answer(query);
  Asked asked;
  ask(
      [&](const Pipe&) {
        const int fd = connected(Endpoint(AF_INET, kDns));
        std::array<char, 512> buffer{};
        const auto once = [&](Call call, std::size_t size, int flags) {
          ::send(fd, query.data(), query.size(), 0);
          return receive(fd, call, buffer.data(), size, flags);
        };
        const auto whole = static_cast<ssize_t>(answer.size()), part = static_cast<ssize_t>(kPiece);
        if (once(Call::recvfrom, answer.size(), 0) != whole) return 3;
        if (once(Call::recvmsg, answer.size(), 0) != whole) return 4;
        if (once(Call::recvmsg, kPiece, MSG_TRUNC) != whole) return 5;
        if (once(Call::recvfrom, kPiece, 0) != part) return 6;
        iovec pieces[] = {{buffer.data(), kPiece}, {buffer.data() + 100, 400}};
        msghdr message{};
        message.msg_iov = pieces;
        message.msg_iovlen = 2;
        ::send(fd, query.data(), query.size(), 0);
        return ::recvmsg(fd, &message, 0) == whole ? 0 : 7;
      },
      asked);
  const std::string front = answer.substr(0, kPiece);
  const auto found = answers(asked);
  EXPECT_THAT(messages_of(found), testing::ElementsAre(answer, answer, front, front, front));
  ASSERT_EQ(found.size(), 5U);
  EXPECT_EQ(found[2].record.length, answer.size());
  EXPECT_EQ(found[3].record.length, kPiece);
  EXPECT_EQ(found[4].record.length, answer.size());
}

// Several messages wait, one call takes them all. The tracepoint finds the first one of each call.
TEST_F(NamesLive, OneCallForManyAnswers) {
  static constexpr unsigned kBatch = 5, kBatches = 3;
  Asked asked;
  ask(
      [](const Pipe& pipe) {
        const int fd = connected(Endpoint(AF_INET, kDns));
        const int other = connected(Endpoint(AF_INET, kOther));
        for (unsigned batch = 0; batch < kBatches; ++batch) {
          for (unsigned i = 0; i < kBatch; ++i) {
            const std::string query =
                dns_query(static_cast<std::uint16_t>(batch * kBatch + i), "many.example.org");
            ::send(fd, query.data(), query.size(), 0);
          }
          // The server answers in order: with this answer, those before it are there.
          if (exchange(other, Call::recvfrom, 1, "last.example.org", nullptr) != 0) return 3;
          std::array<std::array<char, 512>, kBatch> buffers{};
          std::array<iovec, kBatch> vectors{};
          std::array<mmsghdr, kBatch> messages{};
          for (unsigned i = 0; i < kBatch; ++i) {
            vectors[i] = {buffers[i].data(), buffers[i].size()};
            messages[i].msg_hdr.msg_iov = &vectors[i];
            messages[i].msg_hdr.msg_iovlen = 1;
          }
          if (::recvmmsg(fd, messages.data(), kBatch, 0, nullptr) != kBatch) return 4;
          for (unsigned i = 0; i < kBatch; ++i) pipe.tell({buffers[i].data(), messages[i].msg_len});
        }
        return 0;
      },
      asked);
  ASSERT_EQ(asked.messages.size(), kBatch * kBatches);
  if (by_iterator()) {
    EXPECT_EQ(messages_of(answers(asked)), asked.messages);
    EXPECT_EQ(newly_lost(), 0U);
  } else {
    EXPECT_THAT(messages_of(answers(asked)),
                testing::ElementsAre(asked.messages[0], asked.messages[kBatch],
                                     asked.messages[2 * kBatch]));
    EXPECT_EQ(newly_lost(), (kBatch - 1) * kBatches);
  }
}

TEST_F(NamesLive, AThreadReceivesForItsProcess) {
  Asked asked;
  ask(
      [](const Pipe& pipe) {
        int result = 1;
        std::thread([&] {
          result =
              exchange(connected(Endpoint(AF_INET6, kDns)), Call::recvmsg, 7, "t.example", &pipe);
        }).join();
        return result;
      },
      asked);
  EXPECT_EQ(asked.messages.size(), 7U);
  EXPECT_EQ(messages_of(answers(asked)), asked.messages);  // answers() compares the process
}

// The C library, told of the server without a file: getaddrinfo asks for both families.
TEST_F(NamesLive, TheCLibraryAsks) {
  static constexpr int kLookUps = 11;
  Asked asked;
  ask(
      [](const Pipe&) {
        if (__nss_configure_lookup("hosts", "dns") != 0 || ::res_init() != 0) return 3;
        const Endpoint server(AF_INET, kDns);
        std::memcpy(&_res.nsaddr_list[0], server.get(), sizeof _res.nsaddr_list[0]);
        _res.nscount = 1;
        for (int i = 0; i < kLookUps; ++i) {
          const std::string name = "host" + std::to_string(i) + ".example.org.";
          addrinfo* found = nullptr;
          if (::getaddrinfo(name.c_str(), "80", nullptr, &found) != 0) return 4;
          ::freeaddrinfo(found);
        }
        return 0;
      },
      asked);
  const auto found = answers(asked);
  ASSERT_EQ(found.size(), 2U * kLookUps);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string label = "host" + std::to_string(i / 2);
    EXPECT_EQ(found[i].message.substr(test::kHeaderBytes + 1, label.size()), label);
  }
  EXPECT_EQ(newly_lost(), 0U);
}

// The answer comes while the thread waits in recvfrom, whose buffer holds what looks like another
// answer: it must never be taken for the one that came.
TEST_F(NamesLive, IoUringGivesTheRightBytesOrNone) {
  Asked asked;
  ask(
      [](const Pipe& pipe) {
        test::Uring ring;
        if (!ring.works()) return kMayNot + 2;
        const int fd = connected(Endpoint(AF_INET, kDns));
        const int other = connected(Endpoint(AF_INET, kOther));
        std::array<char, 512> buffer{};
        if (!ring.submit_receive(fd, buffer.data(), buffer.size())) return 3;
        const std::string query = dns_query(1, "ring.example.org");
        std::string bait = test::dns_answer(dns_query(2, "bait.example.org"));
        // From a process of its own, while this one waits.
        const Child sender("names-sender", [&] {
          for (const int to : {fd, other}) ::send(to, query.data(), query.size(), 0);
          return 0;
        });
        if (::recvfrom(other, bait.data(), bait.size(), 0, nullptr, nullptr) < 0) return 4;
        const int size = ring.result();
        if (size < 0) return 5;
        pipe.tell({buffer.data(), static_cast<std::size_t>(size)});
        return 0;
      },
      asked);
  const auto found = messages_of(answers(asked));
  if (by_iterator()) {
    EXPECT_EQ(found, asked.messages);
    EXPECT_EQ(newly_lost(), 0U);
  } else {
    EXPECT_EQ(found, std::vector<std::string>{});
    EXPECT_EQ(newly_lost(), 1U);
  }
}

}  // namespace
}  // namespace tarsier::kernel
