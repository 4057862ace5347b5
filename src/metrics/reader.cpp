// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "metrics/reader.h"

#include <algorithm>

#include "metrics/store.h"

namespace tarsier::metrics {

using detail::Entity;
using detail::Family;
using detail::Node;
using detail::Source;

Reader::Reader(const Registry& registry)
    : registry_(registry), version_(registry.version_.load(std::memory_order_seq_cst)) {}

bool Reader::read(Visitor& visitor) {
  if (done_) return false;
  const Epochs::Pin pin(registry_.epochs_, registry_.version_);
  const detail::FamilyList& families = *registry_.list_.load(std::memory_order_seq_cst);
  const auto name = [](const Family* family) -> std::string_view { return family->name; };
  for (auto it = std::ranges::lower_bound(families, std::string_view(name_), {}, name);
       it != families.end(); ++it) {
    const Family& family = **it;
    if (family.born > version_) continue;
    if (family_ != family.id) {
      name_ = family.name;
      family_ = family.id;
      slot_ = 0;
      shown_ = false;
    }
    if (family.source != Source::stored) {
      if (!shown_) read_made_up(family, families, visitor);
    } else if (!read_family(family, visitor)) {
      return true;
    }
  }
  done_ = true;
  return false;
}

void Reader::show_family(const detail::Family& family, Visitor& visitor) {
  if (shown_) return;
  shown_ = true;
  visitor.family({family.name, family.help, family.kind, family.unit, family.bounds});
}

// false: the visitor wants a pause.
bool Reader::read_family(const detail::Family& family, Visitor& visitor) {
  while (slot_ < family.slots.size()) {
    const Node* node = family.slots.at(slot_++);
    if (node == nullptr || node->born.load(std::memory_order_acquire) > version_) continue;
    const Entity& entity = *node->entity.load(std::memory_order_seq_cst);
    if (entity.visible_from.load(std::memory_order_acquire) > version_) continue;
    counts_.clear();
    for (std::size_t i = 0; i < node->counts_size; ++i) {
      counts_.push_back(node->counts()[i].load(std::memory_order_relaxed));
    }
    show_family(family, visitor);
    const double value = node->cell->value.load(std::memory_order_relaxed);
    if (!visitor.series({entity.text, node->text(), value, counts_})) return false;
  }
  return true;
}

// What the registry says about itself (self.h).
void Reader::read_made_up(const detail::Family& family, const detail::FamilyList& families,
                          Visitor& visitor) {
  std::string text;
  const auto show = [&](std::string_view label, std::string_view of, std::uint64_t value) {
    text.clear();
    append_label(text, label, of);
    show_family(family, visitor);
    visitor.series({{}, text, static_cast<double>(value), {}});
  };
  if (family.source == Source::changed) {
    const Stats stats = registry_.stats();
    show("reason", "cut", stats.cut);
    show("reason", "repaired", stats.repaired);
    return;
  }
  for (const Family* other : families) {
    if (other->born > version_ || other->source != Source::stored) continue;
    const std::uint64_t series = other->series.load(std::memory_order_relaxed);
    const std::uint64_t refused = other->refused.load(std::memory_order_relaxed);
    // A family that never had a series says nothing; one that had some shows its 0, because an
    // alert on the first refusal needs a value before it.
    if (family.source == Source::series && series > 0) show("metric", other->name, series);
    if (family.source == Source::refused && series + refused > 0) {
      show("metric", other->name, refused);
    }
  }
}

}  // namespace tarsier::metrics
