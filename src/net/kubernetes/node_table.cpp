// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/node_table.h"

#include <fmt/format.h>

namespace tarsier::net::kubernetes {
namespace {

constexpr std::string_view kTable = "application/json;as=Table;g=meta.k8s.io;v=v1";

}  // namespace

NodeTable::NodeTable(TaskContext& context, std::int64_t start_ms) : Task(Resource::nodes, context) {
  due_ms_ = start_ms;
}

Request NodeTable::begin(std::int64_t) {
  const ClusterOptions& options = *context_.options;
  Request request;
  // Version 0: from the server's memory, however old.
  request.url = fmt::format("{}/api/v1/nodes?includeObject=None&limit={}{}{}",
                            options.credentials.server, options.timing.page_limit,
                            continue_token_.empty() ? "&resourceVersion=0" : "&continue=",
                            percent_encode(continue_token_));
  request.accept = kTable;
  request.compressed = true;
  request.deadline_ms = options.timing.list_deadline_ms;
  request.stream_silence_ms = options.timing.silence_ms;
  if (continue_token_.empty()) {
    list_ = std::make_unique<ListReader>(Resource::nodes, context_, state_);
  }
  list_->begin_page();
  if (state_.last_error.empty()) state_.state = TaskState::listing;
  return request;
}

void NodeTable::finish(const Outcome& outcome, std::int64_t now_ms) {
  continue_token_.clear();
  if (refused_or_failed("list the nodes as a table", outcome, now_ms)) return;
  auto head = list_->finish_page();
  if (!head)
    return fail(fmt::format("list the nodes as a table: {}", head.error().message), now_ms);
  continue_token_ = std::move(head->continue_token);
  due_ms_ = now_ms;
  if (!continue_token_.empty()) return;
  list_->finish();
  list_.reset();
  settle();
  state_.state = TaskState::waiting;
  state_.last_error.clear();
  state_.retry_at_ms = 0;
  const int every_ms = context_.options->timing.nodes_every_ms;
  due_ms_ = now_ms + every_ms + context_.jitter(every_ms / 10);
}

}  // namespace tarsier::net::kubernetes
