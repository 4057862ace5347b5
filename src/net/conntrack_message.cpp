// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/conntrack_message.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace tarsier::net {
namespace {

constexpr std::uint32_t kDying = 1U << 9U;  // IPS_DYING: a dump can meet what has just ended
constexpr std::uint16_t kNew = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
constexpr std::uint16_t kDelete = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;

// The attributes of one level by their type; a type that comes twice counts with its last.
template <std::size_t Count>
struct Attributes {
  std::array<const nlattr*, Count> at{};

  static int collect(const nlattr* attribute, void* data) {
    auto& self = *static_cast<Attributes*>(data);
    const std::uint16_t type = ::mnl_attr_get_type(attribute);
    if (type < Count) self.at[type] = attribute;
    return MNL_CB_OK;
  }
  [[nodiscard]] bool read_nested(const nlattr* nest) {
    return nest != nullptr && ::mnl_attr_parse_nested(nest, &collect, this) == MNL_CB_OK;
  }
};

bool has_size(const nlattr* attribute, std::size_t size) {
  return attribute != nullptr && ::mnl_attr_get_payload_len(attribute) == size;
}

std::optional<std::uint32_t> read_u32(const nlattr* attribute) {
  if (!has_size(attribute, sizeof(std::uint32_t))) return std::nullopt;
  return ntohl(::mnl_attr_get_u32(attribute));
}

bool read_address(const nlattr* v4, const nlattr* v6, Endpoint& endpoint) {
  if (has_size(v4, 4)) {
    endpoint.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    std::memcpy(&endpoint.address[12], ::mnl_attr_get_payload(v4), 4);
    return true;
  }
  if (!has_size(v6, 16)) return false;
  std::memcpy(endpoint.address.data(), ::mnl_attr_get_payload(v6), 16);
  return true;
}

bool read_port(const nlattr* attribute, Endpoint& endpoint) {
  if (!has_size(attribute, sizeof(std::uint16_t))) return false;
  endpoint.port = ntohs(::mnl_attr_get_u16(attribute));
  return true;
}

// CTA_TUPLE_ORIG or CTA_TUPLE_REPLY.
MessageKind read_direction(const nlattr* nest, Endpoint& source, Endpoint& destination,
                           std::uint8_t& protocol) {
  Attributes<CTA_TUPLE_MAX + 1> tuple;
  Attributes<CTA_IP_MAX + 1> ip;
  Attributes<CTA_PROTO_MAX + 1> proto;
  if (!tuple.read_nested(nest) || !ip.read_nested(tuple.at[CTA_TUPLE_IP]) ||
      !proto.read_nested(tuple.at[CTA_TUPLE_PROTO]) || !has_size(proto.at[CTA_PROTO_NUM], 1)) {
    return MessageKind::malformed;
  }
  protocol = ::mnl_attr_get_u8(proto.at[CTA_PROTO_NUM]);
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return MessageKind::other;
  if (!read_address(ip.at[CTA_IP_V4_SRC], ip.at[CTA_IP_V6_SRC], source) ||
      !read_address(ip.at[CTA_IP_V4_DST], ip.at[CTA_IP_V6_DST], destination) ||
      !read_port(proto.at[CTA_PROTO_SRC_PORT], source) ||
      !read_port(proto.at[CTA_PROTO_DST_PORT], destination)) {
    return MessageKind::malformed;
  }
  return MessageKind::translated;
}

// Whether a whole message stands at the beginning. Not mnl_nlmsg_ok(): it takes a length above
// INT_MAX for a negative one, which fits everywhere.
bool has_message(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(nlmsghdr)) return false;
  const std::uint32_t length = reinterpret_cast<const nlmsghdr*>(bytes.data())->nlmsg_len;
  return length >= sizeof(nlmsghdr) && length <= bytes.size();
}

// The errno in NLMSG_ERROR. 0 would be an acknowledgement, which nobody asked for.
int error_of(std::span<const std::byte> message) {
  int error = 0;
  if (message.size() < sizeof(nlmsghdr) + sizeof error) return EBADMSG;
  std::memcpy(&error, message.data() + sizeof(nlmsghdr), sizeof error);
  return error < 0 && error > -4'096 ? -error : EBADMSG;
}

// The first 4 bytes of an attribute as a BPF load of a word sees them.
std::uint32_t head_word(std::uint16_t length, std::uint16_t type) {
  const nlattr head{.nla_len = length, .nla_type = type};
  std::uint32_t word = 0;
  std::memcpy(&word, &head, sizeof word);
  return ntohl(word);
}

