// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/cluster_names.h"

#include <tuple>
#include <utility>

namespace tarsier::enrich {
namespace {

auto order_of(const ClusterName& name) {
  return std::tie(name.kind, name.namespace_name, name.name);
}

}  // namespace

std::string ClusterNames::key_of(ClusterKind kind, std::string_view id) {
  std::string key(1, static_cast<char>('0' + static_cast<int>(kind)));
  return key.append(id);
}

void ClusterNames::put(ClusterKind kind, std::string_view id, ClusterName name,
                       std::span<const Address> addresses) {
  const std::string key = key_of(kind, id);
  auto found = objects_.find(key);
  if (found == objects_.end()) {
    if (objects_.size() >= kMaxClusterObjects) {
      ++stats_.refused;
      return;
    }
    found = objects_.emplace(key, Object{}).first;
  }
  Object& object = found->second;
  object.list = lists_[static_cast<std::size_t>(kind)];
  drop_addresses(object);
  object.name = std::move(name);
  object.name.kind = kind;
  object.addresses.clear();
  for (const Address& address : addresses) {
    if (addresses_.size() >= kMaxClusterAddresses) {
      ++stats_.refused;
      continue;
    }
    object.addresses.push_back(address);
    addresses_.emplace(address, &object.name);
  }
  object.addresses.shrink_to_fit();
}

void ClusterNames::drop_addresses(const Object& object) {
  for (const Address& address : object.addresses) {
    const auto [begin, end] = addresses_.equal_range(address);
    for (auto entry = begin; entry != end; ++entry) {
      if (entry->second != &object.name) continue;
      addresses_.erase(entry);
      break;
    }
  }
}

void ClusterNames::remove(ClusterKind kind, std::string_view id) {
  const auto found = objects_.find(key_of(kind, id));
  if (found == objects_.end()) return;
  drop_addresses(found->second);
  objects_.erase(found);
}

void ClusterNames::begin_list(ClusterKind kind) {
  ++lists_[static_cast<std::size_t>(kind)];
}

void ClusterNames::end_list(ClusterKind kind) {
  const std::uint32_t list = lists_[static_cast<std::size_t>(kind)];
  std::erase_if(objects_, [&](const auto& entry) {
    const Object& object = entry.second;
    if (object.name.kind != kind || object.list == list) return false;
    drop_addresses(object);
    return true;
  });
}

const ClusterName* ClusterNames::find(const Address& address) const {
  const ClusterName* best = nullptr;
  const auto [begin, end] = addresses_.equal_range(address);
  for (auto entry = begin; entry != end; ++entry) {
    if (best == nullptr || order_of(*entry->second) < order_of(*best)) best = entry->second;
  }
  return best;
}

}  // namespace tarsier::enrich
