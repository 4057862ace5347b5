// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/containers.h"

#include <algorithm>
#include <utility>

namespace tarsier::enrich {

Container* ContainerTable::keep(std::string_view id) {
  const auto found = containers_.find(std::string(id));
  if (found != containers_.end()) return &found->second;
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
  const bool open =
      container->state == ContainerState::unknown || container->state == ContainerState::absent;
  if (!open || now_ns < container->retry_at_ns) return container;
  if (container->facts.runtime == Runtime::unknown) container->facts.runtime = runtime;
  if (resolver_.ask(std::string(id), runtime)) {
    container->state = ContainerState::asked;
  } else {
    container->retry_at_ns = now_ns + kQuickRetryNs;
  }
  return container;
}

std::vector<std::string> ContainerTable::poll(std::uint64_t now_ns) {
  std::vector<std::string> changed;
  answers_.clear();
  resolver_.drain(answers_);
  for (Answer& answer : answers_) {
    if (answer.outcome == Answer::Outcome::known && !answer.containers.empty()) {
      answer.containers.front().id = answer.id;  // a runtime may answer to other names, too
    }
    for (ContainerFacts& facts : answer.containers) learn(std::move(facts), changed);
    take(answer, now_ns, changed);
  }
  return changed;
}

void ContainerTable::learn(ContainerFacts facts, std::vector<std::string>& changed) {
  Container* container = keep(facts.id);
  if (container == nullptr) return;
  container->misses = container->failures = 0;
  if (facts.runtime == Runtime::unknown) facts.runtime = container->facts.runtime;
  const bool was_known =
      std::exchange(container->state, ContainerState::known) == ContainerState::known;
  if (was_known && container->facts == facts) return;
  container->facts = std::move(facts);
  changed.push_back(container->facts.id);
}

void ContainerTable::take(const Answer& answer, std::uint64_t now_ns,
                          std::vector<std::string>& changed) {
  if (answer.outcome != Answer::Outcome::absent && answer.outcome != Answer::Outcome::failed)
    return;
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

void ContainerTable::forget(std::string_view id) {
  containers_.erase(std::string(id));
}

}  // namespace tarsier::enrich
