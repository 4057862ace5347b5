// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/object_reader.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "net/kubernetes/builders.h"

namespace tarsier::net::kubernetes {
namespace {

constexpr std::size_t kMaxVersion = 64;          // an opaque text; a decimal number in practice
constexpr std::size_t kMaxContinue = 8U << 10U;  // a token that goes into the next URL
constexpr std::size_t kMaxColumns = 256;

// An event around an object: {"type":"ADDED","object":{…}}.
class EventVisitor : public Visitor {
 public:
  explicit EventVisitor(Builder& object) : object_(object) {}
  Event event;

  void text(const Path& path, const std::string& value) override {
    if (path.is({"type"})) event.type = type_of(value);
    if (!inside(path)) return;
    if (path.is({"object", "metadata", "resourceVersion"}) && value.size() <= kMaxVersion) {
      event.version = value;
    }
    if (path.is({"object", "message"})) event.message = base::clean_utf8(value, kMaxText).text;
    object_.text(path.below(1), value);
  }
  void number(const Path& path, std::int64_t value) override {
    if (path.is({"object", "code"})) event.code = value;
    if (inside(path)) object_.number(path.below(1), value);
  }
  void boolean(const Path& path, bool value) override {
    if (inside(path)) object_.boolean(path.below(1), value);
  }
  void open(const Path& path) override {
    if (inside(path)) object_.open(path.below(1));
  }
  void close(const Path& path) override {
    if (inside(path)) object_.close(path.below(1));
  }

 private:
  static bool inside(const Path& path) { return path.size() > 0 && path[0] == "object"; }
  static EventType type_of(std::string_view name) {
    if (name == "ADDED") return EventType::added;
    if (name == "MODIFIED") return EventType::modified;
    if (name == "DELETED") return EventType::deleted;
    if (name == "BOOKMARK") return EventType::bookmark;
    return name == "ERROR" ? EventType::error : EventType::unknown;
  }
  Builder& object_;
};

class HeadVisitor : public Visitor {
 public:
  ListHead head;
  bool too_long = false;
  void text(const Path& path, const std::string& value) override {
    if (path.is({"metadata", "resourceVersion"})) take(head.version, value, kMaxVersion);
    if (path.is({"metadata", "continue"})) take(head.continue_token, value, kMaxContinue);
  }

 private:
  void take(std::string& into, const std::string& value, std::size_t limit) {
    too_long = too_long || value.size() > limit;
    if (value.size() <= limit) into = value;
  }
};

class ColumnVisitor : public Visitor {
 public:
  NodeColumns columns;
  void text(const Path& path, const std::string& value) override {
    if (!path.is({"columnDefinitions", "", "name"})) return;
    if (value == "Name") columns.name = index_;
    if (value == "Internal-IP") columns.internal_ip = index_;
    if (value == "External-IP") columns.external_ip = index_;
  }
  void close(const Path& path) override {
    if (path.is({"columnDefinitions", ""}) && index_ < kMaxColumns) ++index_;
  }

 private:
  std::size_t index_ = 0;
};

// The cells of a row hold texts, numbers and null; a cell that is a list or an object, which no
// column of nodes is, would shift those behind it, so such a row counts as malformed.
class RowVisitor : public Visitor {
 public:
  explicit RowVisitor(const NodeColumns& columns) : columns_(columns) {}
  Node node;
  bool odd = false;
  void text(const Path& path, const std::string& value) override {
    if (path.is({"cells", ""})) take(index_++, value);
    if (path.size() > 2 && path[0] == "cells") odd = true;
  }
  void number(const Path& path, std::int64_t) override { skip(path); }
  void boolean(const Path& path, bool) override { skip(path); }
  void other(const Path& path) override { skip(path); }
  void open(const Path& path) override {
    if (path.size() >= 2 && path[0] == "cells") odd = true;
  }

