// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Entities: finding, merging, releasing.
#include <algorithm>
#include <map>
#include <utility>

#include "base/text.h"
#include "metrics/store.h"

namespace tarsier::metrics {
namespace {

using detail::Entity;
using detail::Family;
using detail::Node;

constexpr std::uint32_t kIndexBits = 16;
static_assert(kMaxEntities < (1U << kIndexBits));
// What the caller gets when there is no room; everything for it goes to the overflow series.
constexpr EntityId kNoEntity{0xFFFFFFFF};
// Labels of one entity; what is more is left out.
constexpr std::size_t kMaxEntityLabels = 32;

std::uint32_t index_of(EntityId id) {
  return static_cast<std::uint32_t>(id) & ((1U << kIndexBits) - 1);
}

std::uint64_t name_bits(std::string_view text) {
  std::uint64_t bits = 0;
  std::string_view name;
  for (std::string value; next_label(text, name, value);) bits |= detail::name_bit(name);
  return bits;
}

}  // namespace

detail::Entity* Registry::entity_of(EntityId id) const {
  const std::uint32_t index = index_of(id);
  if (index >= entities_.size()) return nullptr;
  Entity* entity = entities_[index].entity.get();
  return entity != nullptr && entity->id == id ? entity : nullptr;
}

// Without a place among the texts and without a reference; null where there is no room.
detail::Entity* Registry::new_entity(std::string text) {
  const bool full = free_entities_.empty() && entities_.size() >= kMaxEntities;
  if (full || limbo_full()) {
    detail::bump(counts_->entities_refused);
    return nullptr;
  }
  if (free_entities_.empty()) {
    free_entities_.push_back(static_cast<std::uint32_t>(entities_.size()));
    entities_.emplace_back();
  }
  const std::uint32_t index = free_entities_.back();
  free_entities_.pop_back();
  EntitySlot& slot = entities_[index];
  slot.entity = std::make_unique<Entity>();
  slot.entity->id = EntityId{(slot.generation << kIndexBits) | index};
  slot.entity->names = name_bits(text);
  slot.entity->text = std::move(text);
  detail::bump(counts_->entities);
  return slot.entity.get();
}

// The one spelling of a label set: valid, sorted by name, no name twice, nothing empty.
std::string Registry::clean_labels(std::span<const Label> labels) {
  std::map<std::string, std::string> clean;
  for (const Label& label : labels) {
    if (label.value.empty()) continue;
    std::string name = label.name;
    if (!is_label_name(name)) {
      name = safe_label_name(name);
      detail::bump(counts_->repaired);
    }
    base::CleanText value = base::clean_utf8(label.value);
    if (value.repaired) detail::bump(counts_->repaired);
    if (value.cut || name.size() > kMaxLabelNameBytes) detail::bump(counts_->cut);
    name.resize(std::min(name.size(), kMaxLabelNameBytes));
    clean.emplace(std::move(name), std::move(value.text));  // the first of two stays
  }
  std::string text;
  std::size_t left = kMaxEntityLabels;
  for (const auto& [name, value] : clean) {
    if (left == 0) {
      detail::bump(counts_->cut);
      continue;
    }
    append_label(text, name, value);
    --left;
  }
  return text;
}

EntityId Registry::entity(std::span<const Label> labels) {
  std::string text = clean_labels(labels);
  Entity* entity = nullptr;
  if (const auto found = by_text_.find(text); found != by_text_.end()) {
    entity = found->second;
  } else {
    entity = new_entity(std::move(text));
    if (entity == nullptr) return kNoEntity;
    by_text_.emplace(entity->text, entity);
    entity->visible_from.store(0, std::memory_order_release);
  }
  ++entity->references;
  return entity->id;
}

EntityId Registry::pending_entity() {
  Entity* entity = new_entity({});
  if (entity == nullptr) return kNoEntity;
  entity->pending = true;
  entity->references = 1;
  return entity->id;
}

EntityId Registry::resolve(EntityId pending, std::span<const Label> labels) {
  Entity* from = entity_of(pending);
  if (from == nullptr || !from->pending) return entity(labels);
  std::string text = clean_labels(labels);
  const auto found = by_text_.find(text);
  if (found == by_text_.end()) {
    show(*from, std::move(text));
    publish();
    return pending;
  }
  Entity& survivor = *found->second;
  ++survivor.references;
  move_all(*from, survivor);
  retire_entity(*from);
  publish();
  return survivor.id;
}

std::optional<std::vector<Label>> Registry::labels_of(EntityId id) const {
  const Entity* entity = entity_of(id);
  if (entity == nullptr || entity->pending) return std::nullopt;
  std::vector<Label> labels;
  std::string_view text = entity->text, name;
  for (std::string value; next_label(text, name, value);) {
    labels.push_back({std::string(name), value});
  }
  return labels;
}

// Nobody has these labels yet: the pending entity takes them itself.
void Registry::show(detail::Entity& pending, std::string text) {
  pending.pending = false;
  pending.text = std::move(text);
  pending.names = name_bits(pending.text);
  by_text_.emplace(pending.text, &pending);
  for (Node *node = pending.first, *next = nullptr; node != nullptr; node = next) {
    next = node->next;
    if ((node->family->names & pending.names) != 0) move_node(*node, pending);
  }
  pending.visible_from.store(version_.load(std::memory_order_relaxed) + 1,
                             std::memory_order_release);
}

void Registry::move_all(detail::Entity& from, detail::Entity& to) {
  for (Node *node = from.first, *next = nullptr; node != nullptr; node = next) {
    next = node->next;
    move_node(*node, to);
  }
}

// Gives `node` to `to`, or to what is left of `to` for this family. Where a series with the same
// own labels is there already, that one takes the value and `node` goes.
void Registry::move_node(detail::Node& node, detail::Entity& to) {
  Family& family = *node.family;
  Entity& target = (family.names & to.names) != 0 ? without_own_names(to, family) : to;
  Entity& old = *node.entity.load(std::memory_order_relaxed);
  if (&target == &old) return;
  const std::uint64_t hash = detail::index_hash(node.values_hash, target.id);
  Node* same = family.index.find(hash, [&](const Node& other) {
    return other.entity.load(std::memory_order_relaxed) == &target && other.text() == node.text();
  });
  if (same != nullptr) {
    fold(node, *same->cell);
    remove(node);
    return;
  }
  family.index.erase(detail::index_hash(node.values_hash, old.id), node);
  detail::unlink_node(node, old);
  // A reader that sees the new entity with the old date of birth shows the series a moment early;
  // no other series has these labels, so that is no harm.
  node.entity.store(&target, std::memory_order_seq_cst);
  node.born.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  detail::link_node(node, target);
  family.index.insert(hash, node);
}

void Registry::fold(const detail::Node& node, Cell& into) const {
  into.touched = 1;
  into.value.store(
      into.value.load(std::memory_order_relaxed) + node.cell->value.load(std::memory_order_relaxed),
      std::memory_order_relaxed);
  for (std::size_t i = 0; i < node.counts_size; ++i) {
    detail::bump(into.counts[i], node.counts()[i].load(std::memory_order_relaxed));
  }
}

// A family's own label wins over one of the same name that the entity has. Entities that then look
// alike share one derived entity, so that no two series have the same labels.
detail::Entity& Registry::without_own_names(detail::Entity& entity, const detail::Family& family) {
  std::string left;
  bool same = true;
  std::string_view text = entity.text;
  std::string_view name;
  for (std::string value; next_label(text, name, value);) {
    if (std::ranges::find(family.labels, name) != family.labels.end()) {
      same = false;
    } else {
      append_label(left, name, value);
    }
  }
  if (same) return entity;
  const auto found = by_text_.find(left);
  Entity* derived = found == by_text_.end() ? new_entity(std::move(left)) : found->second;
  if (derived == nullptr) return *entities_[0].entity;  // no room: then without any entity label
  if (found == by_text_.end()) {
    by_text_.emplace(derived->text, derived);
    derived->visible_from.store(0, std::memory_order_release);
  }
  if (std::ranges::find(entity.derived, derived) == entity.derived.end()) {
    entity.derived.push_back(derived);
    ++derived->references;
  }
  return *derived;
}

void Registry::release(EntityId id) {
  Entity* entity = entity_of(id);
  if (entity == nullptr || id == EntityId::node) return;
  if (!entity->pending) {
    drop_reference(*entity);
    publish();
    return;
  }
  for (Node *node = entity->first, *next = nullptr; node != nullptr; node = next) {
    next = node->next;
    fold(*node, *refuse(*node->family, false).cell);
    remove(*node);
  }
  retire_entity(*entity);
  publish();
}

void Registry::discard(EntityId id) {
  Entity* entity = entity_of(id);
  if (entity == nullptr || id == EntityId::node) return;
  if (entity->references > 1) {
    --entity->references;
    return;
  }
  for (Node *node = entity->first, *next = nullptr; node != nullptr; node = next) {
    next = node->next;
    remove(*node);
  }
  retire_entity(*entity);
  publish();
}

void Registry::drop_reference(detail::Entity& entity) {
  if (entity.references == 0) return;
  --entity.references;
  if (entity.references > 0) return;
  // From now on stale_after runs, for gauges too: each series counts as updated once more.
  for (Node* node = entity.first; node != nullptr; node = node->next) node->cell->touched = 1;
  drop_if_unused(entity);
}

void Registry::drop_if_unused(detail::Entity& entity) {
  if (entity.references == 0 && entity.first == nullptr) retire_entity(entity);
}

void Registry::retire_entity(detail::Entity& entity) {
  if (!entity.pending) by_text_.erase(entity.text);
  for (Entity* derived : entity.derived) drop_reference(*derived);
  const std::uint32_t index = index_of(entity.id);
  detail::Garbage garbage;
  garbage.version = version_.load(std::memory_order_relaxed) + 1;
  garbage.entity = std::move(entities_[index].entity);
  garbage_.push_back(std::move(garbage));
  entities_[index].generation = (entities_[index].generation + 1) & 0xFFFF;
  free_entities_.push_back(index);
  detail::lower(counts_->entities);
}

}  // namespace tarsier::metrics
