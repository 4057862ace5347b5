// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// DNS messages for tests, put together record by record.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tarsier::enrich::test {

class DnsMessage {
 public:
  static constexpr std::uint16_t kA = 1, kCname = 5, kTxt = 16, kAaaa = 28;
  static constexpr std::uint16_t kQuestionName = 0xc00c;  // a pointer to it

  explicit DnsMessage(std::string_view question, std::uint16_t type = kA,
                      std::uint16_t flags = 0x8180) {
    for (const unsigned field : {0x1234U, unsigned{flags}, 1U, 0U, 0U, 0U}) put16(field);
    put_name(question);
    put16(type);
    put16(1);
  }
  // `data` as it stands there; the owner is a name or a pointer.
  DnsMessage& record(std::string_view owner, std::uint16_t type, std::uint32_t ttl_s,
                     std::string_view data) {
    put_name(owner);
    return rest_of_record(type, ttl_s, data);
  }
  DnsMessage& record(std::uint16_t pointer, std::uint16_t type, std::uint32_t ttl_s,
                     std::string_view data) {
    put16(pointer);
    return rest_of_record(type, ttl_s, data);
  }
  DnsMessage& a(std::uint32_t ttl_s, std::string_view address) {
    return record(kQuestionName, kA, ttl_s, address);
  }
  // Anything, for messages that are wrong.
  DnsMessage& raw(std::string_view bytes) {
    bytes_.append(bytes);
    return *this;
  }
  DnsMessage& set16(std::size_t at, unsigned value) {
    bytes_[at] = static_cast<char>(value >> 8U);
    bytes_[at + 1] = static_cast<char>(value & 0xffU);
    return *this;
  }
  static std::string wire_name(std::string_view name) {
    std::string wire;
    while (!name.empty()) {
      const std::string_view label = name.substr(0, name.find('.'));
      wire.push_back(static_cast<char>(label.size()));
      wire.append(label);
      name.remove_prefix(std::min(label.size() + 1, name.size()));
    }
    wire.push_back('\0');
    return wire;
  }

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] const std::string& text() const { return bytes_; }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(bytes_));
  }
  // The first `count` bytes.
  [[nodiscard]] std::span<const std::byte> front(std::size_t count) const {
    return bytes().first(count);
  }

 private:
  DnsMessage& rest_of_record(std::uint16_t type, std::uint32_t ttl_s, std::string_view data) {
    put16(type);
    put16(1);
    put16(ttl_s >> 16U);
    put16(ttl_s & 0xffffU);
    put16(static_cast<unsigned>(data.size()));
    bytes_.append(data);
    const auto high = static_cast<unsigned char>(bytes_[6]);
    const auto low = static_cast<unsigned char>(bytes_[7]);
    return set16(6, (unsigned{high} << 8U | low) + 1);  // the count of answers
  }
  void put_name(std::string_view name) { bytes_.append(wire_name(name)); }
  void put16(unsigned value) {
    bytes_.append(2, '\0');
    set16(bytes_.size() - 2, value);
  }

  std::string bytes_;
};

}  // namespace tarsier::enrich::test
