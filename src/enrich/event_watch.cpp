// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/event_watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace tarsier::enrich {

EventWatch::EventWatch(std::span<ContainerSource* const> sources, EventSink& sink,
                       const base::Clock& clock)
    : sink_(sink), clock_(clock) {
  for (ContainerSource* source : sources) {
    Watched watched;
    watched.source = source;
    watched_.push_back(std::move(watched));
  }
  thread_ = std::thread([this] { work(); });
}

EventWatch::~EventWatch() {
  stop();
}

void EventWatch::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void EventWatch::work() {
  const auto stops = [this](int wait_ms) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, std::chrono::milliseconds(wait_ms), [this] { return stopping_; });
  };
  using Clock = std::chrono::steady_clock;
  Clock::time_point look_at = Clock::now();
  while (!stops(0)) {
    // Not with every event: it asks the file system for each runtime's socket.
    if (Clock::now() >= look_at) {
      look_at = Clock::now() + std::chrono::milliseconds(kListenMs);
      sink_.on_tick();
      for (std::size_t i = 0; i < watched_.size(); ++i) open(watched_[i], i);
    }
    const auto streams = static_cast<int>(
        std::ranges::count_if(watched_, [](const Watched& one) { return one.stream != nullptr; }));
    if (streams == 0) {
      if (stops(kLookMs)) break;
      continue;
    }
    for (std::size_t i = 0; i < watched_.size(); ++i) {
      if (watched_[i].stream != nullptr) listen(watched_[i], i, kListenMs / streams);
    }
  }
  for (Watched& one : watched_) one.stream.reset();  // on the thread that used it
}

void EventWatch::open(Watched& watched, std::size_t index) {
  const std::uint64_t now_ns = clock_.boot_ns();
  if (watched.stream != nullptr) return;
  if (!watched.source->present()) {
    watched.retry_at_ns = watched.backoff_ns = 0;  // who comes up is new
    enter(watched, index, StreamState::off, nullptr);
    return;
  }
  if (now_ns < watched.retry_at_ns) return;
  watched.opened_ns = now_ns;
  auto stream = watched.source->watch();
  if (!stream) return close(watched, index, stream.error());
  watched.stream = std::move(*stream);
}

void EventWatch::listen(Watched& watched, std::size_t index, int timeout_ms) {
  events_.clear();
  const Status status = watched.stream->wait(timeout_ms, events_);
  const std::size_t losses = watched.stream->take_losses();
  if (status && watched.stream->answered()) {
    enter(watched, index, StreamState::streaming, nullptr);
  }
  if (!events_.empty() || losses > 0) sink_.on_events(index, events_, losses);
  if (!status) return close(watched, index, status.error());
  if (!watched.stream->answered() && clock_.boot_ns() - watched.opened_ns >= kAgreeNs) {
    close(watched, index,
          Error{ErrorCode::unavailable, "watch the containers: the runtime does not answer", 0});
  }
}

void EventWatch::close(Watched& watched, std::size_t index, const Error& error) {
  const std::uint64_t now_ns = clock_.boot_ns();
  watched.stream.reset();
  if (error.code == ErrorCode::not_found) {
    watched.retry_at_ns = now_ns + kUnsupportedRetryNs;
    return enter(watched, index, StreamState::unsupported, &error);
  }
  if (now_ns - watched.opened_ns >= kSteadyNs) watched.backoff_ns = 0;
  watched.backoff_ns = std::clamp(watched.backoff_ns * 2, kReopenMinNs, kReopenMaxNs);
  watched.retry_at_ns = now_ns + watched.backoff_ns;
  watched.state = StreamState::failing;  // each failure is told
  sink_.on_stream(index, StreamState::failing, &error);
}

void EventWatch::enter(Watched& watched, std::size_t index, StreamState state, const Error* error) {
  if (std::exchange(watched.state, state) != state) sink_.on_stream(index, state, error);
}

}  // namespace tarsier::enrich
