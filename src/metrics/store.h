// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the registry is made of. Private to this room.
//
// Readers follow atomic pointers only (family list -> family -> slots -> node -> entity), loaded
// seq_cst as epochs.h asks; what they find behind a pointer is constant or atomic.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "metrics/registry.h"
#include "tarsier/metric.h"

namespace tarsier::metrics::detail {

inline constexpr std::uint64_t kHidden = std::numeric_limits<std::uint64_t>::max();

// A bit for each name, so that "do these two sets share a name?" is mostly one instruction.
[[nodiscard]] std::uint64_t name_bit(std::string_view name);

struct Entity {
  // For readers; written before visible_from.
  std::string text;  // rendered labels, sorted by name
  std::atomic<std::uint64_t> visible_from{kHidden};
  // For the writer.
  EntityId id = EntityId::node;
  bool pending = false;
  std::uint32_t references = 0;
  std::uint64_t names = 0;  // bits of the label names
  Node* first = nullptr;    // its series
  // What is left of this entity for families with a label of the same name; one reference each.
  std::vector<Entity*> derived;
};

// One series: this header (a cache line), the rendered own labels, the length of each label value
// before escaping, and the counts of a histogram, in one allocation. The order is that of a
// look-up.
struct Node {
  std::atomic<Entity*> entity{nullptr};
  Cell* cell = nullptr;
  Family* family = nullptr;
  std::atomic<std::uint64_t> born{0};  // the version from which on it exists
  Node* previous = nullptr;            // series of the same entity
  Node* next = nullptr;
  std::uint32_t values_hash = 0;
  std::uint32_t slot = 0;
  std::uint32_t last_update_s = 0;
  std::uint16_t text_size = 0;
  std::uint8_t counts_size = 0;
  std::uint8_t labels_size : 7 = 0;
  bool plain : 1 = true;  // no value is escaped

  [[nodiscard]] std::string_view text() const {
    return {reinterpret_cast<const char*>(this + 1), text_size};
  }
  [[nodiscard]] const std::uint8_t* lengths() const {
    return reinterpret_cast<const std::uint8_t*>(this + 1) + text_size;
  }
  [[nodiscard]] std::atomic<std::uint64_t>* counts() {
    return reinterpret_cast<Count*>(reinterpret_cast<char*>(this + 1) + counts_offset());
  }
  [[nodiscard]] const std::atomic<std::uint64_t>* counts() const {
    return reinterpret_cast<const Count*>(reinterpret_cast<const char*>(this + 1) +
                                          counts_offset());
  }

