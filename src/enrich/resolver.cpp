// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/resolver.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "base/log.h"

namespace tarsier::enrich {

Resolver::Resolver(std::vector<std::unique_ptr<ContainerSource>> sources, const base::Clock& clock)
    : clock_(clock) {
  std::vector<ContainerSource*> watched;
  for (auto& impl : sources) {
    if (sources_.size() == kMaxSources) break;  // a bit each in Job::tried
    Source source;
    source.state.name = impl->name();
    source.state.present = impl->present();
    source.first_done = !source.state.present;
    watched.push_back(impl.get());
    source.impl = std::move(impl);
    sources_.push_back(std::move(source));
  }
  for (std::size_t i = 0; i < kResolverThreads; ++i) threads_.emplace_back([this] { work(); });
  EventSink& sink = *this;
  watch_.emplace(watched, sink, clock);
}

Resolver::~Resolver() {
  stop();
}

void Resolver::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  watch_->stop();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool Resolver::ask(std::string id, Runtime runtime, Question question) {
  {
    const std::scoped_lock lock(mutex_);
    Jobs& jobs = jobs_[static_cast<std::size_t>(question)];
    if (stopping_ || jobs.size() >= kMaxQueue) {
      ++refused_;
      return false;
    }
    jobs.push_back({std::move(id), runtime, question, ++number_, 0, false});
  }
  wake_.notify_all();
  return true;
}

void Resolver::drain(std::vector<Answer>& answers) {
  bool was_full = false;  // only then publish() may wait for room
  {
    const std::scoped_lock lock(mutex_);
    was_full = answers_.size() >= kMaxResults;
    std::ranges::move(answers_, std::back_inserter(answers));
    answers_.clear();
  }
  if (was_full) wake_.notify_all();
}

void Resolver::drain_events(std::vector<ContainerEvent>& events) {
  const std::scoped_lock lock(mutex_);
  std::ranges::move(events_, std::back_inserter(events));
  events_.clear();
}

bool Resolver::first_lists_done() const {
  const std::scoped_lock lock(mutex_);
  return std::ranges::all_of(sources_, &Source::first_done);
}

std::uint64_t Resolver::refused() const {
  const std::scoped_lock lock(mutex_);
  return refused_;
}

std::size_t Resolver::queued() const {
  const std::scoped_lock lock(mutex_);
  return jobs_[first].size() + jobs_[second].size() + jobs_[third].size();
}

std::vector<SourceState> Resolver::sources() const {
  const std::scoped_lock lock(mutex_);
  std::vector<SourceState> states;
  for (const Source& source : sources_) states.push_back(source.state);
  return states;
}

void Resolver::on_stream(std::size_t source, StreamState state, const Error* error) {
  {
    const std::scoped_lock lock(mutex_);
    Source& changed = sources_[source];
    const StreamState before = std::exchange(changed.state.stream, state);
    // Between the last list and the first event, and since the last event, something may have
    // happened.
    changed.list_due = changed.list_due || state == StreamState::streaming ||
                       (state == StreamState::failing && before != state);
    if (state == StreamState::failing && error != nullptr) {
      ++changed.state.stream_failures;
      if (before != state) {
        base::log_info(
            "container runtime {}: {}; its containers are listed from time to time until its "
            "events come again",
            changed.state.name, error->message);
      }
    }
  }
  wake_.notify_all();
}

void Resolver::on_events(std::size_t source, std::vector<ContainerEvent>& events,
                         std::size_t losses) {
  std::size_t lost = 0;
  {
    const std::scoped_lock lock(mutex_);
    Source& teller = sources_[source];
    const std::size_t room = kMaxEvents - std::min(kMaxEvents, events_.size());
    const std::size_t taken = std::min(room, events.size());
    std::move(events.begin(), events.begin() + static_cast<long>(taken),
              std::back_inserter(events_));
    lost = losses + events.size() - taken;
    teller.state.events += events.size();
    teller.state.events_lost += lost;
    teller.list_due = teller.list_due || lost > 0;
  }
  if (lost > 0) wake_.notify_all();  // else there is nothing to ask
}

void Resolver::on_tick() {
  {
    const std::scoped_lock lock(mutex_);
    const std::vector<Ready> ready = look_at_sources();
    bool due = false;
    for (std::size_t i = 0; i < ready.size(); ++i) {
      due = due || (ready[i] == Ready::free && list_is_due(sources_[i]));
    }
    if (!due) return;
  }
  wake_.notify_all();
}

void Resolver::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    Task task;
    std::vector<Answer> settled;
    const bool found = take(task, settled);
    if (found) task.source->busy = true;  // before publish() can let another thread in
    for (Answer& answer : settled) publish(std::move(answer), lock);
    if (found) {
      run(std::move(task), lock);
    } else if (settled.empty()) {
      wake_.wait(lock);
    }
  }
}

