// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/kubelet.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tarsier::net::kubernetes {

Kubelet::Kubelet(TaskContext& context) : Task(Resource::pods, context) {
  state_.name = "kubelet";
  state_.state = TaskState::off;
}

void Kubelet::set_active(bool active) {
  if (active == active_) return;
  active_ = active;
  state_.state = active ? TaskState::waiting : TaskState::off;
}

Request Kubelet::begin(std::int64_t now_ms) {
  const ClusterOptions& options = *context_.options;
  Request request;
  request.url = options.kubelet_url + "/pods";
  request.verify = options.credentials.verify && options.verify_kubelet;
  request.deadline_ms = request.stream_silence_ms = options.timing.silence_ms;
  list_ = std::make_unique<ListReader>(Resource::pods, context_, state_);
  list_->begin_page();
  asked_ms_ = now_ms;
  yielded_ = false;
  if (state_.last_error.empty()) state_.state = TaskState::listing;
  return request;
}

bool Kubelet::receive(std::string_view bytes) {
  return !yielded_ && list_->feed(bytes);
}

void Kubelet::finish(const Outcome& outcome, std::int64_t now_ms) {
  const auto list = std::move(list_);
  const int poll_ms = context_.options->timing.kubelet_poll_ms;
  due_ms_ = now_ms + poll_ms + context_.jitter(poll_ms / 10);
  if (std::exchange(poked_, false)) {
    due_ms_ = std::max(now_ms, asked_ms_ + context_.options->timing.poke_ms);
  }
  if (yielded_) return;
  if (refused_or_failed("ask the kubelet for its pods", outcome, now_ms)) return;
  if (auto head = list->finish_page(); !head) {
    return fail(fmt::format("ask the kubelet for its pods: {}", head.error().message), now_ms);
  }
  list->finish();
  settle();
  state_.state = TaskState::waiting;
  state_.last_error.clear();
  state_.retry_at_ms = 0;
}

void Kubelet::poke(std::int64_t now_ms) {
  // A kubelet that refuses or fails is not asked more often for it.
  if (!state_.last_error.empty()) return;
  if (list_ != nullptr) {  // the answer under way may have been made before the container
    poked_ = true;
    return;
  }
  due_ms_ = std::min(due_ms_, std::max(now_ms, asked_ms_ + context_.options->timing.poke_ms));
}

}  // namespace tarsier::net::kubernetes
