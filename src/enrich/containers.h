// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What is known about each container: asked once, corrected by what the runtimes tell, kept until
// the container is gone, and how it ended.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
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

// The end of a container is seen before its runtime has written it down: so often is asked.
inline constexpr int kExitTries = 6;
// A runtime that does not answer is waited for this long before an exit is called unknown.
inline constexpr std::uint64_t kExitWaitNs = 120'000'000'000;
inline constexpr std::size_t kMaxExits = 1'024;    // exits that wait to be taken
inline constexpr std::size_t kMaxLeaving = 4'096;  // ended, forgotten, and their exit not known yet
inline constexpr std::size_t kMaxCounted = 4'096;  // forgotten ones whose exit is not counted again
// A container whose cgroup nobody saw stays this long after its end.
inline constexpr std::uint64_t kEndedKeepNs = 60'000'000'000;

enum class ContainerState : std::uint8_t { unknown, asked, known, absent };

// The end of one run of a container; a container that is restarted in place ends several times.
struct ContainerExit {
  ContainerFacts facts;
  std::optional<std::int32_t> code;  // empty: unknown
  std::string reason;                // one word; "unknown"
  std::int64_t finished_ns = 0;      // unix time; 0: unknown
};

struct Container {
  ContainerFacts facts;  // id always; the rest where state is known
  ContainerState state = ContainerState::unknown;
  int misses = 0;    // times that no runtime knew it
  int failures = 0;  // times in a row that a runtime could not be asked
  std::uint64_t retry_at_ns = 0;

  // Of its end. `reported` holds until it is seen to run again.
  enum class End : std::uint8_t { none, asked, reported };
  End end = End::none;
  bool seen_here = false;  // somebody wanted it: it has a cgroup, whose end will be told
  bool lived = false;      // it ran while we looked
  bool certain = false;    // its end was seen, not only concluded
  bool restarted = false;  // it was seen to start again while its exit was asked for
  bool out_of_memory = false;
  int exit_tries = 0;
  std::optional<std::int32_t> told_code;  // by an event
  std::int64_t told_ns = 0;
  std::int64_t reported_ns = 0;  // when the last reported run finished, unix time
  std::uint64_t ended_ns = 0;    // when we learned of the end; 0: it has not ended
  std::uint64_t exit_retry_ns = 0;
  std::uint64_t detail_retry_ns = 0;
  std::size_t source = kMaxSources;  // whose list had it last
  std::uint64_t list_number = 0;     // which list that was
};

// Collector thread only.
class ContainerTable {
 public:
  struct Stats {
    std::uint64_t refused = 0;     // containers not kept because of the limit
    std::uint64_t exits = 0;       // ends of containers, pod sandboxes left out
    std::uint64_t exits_lost = 0;  // not taken in time, or too many at a time to ask for
  };

  explicit ContainerTable(Resolver& resolver) : resolver_(resolver) {}

  // The container, asked for if that was not done yet or is due again: call it until the state is
  // known or absent. nullptr: the table is full (counted); the container is then called by its id.
  // Pointers are valid until forget() and poll().
  const Container* want(std::string_view id, Runtime runtime, std::uint64_t now_ns);
  // Takes the answers and events that are there; returns the ids about which something else is
  // known now. Call it often: a runtime forgets what has ended.
  std::vector<std::string> poll(std::uint64_t now_ns);
  // The container's cgroup was removed: how it ended is asked for, once.
  void ended(std::string_view id, std::uint64_t now_ns);
  // Its cgroup is gone for so long that nobody will want it any more.
  void forget(std::string_view id, std::uint64_t now_ns);
  // The exits since the last call, at most kMaxExits: each end of a container once, however many
  // spoke of it.
  [[nodiscard]] std::vector<ContainerExit> take_exits();

  // nullptr: not asked for, or gone.
  [[nodiscard]] const Container* find(std::string_view id) const;
  template <class Visit>
  void each(Visit&& visit) const {
    for (const auto& [id, container] : containers_) visit(container);
  }
  [[nodiscard]] std::size_t size() const { return containers_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  using Containers = std::unordered_map<std::string, Container>;
  using Changed = std::vector<std::string>;

  Container* held(std::string_view id);
  Container* keep(std::string_view id);
  void take(Answer& answer, std::uint64_t now_ns, Changed& changed);
  void take_name(const Answer& answer, std::uint64_t now_ns, Changed& changed);
  void take_list(Answer& answer, std::uint64_t now_ns, Changed& changed);
  void miss_from_list(std::size_t source, std::uint64_t now_ns);
  void take_exit(Answer& answer, std::uint64_t now_ns, Changed& changed);
  void take_event(ContainerEvent& event, std::uint64_t now_ns, Changed& changed);
  void take_start(const ContainerEvent& event);
  void take_end(const ContainerEvent& event, std::uint64_t now_ns);
  void ask_name(Container& container, Runtime runtime, std::uint64_t now_ns);
  void learn(ContainerFacts facts, std::uint64_t now_ns, Changed& changed);
  void ask_detail(Container& container, std::uint64_t now_ns);

  void begin_end(Container& container, bool certain, std::uint64_t now_ns);
  void settle_end(Container& container, const Answer& answer, bool other_run, std::uint64_t now_ns);
  void still_runs(Container& container, bool other_run, std::uint64_t now_ns);
  void ask_exit(Container& container, std::uint64_t now_ns);
  void report(Container& container, const std::optional<ExitFacts>& exit);
  void report_told(Container& container);
  void report_learned(Container& container);
  void run_ends(std::uint64_t now_ns);
  void remember_counted(const std::string& id);

  Resolver& resolver_;
  Containers containers_;
  Containers leaving_;                      // forgotten, but their exit is asked for
  std::unordered_set<std::string> ending_;  // of containers_, with End::asked, or to be swept
  std::unordered_set<std::string> counted_;
  std::deque<std::string> counted_order_;
  std::vector<ContainerExit> exits_;
  std::vector<Answer> answers_;
  std::vector<ContainerEvent> events_;
  std::uint64_t list_number_ = 0;
  std::uint64_t next_ends_ns_ = 0;
  Stats stats_;
};

}  // namespace tarsier::enrich