std::vector<Resolver::Ready> Resolver::look_at_sources() {
  const std::uint64_t now_ns = clock_.boot_ns();
  std::vector<Ready> ready;
  for (Source& source : sources_) {
    source.state.present = source.impl->present();
    if (source.busy) {
      ready.push_back(Ready::busy);
    } else if (!source.state.present) {
      source.list_due = true;  // when it comes up it is new
      source.first_done = true;
      ready.push_back(Ready::absent);
    } else {
      ready.push_back(now_ns < source.state.retry_at_ns ? Ready::resting : Ready::free);
    }
  }
  return ready;
}

bool Resolver::list_is_due(const Source& source) const {
  return source.list_due || clock_.boot_ns() >= source.next_list_ns;
}

// Before anybody looks for the runtimes' sockets. One that comes up is seen by on_tick().
bool Resolver::idle() const {
  return std::ranges::all_of(jobs_, &Jobs::empty) &&
         std::ranges::none_of(sources_, [this](const Source& source) {
           return source.state.present && list_is_due(source);
         });
}

bool Resolver::take(Task& task, std::vector<Answer>& settled) {
  if (idle()) return false;
  const std::vector<Ready> ready = look_at_sources();
  task.begun = number_;
  const bool others_first = turn_ % kFairTurn == kFairTurn - 1;
  const std::array<Urgency, 3> order =
      others_first ? std::array{second, third, first} : std::array{first, second, third};
  bool found = false;
  for (const Urgency urgency : order) {
    found = (urgency == first && take_list(ready, task)) || take_job(urgency, ready, task, settled);
    if (found) break;
  }
  if (found) ++turn_;
  return found;
}

bool Resolver::take_list(std::span<const Ready> ready, Task& task) {
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (ready[i] != Ready::free) continue;
    if (!list_is_due(sources_[i]) && waiting_for(i) <= kBatchAt) continue;
    sources_[i].list_due = false;  // what is missed from here on needs another one
    task.source = &sources_[i];
    task.list = true;
    return true;
  }
  return false;
}

// The names that one list of this source could tell.
std::size_t Resolver::waiting_for(std::size_t source) const {
  if (jobs_[first].size() <= kBatchAt) return 0;
  return static_cast<std::size_t>(std::ranges::count_if(jobs_[first], [&](const Job& job) {
    return (job.tried & (1U << source)) == 0 && sources_[source].impl->serves(job.runtime);
  }));
}

bool Resolver::take_job(Urgency urgency, std::span<const Ready> ready, Task& task,
                        std::vector<Answer>& settled) {
  Jobs& jobs = jobs_[urgency];
  for (auto job = jobs.begin(); job != jobs.end();) {
    bool finished = false;
    Source* source = match(*job, ready, finished);
    if (source == nullptr && !finished) {
      ++job;
      continue;
    }
    if (source != nullptr) {
      task.source = source;
      task.urgency = urgency;
      task.job = std::move(*job);
      jobs.erase(job);
      return true;
    }
    const auto outcome = job->failed ? Answer::Outcome::failed : Answer::Outcome::absent;
    settled.push_back({outcome, std::move(job->id), {}, job->question, 0});
    job = jobs.erase(job);
  }
  return false;
}

