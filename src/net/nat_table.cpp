// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/nat_table.h"

#include <array>
#include <functional>
#include <string_view>
#include <type_traits>

namespace tarsier::net {
namespace {

struct View {
  Tuple tuple;
  Translation translation;
  bool differs = false;  // the socket at this end sees another address than the true one
};

// What the sockets at the two ends of a connection see, and what is true.
std::array<View, 2> views_of(const NatRecord& record) {
  View client{{record.original_source, record.original_destination, record.protocol},
              {record.reply_source, NatSide::client},
              record.original_destination != record.reply_source};
  View server{{record.reply_source, record.reply_destination, record.protocol},
              {record.original_source, NatSide::server},
              record.original_source != record.reply_destination};
  return {client, server};
}

}  // namespace

std::size_t NatTable::Hash::operator()(const Tuple& tuple) const {
  static_assert(std::has_unique_object_representations_v<Tuple>);
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&tuple), sizeof tuple});
}

std::optional<Translation> NatTable::find(const Tuple& tuple) const {
  if (size() == 0) return std::nullopt;
  const std::scoped_lock lock(mutex_);
  const auto place = index_.find(tuple);
  if (place == index_.end()) return std::nullopt;
  return (*place)->translation;
}

void NatTable::begin(const NatRecord& record, std::uint32_t origin) {
  for (const View& view : views_of(record)) {
    if (!view.differs) continue;
    put({view.tuple, view.translation, record.id, origin, sweep_, false, 0});
  }
}

void NatTable::found(const NatRecord& record, std::uint32_t origin) {
  for (const View& view : views_of(record)) {
    if (!view.differs) continue;
    const auto place = index_.find(view.tuple);
    if (place != index_.end() && (*place)->ended_ns == 0 && (*place)->id == record.id &&
        (*place)->translation == view.translation) {
      (*place)->sweep = sweep_;  // no reader looks at it
    } else if (place == index_.end() && ended_.empty() && size() >= limit_) {
      refused_.fetch_add(1, std::memory_order_relaxed);
    } else {
      put({view.tuple, view.translation, record.id, origin, sweep_, true, 0});
    }
  }
}

void NatTable::put(Entry entry) {
  const auto known = index_.find(entry.tuple);
  const std::scoped_lock lock(mutex_);
  if (known != index_.end()) {
    // The same ports again: the newer connection counts.
    const Entries::iterator old = *known;
    if (old->ended_ns == 0 && old->found) --found_alive_;
    alive_.splice(alive_.end(), old->ended_ns != 0 ? ended_ : alive_, old);
    *old = entry;
  } else {
    if (index_.empty()) index_.reserve(limit_);  // once, and never where there is no translation
    if (index_.size() >= limit_) {
      evicted_.fetch_add(1, std::memory_order_relaxed);
      Entries& list = ended_.empty() ? alive_ : ended_;
      remove(list, list.begin());
    }
    index_.insert(alive_.insert(alive_.end(), entry));
  }
  if (entry.found) ++found_alive_;
  size_.store(index_.size(), std::memory_order_relaxed);
}

void NatTable::remove(Entries& list, Entries::iterator entry) {
  if (entry->ended_ns == 0 && entry->found) --found_alive_;
  index_.erase(entry);
  list.erase(entry);
  size_.store(index_.size(), std::memory_order_relaxed);
}

void NatTable::end(const NatRecord& record, std::uint64_t now_ns) {
  for (const View& view : views_of(record)) {
    const auto place = index_.find(view.tuple);
    if (place == index_.end() || (*place)->id != record.id || (*place)->ended_ns != 0) continue;
    finish(*place, now_ns);
  }
}

void NatTable::finish(Entries::iterator entry, std::uint64_t now_ns) {
  const std::scoped_lock lock(mutex_);
  if (entry->found) --found_alive_;
  entry->ended_ns = now_ns;
  ended_.splice(ended_.end(), alive_, entry);
}

void NatTable::finish_sweep(std::uint32_t origin, std::uint64_t now_ns) {
  for (auto entry = alive_.begin(); entry != alive_.end();) {
    const auto current = entry++;
    if (current->origin == origin && current->sweep != sweep_) finish(current, now_ns);
  }
}

void NatTable::expire(std::uint64_t now_ns) {
  while (!ended_.empty() && now_ns - ended_.front().ended_ns > grace_ns_) {
    const std::scoped_lock lock(mutex_);
    remove(ended_, ended_.begin());
  }
}

std::optional<std::uint64_t> NatTable::next_expiry_ns() const {
  if (ended_.empty()) return std::nullopt;
  return ended_.front().ended_ns + grace_ns_;
}

}  // namespace tarsier::net
