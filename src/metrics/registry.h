// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The metric registry: families, entities, series, budget, staleness.
//
// One thread writes (the collector), any number read (reader.h). The writer never waits for a
// reader: what it removes stays in memory until no reader of an older state is inside a read.
//
//   Registry registry(limits);
//   registry.add_family(kRequests);                               // once, when a probe starts
//   const EntityId nginx = registry.entity(std::array{Label{"comm", "nginx"}});  // one reference
//   const std::array<std::string_view, 1> get{"GET"};
//   registry.record(kRequests, nginx, 1, get);                    // with look-up
//   Series series = registry.series(kRequests, nginx, get);       // hot path: keep it
//   while (!series.add(1)) series = registry.series(kRequests, nginx, get);
//   registry.sweep(clock.boot_ns());                              // every few seconds
//   registry.release(nginx);                                      // its last process ended
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "metrics/epochs.h"
#include "metrics/labels.h"
#include "tarsier/metric.h"
#include "tarsier/result.h"

namespace tarsier::metrics {

namespace detail {
struct Entity;
struct Family;
struct Garbage;
struct Node;
using FamilyList = std::vector<const Family*>;
}  // namespace detail

// More families than this are refused; tarsier itself has about 300.
inline constexpr std::size_t kMaxFamilies = 4096;
// Own labels of one family, bytes of a label's name, and bounds of one histogram.
inline constexpr std::size_t kMaxFamilyLabels = 16;
inline constexpr std::size_t kMaxLabelNameBytes = 128;
inline constexpr std::size_t kMaxBuckets = 128;
// Entities (groups of processes, containers, pods) at one time. What is recorded for one beyond
// that goes to the overflow series.
inline constexpr std::size_t kMaxEntities = 32'768;
// Series and entities that are removed but not yet given back because a scrape still reads. Beyond
// it new ones are refused as if the budget were used up, so that a stuck reader cannot cost memory.
inline constexpr std::size_t kMaxLimbo = 20'000;
// Series that one sweep() looks at, and removed things that one sweep() gives back: about 1 ms.
inline constexpr std::size_t kSweepStep = 10'000;

// The budget ([limits] of the configuration). A histogram is one series. Overflow series and the
// families that the registry fills itself (self.h) do not count.
struct Limits {
  std::size_t series = 50'000;
  std::size_t series_per_metric = 10'000;
  std::uint64_t stale_after_ns = 300'000'000'000;
};

// [metrics."NAME"]: what the user changes about one family.
struct MetricSetting {
  std::string name;
  bool enabled = true;
  std::vector<double> buckets;  // empty: as the definition says
};

// Says in a sentence what is wrong with `setting` for `def`: buckets of something that is not a
// histogram, bounds that do not ascend, too many bounds.
[[nodiscard]] Status check_setting(const MetricDef& def, const MetricSetting& setting);

// Whom a series is about: index and generation, so that an id that was given back is recognised.
enum class EntityId : std::uint32_t { node = 0 };  // node: the series has its own labels only

struct Stats {
  std::uint64_t series = 0;        // against the budget, hidden ones included
  std::uint64_t entities = 0;      // pending ones included
  std::uint64_t limbo = 0;         // removed things that are not yet given back
  std::uint64_t repaired = 0;      // label names and values that were not valid
  std::uint64_t cut = 0;           // label values longer than base::kMaxLabelBytes, labels too many
  std::uint64_t unregistered = 0;  // updates of families that are not there
  std::uint64_t entities_refused = 0;  // entities that found no room
};

class Registry {
 public:
  explicit Registry(Limits limits = {}, const std::vector<MetricSetting>& settings = {});
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // ---- Writer thread only, down to sweep(). Nothing here waits for a reader.

