// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Asks container runtimes about containers, on two threads of its own, so that a runtime that hangs
// costs the collector nothing.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "enrich/identity.h"
#include "tarsier/result.h"

namespace tarsier::enrich {

// How long one question to a runtime may take; the sources keep to it.
inline constexpr int kSourceDeadlineMs = 800;
inline constexpr std::size_t kMaxQueue = 4'096;    // questions that wait
inline constexpr std::size_t kMaxResults = 1'024;  // answers that wait for the collector
inline constexpr std::size_t kResolverThreads = 2;
inline constexpr std::size_t kMaxSources = 32;
// After a failure a source is left alone, first for the one and at most for the other time.
inline constexpr std::uint64_t kBackoffMinNs = 1'000'000'000;
inline constexpr std::uint64_t kBackoffMaxNs = 30'000'000'000;

// One container runtime. Called by one resolver thread at a time. No call takes longer than
// kSourceDeadlineMs, whatever the runtime does.
class ContainerSource {
 public:
  virtual ~ContainerSource() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  // Whether containers that follow this runtime's cgroup naming can be known here. Containers of
  // Runtime::unknown are asked for everywhere.
  [[nodiscard]] virtual bool serves(Runtime runtime) const = 0;
  // Whether the runtime runs here, by a look at its socket file: cheap, asks nobody.
  [[nodiscard]] virtual bool present() const = 0;
  // All containers that run.
  virtual Result<std::vector<ContainerFacts>> list() = 0;
  // One container by its whole id; ErrorCode::not_found: this runtime has no such container.
  virtual Result<ContainerFacts> get(std::string_view id) = 0;
};

// What came out of one question.
struct Answer {
  enum class Outcome : std::uint8_t {
    known,   // `containers` holds it
    absent,  // every runtime that could know it was asked and does not
    failed,  // at least one could not be asked; ask again later
    list,    // `containers` holds all that run in one runtime; nobody asked for a certain one
  };
  Outcome outcome = Outcome::absent;
  std::string id;
  std::vector<ContainerFacts> containers;
};

struct SourceState {
  std::string name;
  bool present = false;
  bool healthy = true;  // the last call did not fail
  std::uint64_t requests = 0;
  std::uint64_t failures = 0;
  std::string last_error;         // a sentence; empty: none yet
  std::uint64_t retry_at_ns = 0;  // CLOCK_BOOTTIME; not asked before
};

// ask(), drain() and the rest are for any thread; answers come in no certain order.
class Resolver {
 public:
  // The threads start at once and begin with a list() of each source that is present. A source that
  // fails, or that appears later, is listed when it answers again. `clock` outlives the resolver.
  Resolver(std::vector<std::unique_ptr<ContainerSource>> sources, const base::Clock& clock);
  ~Resolver();  // stop()
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // false: the queue is full (counted); ask again later.
  bool ask(std::string id, Runtime runtime);
  // Moves the answers that are there to the end of `answers`.
  void drain(std::vector<Answer>& answers);
  // Whether each source that was present at the start has answered or failed once.
  [[nodiscard]] bool first_lists_done() const;
  [[nodiscard]] std::uint64_t refused() const;
  [[nodiscard]] std::size_t queued() const;
  [[nodiscard]] std::vector<SourceState> sources() const;
  // Wakes the threads and waits for them: at most kSourceDeadlineMs. Idempotent.
  void stop();

 private:
  struct Source {
    std::unique_ptr<ContainerSource> impl;
    SourceState state;
    std::uint64_t backoff_ns = 0;
    bool busy = false;        // a thread is in a call of it
    bool list_due = true;     // not listed since it came up
    bool first_done = false;  // answered, failed or was not there
  };
  struct Job {
    std::string id;
    Runtime runtime = Runtime::unknown;
    std::uint32_t tried = 0;  // a bit per source
    bool failed = false;      // one of them could not be asked
  };
  enum class Ready : std::uint8_t { absent, resting, busy, free };
  struct Task {
    Source* source = nullptr;
    bool list = false;
    Job job;
  };

  void work();
  [[nodiscard]] std::vector<Ready> look_at_sources();
  bool take(Task& task, std::vector<Answer>& settled);
  // The source that a job can be put to now; null: none now. `finished`: nor ever.
  Source* match(Job& job, std::span<const Ready> ready, bool& finished);
  void run(Task task, std::unique_lock<std::mutex>& lock);
  void note(Source& source, const Error* error);
  void publish(Answer answer, std::unique_lock<std::mutex>& lock);

  const base::Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;  // work or room in answers_
  std::vector<Source> sources_;
  std::deque<Job> jobs_;
  std::deque<Answer> answers_;
  std::uint64_t refused_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tarsier::enrich
