// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Two netlink sockets to the connection tracking of one network namespace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/fd.h"
#include "net/conntrack_message.h"
#include "tarsier/result.h"

namespace tarsier::net {

// Room for events that wait. One takes 1,280 bytes of it, so 3,276 fit (measured on 6.18); 5 ms at
// 100,000 connections per second need 500. Memory is taken only while they wait.
inline constexpr int kEventBufferBytes = 4 << 20;
// Events that are read in one turn, so that one busy namespace does not hold up the others.
inline constexpr std::size_t kMaxEventsPerTurn = 4'096;

using TakeRecord = std::function<void(const NatRecord&)>;

struct EventTurn {
  std::size_t read = 0;       // messages, whatever they said
  std::size_t malformed = 0;  // of them
  bool lost = false;          // the receive buffer was full: the kernel dropped events
  bool drained = false;       // nothing waits any more
};

struct DumpOutcome {
  std::size_t malformed = 0;
  bool complete = false;  // every connection that lived all the while was handed on
};

// One thread at a time.
class ConntrackSockets {
 public:
  // In the calling thread's network namespace; needs CAP_NET_ADMIN there, also for each dump(). A
  // receive buffer above net.core.rmem_max needs it in the first user namespace: else the buffer is
  // as large as allowed. Loads the kernel's modules for connection tracking where they are modules;
  // that starts no tracking. Errors: refused (rights), unavailable (the kernel has no ctnetlink).
  [[nodiscard]] static Result<ConntrackSockets> open(int event_buffer_bytes = kEventBufferBytes);

  [[nodiscard]] int events_fd() const { return events_.get(); }
  // Hands on the translated connections that began (ended: false) or ended. Does not wait.
  Result<EventTurn> read_events(const TakeRecord& take);
  // Hands on every translated connection. `stop` is asked between buffers.
  Result<DumpOutcome> dump(const TakeRecord& take, const std::function<bool()>& stop);

 private:
  base::UniqueFd events_;
  base::UniqueFd dumps_;
  std::uint32_t sequence_ = 0;
};

}  // namespace tarsier::net
