// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/conntrack_message.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>

#include "base/fd.h"

namespace tarsier::net {
namespace {

// Events as Linux 6.18 sent them: TCP from 10.244.0.2:38036 to 10.96.0.10:80, which became
// 10.244.0.3:8080 and was masqueraded as 10.244.0.1.
constexpr std::string_view kTcpV4 =
    "c4000000000100060000000000000000020000003400018014000180080001000af40002080002000a60000a1c00"
    "02800500010006000000060002009494000006000300005000003400028014000180080001000af4000308000200"
    "0af400011c0002800500010006000000060002001f900000060003009494000008000c00a57282dd080003000000"
    "01b80800070000000078300004802c0001800500010001000000050002000a000000050003000000000006000400"
    "030000000600050000000000";
// From [fd00:244::2]:52778 to [fd00:96::10]:80, which became [fd00:244::3]:8080.
constexpr std::string_view kTcpV6 =
    "f40000000001000600000000000000000a0000004c0001802c00018014000300fd00024400000000000000000000"
    "000214000400fd0000960000000000000000000000101c000280050001000600000006000200ce2a000006000300"
    "005000004c0002802c00018014000300fd00024400000000000000000000000314000400fd000244000000000000"
    "0000000000021c0002800500010006000000060002001f90000006000300ce2a000008000c005adc76fe08000300"
    "000001a80800070000000078300004802c0001800500010001000000050002000a00000005000300000000000600"
    "0400030000000600050000000000";
// UDP from 10.244.0.2:54796 to 10.96.0.10:53, which became 10.244.0.3:8053, masqueraded.
constexpr std::string_view kUdpV4 =
    "94000000000100060000000000000000020000003400018014000180080001000af40002080002000a60000a1c00"
    "0280050001001100000006000200d60c000006000300003500003400028014000180080001000af4000308000200"
    "0af400011c0002800500010011000000060002001f75000006000300d60c000008000c00e2109cfe080003000000"
    "01b8080007000000001e";

constexpr std::size_t kTypeAt = 4;
constexpr std::size_t kProtocolAt = 52;  // of the original direction, IPv4
constexpr std::size_t kReplyAt = 72;     // the same, CTA_TUPLE_REPLY
constexpr std::size_t kStatusAt = 138;   // the last byte but one of CTA_STATUS

std::vector<std::byte> bytes_of(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

Endpoint v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, std::uint16_t port) {
  return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, port};
}

Endpoint v6(std::uint8_t second, std::uint8_t third, std::uint8_t last, std::uint16_t port) {
  return {{0xfd, 0, second, third, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}, port};
}

// The reply direction made the mirror of the original one: nothing is translated.
std::vector<std::byte> mirrored(std::vector<std::byte> message, std::size_t address_bytes) {
  const std::size_t direction = 36 + 16 - 8 + 2 * address_bytes;  // 52 and 76 bytes
  const std::size_t source = 20 + 12;
  const std::size_t destination = source + address_bytes + 4;
  const std::size_t source_port = destination + address_bytes + 16;
  const std::size_t destination_port = source_port + 8;
  const auto copy = [&](std::size_t from, std::size_t to, std::size_t size) {
    std::memcpy(&message[to + direction], &message[from], size);
  };
  copy(source, destination, address_bytes);
  copy(destination, source, address_bytes);
  copy(source_port, destination_port, 2);
  copy(destination_port, source_port, 2);
  return message;
}

TEST(ConntrackMessage, ReadsBothDirectionsOfIpv4) {
  NatRecord record;
  ASSERT_EQ(parse_conntrack(bytes_of(kTcpV4), record), MessageKind::translated);
  EXPECT_EQ(record.protocol, IPPROTO_TCP);
  EXPECT_FALSE(record.ended);
  EXPECT_EQ(record.id, 0xa57282ddU);
  EXPECT_EQ(record.original_source, v4(10, 244, 0, 2, 38036));
  EXPECT_EQ(record.original_destination, v4(10, 96, 0, 10, 80));
  EXPECT_EQ(record.reply_source, v4(10, 244, 0, 3, 8080));
  EXPECT_EQ(record.reply_destination, v4(10, 244, 0, 1, 38036));
}

TEST(ConntrackMessage, ReadsBothDirectionsOfIpv6) {
  NatRecord record;
  ASSERT_EQ(parse_conntrack(bytes_of(kTcpV6), record), MessageKind::translated);
  EXPECT_EQ(record.original_source, v6(2, 0x44, 2, 52778));
  EXPECT_EQ(record.original_destination, v6(0, 0x96, 0x10, 80));
  EXPECT_EQ(record.reply_source, v6(2, 0x44, 3, 8080));
  EXPECT_EQ(record.reply_destination, v6(2, 0x44, 2, 52778));
}

TEST(ConntrackMessage, ReadsUdp) {
  NatRecord record;
  ASSERT_EQ(parse_conntrack(bytes_of(kUdpV4), record), MessageKind::translated);
  EXPECT_EQ(record.protocol, IPPROTO_UDP);
  EXPECT_EQ(record.reply_source, v4(10, 244, 0, 3, 8053));
}

TEST(ConntrackMessage, KnowsTheEndByTypeAndByStatus) {
  NatRecord record;
  auto message = bytes_of(kTcpV4);
  message[kTypeAt] = std::byte{2};  // IPCTNL_MSG_CT_DELETE
  ASSERT_EQ(parse_conntrack(message, record), MessageKind::translated);
  EXPECT_TRUE(record.ended);
  message = bytes_of(kTcpV4);
  ASSERT_EQ(message[kStatusAt + 1], std::byte{0xb8});
  message[kStatusAt] = std::byte{3};  // IPS_DYING beside what was there
  ASSERT_EQ(parse_conntrack(message, record), MessageKind::translated);
  EXPECT_TRUE(record.ended);
}

// IPVS changes the reply direction and sets neither IPS_SRC_NAT nor IPS_DST_NAT.
TEST(ConntrackMessage, GoesByTheAddressesNotByTheStatus) {
  NatRecord record;
  auto message = bytes_of(kTcpV4);
  message[kStatusAt + 1] = std::byte{8};  // IPS_CONFIRMED alone
  EXPECT_EQ(parse_conntrack(message, record), MessageKind::translated);
  EXPECT_EQ(parse_conntrack(mirrored(bytes_of(kTcpV4), 4), record), MessageKind::other);
  EXPECT_EQ(parse_conntrack(mirrored(bytes_of(kTcpV6), 16), record), MessageKind::other);
}

TEST(ConntrackMessage, PassesOverOtherProtocolsAndMessages) {
  NatRecord record;
  auto message = bytes_of(kTcpV4);
  message[kProtocolAt] = std::byte{IPPROTO_SCTP};
  EXPECT_EQ(parse_conntrack(message, record), MessageKind::other);
  message = bytes_of(kTcpV4);
  message[kTypeAt + 1] = std::byte{2};  // an expectation
  EXPECT_EQ(parse_conntrack(message, record), MessageKind::other);
}

TEST(ConntrackMessage, RefusesDirectionsOfTwoProtocols) {
  NatRecord record;
  auto message = bytes_of(kTcpV4);
  message[kProtocolAt] = std::byte{IPPROTO_UDP};
  EXPECT_EQ(parse_conntrack(message, record), MessageKind::malformed);
}

// Whatever is cut off, nothing is read beyond the end (the sanitizers watch), and without the two
// directions nothing is taken.
TEST(ConntrackMessage, SurvivesEveryTruncation) {
  for (const std::string_view hex : {kTcpV4, kTcpV6, kUdpV4}) {
    const auto whole = bytes_of(hex);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<long>(size));
      NatRecord record;
      EXPECT_EQ(parse_conntrack(cut, record), MessageKind::malformed) << size;
      if (size < sizeof(nlmsghdr)) continue;
      const auto length = static_cast<std::uint32_t>(size);  // and a header that agrees
      std::memcpy(cut.data(), &length, sizeof length);
      const bool taken = parse_conntrack(cut, record) == MessageKind::translated;
      EXPECT_TRUE(!taken || size >= kReplyAt + 52) << size;
    }
  }
}

