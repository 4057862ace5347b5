// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/listen.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace tarsier::config {
namespace {

bool is_ip(int family, const std::string& host) {
  in6_addr address{};
  return inet_pton(family, host.c_str(), &address) == 1;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, port);
  if (text.empty() || error != std::errc{} || rest != end) return std::nullopt;
  return port;
}

}  // namespace

bool ListenAddress::local() const {
  if (mode == Mode::off) return true;
  if (mode == Mode::automatic) return false;
  if (!ipv6) return host.starts_with("127.");
  in6_addr address{};
  if (inet_pton(AF_INET6, host.c_str(), &address) != 1) return false;
  const bool mapped = IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127;
  return IN6_IS_ADDR_LOOPBACK(&address) || mapped;
}

Result<ListenAddress> parse_listen(std::string_view text) {
  ListenAddress address;
  if (text.empty() || text == "off") {
    address.mode = ListenAddress::Mode::off;
    return address;
  }
  if (text == "auto") {
    address.mode = ListenAddress::Mode::automatic;
    address.port = kDefaultHttpPort;
    return address;
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(ErrorCode::invalid, "the port is missing");
  std::string_view host = text.substr(0, colon);
  address.ipv6 = host.starts_with('[');
  if (address.ipv6) {
    if (!host.ends_with(']')) return fail(ErrorCode::invalid, "the bracket is not closed");
    host = host.substr(1, host.size() - 2);
  }
  address.host = host;
  if (!is_ip(address.ipv6 ? AF_INET6 : AF_INET, address.host)) {
    if (!address.ipv6 && host.contains(':')) {
      return fail(ErrorCode::invalid, "an IPv6 address stands in brackets before its port");
    }
    return fail(ErrorCode::invalid, host.empty()
                                        ? std::string("the host is missing; [::] is every address")
                                        : std::string("the host is not an IP address"));
  }
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return fail(ErrorCode::invalid, "the port is not a number from 0 to 65535");
  address.port = *port;
  return address;
}

}  // namespace tarsier::config
