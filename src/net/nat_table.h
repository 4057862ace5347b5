// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which address stands behind the one that a socket sees. Bounded; one writer, any readers.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "net/nat_record.h"

namespace tarsier::net {

// A connection takes one place for each of its ends that sees a translated address: one for a
// ClusterIP, two where the client is masqueraded as well. About 145 bytes each.
inline constexpr std::size_t kMaxTranslations = 65'536;
// How long an answer is kept after the kernel forgot the connection: records of it can be read 10 s
// after its end.
inline constexpr std::uint64_t kTranslationGraceNs = 15'000'000'000;

// A connection as the socket at one of its ends has it.
struct Tuple {
  Endpoint local;
  Endpoint remote;
  std::uint16_t protocol = 0;  // IPPROTO_TCP or IPPROTO_UDP; 16 bits, so that no byte is padding
  friend bool operator==(const Tuple&, const Tuple&) = default;
};

enum class NatSide : std::uint8_t {
  client,  // the socket connected: `remote` is the server that answers
  server,  // the socket was connected to: `remote` is the client under its own address
};
struct Translation {
  Endpoint remote;
  NatSide side = NatSide::client;
  friend bool operator==(const Translation&, const Translation&) = default;
};

// All calls but find() and the counters belong to one thread. find() waits for at most the change
// of one entry, never for a dump or a sweep.
class NatTable {
 public:
  explicit NatTable(std::size_t limit = kMaxTranslations,
                    std::uint64_t grace_ns = kTranslationGraceNs)
      : limit_(limit), grace_ns_(grace_ns) {}
  NatTable(const NatTable&) = delete;
  NatTable& operator=(const NatTable&) = delete;

  // The true remote end; nothing where the socket's remote address is the true one, or where the
  // table does not know the connection. Any thread.
  [[nodiscard]] std::optional<Translation> find(const Tuple& tuple) const;

  // A connection began in the tracker `origin`. When the table is full its oldest entry goes, one
  // that has ended before one that has not (counted as evicted).
  void begin(const NatRecord& record, std::uint32_t origin);
  // A dump found it. When the table is full it is not taken (counted as refused): the newest
  // connections are worth more than old ones.
  void found(const NatRecord& record, std::uint32_t origin);
  // The kernel forgot it; the entry stays for the time of grace. Not known: nothing happens.
  void end(const NatRecord& record, std::uint64_t now_ns);
  // Around a dump of `origin`: what is neither begun nor found in between has ended.
  void start_sweep() { ++sweep_; }
  void finish_sweep(std::uint32_t origin, std::uint64_t now_ns);
  // Removes what ended longer ago than the time of grace.
  void expire(std::uint64_t now_ns);
  // When the entry that ended first may go (CLOCK_BOOTTIME); nothing: none has ended.
  [[nodiscard]] std::optional<std::uint64_t> next_expiry_ns() const;
  // Entries that live and that no event has told of: their end may come without an event.
  [[nodiscard]] std::size_t found_alive() const { return found_alive_; }

  // Counters; any thread.
  [[nodiscard]] std::size_t size() const { return size_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    Tuple tuple;
    Translation translation;
    std::uint32_t id = 0;
    std::uint32_t origin = 0;
    std::uint32_t sweep = 0;     // the last one that saw it
    bool found = false;          // by a dump, not by an event
    std::uint64_t ended_ns = 0;  // 0: it lives
  };
  using Entries = std::list<Entry>;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const Tuple& tuple) const;
    std::size_t operator()(Entries::iterator entry) const { return (*this)(entry->tuple); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(Entries::iterator a, Entries::iterator b) const { return a->tuple == b->tuple; }
    bool operator()(const Tuple& a, Entries::iterator b) const { return a == b->tuple; }
    bool operator()(Entries::iterator a, const Tuple& b) const { return a->tuple == b; }
  };

  void put(Entry entry);
  void finish(Entries::iterator entry, std::uint64_t now_ns);
  void remove(Entries& list, Entries::iterator entry);

  std::size_t limit_;
  std::uint64_t grace_ns_;
  // Guards every change. The writer reads without it, because nobody else changes anything.
  mutable std::mutex mutex_;
  Entries alive_;  // oldest first
  Entries ended_;  // by the time of their end
  std::unordered_set<Entries::iterator, Hash, Equal> index_;
  std::uint32_t sweep_ = 0;
  std::size_t found_alive_ = 0;
  std::atomic<std::size_t> size_{0};
  std::atomic<std::uint64_t> evicted_{0};
  std::atomic<std::uint64_t> refused_{0};
};

}  // namespace tarsier::net
