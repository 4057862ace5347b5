// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Names of addresses, from the DNS answers that processes of this node received.
//
// Many names share an address where a content network serves them, so an answer is kept twice: for
// the process that asked, and for everyone. A process finds what it asked for itself; who did not
// ask (a child of the asker, a server behind a cache of its own) finds what was last asked by
// anybody. Network namespaces are not told apart: the same private address in two of them may get
// the name that it has in the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <unordered_map>

#include "enrich/dns_message.h"

namespace tarsier::enrich {

// Both kinds together. An entry takes about 200 bytes, at most 450 with a name as long as can be.
inline constexpr std::size_t kMaxDnsNames = 16'384;
// Connections outlive the answer that they were made with, so a name is kept longer than its TTL
// says, if that is short; and not for ever, if that is long.
inline constexpr std::uint64_t kMinDnsKeepNs = 300ULL * 1'000'000'000;
inline constexpr std::uint64_t kMaxDnsKeepNs = 24ULL * 3'600 * 1'000'000'000;

// How it is known that the sender is a DNS server. Anybody can send to an open socket: what came
// from somebody unknown names addresses for the receiver alone.
enum class DnsSender : std::uint8_t { unknown, server };

// Collector thread only. Times are CLOCK_BOOTTIME. A tgid that is used again finds the names of the
// process that had it before, until they run out; they were true on this node.
class DnsNames {
 public:
  struct Stats {
    std::uint64_t learnt = 0;      // answers whose addresses were taken
    std::uint64_t malformed = 0;   // messages that are none of DNS
    std::uint64_t bad_names = 0;   // names with characters that no host name has
    std::uint64_t incomplete = 0;  // learnt, but addresses are missing: cut off, or too many
    std::uint64_t evicted = 0;     // names forgotten before their time, because of the limit
  };

  explicit DnsNames(std::size_t limit = kMaxDnsNames) : limit_(limit) {}

  // A message that the process `tgid` received at `time_ns`. The last answer wins.
  void learn(std::span<const std::byte> message, std::uint32_t tgid, DnsSender sender,
             std::uint64_t time_ns);
  // The name under which the process, or else anybody, asked for the address; nullptr: not known,
  // or too long ago. Valid until the next learn().
  [[nodiscard]] const std::string* find(const IpAddress& address, std::uint32_t tgid,
                                        std::uint64_t now_ns) const;

  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  static constexpr std::uint32_t kEveryone = 0;  // the tgid of the idle task, which asks nothing

  struct Key {
    IpAddress address;
    std::uint32_t tgid;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Entry {
    Key key;
    std::string name;
    std::uint64_t until_ns;
  };

  void keep(const Key& key, const std::string& name, std::uint64_t until_ns, std::uint64_t time_ns);
  [[nodiscard]] const Entry* find_entry(const Key& key, std::uint64_t now_ns) const;

  std::size_t limit_;
  std::list<Entry> entries_;  // the least recently refreshed one is the last
  std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> places_;
  Stats stats_;
};

}  // namespace tarsier::enrich