  // Adds a family; again with an equal definition (at the same address or another one) is fine.
  // `def` is the key for record() and series() and must live until remove_family(def).
  // Refused: a malformed definition, another definition of the same name, a name that would collide
  // with a sample of another family (x_count next to histogram x, x next to x_total), kMaxFamilies.
  Status add_family(const MetricDef& def);
  // The probe stopped: once every definition that added the family is removed, its series vanish
  // from the next scrape on and their handles go stale. `def` is not referenced after the return.
  void remove_family(const MetricDef& def);
  // New limits and settings at run time. A family that is switched off or gets other buckets loses
  // its series (they start again from 0); one that stays as it is keeps them. A smaller budget
  // refuses new series and removes none. A setting that check_setting() refuses for a family that
  // is there fails the whole call, and nothing changes.
  Status configure(Limits limits, const std::vector<MetricSetting>& settings);

  // The entity with these labels, found or made; visible at once. Takes one reference. Labels with
  // an empty value are left out, names and values are made valid; no labels at all: the node.
  EntityId entity(std::span<const Label> labels);
  // A new entity whose labels are not known yet, with one reference. Its series count (against the
  // budget too) but are not shown until resolve().
  EntityId pending_entity();
  // Gives a pending entity its labels; it becomes visible, all its series in the same scrape. Where
  // an equal entity exists the two are merged: values add up, handles of series that both had go
  // stale. Returns the survivor, to which the reference moved; `pending` must not be used again.
  EntityId resolve(EntityId pending, std::span<const Label> labels);
  // The labels of an entity as they are shown; nothing for one that is pending or gone.
  [[nodiscard]] std::optional<std::vector<Label>> labels_of(EntityId entity) const;
  // Gives one reference back. The last one: series stay until stale_after passed without an update,
  // then go, gauges that are not zero too. A pending entity is folded into the overflow series, so
  // that totals stay right: resolve it first.
  void release(EntityId entity);

  // Gives one reference back; the last one takes all series of the entity with it at once. For what
  // should not be shown, or not any longer: a pending entity that is not to be observed, an old
  // name of something that has a new one.
  void discard(EntityId entity);

  // The series of this entity and these label values, one for each label of the definition; an
  // empty value leaves the label out. Over budget: the family's overflow series (counter, histogram
  // and additive gauge) or a handle that takes everything and keeps nothing (other gauges); such
  // handles go stale as soon as there is room again. Always a valid handle.
  Series series(const MetricDef& def, EntityId entity, std::span<const std::string_view> values);
  // One update with look-up: about 50 ns, more where the series is not in the cache. Counter: adds;
  // a negative number or NaN is refused. Histogram: one observation; NaN is refused. Gauge: sets;
  // over budget it is dropped.
  void record(const MetricDef& def, EntityId entity, double value,
              std::span<const std::string_view> values);
  // Counters and gauges: adds. What a gauge contributes is best added and taken back through the
  // same handle, because the overflow series may have taken the first half.
  void add(const MetricDef& def, EntityId entity, double delta,
           std::span<const std::string_view> values);

  // Removes one series at once, for an _info series that is no longer true. Handles go stale.
  // Nothing happens where it is not there.
  void drop(const MetricDef& def, EntityId entity, std::span<const std::string_view> values);

  // Removes what had no update for stale_after (except gauges that are not zero and whose entity is
  // held by somebody) and gives removed memory back. Call it every few seconds; one call looks at
  // kSweepStep series, so a series may live longer than stale_after by the time of a full round.
  void sweep(std::uint64_t now_ns);

  // ---- Any thread.

  [[nodiscard]] Stats stats() const;

 private:
  friend class Reader;
  struct EntitySlot;
  struct Counts;
  struct Target {
    detail::Family* family = nullptr;  // null: unregistered or switched off
    Cell* cell = nullptr;              // never null
  };

