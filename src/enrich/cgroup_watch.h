// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Tells that cgroups were made or removed, for kernels whose tracepoints do not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/fd.h"
#include "enrich/cgroups.h"
#include "tarsier/result.h"

namespace tarsier::enrich {

// A watch takes about 1 KiB of the kernel's memory; fs.inotify.max_user_watches may allow fewer.
inline constexpr std::size_t kMaxCgroupWatches = 16'384;
// A whole walk of the hierarchy answers all changes since the last one; at most so often.
inline constexpr std::uint64_t kWatchWalkNs = 250'000'000;

// inotify sees what user space makes and removes below the mount point of the hierarchy. Collector
// thread only. now_ns is CLOCK_BOOTTIME.
class CgroupWatch {
 public:
  struct Stats {
    std::uint64_t refused = 0;  // directories that are not watched because of a limit
    std::uint64_t lost = 0;     // times that the kernel's queue was full; the next walk makes up
  };

  // `table` outlives the watch. Errors: inotify is not to be had.
  [[nodiscard]] static Result<CgroupWatch> open(CgroupTable& table);

  // Walks where anything has changed and the last walk is kWatchWalkNs ago. Cheap where nothing
  // has; call it each round.
  void poll(std::uint64_t now_ns);

  [[nodiscard]] std::size_t watches() const { return watched_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  CgroupWatch(CgroupTable& table, base::UniqueFd inotify)
      : table_(&table), inotify_(std::move(inotify)) {}
  void read_events();
  void watch_all();

  CgroupTable* table_;
  base::UniqueFd inotify_;
  std::unordered_map<std::string, int> watched_;    // path below the mount point to its number
  std::unordered_map<int, std::string> by_number_;  // and back
  bool changed_ = true;
  std::uint64_t next_walk_ns_ = 0;
  Stats stats_;
};

}  // namespace tarsier::enrich
