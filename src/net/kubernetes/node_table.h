// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The names of the other nodes by address: a table of all nodes, which the server renders itself
// and which is a hundredth of the nodes' objects. Listed now and then; optional.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "net/kubernetes/list_reader.h"
#include "net/kubernetes/task.h"

namespace tarsier::net::kubernetes {

class NodeTable : public Task {
 public:
  NodeTable(TaskContext& context, std::int64_t start_ms);
  [[nodiscard]] Request begin(std::int64_t now_ms) override;
  bool receive(std::string_view bytes) override { return list_->feed(bytes); }
  void finish(const Outcome& outcome, std::int64_t now_ms) override;

 private:
  std::unique_ptr<ListReader> list_;
  std::string continue_token_;
};

}  // namespace tarsier::net::kubernetes
