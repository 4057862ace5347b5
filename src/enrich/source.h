// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a container runtime is to this room: it can be asked, and it may tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enrich/identity.h"
#include "tarsier/result.h"

namespace tarsier::enrich {

// How long one question to a runtime may take; the sources keep to it.
inline constexpr int kSourceDeadlineMs = 800;

struct ContainerEvent {
  enum class Kind : std::uint8_t { created, started, ended, out_of_memory, changed, removed };
  Kind kind = Kind::changed;
  std::string id{};
  std::int64_t time_ns = 0;                 // unix time by the runtime's clock; 0: unknown
  std::optional<std::int32_t> exit_code{};  // of `ended`, where the event itself has it
  std::optional<ContainerFacts> facts{};    // where the event itself describes the container
};

// What a runtime tells unasked, until the stream breaks. Used and destroyed by one thread, which is
// not a resolver's; its destructor waits for nobody.
class EventStream {
 public:
  virtual ~EventStream() = default;
  // Waits until there are events, at most the time given, and appends them. An error means that the
  // stream is over; ErrorCode::not_found: this runtime has no events.
  virtual Status wait(int timeout_ms, std::vector<ContainerEvent>& events) = 0;
  // Whether the runtime has agreed to tell.
  [[nodiscard]] virtual bool answered() const = 0;
  // Events that could not be read or were too many, since the last call.
  virtual std::size_t take_losses() = 0;
};

// One container runtime. list() and get() are called by one resolver thread at a time and take no
// longer than kSourceDeadlineMs, whatever the runtime does. The rest is for any thread.
class ContainerSource {
 public:
  virtual ~ContainerSource() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  // Whether containers that follow this runtime's cgroup naming can be known here. Containers of
  // Runtime::unknown are asked for everywhere.
  [[nodiscard]] virtual bool serves(Runtime runtime) const = 0;
  // Whether the runtime runs here, by a look at its socket file: cheap, asks nobody.
  [[nodiscard]] virtual bool present() const = 0;
  // All containers that run, with what a list tells about them.
  virtual Result<std::vector<ContainerFacts>> list() = 0;
  // One container by its whole id, running or not, with all facts; ErrorCode::not_found: this
  // runtime has no such container.
  virtual Result<ContainerFacts> get(std::string_view id) = 0;
  // Begins to listen; connects later, in the stream's wait().
  virtual Result<std::unique_ptr<EventStream>> watch() {
    return fail(ErrorCode::not_found, "watch the containers: this source has no events");
  }
};

enum class StreamState : std::uint8_t {
  off,          // the runtime is not there, or was not asked yet
  unsupported,  // it has no events; its containers are listed from time to time
  streaming,
  failing,  // broken; tried again later
};
[[nodiscard]] constexpr std::string_view name_of(StreamState state) {
  switch (state) {
    case StreamState::off: return "off";
    case StreamState::unsupported: return "unsupported";
    case StreamState::streaming: return "streaming";
    case StreamState::failing: return "failing";
  }
  return "off";
}

struct SourceState {
  std::string name;
  bool present = false;
  bool healthy = true;  // the last call did not fail
  std::uint64_t requests = 0;
  std::uint64_t failures = 0;
  std::string last_error;         // a sentence; empty: none yet
  std::uint64_t retry_at_ns = 0;  // CLOCK_BOOTTIME; not asked before
  std::uint64_t lists = 0;        // that were answered
  std::size_t listed = 0;         // containers in the last one
  StreamState stream = StreamState::off;
  std::uint64_t events = 0;       // read from the stream
  std::uint64_t events_lost = 0;  // unreadable, too many, or the collector was late; then listed
  std::uint64_t stream_failures = 0;  // times that the stream broke or could not be opened
};

}  // namespace tarsier::enrich
