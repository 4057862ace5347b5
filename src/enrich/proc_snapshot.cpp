// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/proc_snapshot.h"

#include <dirent.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/text.h"

namespace tarsier::enrich {
namespace {

constexpr std::uint64_t kWorkerFlag = 0x20;  // PF_WQ_WORKER, include/linux/sched.h
constexpr std::size_t kStatBytes = 4096;

template <class Number>
bool parse_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

// /proc appends what a kworker does ("kworker/0:1-events", kernel commit 6b59808bfe48); its comm in
// events is the part before. The rescuers ("kworker/R-netns") have a dash of their own at 9.
std::string_view without_work(std::string_view comm) {
  constexpr std::size_t kFirst = 10;
  return comm.starts_with("kworker/") ? comm.substr(0, comm.find_first_of("+-", kFirst)) : comm;
}

std::uint64_t cgroup_of(const base::HostFiles& host, const CgroupTable& cgroups, std::uint32_t pid,
                        std::unordered_map<std::string, std::uint64_t>& known) {
  const auto text = host.read(fmt::format("proc/{}/cgroup", pid));
  if (!text) return 0;
  const auto path = path_in(cgroups.hierarchy(), *text);
  if (!path) return 0;
  const auto [entry, added] = known.try_emplace(std::string(*path), 0);
  if (added) entry->second = cgroups.id_of(*path).value_or(0);
  return entry->second;
}

}  // namespace

std::optional<ProcStat> parse_proc_stat(std::string_view text) {
  const auto open = text.find(" (");
  const auto close = text.rfind(") ");
  if (open == std::string_view::npos || close == std::string_view::npos || close < open + 2) {
    return std::nullopt;
  }
  ProcStat stat;
  // From the third field of proc(5) on: state, parent (4), flags (9), start time (22).
  const auto rest = base::split(base::trim(text.substr(close + 2)), ' ');
  std::uint64_t flags = 0;
  if (rest.size() < 20 || !parse_number(text.substr(0, open), stat.pid) ||
      !parse_number(rest[1], stat.parent) || !parse_number(rest[6], flags) ||
      !parse_number(rest[19], stat.start_ticks)) {
    return std::nullopt;
  }
  std::string_view comm = text.substr(open + 2, close - open - 2);
  if ((flags & kWorkerFlag) != 0) comm = without_work(comm);
  stat.comm = to_comm(comm);
  return stat;
}

Result<std::vector<SnapshotEntry>> read_processes(const base::HostFiles& host,
                                                  const CgroupTable& cgroups,
                                                  long ticks_per_second) {
  const std::string path = host.path("proc");
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (directory == nullptr) return fail_errno(fmt::format("list the processes in {}", path));
  const std::uint64_t tick_ns =
      1'000'000'000U / static_cast<std::uint64_t>(std::max(ticks_per_second, 1L));
  std::unordered_map<std::string, std::uint64_t> known;
  std::vector<SnapshotEntry> entries;
  while (const dirent* entry = ::readdir(directory.get())) {
    std::uint32_t pid = 0;
    if (!parse_number(std::string_view(entry->d_name), pid)) continue;
    const auto text = base::read_file(fmt::format("{}/{}/stat", path, pid), kStatBytes);
    const auto stat = text ? parse_proc_stat(*text) : std::nullopt;
    if (!stat) continue;
    entries.push_back({pid, stat->start_ticks * tick_ns, tick_ns, stat->parent, stat->comm,
                       cgroup_of(host, cgroups, pid, known)});
  }
  return entries;
}

}  // namespace tarsier::enrich
