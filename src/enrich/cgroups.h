// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The cgroups of the node: which hierarchy places containers, and which id has which path.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/fd.h"
#include "base/files.h"
#include "enrich/cgroup_path.h"
#include "tarsier/result.h"

namespace tarsier::enrich {

// The hierarchy in which runtimes place containers. On a hybrid host (v1 controllers with a v2
// hierarchy beside them) that is a v1 one, and all containers share one v2 cgroup.
struct Hierarchy {
  int version = 2;
  std::string mount_point;  // "/sys/fs/cgroup/memory", in the mount namespace that was read
  std::string mount_root;   // what of the hierarchy is mounted there; "/" unless in a container
  std::string controller;   // v1: "memory", "pids" …; empty for v2
  std::uint32_t id = 0;     // as in /proc/cgroups, /proc/PID/cgroup and the cgroup tracepoints

  // v1: the enumerator of enum cgroup_subsys_id whose value indexes task->cgroups->subsys. Its
  // value differs from kernel to kernel, so BPF asks BTF for it (bpf_core_enum_value). v2: empty,
  // there task->cgroups->dfl_cgrp is the cgroup.
  [[nodiscard]] std::string subsystem_enumerator() const;
};

// Chooses from the text of /proc/PID/mountinfo and /proc/cgroups. not_found: no cgroup file system.
[[nodiscard]] Result<Hierarchy> choose_hierarchy(std::string_view mountinfo,
                                                 std::string_view proc_cgroups);
// The same on a node: asks process 1 first, because the daemon may live in a mount namespace.
[[nodiscard]] Result<Hierarchy> find_hierarchy(const base::HostFiles& host);

// The path in this hierarchy, from the text of /proc/PID/cgroup.
[[nodiscard]] std::optional<std::string_view> path_in(const Hierarchy& hierarchy,
                                                      std::string_view proc_pid_cgroup);

// A cgroup somebody asked for. Stays where it is until CgroupTable::expire drops it.
struct Cgroup {
  std::string path;
  CgroupInfo info;
};

struct CgroupLimits {
  std::size_t cgroups = 200'000;             // kept at most; about 200 bytes each
  std::uint64_t grace_ns = 10'000'000'000;   // removed ones still resolve for this long
  std::uint64_t rewalk_ns = 10'000'000'000;  // an unknown id starts a walk this often
  std::uint64_t unknown_ns = 1'000'000'000;  // an unknown id is asked for this often
  std::size_t unknown_ids = 4'096;           // unknown ids remembered
};

// Cgroup id (the inode number of its directory, which is what BPF calls cgroup id) to path.
// Collector thread only. now_ns is CLOCK_BOOTTIME throughout.
class CgroupTable {
 public:
  struct Stats {
    std::uint64_t refused = 0;     // cgroups not kept because of the limit
    std::uint64_t walks = 0;       // whole walks of the hierarchy
    std::uint64_t unknown = 0;     // look-ups that found nothing anywhere
    std::uint64_t by_handle = 0;   // look-ups answered by open_by_handle_at
    std::uint64_t by_process = 0;  // look-ups answered by /proc/PID/cgroup
  };

  // `host` outlives the table. A mount point that cannot be opened is no error: look-ups then go by
  // events and /proc/PID/cgroup alone.
  CgroupTable(Hierarchy hierarchy, const base::HostFiles& host, CgroupLimits limits = {});

  // Reads the whole hierarchy; ids it does not meet any more count as removed at now_ns.
  Status walk(std::uint64_t now_ns);

  // Tracepoints cgroup_mkdir, cgroup_rmdir, cgroup_rename of this hierarchy.
  void made(std::uint64_t id, std::string_view path, std::uint64_t now_ns);
  void removed(std::uint64_t id, std::uint64_t now_ns);
  void renamed(std::uint64_t id, std::string_view path, std::uint64_t now_ns);

  // nullptr: nobody knows the id. Unknown ids are looked for in the kernel (by handle, then in
  // /proc/tgid/cgroup where tgid is not 0, then by a walk), each of these at a bounded rate.
  const Cgroup* find(std::uint64_t id, std::uint64_t now_ns, std::uint32_t tgid = 0);

  // The same for one that find() has given before, without looking anywhere else.
  [[nodiscard]] const Cgroup* known(std::uint64_t id) const;

  struct Gone {
    std::uint64_t id;
    std::string path;
  };
  // Forgets what was removed more than the grace time ago and calls on_gone(const Gone&) for each.
  // Call it about once a second.
  template <class OnGone>
  void expire(std::uint64_t now_ns, OnGone&& on_gone) {
    while (const auto gone = pop_expired(now_ns)) on_gone(*gone);
  }

  // Calls on_removed(const std::string& path) for each cgroup that was removed since the last call
  // and has not come back.
  template <class OnRemoved>
  void each_new_removal(OnRemoved&& on_removed) {
    while (const auto path = pop_new_removal()) on_removed(*path);
  }

  // The directory of each cgroup that exists, as this process can open it.
  void each_directory(const std::function<void(const std::string&)>& visit) const;

  // The id of the cgroup at a path of this hierarchy, from its directory's inode number.
  [[nodiscard]] Result<std::uint64_t> id_of(std::string_view path) const;

  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }
  [[nodiscard]] const CgroupLimits& limits() const { return limits_; }
  [[nodiscard]] const Hierarchy& hierarchy() const { return hierarchy_; }

 private:
  // Found by the walk: a name and a parent. Learned alone: the whole path and no parent.
  struct Node {
    std::uint64_t parent = 0;
    std::string name;
    std::uint64_t removed_ns = 0;  // 0: exists
    std::uint32_t walk = 0;        // the last walk that met it
    std::unique_ptr<Cgroup> asked;
  };
  struct Removal {
    std::uint64_t id;
    std::uint64_t time_ns;
  };

  Node* keep(std::uint64_t id, std::uint64_t parent, std::string_view name);
  void walk_directory(base::UniqueFd directory, std::uint64_t id, int depth);
  void mark_removed(std::uint64_t id, Node& node, std::uint64_t now_ns);
  std::optional<Gone> pop_expired(std::uint64_t now_ns);
  std::optional<std::string> pop_new_removal();
  [[nodiscard]] std::optional<std::string> path_of(const Node& node) const;
  [[nodiscard]] base::UniqueFd open_by_id(std::uint64_t id) const;
  [[nodiscard]] std::optional<std::string> path_by_handle(std::uint64_t id) const;
  [[nodiscard]] std::optional<std::string> path_by_process(std::uint64_t id,
                                                           std::uint32_t tgid) const;
  Node* look_for(std::uint64_t id, std::uint64_t now_ns, std::uint32_t tgid);

  Hierarchy hierarchy_;
  const base::HostFiles& host_;
  CgroupLimits limits_;
  base::UniqueFd mount_;
  std::string mount_path_;     // as the kernel writes the path of mount_
  bool handles_work_ = false;  // open_by_handle_at is allowed and knows ids
  std::unordered_map<std::uint64_t, Node> nodes_;
  std::deque<Removal> removals_;
  std::size_t new_removals_ = 0;  // how many at the end of removals_ nobody was told of
  std::unordered_map<std::uint64_t, std::uint64_t>
      unknown_;  // id to when it may be asked for again
  std::uint64_t next_walk_ns_ = 0;
  std::uint32_t walk_number_ = 0;
  Stats stats_;
};

}  // namespace tarsier::enrich
