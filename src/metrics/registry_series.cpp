// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Series: finding, making, counting what the budget refuses.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/text.h"
#include "metrics/hash.h"
#include "metrics/store.h"

namespace tarsier::metrics {
namespace {

using detail::Entity;
using detail::Family;
using detail::Node;

constexpr std::size_t kCellsPerSlab = 256;

Series handle_of(Cell& cell) {
  return {&cell, cell.generation.load(std::memory_order_relaxed)};
}

detail::Node* find_node(const Family& family, const Entity& entity,
                        std::span<const std::string_view> values, std::uint32_t values_hash) {
  return family.index.find(detail::index_hash(values_hash, entity.id), [&](const Node& node) {
    return node.entity.load(std::memory_order_relaxed) == &entity &&
           family.same_values(node, values);
  });
}

// Label values made fit; the views point into it.
class CleanValues {
 public:
  explicit CleanValues(std::span<const std::string_view> values) : size_(values.size()) {
    for (std::size_t i = 0; i < size_; ++i) {
      base::CleanText clean = base::clean_utf8(values[i]);
      repaired_ += clean.repaired ? 1 : 0;
      cut_ += clean.cut ? 1 : 0;
      texts_[i] = std::move(clean.text);
      views_[i] = texts_[i];
    }
  }
  CleanValues(const CleanValues&) = delete;
  CleanValues& operator=(const CleanValues&) = delete;

  [[nodiscard]] std::span<const std::string_view> values() const { return {views_.data(), size_}; }
  [[nodiscard]] std::uint64_t repaired() const { return repaired_; }
  [[nodiscard]] std::uint64_t cut() const { return cut_; }