 private:
  void skip(const Path& path) {
    if (path.is({"cells", ""})) ++index_;
  }
  void take(std::size_t column, const std::string& value) {
    if (column == columns_.name) node.name = base::clean_utf8(value, kMaxText).text;
    if (!is_ip(value)) return;  // "<none>"
    if (column == columns_.internal_ip) node.internal_ips.push_back(value);
    if (column == columns_.external_ip) node.external_ips.push_back(value);
  }
  const NodeColumns& columns_;
  std::size_t index_ = 0;
};

class StatusVisitor : public Visitor {
 public:
  std::string message;
  void text(const Path& path, const std::string& value) override {
    if (path.is({"message"})) message = base::clean_utf8(value, kMaxText).text;
  }
};

std::unexpected<Error> nameless(Resource resource) {
  return fail(ErrorCode::not_found, fmt::format("an object of {} lacks its name, namespace or uid",
                                                resource_name(resource)));
}

// Digits at a place; -1 where something else stands there.
int digits(std::string_view text, std::size_t at, std::size_t count) {
  int value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

}  // namespace

std::string_view resource_name(Resource resource) {
  switch (resource) {
    case Resource::pods: return "pods";
    case Resource::own_node: return "node";
    case Resource::services: return "services";
    case Resource::endpoint_slices: return "endpointslices";
    case Resource::owners: return "owners";
    case Resource::nodes: return "nodes";
  }
  return "";
}

Result<Object> read_object(Resource resource, std::string_view json, const ReadOptions& options,
                           ReadCounters& counters) {
  const auto builder = make_builder(resource, options, counters);
  if (auto walked = walk_json(json, *builder); !walked) {
    return std::unexpected(std::move(walked.error()));
  }
  Object object = builder->take();
  if (std::holds_alternative<std::monostate>(object)) return nameless(resource);
  return object;
}

Result<Event> read_event(Resource resource, std::string_view json, const ReadOptions& options,
                         ReadCounters& counters) {
  const auto builder = make_builder(resource, options, counters);
  EventVisitor visitor(*builder);
  if (auto walked = walk_json(json, visitor); !walked) {
    return std::unexpected(std::move(walked.error()));
  }
  Event& event = visitor.event;
  if (event.type == EventType::added || event.type == EventType::modified ||
      event.type == EventType::deleted) {
    event.object = builder->take();
    if (std::holds_alternative<std::monostate>(event.object)) return nameless(resource);
  }
  return std::move(event);
}

Result<ListHead> read_list_head(std::string_view envelope) {
  HeadVisitor visitor;
  if (auto walked = walk_json(envelope, visitor); !walked) {
    return std::unexpected(std::move(walked.error()));
  }
  if (visitor.too_long) {
    return fail(ErrorCode::invalid, "its resourceVersion or continue token is too long");
  }
  return std::move(visitor.head);
}

Result<NodeColumns> read_node_columns(std::string_view envelope) {
  ColumnVisitor visitor;
  if (auto walked = walk_json(envelope, visitor); !walked) {
    return std::unexpected(std::move(walked.error()));
  }
  if (!visitor.columns.name || !visitor.columns.internal_ip) {
    return fail(ErrorCode::invalid, "the table has no columns Name and Internal-IP");
  }
  return visitor.columns;
}

Result<Node> read_node_row(std::string_view json, const NodeColumns& columns) {
  RowVisitor visitor(columns);
  if (auto walked = walk_json(json, visitor); !walked) {
    return std::unexpected(std::move(walked.error()));
  }
  if (visitor.odd || visitor.node.name.empty()) {
    return fail(ErrorCode::not_found, "a row of the table names no node");
  }
  return std::move(visitor.node);
}

std::string read_status_message(std::string_view json) {
  StatusVisitor visitor;
  return walk_json(json, visitor) ? std::move(visitor.message) : std::string();
}

std::int64_t parse_time(std::string_view text) {
  const int year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const int hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (year < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
    return 0;
  }
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (month < 0 || day < 0 || !date.ok() || text[4] != '-' || text[7] != '-' ||
      (text[10] != 'T' && text[10] != 't') || text[13] != ':' || text[16] != ':') {
    return 0;
  }
  std::size_t at = 19;
  if (at < text.size() && text[at] == '.') {
    for (++at; digits(text, at, 1) >= 0;) ++at;
  }
  std::int64_t offset_s = 0;
  const std::string_view zone = text.substr(at);
  if (zone.size() == 6 && (zone[0] == '+' || zone[0] == '-') && zone[3] == ':' &&
      digits(zone, 1, 2) >= 0 && digits(zone, 4, 2) >= 0) {
    offset_s = (zone[0] == '+' ? 1 : -1) * (digits(zone, 1, 2) * 3600 + digits(zone, 4, 2) * 60);
  } else if (zone != "Z" && zone != "z") {
    return 0;
  }
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86400 + hour * 3600 + minute * 60 + second - offset_s;
}

}  // namespace tarsier::net::kubernetes
