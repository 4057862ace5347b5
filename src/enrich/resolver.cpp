// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/resolver.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace tarsier::enrich {

Resolver::Resolver(std::vector<std::unique_ptr<ContainerSource>> sources, const base::Clock& clock)
    : clock_(clock) {
  for (auto& impl : sources) {
    if (sources_.size() == kMaxSources) break;  // a bit each in Job::tried
    Source source;
    source.state.name = impl->name();
    source.state.present = impl->present();
    source.first_done = !source.state.present;
    source.impl = std::move(impl);
    sources_.push_back(std::move(source));
  }
  for (std::size_t i = 0; i < kResolverThreads; ++i) threads_.emplace_back([this] { work(); });
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
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool Resolver::ask(std::string id, Runtime runtime) {
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_ || jobs_.size() >= kMaxQueue) {
      ++refused_;
      return false;
    }
    jobs_.push_back({std::move(id), runtime, 0, false});
  }
  wake_.notify_all();
  return true;
}

void Resolver::drain(std::vector<Answer>& answers) {
  {
    const std::scoped_lock lock(mutex_);
    if (answers_.empty()) return;
    std::ranges::move(answers_, std::back_inserter(answers));
    answers_.clear();
  }
  wake_.notify_all();
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
  return jobs_.size();
}

std::vector<SourceState> Resolver::sources() const {
  const std::scoped_lock lock(mutex_);
  std::vector<SourceState> states;
  for (const Source& source : sources_) states.push_back(source.state);
  return states;
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

bool Resolver::take(Task& task, std::vector<Answer>& settled) {
  const std::vector<Ready> ready = look_at_sources();
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (ready[i] != Ready::free || !sources_[i].list_due) continue;
    task.source = &sources_[i];
    task.list = true;
    return true;
  }
  for (auto job = jobs_.begin(); job != jobs_.end();) {
    bool finished = false;
    Source* source = match(*job, ready, finished);
    if (source == nullptr && !finished) {
      ++job;
      continue;
    }
    if (source != nullptr) {
      task.source = source;
      task.job = std::move(*job);
      jobs_.erase(job);
      return true;
    }
    const auto outcome = job->failed ? Answer::Outcome::failed : Answer::Outcome::absent;
    settled.push_back({outcome, std::move(job->id), {}});
    job = jobs_.erase(job);
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
  Source& source = *task.source;
  ++source.state.requests;
  lock.unlock();
  Result<std::vector<ContainerFacts>> found;
  if (task.list) {
    found = source.impl->list();
  } else if (auto one = source.impl->get(task.job.id)) {
    found->push_back(std::move(*one));
  } else {
    found = std::unexpected(std::move(one.error()));
  }
  lock.lock();
  source.busy = false;
  const bool unknown = !task.list && !found && found.error().code == ErrorCode::not_found;
  note(source, found || unknown ? nullptr : &found.error());
  if (task.list) {
    source.first_done = true;
    source.list_due = !found.has_value();
    if (found) publish({Answer::Outcome::list, {}, std::move(*found)}, lock);
  } else if (found) {
    publish({Answer::Outcome::known, std::move(task.job.id), std::move(*found)}, lock);
  } else {
    task.job.failed = task.job.failed || !unknown;
    jobs_.push_front(std::move(task.job));  // for the next source
  }
  wake_.notify_all();
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
