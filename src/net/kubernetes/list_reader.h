// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One whole list, page by page as it streams in: begin_list, upserts, end_list.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "net/kubernetes/splitters.h"
#include "net/kubernetes/task.h"

namespace tarsier::net::kubernetes {

class ListReader {
 public:
  // Pushes into the context and counts into the state, which outlive it.
  ListReader(Resource resource, TaskContext& context, ResourceState& state);
  ListReader(const ListReader&) = delete;
  ListReader& operator=(const ListReader&) = delete;

  // The next bytes belong to a new page.
  void begin_page();
  bool feed(std::string_view bytes);
  // The page ended. invalid: it was none, with the place; the list is not whole and never ends.
  [[nodiscard]] Result<ListHead> finish_page();
  // The last page ended: tells the consumer. false: the cluster stops.
  bool finish();

  // The consumer was told that a list begins.
  [[nodiscard]] bool begun() const { return begun_; }

 private:
  bool on_item(std::string_view text);
  Result<Object> read(std::string_view text);

  Resource resource_;
  TaskContext& context_;
  ResourceState& state_;
  ListSplitter splitter_;
  Result<NodeColumns> columns_;
  std::string problem_;
  std::uint64_t objects_ = 0;
  bool begun_ = false;
};

}  // namespace tarsier::net::kubernetes