TEST(ConntrackMessage, SurvivesEveryChangedByte) {
  for (const std::string_view hex : {kTcpV4, kTcpV6, kUdpV4}) {
    for (std::size_t at = 0; at < hex.size() / 2; ++at) {
      for (const unsigned value : {0U, 1U, 0x7fU, 0x80U, 0xffU}) {
        auto message = bytes_of(hex);
        message[at] = static_cast<std::byte>(value);
        NatRecord record;
        (void)parse_conntrack(message, record);
      }
    }
  }
}

std::vector<std::byte> control(std::uint16_t type, std::uint32_t sequence, std::uint16_t flags,
                               std::int32_t error) {
  std::vector<std::byte> bytes(sizeof(nlmsghdr) + sizeof error);
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(bytes.size());
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = sequence;
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, &error, sizeof error);
  return bytes;
}

struct Walked {
  Walk walk;
  std::size_t messages = 0;
};
Walked walk(const std::vector<std::byte>& buffer, std::uint32_t sequence = 0) {
  Walked walked;
  walked.walk =
      walk_messages(buffer, sequence, [&](std::span<const std::byte>) { ++walked.messages; });
  return walked;
}

TEST(ConntrackWalk, HandsOnEachMessageUpToTheEnd) {
  auto buffer = bytes_of(kTcpV4);
  const auto second = bytes_of(kTcpV6);
  buffer.insert(buffer.end(), second.begin(), second.end());
  EXPECT_EQ(walk(buffer).messages, 2U);
  EXPECT_EQ(walk(buffer).walk.end, WalkEnd::more);
  const auto done = control(NLMSG_DONE, 0, NLM_F_DUMP_INTR, 0);
  buffer.insert(buffer.end(), done.begin(), done.end());
  EXPECT_EQ(walk(buffer).messages, 2U);
  EXPECT_EQ(walk(buffer).walk.end, WalkEnd::done);
  EXPECT_TRUE(walk(buffer).walk.interrupted);
}

