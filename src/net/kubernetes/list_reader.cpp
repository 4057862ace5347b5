// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/list_reader.h"

#include <fmt/format.h>

#include <utility>

namespace tarsier::net::kubernetes {
namespace {

std::string_view member_of(Resource resource) {
  return resource == Resource::nodes ? "rows" : "items";  // nodes come as a table
}

}  // namespace

ListReader::ListReader(Resource resource, TaskContext& context, ResourceState& state)
    : resource_(resource),
      context_(context),
      state_(state),
      splitter_(member_of(resource), [this](std::string_view text) { return on_item(text); }) {}

void ListReader::begin_page() {
  splitter_ =
      ListSplitter(member_of(resource_), [this](std::string_view text) { return on_item(text); });
  columns_ = NodeColumns();
  problem_.clear();
}

bool ListReader::feed(std::string_view bytes) {
  if (!std::exchange(begun_, true) &&
      !context_.push(Change{resource_, ChangeKind::begin_list, {}})) {
    return false;
  }
  return splitter_.feed(bytes);
}

Result<Object> ListReader::read(std::string_view text) {
  if (resource_ != Resource::nodes) {
    return read_object(resource_, text, context_.read_options, context_.read_counters);
  }
  if (splitter_.items() == 1) columns_ = read_node_columns(splitter_.envelope());
  if (!columns_) return std::unexpected(columns_.error());
  auto node = read_node_row(text, *columns_);
  if (!node) return std::unexpected(std::move(node.error()));
  return Object(std::move(*node));
}

bool ListReader::on_item(std::string_view text) {
  if (objects_ >= (resource_ == Resource::pods ? kMaxPods : kMaxObjects)) {
    ++state_.over_limit;
    return true;
  }
  auto object = read(text);
  if (object) {
    ++objects_;
    return context_.push(Change{resource_, ChangeKind::upsert, std::move(*object)});
  }
  if (object.error().code == ErrorCode::not_found) {
    ++state_.malformed;
    return true;
  }
  problem_ = fmt::format("item {}: {}", splitter_.items(), object.error().message);
  return false;
}

Result<ListHead> ListReader::finish_page() {
  state_.oversized += splitter_.oversized();
  if (!problem_.empty()) return fail(ErrorCode::invalid, problem_);
  if (auto whole = splitter_.finish(); !whole) return std::unexpected(std::move(whole.error()));
  return read_list_head(splitter_.envelope());
}

bool ListReader::finish() {
  state_.objects = objects_;
  ++state_.lists;
  return context_.push(Change{resource_, ChangeKind::end_list, {}});
}

}  // namespace tarsier::net::kubernetes
