// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "metrics/store.h"

#include <algorithm>
#include <cstring>

#include "metrics/hash.h"
#include "metrics/labels.h"

namespace tarsier::metrics::detail {
namespace {

// Whether `text` holds `value`, escaped, at its front; takes it off.
bool take_escaped(std::string_view& text, std::string_view value) {
  for (const char c : value) {
    const bool escaped = c == '\\' || c == '"' || c == '\n';
    if (escaped) {
      if (text.size() < 2 || text[0] != '\\') return false;
      text.remove_prefix(1);
    }
    if (text.empty() || text[0] != (c == '\n' ? 'n' : c)) return false;
    text.remove_prefix(1);
  }
  return true;
}

}  // namespace

std::uint64_t name_bit(std::string_view name) {
  return std::uint64_t{1} << (hash_bytes(kHash1, name) & 63);
}

std::uint64_t index_hash(std::uint32_t values_hash, EntityId entity) {
  return mix(values_hash ^ kHash2, static_cast<std::uint64_t>(entity) + kHash1);
}

void NodeDeleter::operator()(Node* node) const {
  node->~Node();  // the atomics behind it need no destructor
  ::operator delete(node);
}

void link_node(Node& node, Entity& entity) {
  node.previous = nullptr;
  node.next = entity.first;
  if (node.next != nullptr) node.next->previous = &node;
  entity.first = &node;
}

void unlink_node(Node& node, Entity& entity) {
  (node.previous == nullptr ? entity.first : node.previous->next) = node.next;
  if (node.next != nullptr) node.next->previous = node.previous;
}

NodePtr make_node(std::size_t counts, std::string_view text,
                  std::span<const std::uint8_t> lengths) {
  using Count = std::atomic<std::uint64_t>;
  // Up to 7 bytes are padding in front of the counts.
  const std::size_t size = sizeof(Node) + text.size() + lengths.size() +
                           (counts == 0 ? 0 : counts * sizeof(Count) + sizeof(Count) - 1);
  NodePtr node(new (::operator new(size)) Node);
  node->counts_size = static_cast<std::uint8_t>(counts);
  node->labels_size = static_cast<std::uint8_t>(lengths.size() & 0x7F);
  node->text_size = static_cast<std::uint16_t>(text.size());
  node->plain = text.find('\\') == std::string_view::npos;
  auto* behind = reinterpret_cast<char*>(node.get() + 1);
  std::ranges::copy(text, behind);
  std::ranges::copy(lengths, reinterpret_cast<std::uint8_t*>(behind + text.size()));
  for (std::size_t i = 0; i < counts; ++i) new (node->counts() + i) Count(0);
  return node;
}

std::uint32_t Slots::put(Node& node) {
  if (!free_.empty()) {
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    locate(slot).store(&node, std::memory_order_seq_cst);
    return slot;
  }
  const std::size_t slot = size_.load(std::memory_order_relaxed);
  const std::size_t shifted = slot + kFirst;
  if (std::has_single_bit(shifted / kFirst) && shifted % kFirst == 0 &&
      std::has_single_bit(shifted)) {
    const auto chunk = static_cast<std::size_t>(std::bit_width(shifted / kFirst)) - 1;
    owners_[chunk] = std::make_unique<Slot[]>(kFirst << chunk);
    chunks_[chunk].store(owners_[chunk].get(), std::memory_order_release);
  }
  locate(slot).store(&node, std::memory_order_seq_cst);
  size_.store(slot + 1, std::memory_order_release);
  return static_cast<std::uint32_t>(slot);
}

void Slots::clear(std::uint32_t slot) {
  locate(slot).store(nullptr, std::memory_order_seq_cst);
  free_.push_back(slot);
}

void Index::place(const Entry& entry) {
  std::size_t i = entry.hash & mask();
  while (entries_[i].slot != kEmpty) i = (i + 1) & mask();
  entries_[i] = entry;
}

void Index::insert(std::uint64_t hash, const Node& node) {
  if (8 * (used_ + 1) > 7 * entries_.size()) {
    std::vector<Entry> old(std::max<std::size_t>(16, 2 * entries_.size()));
    old.swap(entries_);
    for (const Entry& entry : old) {
      if (entry.slot != kEmpty) place(entry);
    }
  }
  place({static_cast<std::uint32_t>(hash), node.slot});
  ++used_;
}

void Index::erase(std::uint64_t hash, const Node& node) {
  std::size_t hole = static_cast<std::uint32_t>(hash) & mask();
  while (entries_[hole].slot != node.slot) hole = (hole + 1) & mask();
  // Pull back what may stand in the hole, so that no search ends too early.
  for (std::size_t i = (hole + 1) & mask(); entries_[i].slot != kEmpty; i = (i + 1) & mask()) {
    const std::size_t home = entries_[i].hash & mask();
    if (((i - home) & mask()) >= ((i - hole) & mask())) {
      entries_[hole] = entries_[i];
      hole = i;
    }
  }
  entries_[hole] = {};
  --used_;
}

Family::Family(const MetricDef& def)
    : name(def.name),
      help(def.help),
      kind(def.kind),
      unit(def.unit),
      additive(def.additive),
      labels(def.labels.begin(), def.labels.end()),
      defined_bounds(def.buckets.begin(), def.buckets.end()),
      bounds(defined_bounds) {
  for (const std::string& label : labels) names |= name_bit(label);
}

Family::~Family() {
  for (std::size_t i = 0; i < slots.size(); ++i) NodePtr(slots.at(i));
}

bool Family::is(const MetricDef& def) const {
  return name == def.name && help == def.help && kind == def.kind && unit == def.unit &&
         additive == def.additive && std::ranges::equal(labels, def.labels) &&
         std::ranges::equal(defined_bounds, def.buckets);
}

bool Family::same_values(const Node& node, std::span<const std::string_view> values) const {
  std::string_view text = node.text();
  const std::uint8_t* lengths = node.lengths();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string_view value = values[i];
    if (lengths[i] != value.size()) return false;
    if (value.empty()) continue;
    text.remove_prefix(labels[i].size() + 2);  // name="
    if (node.plain) {
      if (std::memcmp(text.data(), value.data(), value.size()) != 0) return false;
      text.remove_prefix(value.size());
    } else if (!take_escaped(text, value)) {
      return false;
    }
    text.remove_prefix(std::min<std::size_t>(2, text.size()));  // the quote and the comma
  }
  return true;
}

}  // namespace tarsier::metrics::detail
