// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Asks container runtimes about containers, on two threads of its own, so that a runtime that hangs
// costs the collector nothing; a third one listens to what they tell.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "enrich/event_watch.h"
#include "enrich/identity.h"
#include "enrich/source.h"
#include "tarsier/result.h"

namespace tarsier::enrich {

inline constexpr std::size_t kMaxQueue = 4'096;    // questions of one urgency that wait
inline constexpr std::size_t kMaxResults = 1'024;  // answers that wait for the collector
inline constexpr std::size_t kMaxEvents = 4'096;   // events that wait for the collector
inline constexpr std::size_t kResolverThreads = 2;
inline constexpr std::size_t kMaxSources = 32;
// After a failure a source is left alone, first for the one and at most for the other time.
inline constexpr std::uint64_t kBackoffMinNs = 1'000'000'000;
inline constexpr std::uint64_t kBackoffMaxNs = 30'000'000'000;
// What events missed is found by a list, every so often and a fifth more or less.
inline constexpr std::uint64_t kListPeriodNs = 30'000'000'000;
// More names than this that wait for one source are answered by one list. Eight questions of 100 ms
// are answered within the second in which a name is of use; more would not be.
inline constexpr std::size_t kBatchAt = 8;
// One question in so many is not about a name, however many names are wanted.
inline constexpr std::uint64_t kFairTurn = 4;

// What somebody wants to know of a container, most urgent first.
enum class Question : std::uint8_t {
  name,    // who it is; series wait for it
  exit,    // how it ended; the runtime may soon forget it
  detail,  // what a list does not tell
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
  std::string id{};
  std::vector<ContainerFacts> containers{};
  Question question = Question::name;
  std::size_t source = 0;  // of a list: which one, as in sources()
};

// ask(), drain() and the rest are for any thread; answers come in no certain order.
class Resolver final : private EventSink {
 public:
  // The threads start at once and begin with a list() of each source that is present. A source that
  // fails, that appears later, or whose events broke off is listed when it answers again. `clock`
  // outlives the resolver.
  Resolver(std::vector<std::unique_ptr<ContainerSource>> sources, const base::Clock& clock);
  ~Resolver() override;  // stop()
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // false: the queue is full (counted); ask again later.
  bool ask(std::string id, Runtime runtime, Question question = Question::name);
  // Moves the answers that are there to the end of `answers`.
  void drain(std::vector<Answer>& answers);
  // Moves the events that are there to the end of `events`, in the order of their runtime.
  void drain_events(std::vector<ContainerEvent>& events);
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
    std::uint64_t next_list_ns = 0;
    bool busy = false;        // a thread is in a call of it
    bool list_due = true;     // not listed since it came up
    bool first_done = false;  // answered, failed or was not there
  };
  struct Job {
    std::string id;
    Runtime runtime = Runtime::unknown;
    Question question = Question::name;
    std::uint64_t number = 0;  // counts up
    std::uint32_t tried = 0;   // a bit per source
    bool failed = false;       // one of them could not be asked
  };
  using Jobs = std::deque<Job>;
  // `first`: names. `second`: exits, and names that a list did not have. `third`: details.
  enum Urgency : std::uint8_t { first, second, third };
  enum class Ready : std::uint8_t { absent, resting, busy, free };
  struct Task {
    Source* source = nullptr;
    bool list = false;
    Urgency urgency = first;
    std::uint64_t begun = 0;  // jobs up to this number were there
    Job job;
  };

  void on_stream(std::size_t source, StreamState state, const Error* error) override;
  void on_events(std::size_t source, std::vector<ContainerEvent>& events,
                 std::size_t losses) override;
  void on_tick() override;

  void work();
  [[nodiscard]] std::vector<Ready> look_at_sources();
  [[nodiscard]] bool idle() const;
  [[nodiscard]] bool list_is_due(const Source& source) const;
  bool take(Task& task, std::vector<Answer>& settled);
  bool take_list(std::span<const Ready> ready, Task& task);
  bool take_job(Urgency urgency, std::span<const Ready> ready, Task& task,
                std::vector<Answer>& settled);
  // The source that a job can be put to now; null: none now. `finished`: nor ever.
  Source* match(Job& job, std::span<const Ready> ready, bool& finished);
  [[nodiscard]] std::size_t waiting_for(std::size_t source) const;
  void run(Task task, std::unique_lock<std::mutex>& lock);
  void finish_list(const Task& task, Result<std::vector<ContainerFacts>> found,
                   std::unique_lock<std::mutex>& lock);
  void settle_by_list(const Task& task, const std::vector<ContainerFacts>& listed);
  void finish_job(Task& task, Result<ContainerFacts> found, std::unique_lock<std::mutex>& lock);
  void note(Source& source, const Error* error);
  void publish(Answer answer, std::unique_lock<std::mutex>& lock);

  const base::Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;  // work or room in answers_
  std::vector<Source> sources_;
  std::array<Jobs, 3> jobs_;  // by Urgency
  std::deque<Answer> answers_;
  std::vector<ContainerEvent> events_;
  std::uint64_t refused_ = 0;
  std::uint64_t number_ = 0;  // of the newest job
  std::uint64_t turn_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
  std::optional<EventWatch> watch_;
};

}  // namespace tarsier::enrich