// Writes the program; every jump goes to one of two places that are known only at the end.
class FilterWriter {
 public:
  static constexpr std::uint8_t kPass = 254;  // stand-ins in jt and jf
  static constexpr std::uint8_t kDrop = 255;

  [[nodiscard]] std::size_t size() const { return code_.size(); }
  void load(std::uint16_t width, std::uint32_t offset) {
    code_.push_back(BPF_STMT(static_cast<std::uint16_t>(BPF_LD | width | BPF_ABS), offset));
  }
  void jump_equal(std::uint32_t value, std::uint8_t yes, std::uint8_t no) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no));
  }
  void pass_unless(std::uint16_t width, std::uint32_t offset, std::uint32_t value) {
    load(width, offset);
    jump_equal(value, 0, kPass);
  }
  // What differs between the directions is translated.
  void pass_unless_same(std::uint16_t width, std::uint32_t a, std::uint32_t b) {
    load(width, a);
    code_.push_back(BPF_STMT(BPF_MISC | BPF_TAX, 0));
    load(width, b);
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, kPass));
  }
  void drop() { code_.push_back(BPF_STMT(BPF_RET | BPF_K, 0)); }
  void set_no(std::size_t at, std::size_t target) {
    code_[at].jf = static_cast<std::uint8_t>(target - at - 1);
  }

  std::vector<sock_filter> finish() {
    const std::size_t drop_at = code_.size();
    drop();
    const std::size_t pass_at = code_.size();
    code_.push_back(BPF_STMT(BPF_RET | BPF_K, 0xffffffff));
    for (std::size_t i = 0; i < drop_at; ++i) {
      if (BPF_CLASS(code_[i].code) != BPF_JMP) continue;
      for (std::uint8_t* way : {&code_[i].jt, &code_[i].jf}) {
        if (*way != kPass && *way != kDrop) continue;
        *way = static_cast<std::uint8_t>((*way == kPass ? pass_at : drop_at) - i - 1);
      }
    }
    return std::move(code_);
  }

 private:
  std::vector<sock_filter> code_;
};

// Compares the two directions of one address family. The kernel writes nlmsghdr (16), nfgenmsg (4),
// CTA_TUPLE_ORIG, CTA_TUPLE_REPLY; in each CTA_TUPLE_IP with source and destination, then
// CTA_TUPLE_PROTO with number, source port and destination port (seen on Linux 6.18, and so in
// ctnetlink_dump_tuples() since 2.6.14). A loaded head word that differs lets the message pass.
void compare_directions(FilterWriter& writer, std::uint32_t address_bytes,
                        std::uint16_t source_type) {
  constexpr std::uint32_t kOriginal = 20;
  const std::uint32_t source = 12;  // of the direction's own start: three heads
  const std::uint32_t destination = source + address_bytes + 4;
  const std::uint32_t number = destination + address_bytes + 8;
  const std::uint32_t source_port = number + 8;
  const std::uint32_t destination_port = number + 16;
  const std::uint32_t length = number + 20;
  const std::uint32_t reply = kOriginal + length;
  const auto ip_length = static_cast<std::uint16_t>(12 + 2 * address_bytes);
  writer.pass_unless(BPF_W, kOriginal + 4, head_word(ip_length, CTA_TUPLE_IP | NLA_F_NESTED));
  writer.pass_unless(BPF_W, kOriginal + number - 4, head_word(5, CTA_PROTO_NUM));
  writer.load(BPF_B, kOriginal + number);
  writer.jump_equal(IPPROTO_TCP, 1, 0);
  writer.jump_equal(IPPROTO_UDP, 0, FilterWriter::kDrop);
  for (const std::uint32_t start : {kOriginal, reply}) {
    const std::uint16_t type = start == reply ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG;
    writer.pass_unless(BPF_W, start,
                       head_word(static_cast<std::uint16_t>(length), type | NLA_F_NESTED));
    writer.pass_unless(BPF_W, start + 4, head_word(ip_length, CTA_TUPLE_IP | NLA_F_NESTED));
    writer.pass_unless(BPF_W, start + 8,
                       head_word(static_cast<std::uint16_t>(4 + address_bytes), source_type));
    writer.pass_unless(BPF_W, start + source_port - 4, head_word(6, CTA_PROTO_SRC_PORT));
  }
  for (std::uint32_t word = 0; word < address_bytes; word += 4) {
    writer.pass_unless_same(BPF_W, kOriginal + source + word, reply + destination + word);
    writer.pass_unless_same(BPF_W, kOriginal + destination + word, reply + source + word);
  }
  writer.pass_unless_same(BPF_H, kOriginal + source_port, reply + destination_port);
  writer.pass_unless_same(BPF_H, kOriginal + destination_port, reply + source_port);
}

}  // namespace

