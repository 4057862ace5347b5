// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The door-keeper of a server: which connections exist, what each is waiting for, whose time is up,
// and who has to go when a new client finds all places taken. Internal to src/api.
//
// Each connection is in one phase; the phase says how long it may last. The gate holds a duplicate
// of each socket: shutting that down makes the HTTP library see the end of the connection and clean
// up by itself, and no descriptor number can be closed and reused between the look and the act.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/http.h"
#include "api/server.h"
#include "base/fd.h"

namespace tarsier::api {

using Instant = std::chrono::steady_clock::time_point;

enum class Phase : std::uint8_t {
  fresh,       // accepted, nothing understood yet (TLS handshake included): request_timeout
  idle,        // between two requests: idle_timeout
  reading,     // a request has begun and is not whole: request_timeout
  serving,     // a handler or a generator runs; not the client's fault: no limit
  responding,  // the client has the next piece of the answer to take: write_stall
  waiting,     // the stream had nothing to say; not the client's fault: no limit
};

struct Connection {
  base::UniqueFd socket;  // the gate's duplicate
  Peer peer;
  std::string local_address;  // numeric, TCP only
  bool tls = false;
  bool certificate_good = false;  // the client showed one of the configured authority
  std::size_t worker = 0;
  Phase phase = Phase::fresh;
  Instant since{};         // when the phase began
  Instant progress{};      // responding: when the client last took something
  bool started = false;    // the library knows it
  bool doomed = false;     // shut down; the library will close it
  void* handle = nullptr;  // waiting: what the library needs to wake it
};

// Thread-safe; every call is short, takes one lock and never waits for anything.
class Gate {
 public:
  // Connections that were shut down but that their busy worker has not closed yet, at most.
  static constexpr std::size_t kMaxDoomed = 64;

  // A connection that the library dropped before it told us of it is forgotten after this.
  static constexpr std::uint32_t kForgetAfterMs = 60'000;
  // A client that has ended its side and is not being served is let go after this. The library
  // misses an end that arrives together with data and would keep the connection until its time-out.
  static constexpr std::uint32_t kFinishedAfterMs = 200;
  static constexpr std::chrono::milliseconds kStreamPoll{kStreamPollMs};

  explicit Gate(const ServerOptions& options) : options_(options) {}

  struct Newcomer {
    Peer peer;
    std::string local_address;
    bool tls = false;
  };
  // Makes an entry for the accepted socket `fd`, which stays the caller's, and says which of the
  // `workers` workers from `first_worker` on has the least to do; nothing if there is no place.
  std::optional<std::size_t> admit(int fd, Newcomer newcomer, std::size_t first_worker,
                                   std::size_t workers, Instant now);
  // Whether newcomers had better stay in the kernel's queue for a moment, because the workers have
  // not got to closing what was shut down.
  [[nodiscard]] bool crowded() const;
  // The library has taken over descriptor `fd`: its entry, or null if there is none.
  Connection* start(int fd);
  void closed(int fd);

  void begin_request(Connection& connection, Instant now);
  // A handler or generator runs for this connection from here to end_work() (or wait()); the
  // worker counts as busy, so that new connections go elsewhere. False: the connection is shut
  // down, the work would be in vain.
  bool begin_work(Connection& connection, Instant now);
  void end_work(Connection& connection, Instant now);
  void end_request(Connection& connection, Instant now);
  // Parks the connection; `suspend` runs under the lock, so that a wake cannot come before it.
  // False (and no call): the server stops or the connection is shut down.
  template <class Suspend>
  bool wait(Connection& connection, void* handle, Instant now, Suspend suspend) {
    const std::lock_guard lock(mutex_);
    set_busy(connection.worker, false);
    if (stopping_ || connection.doomed) return false;
    connection.phase = Phase::waiting;
    connection.progress = now;
    connection.handle = handle;
    suspend();
    return true;
  }

  struct Sweep {
    bool any = false;      // connections exist
    bool waiting = false;  // some of them wait for their stream
  };
  // Shuts down what is overdue and calls `wake` for each connection that has waited kStreamPollMs.
  template <class Wake>
  Sweep sweep(Instant now, Wake wake) {
    const std::lock_guard lock(mutex_);
    Sweep result = expire(now);
    for (auto& [fd, connection] : connections_) {
      if (connection->phase != Phase::waiting) continue;
      result.waiting = true;
      if (!stopping_ && now - connection->progress < kStreamPoll) continue;
      connection->phase = Phase::responding;
      connection->progress = now;
      wake(connection->handle);
    }
    return result;
  }
  // From now on every connection is shut down and none is admitted or parked.
  template <class Wake>
  void stop(Wake wake) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      for (auto& [fd, connection] : connections_) shut(*connection);
    }
    sweep({}, wake);
  }

  template <class Change>
  void count(Change change) {
    const std::lock_guard lock(mutex_);
    change(stats_);
  }
  [[nodiscard]] ServerStats stats() const;

 private:
  Sweep expire(Instant now);
  [[nodiscard]] bool overdue(const Connection& connection, Instant now,
                             std::uint64_t ServerStats::*& counter) const;
  [[nodiscard]] bool finished(const Connection& connection, Instant now) const;
  bool make_room(const Peer& peer, Instant now);
  [[nodiscard]] Connection* longest_in_the_way(Instant now, const Peer* of_client);
  [[nodiscard]] std::size_t pick_worker(std::size_t first, std::size_t count) const;
  void shut(Connection& connection);
  void set_busy(std::size_t worker, bool busy);
  [[nodiscard]] bool is_busy(std::size_t worker) const;

  const ServerOptions& options_;
  mutable std::mutex mutex_;
  std::unordered_map<int, std::unique_ptr<Connection>> connections_;
  std::vector<bool> busy_;
  std::size_t doomed_ = 0;
  bool stopping_ = false;
  ServerStats stats_;
};

}  // namespace tarsier::api
