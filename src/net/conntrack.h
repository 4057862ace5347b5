// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the node's connection tracking made of addresses: which server stands behind a ClusterIP or
// a published port, which client behind a masqueraded address. docs/nat.md says what can be seen.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "net/conntrack_socket.h"
#include "net/nat_table.h"
#include "tarsier/result.h"

namespace tarsier::net {

inline constexpr std::size_t kMaxNatNamespaces = 16;  // beside the daemon's own
// After a turn that read events the thread sleeps for so long, so that a burst wakes it at most 200
// times a second: each wake-up is paid by whoever sends the first packet of a connection.
inline constexpr int kEventPauseMs = 5;
// Between two dumps that lost events ask for: so long, and ten times as long as the last one took,
// so that dumps never take more than a tenth of a CPU (180,000 connections take 0.5 s).
inline constexpr std::uint64_t kRedumpPauseNs = 1'000'000'000;
inline constexpr std::uint64_t kRestPerDump = 10;
// Between two dumps that look whether connections which began before the start still live: their
// end comes without an event where nf_conntrack_events is 2, the default since Linux 5.19.
inline constexpr std::uint64_t kSweepPauseNs = 300'000'000'000;

struct ConntrackOptions {
  int event_buffer_bytes = kEventBufferBytes;
  std::size_t max_translations = kMaxTranslations;
  std::uint64_t grace_ns = kTranslationGraceNs;
  std::uint64_t sweep_pause_ns = kSweepPauseNs;
  // Read once by start(); the file shows the network namespace of the thread that reads it.
  std::string events_sysctl = "/proc/sys/net/netfilter/nf_conntrack_events";
};

struct ConntrackState {
  enum class Kind : std::uint8_t { off, running, refused };
  Kind kind = Kind::off;
  std::string reason;                    // a sentence: why it was refused, or what is missing
  std::size_t entries = 0;               // ends of connections whose translation is known
  std::uint64_t events = 0;              // messages read, those of dumps not among them
  std::uint64_t malformed = 0;           // messages that could not be read
  std::uint64_t dumps = 0;               // dumps that were made
  std::uint64_t lost = 0;                // times the event buffer was full; each makes a dump
  std::uint64_t evicted = 0;             // entries that went early because the table was full
  std::uint64_t refused = 0;             // connections of a dump that the full table did not take
  std::size_t namespaces = 0;            // that are listened to, the own one among them
  std::uint64_t namespaces_refused = 0;  // over the limit, or without the rights
};

// One thread of its own, which sleeps in poll() while nothing is translated. find() and state() are
// for any thread, the rest for the one that owns the object.
class Conntrack {
 public:
  // `clock` (CLOCK_BOOTTIME) outlives the object.
  explicit Conntrack(const base::Clock& clock, ConntrackOptions options = {});
  ~Conntrack();  // stop()
  Conntrack(const Conntrack&) = delete;
  Conntrack& operator=(const Conntrack&) = delete;

  // Listens in the network namespace of the calling thread: the host's is where ClusterIPs are
  // translated. Needs CAP_NET_ADMIN, which the thread inherits and goes on needing for its dumps.
  // What fails here, or at the first dump, stands in state() too and is not tried again. Once.
  Status start();
  // Listens in a further namespace (an open /proc/PID/ns/net), for nodes in containers and the
  // like; a namespace that is listened to already is no error. Needs CAP_SYS_ADMIN. The namespace
  // lives on until remove_namespace() is called with its inode number: call that when its last
  // process ends.
  Status add_namespace(int netns_fd);
  void remove_namespace(std::uint64_t inode);
  // Waits for the thread; a dump ends early. Idempotent. What is known stays.
  void stop();

  // The true remote end of a connection as its socket has it; nothing where it is not translated or
  // not known. Waits for the change of one entry at most.
  [[nodiscard]] std::optional<Translation> find(const Tuple& tuple) const {
    return table_.find(tuple);
  }
  [[nodiscard]] ConntrackState state() const;

 private:
  struct Tracker {
    ConntrackSockets sockets;
    std::uint64_t inode = 0;
    std::uint32_t number = 0;     // the origin of its entries
    std::uint64_t dumped_ns = 0;  // 0: never
    std::uint64_t rest_ns = 0;    // until the next dump for lost events
    bool dump_due = true;
    bool drained = false;         // no event waited after the last turn
    std::optional<Error> broken;  // its sockets failed; it is left
  };

  Status refuse(Error error);
  void run();
  void take_commands();
  bool leave_broken();
  bool read_events(Tracker& tracker);
  [[nodiscard]] std::uint64_t next_dump_ns(const Tracker& tracker) const;
  [[nodiscard]] bool dump_due(const Tracker& tracker) const;
  void dump(Tracker& tracker);
  void sleep(bool pause);
  [[nodiscard]] int timeout_ms() const;
  void complain(const Error& error);
  void wake() const;

  const base::Clock& clock_;
  ConntrackOptions options_;
  NatTable table_;
  std::vector<std::unique_ptr<Tracker>> trackers_;  // of the thread
  base::UniqueFd wake_;                             // eventfd
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::uint32_t next_number_ = 0;

  mutable std::mutex mutex_;  // guards all below
  ConntrackState::Kind kind_ = ConntrackState::Kind::off;
  std::string reason_;
  std::vector<std::unique_ptr<Tracker>> added_;  // not yet taken by the thread
  std::vector<std::uint64_t> inodes_;            // that are listened to
  std::vector<std::uint64_t> removed_;           // not yet left by the thread
  std::uint64_t namespaces_refused_ = 0;

  std::atomic<std::uint64_t> events_{0};
  std::atomic<std::uint64_t> malformed_{0};
  std::atomic<std::uint64_t> dumps_{0};
  std::atomic<std::uint64_t> lost_{0};
};

}  // namespace tarsier::net
