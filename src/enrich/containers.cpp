// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/containers.h"

#include <algorithm>
#include <utility>

namespace tarsier::enrich {
namespace {

using State = ContainerFacts::State;

// What is known together with what was just said. A list says less than what is known already.
ContainerFacts merged(const ContainerFacts& known, ContainerFacts said) {
  if (said.runtime == Runtime::unknown) said.runtime = known.runtime;
  if (said.sandbox_id.empty()) said.sandbox_id = known.sandbox_id;
  if (said.pod == PodName{}) said.pod = known.pod;
  if (said.image_digest.empty()) said.image_digest = known.image_digest;
  if (said.complete || !known.complete) return said;
  said.complete = true;
  said.image = known.image;
  said.image_digest = known.image_digest;
  said.created_ns = known.created_ns;
  said.restart_count = std::max(known.restart_count, said.restart_count);
  said.limits = known.limits;
  if (said.started_ns == 0) said.started_ns = known.started_ns;
  if (said.state == State::exited && !said.exit) said.exit = known.exit;
  return said;
}

}  // namespace

Container* ContainerTable::held(std::string_view id) {
  const auto found = containers_.find(std::string(id));
  return found == containers_.end() ? nullptr : &found->second;
}

Container* ContainerTable::keep(std::string_view id) {
  if (Container* container = held(id)) return container;
  if (containers_.size() >= kMaxContainers) {
    ++stats_.refused;
    return nullptr;
  }
  Container& container = containers_[std::string(id)];
  container.facts.id = id;
  return &container;
}

const Container* ContainerTable::want(std::string_view id, Runtime runtime, std::uint64_t now_ns) {
  Container* container = keep(id);
  if (container == nullptr) return nullptr;
  container->seen_here = container->lived = true;
  if (container->state == ContainerState::known) {
    if (!container->facts.complete) ask_detail(*container, now_ns);
  } else {
    ask_name(*container, runtime, now_ns);
  }
  return container;
}

void ContainerTable::ask_name(Container& container, Runtime runtime, std::uint64_t now_ns) {
  const bool open =
      container.state == ContainerState::unknown || container.state == ContainerState::absent;
  if (!open || now_ns < container.retry_at_ns) return;
  if (container.facts.runtime == Runtime::unknown) container.facts.runtime = runtime;
  if (resolver_.ask(container.facts.id, runtime)) {
    container.state = ContainerState::asked;
  } else {
    container.retry_at_ns = now_ns + kQuickRetryNs;
  }
}

void ContainerTable::ask_detail(Container& container, std::uint64_t now_ns) {
  if (now_ns < container.detail_retry_ns) return;
  container.detail_retry_ns =
      now_ns + (resolver_.ask(container.facts.id, container.facts.runtime, Question::detail)
                    ? kFailedRetryMaxNs
                    : kFailedRetryNs);
}

std::vector<std::string> ContainerTable::poll(std::uint64_t now_ns) {
  std::vector<std::string> changed;
  // Events first: whoever started is wanted, and answers say more.
  events_.clear();
  resolver_.drain_events(events_);
  for (ContainerEvent& event : events_) take_event(event, now_ns, changed);
  answers_.clear();
  resolver_.drain(answers_);
  for (Answer& answer : answers_) take(answer, now_ns, changed);
  run_ends(now_ns);
  return changed;
}

void ContainerTable::take(Answer& answer, std::uint64_t now_ns, Changed& changed) {
  if (answer.outcome == Answer::Outcome::list) return take_list(answer, now_ns, changed);
  if (!answer.containers.empty()) {
    answer.containers.front().id = answer.id;  // a runtime may answer to other names, too
  }
  if (answer.question == Question::exit) return take_exit(answer, now_ns, changed);
  if (answer.outcome == Answer::Outcome::known) {
    for (ContainerFacts& facts : answer.containers) learn(std::move(facts), now_ns, changed);
  } else if (answer.question == Question::name) {
    take_name(answer, now_ns, changed);
  }
}

void ContainerTable::take_list(Answer& answer, std::uint64_t now_ns, Changed& changed) {
  ++list_number_;
  const bool whole = answer.containers.size() < kMaxContainers;
  for (ContainerFacts& facts : answer.containers) {
    const std::string id = facts.id;
    learn(std::move(facts), now_ns, changed);
    if (Container* container = held(id)) {
      container->source = answer.source;
      container->list_number = list_number_;
    }
  }
  if (whole) miss_from_list(answer.source, now_ns);
}

// What the list should have and has not, has ended; or it began while the list was made. What was
// only created is in no list, and may have been removed.
void ContainerTable::miss_from_list(std::size_t source, std::uint64_t now_ns) {
  for (auto& [id, container] : containers_) {
    if (container.lived && container.source != source) continue;
    if (container.list_number == list_number_) continue;
    if (container.state != ContainerState::known || container.facts.state == State::exited)
      continue;
    if (container.end == Container::End::none) begin_end(container, false, now_ns);
  }
}

void ContainerTable::learn(ContainerFacts facts, std::uint64_t now_ns, Changed& changed) {
  // An ended container that nobody knows here is nobody's business.
  Container* container = facts.state == State::exited ? held(facts.id) : keep(facts.id);
  if (container == nullptr) return;
  container->misses = container->failures = 0;
  const bool was_known =
      std::exchange(container->state, ContainerState::known) == ContainerState::known;
  ContainerFacts now_known = merged(container->facts, std::move(facts));
  if (!was_known || container->facts != now_known) {
    container->facts = std::move(now_known);
    changed.push_back(container->facts.id);
  }
  if (container->facts.state == State::exited) return report_learned(*container);
  if (container->facts.state != State::running) return;
  container->lived = true;
  if (container->end != Container::End::reported) return;
  // It runs although its end was counted: again, or this was said before the end.
  if (container->facts.started_ns > container->reported_ns) {
    container->end = Container::End::none;
    container->ended_ns = 0;
    container->out_of_memory = false;
  } else {
    ask_detail(*container, now_ns);
  }
}

void ContainerTable::take_name(const Answer& answer, std::uint64_t now_ns, Changed& changed) {
  const auto found = containers_.find(answer.id);
  if (found == containers_.end()) return;  // gone while it was asked for
  Container& container = found->second;
  if (container.state != ContainerState::asked) return;  // a list was quicker
  container.state = ContainerState::unknown;
  if (answer.outcome == Answer::Outcome::failed) {
    const int doublings = std::min(container.failures++, 10);
    container.retry_at_ns = now_ns + std::min(kFailedRetryNs << doublings, kFailedRetryMaxNs);
    return;
  }
  container.failures = 0;
  if (container.misses++ < kQuickRetries) {
    container.retry_at_ns = now_ns + kQuickRetryNs;
    return;
  }
  container.state = ContainerState::absent;
  container.retry_at_ns = now_ns + kNegativeNs;
  changed.push_back(answer.id);
}

const Container* ContainerTable::find(std::string_view id) const {
  const auto found = containers_.find(std::string(id));
  return found == containers_.end() ? nullptr : &found->second;
}

void ContainerTable::take_event(ContainerEvent& event, std::uint64_t now_ns, Changed& changed) {
  using Kind = ContainerEvent::Kind;
  Container* container = held(event.id);
  switch (event.kind) {
    case Kind::created:
    case Kind::started: container = keep(event.id); break;
    case Kind::ended: return take_end(event, now_ns);
    default: break;
  }
  if (event.kind == Kind::out_of_memory) {
    if (const auto left = leaving_.find(event.id); left != leaving_.end()) {
      left->second.out_of_memory = true;
    }
  }
  if (container == nullptr) return;
  switch (event.kind) {
    case Kind::out_of_memory: container->out_of_memory = true; return;
    case Kind::removed:
      if (container->lived) return begin_end(*container, true, now_ns);
      containers_.erase(event.id);
      return;
    case Kind::started: take_start(event); break;
    default: break;
  }
  if (event.facts) {
    event.facts->id = event.id;
    learn(std::move(*event.facts), now_ns, changed);
  } else if (container->state == ContainerState::known) {
    container->detail_retry_ns = 0;
    ask_detail(*container, now_ns);
  } else {
    container->retry_at_ns = 0;
    ask_name(*container, container->facts.runtime, now_ns);
  }
}

}  // namespace tarsier::enrich
