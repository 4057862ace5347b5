// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Any bytes as what an API server streams: no crash, bounded objects, and the same cuts wherever
// the network cuts. The first byte chooses the resource, the second the size of the pieces.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "net/kubernetes/object_reader.h"
#include "net/kubernetes/splitters.h"

namespace {

using namespace tarsier::net::kubernetes;

template <class Splitter>
void feed(Splitter& splitter, std::string_view text, std::size_t piece) {
  for (std::size_t at = 0; at < text.size(); at += piece) {
    if (!splitter.feed(text.substr(at, piece))) return;
  }
}

std::vector<std::string> items_of(std::string_view text, std::size_t piece) {
  std::vector<std::string> items;
  ListSplitter splitter("items", [&](std::string_view item) {
    items.emplace_back(item);
    return true;
  });
  feed(splitter, text, piece);
  (void)splitter.finish();
  (void)read_list_head(splitter.envelope());
  (void)read_node_columns(splitter.envelope());
  return items;
}

void check(const Object& object) {
  const auto* pod = std::get_if<Pod>(&object);
  if (pod == nullptr) return;
  if (pod->uid.empty() || pod->uid.size() > kMaxText || pod->labels.size() > kMaxLabels ||
      pod->containers.size() > kMaxContainers || pod->ips.size() > kMaxAddresses) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto resource = static_cast<Resource>(data[0] % kResources);
  const std::size_t piece = 1U + data[1];
  const std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
  const ReadOptions options{{"team"}};
  ReadCounters counters;
  const auto items = items_of(text, piece);
  if (items != items_of(text, text.size() + 1)) std::abort();
  for (const std::string& item : items) {
    if (const auto object = read_object(resource, item, options, counters)) check(*object);
  }
  if (const auto object = read_object(resource, text, options, counters)) check(*object);
  LineSplitter lines([&](std::string_view line) {
    if (const auto event = read_event(resource, line, options, counters)) check(event->object);
    return true;
  });
  feed(lines, text, piece);
  NodeColumns columns;
  columns.name = 0, columns.internal_ip = 1;
  (void)read_node_row(text, columns);
  (void)read_status_message(text);
  (void)parse_time(text);
  return 0;
}
