// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Names of what is not on this node: services by their addresses, the pods behind them, nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "enrich/address.h"

namespace tarsier::enrich {

inline constexpr std::size_t kMaxClusterObjects = 60'000;    // services, slices and nodes together
inline constexpr std::size_t kMaxClusterAddresses = 65'536;  // that they have

// The three kinds of objects that give addresses a name. A service gives its own addresses its
// name, a slice gives pod addresses the name of its service, a node gives its addresses its own.
enum class ClusterKind : std::uint8_t { service, slice, node };

struct ClusterName {
  ClusterKind kind = ClusterKind::service;
  std::string name;
  std::string namespace_name;  // empty for a node
  friend bool operator==(const ClusterName&, const ClusterName&) = default;
};

// Collector thread only.
class ClusterNames {
 public:
  struct Stats {
    std::uint64_t refused = 0;  // objects or addresses not kept because of the limits
  };

  // The object `id` ("namespace/name") as it is now.
  void put(ClusterKind kind, std::string_view id, ClusterName name,
           std::span<const Address> addresses);
  void remove(ClusterKind kind, std::string_view id);
  // All objects of a kind are told anew: those not named until end_list() are gone.
  void begin_list(ClusterKind kind);
  void end_list(ClusterKind kind);

  // Of several that claim an address: the service itself before a pod's service before a node, then
  // the first by namespace and name, so that the answer does not depend on the order of events.
  [[nodiscard]] const ClusterName* find(const Address& address) const;
  // Whether the address is a service's own, behind which something else answers.
  [[nodiscard]] bool is_service(const Address& address) const {
    const ClusterName* name = find(address);
    return name != nullptr && name->kind == ClusterKind::service;
  }

  [[nodiscard]] std::size_t objects() const { return objects_.size(); }
  [[nodiscard]] std::size_t addresses() const { return addresses_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  struct Object {
    ClusterName name;
    std::vector<Address> addresses;
    std::uint32_t list = 0;
  };
  using Objects = std::unordered_map<std::string, Object>;

  static std::string key_of(ClusterKind kind, std::string_view id);
  void drop_addresses(const Object& object);

  Objects objects_;  // node-based: the addresses point into it
  std::unordered_multimap<Address, const ClusterName*, AddressHash> addresses_;
  std::uint32_t lists_[3] = {};
  Stats stats_;
};

}  // namespace tarsier::enrich
