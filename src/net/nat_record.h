// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the kernel's connection tracking says about one connection whose addresses are translated.
#pragma once

#include <array>
#include <cstdint>

namespace tarsier::net {

struct Endpoint {
  std::array<std::uint8_t, 16> address{};  // IPv4 as ::ffff:a.b.c.d
  std::uint16_t port = 0;                  // host byte order
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// The connection twice: as the side that opened it sends, and as the answers come back. Without
// translation the second is the first reversed.
struct NatRecord {
  std::uint8_t protocol = 0;      // IPPROTO_TCP or IPPROTO_UDP
  bool ended = false;             // the kernel has forgotten it, or is about to
  std::uint32_t id = 0;           // the kernel's number of this entry; 0: it gave none
  Endpoint original_source;       // the client as it calls itself
  Endpoint original_destination;  // what the client connected to: a ClusterIP, a published port
  Endpoint reply_source;          // the true server
  Endpoint reply_destination;     // the client as the server sees it
  friend bool operator==(const NatRecord&, const NatRecord&) = default;
};

}  // namespace tarsier::net
