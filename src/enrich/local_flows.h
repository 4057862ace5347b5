// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which process is at the other end of a connection that does not leave the node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>

#include "tarsier/peer.h"

namespace tarsier::enrich {

inline constexpr std::size_t kMaxLocalClients = 65'536;  // as many sockets as the kernel side keeps
inline constexpr std::size_t kMaxLocalServers = 16'384;  // addresses that somebody serves
// A client is remembered this long after its connection: the other end's record may still wait in
// a ring. A server's address is remembered this long after the last connection came or went.
inline constexpr std::uint64_t kClientGraceNs = 10'000'000'000;
inline constexpr std::uint64_t kServerGraceNs = 3'600'000'000'000;

struct FlowOwner {
  std::uint32_t tgid = 0;
  std::uint64_t start_ns = 0;
  friend bool operator==(const FlowOwner&, const FlowOwner&) = default;
};

// Collector thread only. now_ns is CLOCK_BOOTTIME.
class LocalFlows {
 public:
  struct Stats {
    std::uint64_t clients_refused = 0, servers_refused = 0;  // not kept because of the limits
  };

  // The owner's socket has this flow; said again when another process takes it over.
  void connected(const Flow& flow, const FlowOwner& owner, std::uint64_t now_ns);
  void disconnected(const Flow& flow, std::uint64_t now_ns);
  // Who has the other end of a flow, told as the *other* socket has it (local and remote changed
  // over, addresses as that side sees them). A client is found by its whole connection, a server by
  // the address that it serves.
  [[nodiscard]] std::optional<FlowOwner> owner_of(const Flow& other_end) const;
  // Forgets what has been over for its grace time. Call it every few seconds.
  void expire(std::uint64_t now_ns);

  [[nodiscard]] std::size_t clients() const { return clients_.size(); }
  [[nodiscard]] std::size_t servers() const { return servers_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  struct Key {
    Endpoint local, remote;
    std::uint32_t netns = 0;  // 0 where the addresses mean the same in all of them
    Flow::Protocol protocol = Flow::Protocol::tcp;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Held {
    FlowOwner owner;
    std::uint64_t since_ns =
        0;  // a client's connection is over, a server was last seen; 0: it lives
  };
  using Table = std::unordered_map<Key, Held, KeyHash>;

  static Key client_key(const Flow& flow);
  static Key server_key(const Flow& flow);
  static Held* keep(Table& table, const Key& key, std::size_t limit, std::uint64_t& refused);

  Table clients_, servers_;
  Stats stats_;
};

}  // namespace tarsier::enrich
