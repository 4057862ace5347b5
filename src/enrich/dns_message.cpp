// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/dns_message.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace tarsier::enrich {
namespace {

constexpr std::size_t kHeaderBytes = 12;
constexpr std::size_t kMaxWireName = 255;
static_assert(kMaxDnsName == kMaxWireName - 2);  // the first length and the root's have no dot
constexpr std::uint8_t kLabelKind = 0xc0, kPointer = 0xc0, kLabel = 0x00;
constexpr std::uint16_t kClassIn = 1;
constexpr std::uint16_t kTypeA = 1, kTypeCname = 5, kTypeAaaa = 28;
constexpr std::uint16_t kIsAnswer = 0x8000, kOpcode = 0x7800, kResponseCode = 0x000f;

std::uint8_t lower(std::uint8_t c) {
  return c >= 'A' && c <= 'Z' ? static_cast<std::uint8_t>(c + ('a' - 'A')) : c;
}

// A name in wire form, in lower case and without compression: labels behind their lengths.
class WireName {
 public:
  [[nodiscard]] bool append_label(std::span<const std::uint8_t> label) {
    if (size_ + 1 + label.size() + 1 > kMaxWireName) return false;
    bytes_[size_++] = static_cast<std::uint8_t>(label.size());
    for (const std::uint8_t c : label) bytes_[size_++] = lower(c);
    return true;
  }
  friend bool operator==(const WireName& a, const WireName& b) {
    return std::ranges::equal(a.used(), b.used());
  }
  // Nothing where a character is not one of a host name; "_" is, in names of services.
  [[nodiscard]] std::optional<std::string> text() const {
    std::string text;
    for (std::size_t at = 0; at < size_; at += std::size_t{1} + bytes_[at]) {
      if (!text.empty()) text.push_back('.');
      for (const std::uint8_t c : std::span(bytes_).subspan(at + 1, bytes_[at])) {
        const bool valid = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!valid) return std::nullopt;
        text.push_back(static_cast<char>(c));
      }
    }
    if (text.empty()) return std::nullopt;  // the root
    return text;
  }

 private:
  [[nodiscard]] std::span<const std::uint8_t> used() const {
    return std::span(bytes_).first(size_);
  }
  std::array<std::uint8_t, kMaxWireName> bytes_{};
  std::size_t size_ = 0;
};

// Reads one thing after the other; the first one that is not whole makes all that follow fail.
class Reader {
 public:
  enum class State : std::uint8_t { good, cut, malformed };

  explicit Reader(std::span<const std::byte> message)
      : bytes_(reinterpret_cast<const std::uint8_t*>(message.data()), message.size()) {}

  [[nodiscard]] State state() const { return state_; }
  std::uint16_t u16() {
    const auto bytes = take(2);
    return bytes.empty() ? std::uint16_t{0} : static_cast<std::uint16_t>(bytes[0] << 8U | bytes[1]);
  }
  std::uint32_t u32() {
    const std::uint32_t high = u16();
    return high << 16U | u16();
  }
  // Empty where the message ends before.
  std::span<const std::uint8_t> take(std::size_t count) {
    if (state_ != State::good || bytes_.size() - at_ < count) {
      fail(State::cut);
      return {};
    }
    at_ += count;
    return bytes_.subspan(at_ - count, count);
  }
  WireName name();
  // A name inside of data that was taken: where it starts, and that it ends with the data.
  std::optional<WireName> name_of(std::span<const std::uint8_t> data) {
    Reader inside = *this;
    inside.at_ = static_cast<std::size_t>(data.data() - bytes_.data());
    WireName name = inside.name();
    if (inside.state_ != State::good || inside.at_ != at_) {
      fail(State::malformed);
      return std::nullopt;
    }
    return name;
  }

 private:
  void fail(State why) {
    if (state_ == State::good) state_ = why;
  }
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  State state_ = State::good;
};

