// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the clients of container runtimes tell unasked, whatever the runtime.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/runtime_container.h"
#include "tarsier/result.h"

namespace tarsier::net {

inline constexpr std::size_t kMaxEventsAtOnce = 1'000;  // taken by one wait()

struct RuntimeEvent {
  enum class Kind : std::uint8_t { created, started, ended, out_of_memory, changed, removed };
  Kind kind = Kind::changed;
  std::string id{};
  std::int64_t time_ns = 0;                     // unix time; 0: unknown
  std::optional<std::int32_t> exit_code{};      // of `ended`, where the event itself has it
  std::optional<RuntimeContainer> container{};  // where the event itself describes it
};

// One open stream. One thread at a time, which need not be the client's. Its destructor ends the
// stream and takes no longer than some milliseconds.
class RuntimeEvents {
 public:
  virtual ~RuntimeEvents() = default;
  // Waits until there are events, at most the time given, and appends them. An error means that the
  // stream is over: not_found where the runtime has no events at all, else open another one later.
  virtual Status wait(int timeout_ms, std::vector<RuntimeEvent>& events) = 0;
  // Whether the runtime has taken the request.
  [[nodiscard]] virtual bool answered() const = 0;
  // Since the last call: events that were not what the API promises, or too long, or more at a time
  // than kMaxEventsAtOnce.
  virtual std::size_t take_losses() = 0;
};

}  // namespace tarsier::net