Resolver::Source* Resolver::match(Job& job, std::span<const Ready> ready, bool& finished) {
  finished = true;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const std::uint32_t bit = 1U << i;
    if ((job.tried & bit) != 0) continue;
    const bool could = sources_[i].impl->serves(job.runtime) && ready[i] != Ready::absent;
    if (could && ready[i] == Ready::busy) {
      finished = false;
      continue;
    }
    job.tried |= bit;
    if (could && ready[i] == Ready::free) return &sources_[i];
    job.failed = job.failed || could;
  }
  return nullptr;
}

void Resolver::run(Task task, std::unique_lock<std::mutex>& lock) {
  ++task.source->state.requests;
  lock.unlock();
  if (task.list) {
    auto found = task.source->impl->list();
    lock.lock();
    finish_list(task, std::move(found), lock);
  } else {
    auto found = task.source->impl->get(task.job.id);
    lock.lock();
    finish_job(task, std::move(found), lock);
  }
  wake_.notify_all();
}

void Resolver::finish_list(const Task& task, Result<std::vector<ContainerFacts>> found,
                           std::unique_lock<std::mutex>& lock) {
  Source& source = *task.source;
  source.busy = false;
  source.first_done = true;
  note(source, found ? nullptr : &found.error());
  // Spread, so that the nodes of a cluster do not list in step.
  const std::uint64_t spread = (clock_.boot_ns() / 1'000) % (kListPeriodNs / 5 * 2);
  source.next_list_ns = clock_.boot_ns() + kListPeriodNs - kListPeriodNs / 5 + spread;
  if (!found) return;
  ++source.state.lists;
  source.state.listed = found->size();
  settle_by_list(task, *found);
  publish({Answer::Outcome::list,
           {},
           std::move(*found),
           Question::name,
           static_cast<std::size_t>(task.source - sources_.data())},
          lock);
}

// Names that the list has need no question of their own. The others that were asked for before it
// began are of containers that ended, or began in between: they are asked for one by one, later.
void Resolver::settle_by_list(const Task& task, const std::vector<ContainerFacts>& listed) {
  if (jobs_[first].empty()) return;
  std::unordered_set<std::string_view> ids;
  for (const ContainerFacts& one : listed) ids.insert(one.id);
  std::erase_if(jobs_[first], [&](Job& job) {
    if (ids.contains(job.id)) return true;
    if (job.number > task.begun || !task.source->impl->serves(job.runtime)) return false;
    jobs_[second].push_back(std::move(job));
    return true;
  });
}

void Resolver::finish_job(Task& task, Result<ContainerFacts> found,
                          std::unique_lock<std::mutex>& lock) {
  task.source->busy = false;
  const bool unknown = !found && found.error().code == ErrorCode::not_found;
  note(*task.source, found || unknown ? nullptr : &found.error());
  if (found) {
    Answer answer{Answer::Outcome::known, std::move(task.job.id), {}, task.job.question, 0};
    answer.containers.push_back(std::move(*found));
    publish(std::move(answer), lock);
    return;
  }
  task.job.failed = task.job.failed || !unknown;
  jobs_[task.urgency].push_front(std::move(task.job));  // for the next source
}

void Resolver::note(Source& source, const Error* error) {
  SourceState& state = source.state;
  if (error == nullptr) {
    if (!state.healthy) base::log_info("container runtime {} answers again", state.name);
    state.healthy = true;
    state.retry_at_ns = source.backoff_ns = 0;
    return;
  }
  ++state.failures;
  state.last_error = error->message;
  if (state.healthy) {
    base::log_warning(
        "container runtime {}: {}; containers keep their ids as names until it answers", state.name,
        error->message);
  }
  state.healthy = false;
  source.backoff_ns = std::clamp(source.backoff_ns * 2, kBackoffMinNs, kBackoffMaxNs);
  state.retry_at_ns = clock_.boot_ns() + source.backoff_ns;
  source.list_due = true;  // what started meanwhile has no name yet
}

void Resolver::publish(Answer answer, std::unique_lock<std::mutex>& lock) {
  // An answer is never dropped: the collector drains, or the threads wait and ask() refuses.
  wake_.wait(lock, [this] { return stopping_ || answers_.size() < kMaxResults; });
  if (!stopping_) answers_.push_back(std::move(answer));
}

}  // namespace tarsier::enrich