MessageKind parse_conntrack(std::span<const std::byte> message, NatRecord& record) {
  if (!has_message(message)) return MessageKind::malformed;
  const auto* header = reinterpret_cast<const nlmsghdr*>(message.data());
  if (::mnl_nlmsg_get_payload_len(header) < sizeof(nfgenmsg)) return MessageKind::malformed;
  if (header->nlmsg_type != kNew && header->nlmsg_type != kDelete) return MessageKind::other;
  Attributes<CTA_MAX + 1> top;
  // Not mnl_attr_parse(): it rounds the length up, and so reads up to 3 bytes behind a message.
  const auto* payload = static_cast<const char*>(::mnl_nlmsg_get_payload(header));
  if (::mnl_attr_parse_payload(payload + sizeof(nfgenmsg),
                               ::mnl_nlmsg_get_payload_len(header) - sizeof(nfgenmsg),
                               &decltype(top)::collect, &top) != MNL_CB_OK) {
    return MessageKind::malformed;
  }
  record = {};
  std::uint8_t reply_protocol = 0;
  const MessageKind original = read_direction(top.at[CTA_TUPLE_ORIG], record.original_source,
                                              record.original_destination, record.protocol);
  if (original != MessageKind::translated) return original;
  if (read_direction(top.at[CTA_TUPLE_REPLY], record.reply_source, record.reply_destination,
                     reply_protocol) != MessageKind::translated ||
      reply_protocol != record.protocol) {
    return MessageKind::malformed;
  }
  record.id = read_u32(top.at[CTA_ID]).value_or(0);
  const std::uint32_t status = read_u32(top.at[CTA_STATUS]).value_or(0);
  record.ended = header->nlmsg_type == kDelete || (status & kDying) != 0;
  const bool mirrored = record.original_source == record.reply_destination &&
                        record.original_destination == record.reply_source;
  return mirrored ? MessageKind::other : MessageKind::translated;
}

Walk walk_messages(std::span<const std::byte> buffer, std::uint32_t sequence,
                   const std::function<void(std::span<const std::byte>)>& take) {
  Walk walk;
  std::span<const std::byte> left = buffer;
  while (has_message(left)) {
    const auto* header = reinterpret_cast<const nlmsghdr*>(left.data());
    const auto message = left.first(header->nlmsg_len);
    left = left.subspan(std::min<std::size_t>(left.size(), MNL_ALIGN(message.size())));
    if (!::mnl_nlmsg_seq_ok(header, sequence)) continue;
    if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) walk.interrupted = true;
    if (header->nlmsg_type >= NLMSG_MIN_TYPE) take(message);
    if (header->nlmsg_type == NLMSG_DONE) walk.end = WalkEnd::done;
    if (header->nlmsg_type == NLMSG_ERROR) {
      walk.end = WalkEnd::error;
      walk.error = error_of(message);
    }
    if (walk.end != WalkEnd::more) return walk;
  }
  if (!left.empty()) {
    walk.end = WalkEnd::error;
    walk.error = EBADMSG;
  }
  return walk;
}

std::vector<std::byte> dump_request(std::uint32_t sequence) {
  std::vector<std::byte> bytes(MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(nfgenmsg)));
  nlmsghdr* header = ::mnl_nlmsg_put_header(bytes.data());
  header->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  header->nlmsg_seq = sequence;
  auto* family = static_cast<nfgenmsg*>(::mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
  family->nfgen_family = AF_UNSPEC;
  family->version = NFNETLINK_V0;
  return bytes;
}

std::vector<sock_filter> event_filter() {
  FilterWriter writer;
  writer.load(BPF_B, MNL_NLMSG_HDRLEN);  // nfgen_family
  const std::size_t is_v4 = writer.size();
  writer.jump_equal(AF_INET, 0, FilterWriter::kPass);
  compare_directions(writer, 4, CTA_IP_V4_SRC);
  writer.drop();
  writer.set_no(is_v4, writer.size());
  writer.jump_equal(AF_INET6, 0, FilterWriter::kPass);
  compare_directions(writer, 16, CTA_IP_V6_SRC);
  return writer.finish();
}

}  // namespace tarsier::net
