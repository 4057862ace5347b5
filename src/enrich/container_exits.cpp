// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// How containers end. The end is seen by an event of the runtime, by the cgroup that goes, or by a
// list that lacks the container; each of them only begins one question about the exit, and its
// answer (or that there is none) is counted once.
#include <algorithm>
#include <limits>
#include <utility>

#include "enrich/containers.h"

namespace tarsier::enrich {
namespace {

using End = Container::End;
using State = ContainerFacts::State;

constexpr std::uint64_t kNotNow = std::numeric_limits<std::uint64_t>::max();  // it is being asked
constexpr std::uint64_t kEndsPeriodNs = 50'000'000;

}  // namespace

void ContainerTable::take_start(const ContainerEvent& event) {
  counted_.erase(event.id);
  Container& container = containers_.at(event.id);
  container.lived = true;
  if (container.end == End::asked) {
    container.restarted = true;
  } else if (container.end == End::reported &&
             (event.time_ns == 0 || event.time_ns > container.reported_ns)) {
    container.end = End::none;
    container.ended_ns = 0;
    container.out_of_memory = false;
  }
}

void ContainerTable::take_end(const ContainerEvent& event, std::uint64_t now_ns) {
  const auto left = leaving_.find(event.id);
  if (left != leaving_.end()) {
    left->second.told_code = event.exit_code;
    left->second.told_ns = event.time_ns;
    return;
  }
  Container* container = held(event.id);
  if (container == nullptr && counted_.contains(event.id)) return;
  if (container == nullptr) container = keep(event.id);
  if (container == nullptr || container->end == End::reported) return;
  container->lived = true;
  container->told_code = event.exit_code;
  container->told_ns = event.time_ns;
  if (event.facts && event.facts->state == State::exited) {
    Changed ignored;
    ContainerFacts facts = *event.facts;
    facts.id = event.id;
    learn(std::move(facts), now_ns, ignored);
  }
  begin_end(*container, true, now_ns);
}

void ContainerTable::ended(std::string_view id, std::uint64_t now_ns) {
  if (Container* container = held(id)) begin_end(*container, true, now_ns);
}

void ContainerTable::begin_end(Container& container, bool certain, std::uint64_t now_ns) {
  if (container.end == End::reported) return;
  container.certain = container.certain || certain;
  if (container.end == End::asked) return;
  container.end = End::asked;
  container.ended_ns = now_ns;
  container.exit_tries = 0;
  container.restarted = false;
  ending_.insert(container.facts.id);
  ask_exit(container, now_ns);
}

void ContainerTable::ask_exit(Container& container, std::uint64_t now_ns) {
  // Nobody knew it while it ran.
  if (container.state == ContainerState::absent) return report_told(container);
  const bool asked = resolver_.ask(container.facts.id, container.facts.runtime, Question::exit);
  container.exit_retry_ns = asked ? kNotNow : now_ns + kQuickRetryNs;
}

void ContainerTable::take_exit(Answer& answer, std::uint64_t now_ns, Changed& changed) {
  const auto left = leaving_.find(answer.id);
  Container* container = left != leaving_.end() ? &left->second : held(answer.id);
  if (container == nullptr) return;
  const std::int64_t before = container->facts.started_ns;
  const bool other_run =
      before > 0 && !answer.containers.empty() && answer.containers.front().started_ns > before;
  const bool asked = container->end == End::asked;
  // Of another run only the table learns, below, once the end of this one is reported.
  if (asked) settle_end(*container, answer, other_run, now_ns);
  if (left == leaving_.end()) {
    for (ContainerFacts& facts : answer.containers) learn(std::move(facts), now_ns, changed);
    return;
  }
  if (left->second.end == End::asked) return;
  if (left->second.end == End::reported) {
    Container* again = held(answer.id);
    if (again == nullptr) {
      remember_counted(answer.id);
    } else if (again->facts.started_ns <= left->second.reported_ns) {
      again->end = End::reported;  // the same run under its second entry
      again->reported_ns = left->second.reported_ns;
    }
  }
  leaving_.erase(left);
}

void ContainerTable::settle_end(Container& container, const Answer& answer, bool other_run,
                                std::uint64_t now_ns) {
  container.exit_retry_ns = now_ns + kQuickRetryNs;
  switch (answer.outcome) {
    case Answer::Outcome::known: {
      const ContainerFacts& said = answer.containers.front();
      if (said.state != State::exited) {
        return still_runs(container, other_run || container.restarted, now_ns);
      }
      if (other_run) report_told(container);  // it has ended twice meanwhile
      container.facts.started_ns = std::max(container.facts.started_ns, said.started_ns);
      if (said.is_sandbox()) container.facts.sandbox_id = said.sandbox_id;
      if (container.facts.name.empty()) {
        container.facts = said;  // too short-lived to have been known before
        container.state = ContainerState::known;
      }
      return said.exit ? report(container, said.exit) : report_told(container);
    }
    case Answer::Outcome::failed:
      if (now_ns - container.ended_ns >= kExitWaitNs) return report_told(container);
      container.exit_retry_ns =
          now_ns +
          std::min(kFailedRetryNs << std::min(container.exit_tries++, 10), kFailedRetryMaxNs);
      return;
    default: return report_told(container);
  }
}

void ContainerTable::still_runs(Container& container, bool other_run, std::uint64_t now_ns) {
  const bool sure = container.certain || container.told_code.has_value();
  // The runtime may not have written it down yet.
  if (!other_run && sure && ++container.exit_tries < kExitTries) return;
  if (other_run || container.told_code) report_told(container);
  // It goes on.
  container.end = End::none;
  container.certain = container.restarted = container.out_of_memory = false;
  container.told_code.reset();
  container.ended_ns = 0;
  container.exit_retry_ns = now_ns;
}

// What the runtime says when it was not asked about the exit.
void ContainerTable::report_learned(Container& container) {
  const ContainerFacts& facts = container.facts;
  if (container.end == End::reported && facts.started_ns <= container.reported_ns) return;
  if (container.lived) report(container, facts.exit);
}

// By what an event told; else nobody knows.
void ContainerTable::report_told(Container& container) {
  if (!container.told_code) return report(container, std::nullopt);
  ExitFacts exit;
  exit.code = *container.told_code;
  exit.reason = container.out_of_memory ? "OOMKilled" : exit.code == 0 ? "Completed" : "Error";
  exit.finished_ns = container.told_ns;
  report(container, exit);
}

void ContainerTable::report(Container& container, const std::optional<ExitFacts>& exit) {
  container.end = End::reported;
  container.reported_ns = std::max({container.reported_ns, container.facts.started_ns,
                                    container.told_ns, exit ? exit->finished_ns : 0});
  container.told_code.reset();
  container.certain = container.restarted = false;
  if (!container.lived || container.facts.is_sandbox()) return;
  ++stats_.exits;
  if (exits_.size() >= kMaxExits) {
    ++stats_.exits_lost;
    return;
  }
  ContainerExit reported;
  reported.facts = container.facts;
  reported.reason = "unknown";
  if (exit) {
    reported.code = exit->code;
    reported.reason = exit->reason;
    reported.finished_ns = exit->finished_ns;
  }
  exits_.push_back(std::move(reported));
}

std::vector<ContainerExit> ContainerTable::take_exits() {
  return std::exchange(exits_, {});
}

void ContainerTable::forget(std::string_view id, std::uint64_t now_ns) {
  const auto found = containers_.find(std::string(id));
  if (found == containers_.end()) return;
  Container& container = found->second;
  if (container.lived) begin_end(container, true, now_ns);
  if (container.end == End::asked) {
    if (leaving_.size() < kMaxLeaving) {
      leaving_.insert_or_assign(found->first, container);
    } else {
      ++stats_.exits_lost;
    }
  } else if (container.end == End::reported) {
    remember_counted(found->first);
  }
  ending_.erase(found->first);
  containers_.erase(found);
}

void ContainerTable::remember_counted(const std::string& id) {
  if (!counted_.insert(id).second) return;
  counted_order_.push_back(id);
  if (counted_order_.size() <= kMaxCounted) return;
  counted_.erase(counted_order_.front());
  counted_order_.pop_front();
}

void ContainerTable::run_ends(std::uint64_t now_ns) {
  if (now_ns < next_ends_ns_) return;
  next_ends_ns_ = now_ns + kEndsPeriodNs;
  std::erase_if(ending_, [&](const std::string& id) {
    Container* container = held(id);
    if (container == nullptr || container->end == End::none) return true;
    if (container->end == End::asked) {
      if (now_ns >= container->exit_retry_ns) ask_exit(*container, now_ns);
      return false;
    }
    if (container->seen_here) return true;  // its cgroup's end will be told
    if (now_ns - container->ended_ns < kEndedKeepNs) return false;
    remember_counted(id);
    containers_.erase(id);
    return true;
  });
  for (auto& [id, container] : leaving_) {
    if (now_ns >= container.exit_retry_ns) ask_exit(container, now_ns);
  }
  std::erase_if(leaving_, [](const auto& one) { return one.second.end == End::reported; });
}

}  // namespace tarsier::enrich