  // registry_families.cpp
  [[nodiscard]] detail::Family* family_of(const MetricDef& def);
  [[nodiscard]] const MetricSetting* setting_of(std::string_view name) const;
  [[nodiscard]] Status check_collision(const MetricDef& def) const;
  detail::Family& install(std::unique_ptr<detail::Family> family);
  void uninstall(detail::Family& family);
  void rebuild(detail::Family& family);
  void publish_families();

  // registry_entities.cpp
  [[nodiscard]] detail::Entity* entity_of(EntityId id) const;
  detail::Entity* new_entity(std::string text);
  [[nodiscard]] std::string clean_labels(std::span<const Label> labels);
  detail::Entity& without_own_names(detail::Entity& entity, const detail::Family& family);
  void show(detail::Entity& pending, std::string text);
  void move_all(detail::Entity& from, detail::Entity& to);
  void move_node(detail::Node& node, detail::Entity& to);
  void fold(const detail::Node& node, Cell& into) const;
  void drop_reference(detail::Entity& entity);
  void drop_if_unused(detail::Entity& entity);
  void retire_entity(detail::Entity& entity);

  // registry_series.cpp
  [[nodiscard]] Target target(const MetricDef& def, EntityId id,
                              std::span<const std::string_view> values, bool sets = false);
  detail::Node* insert(detail::Family& family, detail::Entity& entity,
                       std::span<const std::string_view> values, std::uint32_t values_hash);
  detail::Node* insert_cleaned(detail::Family& family, detail::Entity& entity,
                               std::span<const std::string_view> values);
  detail::Node* create(detail::Family& family, detail::Entity& entity,
                       std::span<const std::string_view> values, std::uint32_t values_hash);
  detail::Node& link(detail::Family& family, detail::Entity& entity, std::string_view text,
                     std::span<const std::uint8_t> lengths, std::uint32_t values_hash);
  [[nodiscard]] bool has_room(const detail::Family& family);
  [[nodiscard]] Target refuse(detail::Family& family, bool sets);
  void remove(detail::Node& node);
  [[nodiscard]] Cell& take_cell(const detail::Family& family, detail::Node& node);

  // registry_sweep.cpp
  void publish();
  bool sweep_family(detail::Family& family, std::size_t& looked_at);
  void reclaim(std::size_t at_most);
  [[nodiscard]] bool limbo_full();
  void offer_room();

  Limits limits_;
  std::map<std::string, MetricSetting, std::less<>> settings_;
  std::uint64_t seed_;
  std::uint32_t now_s_ = 0;

  // Shared with readers: the state's version, who reads which, and the families by name.
  mutable Epochs epochs_;
  std::atomic<std::uint64_t> version_{1};
  std::atomic<const detail::FamilyList*> list_{nullptr};
  std::unique_ptr<const detail::FamilyList> list_owner_;
  std::unique_ptr<Counts> counts_;

  std::map<std::string, std::unique_ptr<detail::Family>, std::less<>> families_;
  std::map<std::string, std::string, std::less<>> names_;  // every sample name, and whose it is
  std::unordered_map<const MetricDef*, detail::Family*> by_def_;
  const MetricDef* last_def_ = nullptr;  // one-entry cache in front of by_def_
  detail::Family* last_family_ = nullptr;
  std::uint64_t next_family_ = 1;

  std::vector<EntitySlot> entities_;
  std::vector<std::uint32_t> free_entities_;
  std::unordered_map<std::string_view, detail::Entity*> by_text_;

  std::list<detail::Garbage> garbage_;
  std::vector<std::unique_ptr<Cell[]>> slabs_;
  std::vector<Cell*> free_cells_;
  // Where updates of switched-off families and of refused gauges go: valid handles, no effect.
  std::array<std::atomic<std::uint64_t>, 1> discarded_{};
  Cell disabled_;
  Cell refused_;
  bool refusals_ = false;  // since the last offer_room() that had room

  std::string sweep_family_;  // where the next sweep goes on
  std::size_t sweep_slot_ = 0;
};

}  // namespace tarsier::metrics
