// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Listens to the event streams of all container runtimes, on one thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "enrich/source.h"

namespace tarsier::enrich {

// One stream is listened to for this long, several for a part of it each; stop() takes no longer.
inline constexpr int kListenMs = 250;
// Without any stream the sources are looked at this often.
inline constexpr int kLookMs = 500;
// A stream that broke is opened again, first after the one and at most after the other time.
inline constexpr std::uint64_t kReopenMinNs = 1'000'000'000;
inline constexpr std::uint64_t kReopenMaxNs = 30'000'000'000;
// A stream that lasted this long starts over with the short time.
inline constexpr std::uint64_t kSteadyNs = 30'000'000'000;
// The runtime must agree within this time.
inline constexpr std::uint64_t kAgreeNs = 5'000'000'000;
// A runtime without events may have been replaced by a newer one.
inline constexpr std::uint64_t kUnsupportedRetryNs = 300'000'000'000;

// Whom the watch tells; called on its thread.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_stream(std::size_t source, StreamState state, const Error* error) = 0;
  virtual void on_events(std::size_t source, std::vector<ContainerEvent>& events,
                         std::size_t losses) = 0;
  // At least every kLookMs.
  virtual void on_tick() = 0;
};

class EventWatch {
 public:
  // The thread starts at once. Sources, sink and clock outlive it.
  EventWatch(std::span<ContainerSource* const> sources, EventSink& sink, const base::Clock& clock);
  ~EventWatch();  // stop()
  EventWatch(const EventWatch&) = delete;
  EventWatch& operator=(const EventWatch&) = delete;
  // Waits for the thread: at most kListenMs and what the sink takes. Idempotent.
  void stop();

 private:
  struct Watched {
    ContainerSource* source = nullptr;
    std::unique_ptr<EventStream> stream;
    StreamState state = StreamState::off;
    std::uint64_t opened_ns = 0;
    std::uint64_t retry_at_ns = 0;
    std::uint64_t backoff_ns = 0;
  };

  void work();
  void open(Watched& watched, std::size_t index);
  void listen(Watched& watched, std::size_t index, int timeout_ms);
  void close(Watched& watched, std::size_t index, const Error& error);
  void enter(Watched& watched, std::size_t index, StreamState state, const Error* error);

  std::vector<Watched> watched_;
  EventSink& sink_;
  const base::Clock& clock_;
  std::vector<ContainerEvent> events_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace tarsier::enrich
