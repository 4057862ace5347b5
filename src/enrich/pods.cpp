// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/pods.h"

#include <utility>

namespace tarsier::enrich {

// The youngest pod wins an address or a container id: the old one is on its way out.
void PodTable::index(Held& held) {
  if (!held.facts.cgroup_uid.empty()) by_cgroup_uid_[held.facts.cgroup_uid] = &held;
  for (const PodContainer& container : held.facts.containers) {
    if (!container.id.empty()) by_container_[container.id] = &held;
  }
  if (held.facts.host_network) return;
  for (const Address& address : held.facts.addresses) by_address_[address] = &held;
}

void PodTable::unindex(const Held& held) {
  const auto drop = [&held](auto& map, const auto& key) {
    const auto found = map.find(key);
    if (found != map.end() && found->second == &held) map.erase(found);
  };
  drop(by_cgroup_uid_, held.facts.cgroup_uid);
  for (const PodContainer& container : held.facts.containers) drop(by_container_, container.id);
  for (const Address& address : held.facts.addresses) drop(by_address_, address);
}

bool PodTable::put(PodFacts pod) {
  if (pod.uid.empty()) return false;
  std::unique_ptr<Held>& held = pods_[pod.uid];
  const bool is_new = held == nullptr;
  if (is_new) {
    if (pods_.size() > kMaxPods) {
      pods_.erase(pod.uid);
      ++stats_.refused;
      return false;
    }
    held = std::make_unique<Held>();
  }
  held->list = list_;
  held->removed_ns = 0;
  if (!is_new && held->facts == pod) return false;
  unindex(*held);
  const bool shows_other = is_new || !same_labels(held->facts, pod);
  held->facts = std::move(pod);
  index(*held);
  return shows_other;
}

void PodTable::remove(std::string_view uid, std::uint64_t now_ns) {
  const auto found = pods_.find(std::string(uid));
  if (found != pods_.end() && found->second->removed_ns == 0) found->second->removed_ns = now_ns;
}

void PodTable::end_list(std::uint64_t now_ns) {
  for (auto& [uid, held] : pods_) {
    if (held->list != list_ && held->removed_ns == 0) held->removed_ns = now_ns;
  }
}

void PodTable::expire(std::uint64_t now_ns) {
  std::erase_if(pods_, [&](const auto& entry) {
    const Held& held = *entry.second;
    if (held.removed_ns == 0 || now_ns < held.removed_ns + kPodGraceNs) return false;
    unindex(held);
    return true;
  });
}

const PodFacts* PodTable::find(std::string_view uid) const {
  const std::string key(uid);
  if (const auto found = pods_.find(key); found != pods_.end()) return &found->second->facts;
  const auto found = by_cgroup_uid_.find(key);
  return found == by_cgroup_uid_.end() ? nullptr : &found->second->facts;
}

const PodFacts* PodTable::of_container(std::string_view container_id) const {
  const auto found = by_container_.find(std::string(container_id));
  return found == by_container_.end() ? nullptr : &found->second->facts;
}

const PodFacts* PodTable::at(const Address& address) const {
  const auto found = by_address_.find(address);
  return found == by_address_.end() ? nullptr : &found->second->facts;
}

}  // namespace tarsier::enrich
