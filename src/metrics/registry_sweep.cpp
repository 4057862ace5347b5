// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Staleness, and giving back what nobody reads any more.
#include <utility>

#include "metrics/store.h"

namespace tarsier::metrics {

using detail::Node;

namespace {
constexpr std::uint64_t kSecond = 1'000'000'000;
}  // namespace

// Ends a change: whoever begins to read from here on sees it, and what was unlinked before it is
// invisible to him.
void Registry::publish() {
  version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
}

void Registry::sweep(std::uint64_t now_ns) {
  now_s_ = static_cast<std::uint32_t>(now_ns / kSecond);
  std::size_t looked_at = 0;
  auto family = families_.lower_bound(sweep_family_);
  if (family == families_.end() || family->first != sweep_family_) sweep_slot_ = 0;
  for (std::size_t round = 0; round <= families_.size() && looked_at < kSweepStep; ++round) {
    if (family == families_.end()) family = families_.begin();
    if (family == families_.end()) break;
    if (!sweep_family(*family->second, looked_at)) break;
    ++family;
    sweep_slot_ = 0;
  }
  sweep_family_ = family == families_.end() ? std::string() : family->first;
  publish();
  reclaim(kSweepStep);
  offer_room();
}

// false: the work of this call is done before the family's end.
bool Registry::sweep_family(detail::Family& family, std::size_t& looked_at) {
  for (; sweep_slot_ < family.slots.size(); ++sweep_slot_) {
    if (looked_at++ >= kSweepStep) return false;
    Node* node = family.slots.at(sweep_slot_);
    if (node == nullptr) continue;
    Cell& cell = *node->cell;
    if (cell.touched != 0) {
      cell.touched = 0;
      node->last_update_s = now_s_;
      continue;
    }
    const bool in_use = family.kind == Kind::gauge &&
                        cell.value.load(std::memory_order_relaxed) != 0 &&
                        node->entity.load(std::memory_order_relaxed)->references > 0;
    const std::uint64_t idle_ns = (now_s_ - node->last_update_s) * kSecond;
    if (!in_use && idle_ns >= limits_.stale_after_ns) remove(*node);
  }
  return true;
}

void Registry::reclaim(std::size_t at_most) {
  const std::uint64_t oldest = epochs_.oldest();
  for (; at_most > 0 && !garbage_.empty() && garbage_.front().version <= oldest; --at_most) {
    if (const Node* node = garbage_.front().node.get(); node != nullptr) {
      free_cells_.push_back(node->cell);
    }
    garbage_.pop_front();
  }
  counts_->limbo.store(garbage_.size(), std::memory_order_relaxed);
}

// Without a reader this finds room each time; with one that is stuck, growth ends here.
bool Registry::limbo_full() {
  if (garbage_.size() >= kMaxLimbo) reclaim(kSweepStep);
  return garbage_.size() >= kMaxLimbo;
}

// Handles to overflow series go stale once there is room, so that their holders ask again. Those of
// gauges stay: what was added through one has to be taken back through it.
void Registry::offer_room() {
  if (!refusals_ || counts_->series.load(std::memory_order_relaxed) >= limits_.series) return;
  const auto renew = [](Cell& cell) {
    cell.generation.store(cell.generation.load(std::memory_order_relaxed) + 2,
                          std::memory_order_relaxed);
  };
  renew(refused_);
  refusals_ = false;
  for (const auto& [name, family] : families_) {
    if (family->overflow == nullptr || family->kind == Kind::gauge) continue;
    if (has_room(*family)) {
      renew(*family->overflow->cell);
    } else {
      refusals_ = true;
    }
  }
}

Stats Registry::stats() const {
  const auto get = [](const std::atomic<std::uint64_t>& number) {
    return number.load(std::memory_order_relaxed);
  };
  return {get(counts_->series),          get(counts_->entities), get(counts_->limbo),
          get(counts_->repaired),        get(counts_->cut),      get(counts_->unregistered),
          get(counts_->entities_refused)};
}

}  // namespace tarsier::metrics