TEST(ConntrackWalk, SaysWhatTheKernelRefused) {
  EXPECT_EQ(walk(control(NLMSG_ERROR, 0, 0, -EPERM)).walk.end, WalkEnd::error);
  EXPECT_EQ(walk(control(NLMSG_ERROR, 0, 0, -EPERM)).walk.error, EPERM);
  EXPECT_EQ(walk(control(NLMSG_ERROR, 0, 0, 0)).walk.error, EBADMSG);
  EXPECT_EQ(walk(control(NLMSG_ERROR, 0, 0, INT32_MIN)).walk.error, EBADMSG);
}

TEST(ConntrackWalk, PassesOverAnswersToAnotherRequest) {
  EXPECT_EQ(walk(control(NLMSG_DONE, 6, 0, 0), 7).walk.end, WalkEnd::more);
  EXPECT_EQ(walk(control(NLMSG_DONE, 7, 0, 0), 7).walk.end, WalkEnd::done);
}

TEST(ConntrackWalk, RefusesLengthsThatDoNotFit) {
  auto buffer = bytes_of(kTcpV4);
  buffer.resize(buffer.size() - 4);
  EXPECT_EQ(walk(buffer).walk.end, WalkEnd::error);
  EXPECT_EQ(walk(buffer).messages, 0U);
}

// libmnl's own check takes such a length for a negative one.
TEST(ConntrackWalk, RefusesALengthAboveIntMax) {
  auto buffer = bytes_of(kTcpV4);
  buffer[3] = std::byte{0x80};
  EXPECT_EQ(walk(buffer).walk.end, WalkEnd::error);
  EXPECT_EQ(walk(buffer).messages, 0U);
  NatRecord record;
  EXPECT_EQ(parse_conntrack(buffer, record), MessageKind::malformed);
}

// The filter is run by the kernel, on a pair of sockets that anyone may make.
class EventFilter : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    in_.reset(pair[0]);
    out_.reset(pair[1]);
    auto code = event_filter();
    ASSERT_LT(code.size(), 254U);  // a jump reaches so far
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    ASSERT_EQ(::setsockopt(out_.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0)
        << std::strerror(errno);
  }
  bool passes(const std::vector<std::byte>& message) {
    // The kernel runs the filter before send() returns; EPERM: it dropped.
    (void)::send(in_.get(), message.data(), message.size(), MSG_DONTWAIT);
    std::array<std::byte, 1'024> buffer;
    return ::recv(out_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) >= 0;
  }

 private:
  base::UniqueFd in_;
  base::UniqueFd out_;
};

TEST_F(EventFilter, PassesWhatIsTranslated) {
  for (const std::string_view hex : {kTcpV4, kTcpV6, kUdpV4}) EXPECT_TRUE(passes(bytes_of(hex)));
}

TEST_F(EventFilter, DropsWhatIsMirrored) {
  EXPECT_FALSE(passes(mirrored(bytes_of(kTcpV4), 4)));
  EXPECT_FALSE(passes(mirrored(bytes_of(kUdpV4), 4)));
  EXPECT_FALSE(passes(mirrored(bytes_of(kTcpV6), 16)));
}

TEST_F(EventFilter, DropsOtherProtocols) {
  auto message = bytes_of(kTcpV4);
  message[kProtocolAt] = std::byte{IPPROTO_ICMP};
  EXPECT_FALSE(passes(message));
}

// Each byte of an address or a port that differs makes a translation; the filter and the parser
// agree about every one.
TEST_F(EventFilter, AgreesWithTheParserAboutEveryByte) {
  const std::array<std::pair<std::string_view, std::size_t>, 2> messages{
      {{kTcpV4, 4}, {kTcpV6, 16}}};
  for (const auto& [hex, address_bytes] : messages) {
    const auto plain = mirrored(bytes_of(hex), address_bytes);
    std::size_t translated = 0;
    for (std::size_t at = 20; at < 20 + 2 * (44 + 2 * address_bytes); ++at) {
      auto message = plain;
      message[at] ^= std::byte{0x40};
      NatRecord record;
      if (parse_conntrack(message, record) != MessageKind::translated) continue;
      ++translated;
      EXPECT_TRUE(passes(message)) << at;
    }
    EXPECT_EQ(translated, 2 * (2 * address_bytes + 4));
  }
}

// A kernel that wrote its messages in another order would cost time, not connections.
TEST_F(EventFilter, PassesWhatItDoesNotRecognise) {
  auto message = mirrored(bytes_of(kTcpV4), 4);
  message[kReplyAt + 2] = std::byte{18};  // CTA_ZONE where CTA_TUPLE_REPLY is looked for
  EXPECT_TRUE(passes(message));
  message = mirrored(bytes_of(kTcpV4), 4);
  message[16] = std::byte{AF_UNSPEC};
  EXPECT_TRUE(passes(message));
}

}  // namespace
}  // namespace tarsier::net
