// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/reflector.h"

#include <fmt/format.h>

#include <utility>

namespace tarsier::net::kubernetes {
namespace {

constexpr int kGone = 410;
constexpr int kGatewayTimeout = 504;  // also "Too large resource version": the server is behind us

}  // namespace

Reflector::Reflector(Resource resource, TaskContext& context, std::string path,
                     std::string selector, std::int64_t start_ms)
    : Task(resource, context),
      resource_(resource),
      path_(std::move(path)),
      selector_(std::move(selector)),
      version_("0") {
  due_ms_ = start_ms;
}

// Version 0 is "whatever your cache has": the server answers from memory, by its index of pods per
// node, and does not ask etcd. Later lists must not be older than what we have seen; a limit would
// send these to etcd, so only a list of what etcd has now comes in pages.
std::string Reflector::list_query() const {
  const std::string joined = selector_.empty() ? "" : "&" + selector_;
  const std::string limit = fmt::format("limit={}", context_.options->timing.page_limit);
  if (!continue_token_.empty()) {
    return fmt::format("{}&continue={}{}", limit, percent_encode(continue_token_), joined);
  }
  if (version_.empty()) return limit + joined;
  if (version_ == "0") return fmt::format("{}&resourceVersion=0{}", limit, joined);
  return fmt::format("resourceVersion={}&resourceVersionMatch=NotOlderThan{}",
                     percent_encode(version_), joined);
}

Request Reflector::begin(std::int64_t) {
  const ClusterOptions& options = *context_.options;
  const ClusterTiming& timing = options.timing;
  Request request;
  if (std::exchange(stale_, false)) watching_ = false;
  asked_watch_ = watching_;
  if (watching_) {
    const int span_ms = (timing.watch_max_s - timing.watch_min_s) * 1000;
    const int seconds = timing.watch_min_s + static_cast<int>(context_.jitter(span_ms) / 1000);
    request.url = fmt::format(
        "{}{}?watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}{}{}",
        options.credentials.server, path_, percent_encode(version_), seconds,
        selector_.empty() ? "" : "&", selector_);
    request.deadline_ms = seconds * 1000 + timing.watch_grace_ms;
    request.stream_silence_ms = request.deadline_ms;
    watch_ =
        std::make_unique<LineSplitter>([this](std::string_view line) { return on_event(line); });
    watch_problem_.clear();
    watch_events_ = 0;
    gone_ = false;
    ++state_.watches;
    return request;
  }
  request.url = fmt::format("{}{}?{}", options.credentials.server, path_, list_query());
  request.compressed = true;
  request.deadline_ms = timing.list_deadline_ms;
  request.stream_silence_ms = timing.silence_ms;
  if (continue_token_.empty()) {
    list_ = std::make_unique<ListReader>(resource_, context_, state_);
  }
  list_->begin_page();
  if (state_.last_error.empty()) state_.state = TaskState::listing;
  return request;
}

bool Reflector::receive(std::string_view bytes) {
  if (!asked_watch_) return list_->feed(bytes);
  if (stale_) return false;
  well();
  return watch_->feed(bytes);
}

void Reflector::finish(const Outcome& outcome, std::int64_t now_ms) {
  if (asked_watch_) {
    state_.oversized += watch_->oversized();
    finish_watch(outcome, now_ms);
    watch_.reset();
  } else {
    finish_list(outcome, now_ms);
  }
}

void Reflector::well() {
  healthy_ = true;
  state_.state = TaskState::watching;
  state_.last_error.clear();
  state_.retry_at_ms = 0;
}

void Reflector::expired(std::int64_t now_ms) {
  ++state_.expired;
  continue_token_.clear();
  list_.reset();
  watching_ = false;
  // A first time is daily business. All nodes may be told at once, so the lists are spread out.
  const std::int64_t spread = context_.jitter(context_.options->timing.jitter_ms);
  if (expired_in_row_++ > 0) {
    version_.clear();
    fail(fmt::format("{}: the server forgot our version again and again", path_), now_ms, spread);
  } else {
    due_ms_ = now_ms + spread;
  }
}

void Reflector::finish_list(const Outcome& outcome, std::int64_t now_ms) {
  const bool too_new = outcome.status == kGatewayTimeout && !version_.empty();
  if (outcome.status == kGone || too_new) {
    version_.clear();  // what etcd has now
    return expired(now_ms);
  }
  const std::string what = fmt::format("list {}", path_);
  if (refused_or_failed(what, outcome, now_ms)) {
    healthy_ = false;
  } else if (auto head = list_->finish_page()) {
    return finish_page(*head, now_ms);
  } else {
    healthy_ = false;
    fail(fmt::format("{}: {}", what, head.error().message), now_ms);
  }
  // A list that broke off begins anew: its pages belong together.
  continue_token_.clear();
  list_.reset();
}

void Reflector::finish_page(const ListHead& head, std::int64_t now_ms) {
  due_ms_ = now_ms;
  continue_token_ = head.continue_token;
  if (!continue_token_.empty()) return;
  const auto list = std::move(list_);
  if (head.version.empty()) {  // no answer of an API server, so it takes nothing away
    healthy_ = false;
    return fail(fmt::format("list {}: it has no resourceVersion", path_), now_ms);
  }
  version_ = head.version;
  list->finish();
  watching_ = true;
  expired_in_row_ = 0;
  settle();
  well();
}

void Reflector::finish_watch(const Outcome& outcome, std::int64_t now_ms) {
  if (outcome.status == kGone || gone_) return expired(now_ms);
  due_ms_ = now_ms;
  if (stale_) return;
  const std::string what = fmt::format("watch {}", path_);
  if (!watch_problem_.empty()) {
    healthy_ = false;
    watching_ = false;  // something may have been missed
    return fail(fmt::format("{}: {}", what, watch_problem_), now_ms);
  }
  if (refused_or_failed(what, outcome, now_ms)) {
    healthy_ = false;
    // Where the connection broke the version still holds; an answer of its own kind says otherwise.
    watching_ = outcome.status == 0 || outcome.status == 200 || outcome.status == 401 ||
                outcome.status == 429 || outcome.status >= 500;
    return;
  }
  if (outcome.duration_ms < context_.options->timing.short_watch_ms && watch_events_ == 0) {
    return fail(fmt::format("{}: it ended at once", what), now_ms);
  }
  // Else its time was over, and it goes on at version_ at once.
}

bool Reflector::on_event(std::string_view line) {
  auto event = read_event(resource_, line, context_.read_options, context_.read_counters);
  if (!event) {
    if (event.error().code == ErrorCode::not_found) {
      ++state_.malformed;
      return true;
    }
    watch_problem_ = fmt::format("event {}: {}", watch_events_ + 1, event.error().message);
    return false;
  }
  ++watch_events_;
  if (event->type == EventType::error) {
    gone_ = event->code == kGone;
    if (!gone_) watch_problem_ = fmt::format("the server sent an error: {}", event->message);
    return false;
  }
  const bool more = hand_out(*event);
  // Only now: what was not handed out must come again.
  if (more && !event->version.empty()) version_ = std::move(event->version);
  return more;
}

bool Reflector::hand_out(Event& event) {
  if (event.type == EventType::bookmark || event.type == EventType::unknown) return true;
  ++state_.events;
  ChangeKind kind = ChangeKind::upsert;
  if (event.type == EventType::deleted) {
    kind = ChangeKind::remove;
    if (state_.objects > 0) --state_.objects;
  } else if (event.type == EventType::added) {
    if (state_.objects >= (resource_ == Resource::pods ? kMaxPods : kMaxObjects)) {
      ++state_.over_limit;
      return true;
    }
    ++state_.objects;
  }
  return context_.push(Change{resource_, kind, std::move(event.object)});
}

}  // namespace tarsier::net::kubernetes
