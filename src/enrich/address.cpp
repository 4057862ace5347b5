// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <functional>

namespace tarsier::enrich {
namespace {

constexpr std::size_t kPrefix = 12;  // bytes of ::ffff:0:0/96
constexpr std::array<std::uint8_t, kPrefix> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_ipv4(const Address& address) {
  return std::equal(kMapped.begin(), kMapped.end(), address.begin());
}

}  // namespace

std::size_t AddressHash::operator()(const Address& address) const {
  return std::hash<std::string_view>()(
      {reinterpret_cast<const char*>(address.data()), address.size()});
}

std::optional<Address> parse_address(std::string_view text) {
  const std::string zero_ended(text);
  Address address = {};
  if (::inet_pton(AF_INET6, zero_ended.c_str(), address.data()) == 1) return address;
  std::ranges::copy(kMapped, address.begin());
  if (::inet_pton(AF_INET, zero_ended.c_str(), address.data() + kPrefix) == 1) return address;
  return std::nullopt;
}

std::string format_address(const Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (is_ipv4(address)) {
    ::inet_ntop(AF_INET, address.data() + kPrefix, text, sizeof text);
  } else {
    ::inet_ntop(AF_INET6, address.data(), text, sizeof text);
  }
  return text;
}

std::string format_endpoint(const Endpoint& endpoint) {
  const std::string address = format_address(endpoint.address);
  const std::string port = std::to_string(endpoint.port);
  return is_ipv4(endpoint.address) ? address + ":" + port : "[" + address + "]:" + port;
}

bool is_unspecified(const Address& address) {
  const auto is_zero = [](std::uint8_t byte) { return byte == 0; };
  if (is_ipv4(address)) return std::all_of(address.begin() + kPrefix, address.end(), is_zero);
  return std::ranges::all_of(address, is_zero);
}

bool is_namespace_local(const Address& address) {
  static constexpr Address kLoopback6{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  if (address == kLoopback6) return true;
  if (is_ipv4(address)) {
    return address[12] == 127 || (address[12] == 169 && address[13] == 254);
  }
  return address[0] == 0xfe && (address[1] & 0xc0U) == 0x80;  // fe80::/10
}

}  // namespace tarsier::enrich
