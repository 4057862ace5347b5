// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/task.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tarsier::net::kubernetes {
namespace {

constexpr std::int64_t kMaxRetryAfterS = 300;  // a server may ask for patience, not for eternity
constexpr int kMaxDoublings = 16;

}  // namespace

std::string_view task_state_name(TaskState state) {
  switch (state) {
    case TaskState::off: return "off";
    case TaskState::waiting: return "waiting";
    case TaskState::listing: return "listing";
    case TaskState::watching: return "watching";
    case TaskState::refused: return "refused";
    case TaskState::failing: return "failing";
  }
  return "";
}

Task::Task(Resource resource, TaskContext& context) : context_(context) {
  state_.name = resource_name(resource);
  state_.state = TaskState::waiting;
}

void Task::fail(std::string problem, std::int64_t now_ms, std::int64_t at_least_ms) {
  const ClusterTiming& timing = context_.options->timing;
  if (now_ms - last_failure_ms_ > timing.backoff_reset_ms) failures_in_row_ = 0;
  last_failure_ms_ = now_ms;
  std::int64_t delay = timing.backoff_min_ms;
  for (int i = 0; i < failures_in_row_ && delay < timing.backoff_max_ms; ++i) delay *= 2;
  delay = std::min<std::int64_t>(delay, timing.backoff_max_ms);
  failures_in_row_ = std::min(failures_in_row_ + 1, kMaxDoublings);
  due_ms_ = now_ms + std::max(at_least_ms, delay + context_.jitter(delay));
  state_.state = TaskState::failing;
  state_.last_error = std::move(problem);
  state_.retry_at_ms = due_ms_;
  ++state_.failures;
  settle();
}

void Task::refuse(std::string problem, std::int64_t now_ms, int delay_ms) {
  const std::int64_t delay = delay_ms;
  fail(std::move(problem), now_ms, delay + context_.jitter(delay / 10));
  state_.state = TaskState::refused;
}

void Task::fail_before(const std::string& problem, std::int64_t now_ms) {
  fail(problem, now_ms);
}

bool Task::refused_or_failed(const std::string& what, const Outcome& outcome, std::int64_t now_ms) {
  if (outcome.status == 200 && outcome.problem.empty()) return false;
  if (outcome.status == 200 || outcome.status == 0 || !outcome.problem.empty()) {
    fail(fmt::format("{}: {}", what, outcome.problem), now_ms);
    return true;
  }
  std::string problem = fmt::format("{}: the server answered {}{}{}", what, outcome.status,
                                    outcome.refusal.empty() ? "" : ": ", outcome.refusal);
  const ClusterTiming& timing = context_.options->timing;
  switch (outcome.status) {
    case 401:
      refuse(problem + "; the token or client certificate is not accepted", now_ms,
             timing.token_retry_ms);
      break;
    case 403:
      refuse(problem + "; see docs/kubernetes.md for the rights it takes", now_ms,
             timing.refused_retry_ms);
      break;
    case 404:
    case 405:
    case 406: refuse(std::move(problem), now_ms, timing.refused_retry_ms); break;
    default:
      fail(std::move(problem), now_ms, std::min(outcome.retry_after_s, kMaxRetryAfterS) * 1000);
  }
  return true;
}

}  // namespace tarsier::net::kubernetes