 private:
  using Count = std::atomic<std::uint64_t>;
  [[nodiscard]] std::size_t counts_offset() const {
    constexpr std::size_t kAlign = alignof(Count);
    return (text_size + std::size_t{labels_size} + kAlign - 1) / kAlign * kAlign;
  }
};
static_assert(sizeof(Node) == 64);
static_assert(kMaxBuckets < 255 && kMaxFamilyLabels < 128);
// Each label: name, quotes and comma, and a value that is escaped throughout.
static_assert(kMaxFamilyLabels * (kMaxLabelNameBytes + 4 + 2 * base::kMaxLabelBytes) < 65'536);

struct NodeDeleter {
  void operator()(Node* node) const;
};
using NodePtr = std::unique_ptr<Node, NodeDeleter>;

[[nodiscard]] NodePtr make_node(std::size_t counts, std::string_view text,
                                std::span<const std::uint8_t> lengths);

// Puts a node on the list of its entity, and takes it off.
void link_node(Node& node, Entity& entity);
void unlink_node(Node& node, Entity& entity);

// The series of a family where readers find them: chunks that double in size and never move.
class Slots {
 public:
  std::uint32_t put(Node& node);
  void clear(std::uint32_t slot);
  // The number of slots that were ever used; some may be empty.
  [[nodiscard]] std::size_t size() const { return size_.load(std::memory_order_acquire); }
  [[nodiscard]] Node* at(std::size_t slot) const {
    return locate(slot).load(std::memory_order_seq_cst);
  }

 private:
  using Slot = std::atomic<Node*>;
  static constexpr std::size_t kFirst = 16;
  static constexpr std::size_t kChunks = 28;  // 4 thousand million slots

  [[nodiscard]] Slot& locate(std::size_t slot) const {
    const std::size_t shifted = slot + kFirst;
    const auto chunk = static_cast<std::size_t>(std::bit_width(shifted / kFirst)) - 1;
    return chunks_[chunk].load(std::memory_order_acquire)[shifted - (kFirst << chunk)];
  }

  std::array<std::atomic<Slot*>, kChunks> chunks_{};
  std::array<std::unique_ptr<Slot[]>, kChunks> owners_;
  std::atomic<std::size_t> size_{0};
  std::vector<std::uint32_t> free_;
};

// Finds a family's node by hash; open addressing, linear probing, for the writer only. Eight bytes
// an entry: half of the hash, and the slot in place of a pointer. A node is in its slot as long as
// it is in here.
class Index {
 public:
  explicit Index(const Slots& slots) : slots_(slots) {}

  template <class Same>
  [[nodiscard]] Node* find(std::uint64_t hash, const Same& same) const {
    if (entries_.empty()) return nullptr;
    const auto low = static_cast<std::uint32_t>(hash);
    for (std::size_t i = low & mask();; i = (i + 1) & mask()) {
      const Entry& entry = entries_[i];
      if (entry.slot == kEmpty) return nullptr;
      if (entry.hash != low) continue;
      if (Node* node = slots_.at(entry.slot); same(*node)) return node;
    }
  }
  void insert(std::uint64_t hash, const Node& node);
  void erase(std::uint64_t hash, const Node& node);

 private:
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFF;
  struct Entry {
    std::uint32_t hash = 0;
    std::uint32_t slot = kEmpty;
  };
  [[nodiscard]] std::size_t mask() const { return entries_.size() - 1; }
  void place(const Entry& entry);

  const Slots& slots_;
  std::vector<Entry> entries_;  // a power of two
  std::size_t used_ = 0;
};

// Who supplies the values: the writer, or the registry about itself (self.h).
enum class Source : std::uint8_t { stored, series, refused, changed };

struct Family {
  explicit Family(const MetricDef& def);
  ~Family();
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  [[nodiscard]] bool is(const MetricDef& def) const;
  [[nodiscard]] bool same_values(const Node& node, std::span<const std::string_view> values) const;

  // Constant once it is published.
  std::uint64_t id = 0;  // never used twice
  std::uint64_t born = 0;
  std::string name;
  std::string help;
  Kind kind;
  Unit unit;
  bool additive;
  bool enabled = true;
  Source source = Source::stored;
  std::vector<std::string> labels;
  std::vector<double> defined_bounds;  // as the definition says
  std::vector<double> bounds;          // as the settings say
  std::uint64_t names = 0;             // bits of the label names

  // Shared with readers.
  Slots slots;
  std::atomic<std::uint64_t> series{0};  // with the overflow series
  std::atomic<std::uint64_t> refused{0};

  // For the writer.
  std::vector<const MetricDef*> owners;
  Index index{slots};
  std::size_t counted = 0;  // against the budget
  Node* overflow = nullptr;
};

// Something that is unlinked, kept until all readers have moved on to `version`.
struct Garbage {
  std::uint64_t version = 0;
  NodePtr node = nullptr;
  std::unique_ptr<Entity> entity = nullptr;
  std::unique_ptr<Family> family = nullptr;
  std::unique_ptr<const FamilyList> list = nullptr;
};

[[nodiscard]] std::uint64_t index_hash(std::uint32_t values_hash, EntityId entity);

}  // namespace tarsier::metrics::detail

namespace tarsier::metrics {

struct Registry::EntitySlot {
  std::unique_ptr<detail::Entity> entity;
  std::uint32_t generation = 0;
};

// Written by the writer, read by stats().
struct Registry::Counts {
  std::atomic<std::uint64_t> series{0};
  std::atomic<std::uint64_t> entities{0};
  std::atomic<std::uint64_t> limbo{0};
  std::atomic<std::uint64_t> repaired{0};
  std::atomic<std::uint64_t> cut{0};
  std::atomic<std::uint64_t> unregistered{0};
  std::atomic<std::uint64_t> entities_refused{0};
};

namespace detail {
// There is one writer, so no atomic read-modify-write is needed.
inline void bump(std::atomic<std::uint64_t>& number, std::uint64_t by = 1) {
  number.store(number.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}
inline void lower(std::atomic<std::uint64_t>& number) {
  number.store(number.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}
}  // namespace detail

}  // namespace tarsier::metrics
