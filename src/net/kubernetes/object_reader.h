// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Reads the JSON of API objects into the trimmed structs of objects.h. Pure functions over any
// bytes. What is not JSON or no object is ErrorCode::invalid with the place; an object without its
// name, namespace or uid is ErrorCode::not_found. Unknown members (managedFields and thousands
// more) are skipped without being kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/kubernetes/objects.h"
#include "tarsier/result.h"

namespace tarsier::net::kubernetes {

struct ReadOptions {
  std::vector<std::string> annotations;  // names of those that are kept of pods
};

struct ReadCounters {
  std::uint64_t cut = 0;  // texts cut and list entries left out because of a limit of objects.h
};

// One element of a list, which does not say its kind. Resource::owners: the metadata of the owner
// of a pod, whose uid and controller become Owner::uid and Owner::workload_*.
[[nodiscard]] Result<Object> read_object(Resource resource, std::string_view json,
                                         const ReadOptions& options, ReadCounters& counters);

enum class EventType : std::uint8_t { added, modified, deleted, bookmark, error, unknown };

// One line of a watch.
struct Event {
  EventType type = EventType::unknown;
  std::string version;    // from where a watch can go on after this event
  Object object;          // of added, modified, deleted
  std::int64_t code = 0;  // of error: as an HTTP status
  std::string message;
};
[[nodiscard]] Result<Event> read_event(Resource resource, std::string_view json,
                                       const ReadOptions& options, ReadCounters& counters);

// What stands around the items of a list.
struct ListHead {
  std::string version;         // metadata.resourceVersion
  std::string continue_token;  // empty: the list is whole
};
[[nodiscard]] Result<ListHead> read_list_head(std::string_view envelope);

// Where in the rows of a table of nodes the columns stand; nullopt: the table has no such column.
struct NodeColumns {
  std::optional<std::size_t> name, internal_ip, external_ip;
};
[[nodiscard]] Result<NodeColumns> read_node_columns(std::string_view envelope);
[[nodiscard]] Result<Node> read_node_row(std::string_view json, const NodeColumns& columns);

// The sentence of a Status object; empty where it is none.
[[nodiscard]] std::string read_status_message(std::string_view json);

// "2026-07-03T17:02:11Z" (RFC 3339, any offset, fractions are dropped); 0: not a time.
[[nodiscard]] std::int64_t parse_time(std::string_view text);

}  // namespace tarsier::net::kubernetes