 private:
  std::size_t size_;
  std::array<std::string, kMaxFamilyLabels> texts_;
  std::array<std::string_view, kMaxFamilyLabels> views_;
  std::uint64_t repaired_ = 0;
  std::uint64_t cut_ = 0;
};

}  // namespace

Series Registry::series(const MetricDef& def, EntityId entity,
                        std::span<const std::string_view> values) {
  return handle_of(*target(def, entity, values).cell);
}

void Registry::record(const MetricDef& def, EntityId entity, double value,
                      std::span<const std::string_view> values) {
  const Target to = target(def, entity, values, def.kind == Kind::gauge);
  if (to.family == nullptr) return;
  const Series series = handle_of(*to.cell);
  bool taken = true;
  switch (to.family->kind) {
    case Kind::counter: taken = value >= 0 && std::isfinite(value) && series.add(value); break;
    case Kind::histogram: taken = !std::isnan(value) && series.observe(value); break;
    case Kind::gauge: taken = series.set(value); break;
  }
  if (!taken) detail::bump(to.family->refused);
}

void Registry::add(const MetricDef& def, EntityId entity, double delta,
                   std::span<const std::string_view> values) {
  const Target to = target(def, entity, values);
  if (to.family == nullptr) return;
  const bool possible =
      to.family->kind == Kind::gauge || (to.family->kind == Kind::counter && delta >= 0);
  if (!possible || !std::isfinite(delta) || !handle_of(*to.cell).add(delta)) {
    detail::bump(to.family->refused);
  }
}

void Registry::drop(const MetricDef& def, EntityId id, std::span<const std::string_view> values) {
  Family* family = family_of(def);
  Entity* entity = entity_of(id);
  if (family == nullptr || entity == nullptr || values.size() != family->labels.size()) return;
  if ((family->names & entity->names) != 0) entity = &without_own_names(*entity, *family);
  const CleanValues clean(values);
  Node* node = find_node(*family, *entity, clean.values(), hash_values(seed_, clean.values()));
  if (node == nullptr) return;
  remove(*node);
  publish();
}

Registry::Target Registry::target(const MetricDef& def, EntityId id,
                                  std::span<const std::string_view> values, bool sets) {
  Family* family = family_of(def);
  if (family == nullptr) {
    detail::bump(counts_->unregistered);
    refusals_ = true;
    return {nullptr, &refused_};
  }
  if (!family->enabled) return {nullptr, &disabled_};
  Entity* entity = entity_of(id);
  const bool possible = entity != nullptr && values.size() == family->labels.size() &&
                        family->source == detail::Source::stored;
  if (!possible) return refuse(*family, sets);
  if ((family->names & entity->names) != 0) entity = &without_own_names(*entity, *family);
  const std::uint32_t hash = hash_values(seed_, values);
  Node* node = find_node(*family, *entity, values, hash);
  if (node == nullptr) node = insert(*family, *entity, values, hash);
  if (node == nullptr) return refuse(*family, sets);
  return {family, node->cell};
}

// Null: refused.
detail::Node* Registry::insert(detail::Family& family, detail::Entity& entity,
                               std::span<const std::string_view> values,
                               std::uint32_t values_hash) {
  const bool clean = std::ranges::all_of(
      values, [](std::string_view value) { return base::is_clean_utf8(value); });
  return clean ? create(family, entity, values, values_hash)
               : insert_cleaned(family, entity, values);
}

detail::Node* Registry::insert_cleaned(detail::Family& family, detail::Entity& entity,
                                       std::span<const std::string_view> values) {
  const CleanValues clean(values);
  detail::bump(counts_->repaired, clean.repaired());
  detail::bump(counts_->cut, clean.cut());
  const std::span<const std::string_view> cleaned = clean.values();
  const std::uint32_t hash = hash_values(seed_, cleaned);
  Node* node = find_node(family, entity, cleaned, hash);
  return node != nullptr ? node : create(family, entity, cleaned, hash);
}

detail::Node* Registry::create(detail::Family& family, detail::Entity& entity,
                               std::span<const std::string_view> values,
                               std::uint32_t values_hash) {
  if (!has_room(family)) return nullptr;
  std::string text;
  std::array<std::uint8_t, kMaxFamilyLabels> lengths{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    lengths[i] = static_cast<std::uint8_t>(values[i].size());
    if (!values[i].empty()) append_label(text, family.labels[i], values[i]);
  }
  Node& node = link(family, entity, text, {lengths.data(), values.size()}, values_hash);
  family.index.insert(detail::index_hash(values_hash, entity.id), node);
  ++family.counted;
  detail::bump(counts_->series);
  return &node;
}

// Makes the series and shows it to readers.
detail::Node& Registry::link(detail::Family& family, detail::Entity& entity, std::string_view text,
                             std::span<const std::uint8_t> lengths, std::uint32_t values_hash) {
  const std::size_t counts = family.kind == Kind::histogram ? family.bounds.size() + 1 : 0;
  Node& node = *detail::make_node(counts, text, lengths).release();
  node.values_hash = values_hash;
  node.family = &family;
  node.cell = &take_cell(family, node);
  node.entity.store(&entity, std::memory_order_relaxed);
  node.born.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  node.last_update_s = now_s_;
  detail::link_node(node, entity);
  node.slot = family.slots.put(node);
  detail::bump(family.series);
  publish();
  return node;
}

bool Registry::has_room(const detail::Family& family) {
  return counts_->series.load(std::memory_order_relaxed) < limits_.series &&
         family.counted < limits_.series_per_metric && !limbo_full();
}

// Where an update goes that has no series of its own. The overflow series is outside the budget:
// there is one per family. What would set it to the value of one label set is dropped instead.
Registry::Target Registry::refuse(detail::Family& family, bool sets) {
  detail::bump(family.refused);
  refusals_ = true;
  const bool dropped = sets || (family.kind == Kind::gauge && !family.additive);
  if (dropped || family.source != detail::Source::stored) return {&family, &refused_};
  if (family.overflow == nullptr) {
    family.overflow = &link(family, *entities_[0].entity, kOverflowText, {}, 0);
  }
  return {&family, family.overflow->cell};
}

// Unlinks the series; handles to it are stale from here on.
void Registry::remove(detail::Node& node) {
  Family& family = *node.family;
  Entity& entity = *node.entity.load(std::memory_order_relaxed);
  if (&node == family.overflow) {
    family.overflow = nullptr;
  } else {
    family.index.erase(detail::index_hash(node.values_hash, entity.id), node);
    --family.counted;
    detail::lower(counts_->series);
  }
  family.slots.clear(node.slot);
  detail::lower(family.series);
  detail::unlink_node(node, entity);
  Cell& cell = *node.cell;
  cell.generation.store(cell.generation.load(std::memory_order_relaxed) + 1,
                        std::memory_order_relaxed);
  detail::Garbage garbage;
  garbage.version = version_.load(std::memory_order_relaxed) + 1;
  garbage.node.reset(&node);
  garbage_.push_back(std::move(garbage));
  drop_if_unused(entity);
}

// Cells are never given back to the system, so that a handle can always look at its generation;
// those of removed series are used again. Their number is bounded by the budget and kMaxLimbo.
Cell& Registry::take_cell(const detail::Family& family, detail::Node& node) {
  if (free_cells_.empty()) {
    slabs_.push_back(std::make_unique<Cell[]>(kCellsPerSlab));
    for (std::size_t i = kCellsPerSlab; i > 0; --i) {
      free_cells_.push_back(&slabs_.back()[i - 1]);
    }
  }
  Cell& cell = *free_cells_.back();
  free_cells_.pop_back();
  cell.generation.store(cell.generation.load(std::memory_order_relaxed) + 1,
                        std::memory_order_relaxed);
  cell.touched = 1;
  cell.value.store(0, std::memory_order_relaxed);
  cell.counts = node.counts();
  cell.bounds = family.bounds.data();
  cell.bounds_size = static_cast<std::uint16_t>(family.bounds.size());
  return cell;
}

}  // namespace tarsier::metrics
