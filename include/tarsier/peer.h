// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The other side of a connection. A probe says which addresses its socket has; the framework finds
// out who that is and puts the name on the series (labels peer, peer_namespace).
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace tarsier {

// IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), so that both spellings of an address are equal.
using Address = std::array<std::uint8_t, 16>;

struct Endpoint {
  Address address = {};
  std::uint16_t port = 0;  // host byte order; 0: not known
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// A connection as the subject's socket has it, before or after any translation on its way.
struct Flow {
  enum class Protocol : std::uint8_t { tcp = 6, udp = 17 };    // as in the IP header
  enum class Side : std::uint8_t { unknown, client, server };  // which one the subject is
  Endpoint local, remote;
  std::uint32_t netns = 0;  // inode number of the socket's network namespace
  Protocol protocol = Protocol::tcp;
  Side side = Side::unknown;
};

// The same connection as the socket at its other end has it, if nothing translates in between.
[[nodiscard]] constexpr Flow far_end(const Flow& flow) {
  Flow far = flow;
  far.local = flow.remote;
  far.remote = flow.local;
  if (flow.side == Flow::Side::client) far.side = Flow::Side::server;
  if (flow.side == Flow::Side::server) far.side = Flow::Side::client;
  return far;
}

// Who is at the other end: a number that stands for a name. 0: series say nothing about it.
struct Peer {
  std::uint32_t id = 0;
  // false: no better name than the address yet. A connection that lives on asks again, now and
  // then, and goes on under the name that it gets.
  bool settled = true;
  friend constexpr bool operator==(const Peer&, const Peer&) = default;
};

}  // namespace tarsier
