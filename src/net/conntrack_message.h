// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The messages of ctnetlink (linux/netfilter/nfnetlink_conntrack.h), taken apart by libmnl.
#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "net/nat_record.h"

namespace tarsier::net {

enum class MessageKind : std::uint8_t {
  translated,  // a TCP or UDP connection with NAT; the record is filled
  other,       // not translated, another protocol, or not about a connection
  malformed,   // not what the kernel sends
};
// One whole netlink message, aligned to 4 bytes. A connection is translated if its two directions
// do not mirror each other. The status bits IPS_SRC_NAT and IPS_DST_NAT are not asked: IPVS changes
// the reply direction without setting them (net/netfilter/ipvs/ip_vs_nfct.c).
[[nodiscard]] MessageKind parse_conntrack(std::span<const std::byte> message, NatRecord& record);

enum class WalkEnd : std::uint8_t {
  more,   // every message was handed on; the answer goes on in the next buffer
  done,   // NLMSG_DONE: the end of a dump
  error,  // NLMSG_ERROR with an errno, or a buffer that does not hold what its lengths say
};
struct Walk {
  WalkEnd end = WalkEnd::more;
  int error = 0;             // errno where end is error
  bool interrupted = false;  // NLM_F_DUMP_INTR: the table changed its shape under the dump
};
// Hands each message of a received buffer (aligned to 4 bytes) to `take`, control messages
// excepted. Answers to another request than `sequence` are passed over; 0: everything is taken.
Walk walk_messages(std::span<const std::byte> buffer, std::uint32_t sequence,
                   const std::function<void(std::span<const std::byte>)>& take);

// Asks for every tracked connection of both address families. There is no filter for "translated"
// in the kernel that IPVS would pass.
[[nodiscard]] std::vector<std::byte> dump_request(std::uint32_t sequence);

// A classic BPF program for the socket of events: drops messages about TCP and UDP connections
// whose two directions mirror each other, and about other protocols, before they take room in the
// receive buffer. What it does not recognise at the places where the kernel writes it passes;
// parse_conntrack() decides.
[[nodiscard]] std::vector<sock_filter> event_filter();

}  // namespace tarsier::net