// RFC 1035, 4.1.4: a pointer names a place before the name. Each must point before the place that
// the last one pointed to, so there are no loops and a name costs no more than its bytes.
WireName Reader::name() {
  WireName name;
  std::size_t before = at_;
  std::optional<std::size_t> behind;
  while (true) {
    const auto front = take(1);
    if (front.empty()) return name;
    if ((front[0] & kLabelKind) == kPointer) {
      const auto rest = take(1);
      if (rest.empty()) return name;
      const std::size_t target = std::size_t{front[0] & 0x3fU} << 8U | rest[0];
      if (target >= before || target < kHeaderBytes) {
        fail(State::malformed);
        return name;
      }
      if (!behind) behind = at_;
      before = at_ = target;
      continue;
    }
    if ((front[0] & kLabelKind) != kLabel) {
      fail(State::malformed);
      return name;
    }
    if (front[0] == 0) break;
    const auto label = take(front[0]);
    if (label.empty()) return name;
    if (!name.append_label(label)) {
      fail(State::malformed);
      return name;
    }
  }
  if (behind) at_ = *behind;
  return name;
}

IpAddress address_of(std::span<const std::uint8_t> data) {
  IpAddress address{};
  if (data.size() == 4) address[10] = address[11] = 0xff;
  std::ranges::copy_backward(data, address.end());
  return address;
}

// RFC 2181, 8: a time with the highest bit set means 0.
std::uint32_t ttl_of(std::uint32_t value) {
  return (value & 0x8000'0000U) != 0 ? 0 : value;
}

// One record: an alias moves `current` on, an address of `current` is kept.
void read_record(Reader& reader, WireName& current, std::uint32_t& ttl_s, DnsAnswer& answer) {
  const WireName owner = reader.name();
  const std::uint16_t type = reader.u16(), record_class = reader.u16();
  const std::uint32_t record_ttl_s = ttl_of(reader.u32());
  const auto data = reader.take(reader.u16());
  if (reader.state() != Reader::State::good || record_class != kClassIn || owner != current) return;
  const bool is_address = (type == kTypeA && data.size() == 4) ||
                          (type == kTypeAaaa && data.size() == sizeof(IpAddress));
  if (type == kTypeCname && !data.empty()) {
    if (const auto target = reader.name_of(data)) current = *target;
    ttl_s = std::min(ttl_s, record_ttl_s);
  } else if (is_address && answer.addresses.size() == kMaxDnsAddresses) {
    answer.complete = false;
  } else if (is_address) {
    answer.addresses.push_back({address_of(data), std::min(ttl_s, record_ttl_s)});
  }
}

}  // namespace

std::expected<DnsAnswer, DnsFault> read_dns_answer(std::span<const std::byte> message) {
  Reader reader(message);
  reader.u16();  // id
  const std::uint16_t flags = reader.u16(), questions = reader.u16(), records = reader.u16();
  reader.take(4);  // the counts of the other sections
  if (reader.state() != Reader::State::good) return std::unexpected(DnsFault::malformed);
  if ((flags & (kIsAnswer | kOpcode | kResponseCode)) != kIsAnswer || questions != 1) {
    return std::unexpected(DnsFault::no_answer);
  }
  WireName current = reader.name();
  reader.u16();  // type: the records say theirs
  const std::uint16_t question_class = reader.u16();
  if (reader.state() != Reader::State::good) return std::unexpected(DnsFault::malformed);
  if (question_class != kClassIn) return std::unexpected(DnsFault::no_answer);
  auto name = current.text();
  if (!name) return std::unexpected(DnsFault::bad_name);

  DnsAnswer answer{.name = std::move(*name), .addresses = {}};
  std::uint32_t ttl_s = ~std::uint32_t{0};
  const std::size_t looked_at = std::min<std::size_t>(records, kMaxDnsRecords);
  for (std::size_t i = 0; i < looked_at && reader.state() == Reader::State::good; ++i) {
    read_record(reader, current, ttl_s, answer);
  }
  if (reader.state() == Reader::State::malformed) return std::unexpected(DnsFault::malformed);
  if (reader.state() == Reader::State::cut || looked_at < records) answer.complete = false;
  if (answer.addresses.empty()) return std::unexpected(DnsFault::no_answer);
  return answer;
}

}  // namespace tarsier::enrich
