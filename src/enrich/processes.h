// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The processes of the node as they were at any moment of the last seconds.
//
// A ring is drained some milliseconds after its records were written, and a process can exec or end
// in between. So a process keeps its last few versions, and whoever asks gives the record's time.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/files.h"
#include "tarsier/result.h"

namespace tarsier::enrich {

using Comm = std::array<char, 16>;  // TASK_COMM_LEN; need not end in zero
[[nodiscard]] Comm to_comm(std::string_view text);
[[nodiscard]] std::string_view text_of(const Comm& comm);

// What the kernel tells. All times are CLOCK_BOOTTIME; start_ns is that of the group leader. comm
// is the group leader's; events about other threads are not passed on.
struct ForkEvent {
  std::uint64_t time_ns = 0;
  std::uint32_t tgid = 0;
  std::uint64_t start_ns = 0;
  std::uint32_t parent_tgid = 0;
  Comm comm = {};
  std::uint64_t cgroup_id = 0;
};
struct ExecEvent {
  std::uint64_t time_ns = 0;
  std::uint32_t tgid = 0;
  std::uint64_t start_ns = 0;
  Comm comm = {};               // the new one
  std::uint64_t cgroup_id = 0;  // 0: not told
};
struct RenameEvent {
  std::uint64_t time_ns = 0;
  std::uint32_t tgid = 0;
  std::uint64_t start_ns = 0;
  Comm comm = {};
};
struct CgroupMoveEvent {
  std::uint64_t time_ns = 0;
  std::uint32_t tgid = 0;
  std::uint64_t start_ns = 0;
  std::uint64_t cgroup_id = 0;
};
// The whole group ended, not one thread of it.
struct ExitEvent {
  std::uint64_t time_ns = 0;
  std::uint32_t tgid = 0;
  std::uint64_t start_ns = 0;
  Comm comm = {};
  std::uint64_t cgroup_id = 0;  // 0: not told
};
// One process of a look at all of them.
struct SnapshotEntry {
  std::uint32_t tgid = 0;
  std::uint64_t start_ns = 0;
  std::uint64_t start_slack_ns = 0;  // /proc rounds down to clock ticks; 0: exact
  std::uint32_t parent_tgid = 0;
  Comm comm = {};
  std::uint64_t cgroup_id = 0;
};

// How far the labels of a version are; the caller's to write.
enum class LabelState : std::uint8_t { none, pending, resolved };

// A process between two changes of its name or cgroup.
struct ProcessVersion {
  std::uint64_t since_ns = 0;
  std::uint64_t cgroup_id = 0;
  Comm comm = {};
  std::uint64_t pending_since_ns = 0;  // LabelState::pending: when the first question was asked
  std::uint32_t identity = 0;          // the caller's name for the label set (an EntityId)
  LabelState state = LabelState::none;
  bool named =
      true;  // the caller's too: false where it is shown without a name that it should have
};

inline constexpr std::size_t kMaxVersions = 4;

struct Process {
  std::uint32_t tgid = 0;
  std::uint32_t parent_tgid = 0;
  std::uint64_t start_ns = 0;
  std::uint64_t start_slack_ns = 0;
  std::uint64_t ended_ns = 0;  // 0: lives
  std::array<ProcessVersion, kMaxVersions> versions = {};
  std::uint8_t version_count = 0;

  [[nodiscard]] ProcessVersion& last() { return versions[version_count - 1U]; }
  [[nodiscard]] const ProcessVersion& last() const { return versions[version_count - 1U]; }
};

struct ProcessLimits {
  std::size_t live = 65'536;                // about 300 bytes each
  std::size_t ended = 32'768;               // kept for the grace time
  std::uint64_t grace_ns = 10'000'000'000;  // ended ones still resolve for this long
};

// Collector thread only. Pointers that it gives are valid until the next call that changes it.
class ProcessTable {
 public:
  struct Stats {
    std::uint64_t refused = 0;           // processes not kept because of the limit
    std::uint64_t ended_early = 0;       // ended ones forgotten before their grace time
    std::uint64_t versions_dropped = 0;  // older versions pushed out by newer ones
    std::uint64_t unseen_ends = 0;       // ends that a snapshot or a reused tgid told, no event
  };
  // Called for each version with a label state that the table is about to forget.
  using OnGone = std::function<void(const Process&, const ProcessVersion&)>;

  explicit ProcessTable(ProcessLimits limits = {}) : limits_(limits) {}
  void set_on_gone(OnGone on_gone) { on_gone_ = std::move(on_gone); }

  void on(const ForkEvent& event);
  void on(const ExecEvent& event);
  void on(const RenameEvent& event);
  void on(const CgroupMoveEvent& event);
  void on(const ExitEvent& event);
  // A look at all processes, begun at taken_ns: adds who is missing, ends who is not in it and had
  // started before. Once at the start, and again after events were lost.
  void apply_snapshot(std::span<const SnapshotEntry> entries, std::uint64_t taken_ns);

  // The process, alive or ended within the grace time; start_ns 0: who has the tgid now.
  [[nodiscard]] Process* find(std::uint32_t tgid, std::uint64_t start_ns);
  // The version as of time_ns: before an exec the old name, from it on the new one. A time before
  // the first version gives the first. nullptr: no such process.
  [[nodiscard]] ProcessVersion* at(std::uint32_t tgid, std::uint64_t start_ns,
                                   std::uint64_t time_ns);

  // Calls visit(Process&) for the live ones.
  template <class Visit>
  void each_live(Visit&& visit) {
    for (auto& [tgid, process] : current_) {
      if (process.ended_ns == 0) visit(process);
    }
  }

  // Forgets who ended more than the grace time ago. Call it about once a second.
  void expire(std::uint64_t now_ns);

  [[nodiscard]] std::size_t live() const { return live_; }
  [[nodiscard]] std::size_t ended() const { return current_.size() - live_ + replaced_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }
  [[nodiscard]] const ProcessLimits& limits() const { return limits_; }

 private:
  struct Key {
    std::uint32_t tgid;
    std::uint64_t start_ns;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      return static_cast<std::size_t>(key.start_ns * 0x9E3779B97F4A7C15U ^ key.tgid);
    }
  };
  struct End {
    Key key;
    std::uint64_t time_ns;
  };

  Process* find_or_add(std::uint32_t tgid, std::uint64_t start_ns, std::uint64_t time_ns,
                       const Comm& comm, std::uint64_t cgroup_id);
  Process* add(const Process& process);
  Process* find_in_snapshot(const SnapshotEntry& entry);
  void make_room_for(std::uint32_t tgid, std::uint64_t time_ns);
  void push_version(Process& process, std::uint64_t time_ns, const Comm& comm,
                    std::uint64_t cgroup_id);
  // A version of its own, if anything of what is told (comm not empty, cgroup not 0) differs.
  void change(Process& process, std::uint64_t time_ns, const Comm& comm, std::uint64_t cgroup_id);
  void end(Process& process, std::uint64_t time_ns);
  void forget(const Key& key);
  void say_gone(const Process& process);

  ProcessLimits limits_;
  OnGone on_gone_;
  std::unordered_map<std::uint32_t, Process> current_;  // who has or had the tgid last
  std::unordered_map<Key, Process, KeyHash> replaced_;  // ended, and the tgid has a new owner
  std::deque<End> ends_;                                // in order of their time
  std::size_t live_ = 0;
  Stats stats_;
};

// The path of the program, "/usr/sbin/nginx"; empty for kernel threads and processes that are gone.
[[nodiscard]] std::string read_exe(const base::HostFiles& host, std::uint32_t tgid);

}  // namespace tarsier::enrich
