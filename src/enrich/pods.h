// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The pods of this node, whoever told of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "enrich/address.h"
#include "enrich/identity.h"

namespace tarsier::enrich {

// The kubelet runs some hundred pods; nodes that hold thousands exist in tests alone.
inline constexpr std::size_t kMaxPods = 10'000;
// A pod that is gone still names its containers for this long.
inline constexpr std::uint64_t kPodGraceNs = 10'000'000'000;

// Collector thread only; pointers are valid until the next call that changes the table.
class PodTable {
 public:
  struct Stats {
    std::uint64_t refused = 0;  // pods not kept because of the limit
  };

  // A pod as it is now. Returns whether anything that labels show differs from before.
  bool put(PodFacts pod);
  void remove(std::string_view uid, std::uint64_t now_ns);
  // A source tells all pods anew: those it does not name until end_list() are gone.
  void begin_list() { ++list_; }
  void end_list(std::uint64_t now_ns);
  // Forgets what was removed more than the grace time ago.
  void expire(std::uint64_t now_ns);

  // Whether the pod (by the API's uid) does not exist, or not any more.
  [[nodiscard]] bool is_gone(const std::string& uid) const {
    const auto found = pods_.find(uid);
    return found == pods_.end() || found->second->removed_ns != 0;
  }
  // By the uid that stands in the cgroup path or that the API server knows; nullptr: unknown.
  [[nodiscard]] const PodFacts* find(std::string_view uid) const;
  [[nodiscard]] const PodFacts* of_container(std::string_view container_id) const;
  // The pod that has this address for itself: pods on the host's network are not found.
  [[nodiscard]] const PodFacts* at(const Address& address) const;

  template <class Visit>
  void each(Visit&& visit) const {
    for (const auto& [uid, held] : pods_) {
      if (held->removed_ns == 0) visit(held->facts);
    }
  }
  [[nodiscard]] std::size_t size() const { return pods_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  struct Held {
    PodFacts facts;
    std::uint64_t removed_ns = 0;  // 0: exists
    std::uint32_t list = 0;        // the last list that named it
  };

  void index(Held& held);
  void unindex(const Held& held);

  std::unordered_map<std::string, std::unique_ptr<Held>> pods_;  // by the API's uid
  std::unordered_map<std::string, Held*> by_cgroup_uid_;         // only where that differs
  std::unordered_map<std::string, Held*> by_container_;
  std::unordered_map<Address, Held*, AddressHash> by_address_;
  std::uint32_t list_ = 0;
  Stats stats_;
};

}  // namespace tarsier::enrich
