// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What is known about each container: asked once, kept until the container is gone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "enrich/identity.h"
#include "enrich/resolver.h"

namespace tarsier::enrich {

inline constexpr std::size_t kMaxContainers = 20'000;
inline constexpr std::uint64_t kNegativeNs =
    30'000'000'000;  // "no runtime knows it" holds this long
// Some runtimes know a container only after its cgroup exists: before "absent" is believed, the
// question is repeated.
inline constexpr int kQuickRetries = 2;
inline constexpr std::uint64_t kQuickRetryNs = 250'000'000;
inline constexpr std::uint64_t kFailedRetryNs = 1'000'000'000;      // doubled each time,
inline constexpr std::uint64_t kFailedRetryMaxNs = 30'000'000'000;  // up to this

enum class ContainerState : std::uint8_t { unknown, asked, known, absent };

struct Container {
  ContainerFacts facts;  // id always; the rest where state is known
  ContainerState state = ContainerState::unknown;
  int misses = 0;    // times that no runtime knew it
  int failures = 0;  // times in a row that a runtime could not be asked
  std::uint64_t retry_at_ns = 0;
};

// Collector thread only.
class ContainerTable {
 public:
  struct Stats {
    std::uint64_t refused = 0;  // containers not kept because of the limit
  };

  explicit ContainerTable(Resolver& resolver) : resolver_(resolver) {}

  // The container, asked for if that was not done yet or is due again: call it until the state is
  // known or absent. nullptr: the table is full (counted); the container is then called by its id.
  // Pointers are valid until forget().
  const Container* want(std::string_view id, Runtime runtime, std::uint64_t now_ns);
  // Takes the answers that are there; returns the ids about which something else is known now.
  std::vector<std::string> poll(std::uint64_t now_ns);
  // The container's cgroup is gone.
  void forget(std::string_view id);

  // nullptr: not asked for, or gone.
  [[nodiscard]] const Container* find(std::string_view id) const;
  template <class Visit>
  void each(Visit&& visit) const {
    for (const auto& [id, container] : containers_) visit(container);
  }
  [[nodiscard]] std::size_t size() const { return containers_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  Container* keep(std::string_view id);
  void take(const Answer& answer, std::uint64_t now_ns, std::vector<std::string>& changed);
  void learn(ContainerFacts facts, std::vector<std::string>& changed);

  Resolver& resolver_;
  std::unordered_map<std::string, Container> containers_;
  std::vector<Answer> answers_;
  Stats stats_;
};

}  // namespace tarsier::enrich
