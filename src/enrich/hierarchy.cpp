// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which cgroup hierarchy to look at: pure functions over the text of /proc files.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/text.h"
#include "enrich/cgroups.h"

namespace tarsier::enrich {
namespace {

struct Mount {
  std::string root;
  std::string point;
  std::string type;
  std::vector<std::string> options;  // of the super block: the controllers of a v1 hierarchy
};

template <class Range>
bool holds(const Range& range, std::string_view wanted) {
  return std::ranges::find(range, wanted) != range.end();
}

// mountinfo writes space, tab, newline and backslash as three octal digits (proc_pid_mountinfo(5)).
std::string unescape_octal(std::string_view text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && text.size() - i >= 4 && text[i + 1] <= '3' &&
        std::ranges::all_of(text.substr(i + 1, 3), octal)) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                      (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// "36 35 98:0 /root /point rw,opts shared:1 - cgroup cgroup rw,memory"
std::optional<Mount> parse_mount(std::string_view line) {
  const auto fields = base::split(line, ' ');
  const auto dash = std::ranges::find(fields, "-");
  if (dash - fields.begin() < 6 || fields.end() - dash < 4) return std::nullopt;
  Mount mount{unescape_octal(fields[3]), unescape_octal(fields[4]), std::string(dash[1]), {}};
  for (const std::string_view option : base::split(dash[3], ','))
    mount.options.emplace_back(option);
  if (!mount.point.starts_with('/')) return std::nullopt;
  return mount;
}

// A mount of the whole hierarchy is worth more than one of a part.
const Mount* best(const std::vector<Mount>& mounts, std::string_view type,
                  std::string_view controller) {
  const Mount* found = nullptr;
  for (const Mount& mount : mounts) {
    const bool fits =
        mount.type == type && (controller.empty() || holds(mount.options, controller));
    if (fits && (found == nullptr || (found->root != "/" && mount.root == "/"))) found = &mount;
  }
  return found;
}

std::uint32_t hierarchy_id(std::string_view proc_cgroups, std::string_view controller) {
  for (const std::string_view line : base::split(proc_cgroups, '\n')) {
    const auto fields = base::split(line, '\t');
    if (fields.size() < 2 || fields[0] != controller) continue;
    std::uint32_t id = 0;
    std::from_chars(fields[1].data(), fields[1].data() + fields[1].size(), id);
    return id;
  }
  return 0;
}

}  // namespace

std::string Hierarchy::subsystem_enumerator() const {
  if (controller.empty()) return {};
  // The v1 name of the io controller is older than its name in the code.
  return (controller == "blkio" ? std::string("io") : controller) + "_cgrp_id";
}

Result<Hierarchy> choose_hierarchy(std::string_view mountinfo, std::string_view proc_cgroups) {
  std::vector<Mount> mounts;
  for (const std::string_view line : base::split(mountinfo, '\n')) {
    if (auto mount = parse_mount(line)) mounts.push_back(std::move(*mount));
  }
  const auto v1 = [&](std::string_view controller) -> std::optional<Hierarchy> {
    const Mount* mount = best(mounts, "cgroup", controller);
    if (mount == nullptr) return std::nullopt;
    return Hierarchy{1, mount->point, mount->root, std::string(controller),
                     hierarchy_id(proc_cgroups, controller)};
  };
  // Every runtime places its containers in these two. Others, net_cls say, are also mounted by
  // hand on hosts whose containers live in v2, so they count only where there is no v2.
  for (const std::string_view controller : {"memory", "pids"}) {
    if (auto found = v1(controller)) return std::move(*found);
  }
  if (const Mount* mount = best(mounts, "cgroup2", "")) {
    return Hierarchy{2, mount->point, mount->root, "", 0};
  }
  for (const std::string_view controller : {"cpu", "cpuacct", "devices", "freezer", "blkio"}) {
    if (auto found = v1(controller)) return std::move(*found);
  }
  return fail(
      ErrorCode::not_found,
      "find the cgroup hierarchy: no cgroup file system is mounted, so containers cannot be "
      "told apart; mount one at /sys/fs/cgroup");
}

Result<Hierarchy> find_hierarchy(const base::HostFiles& host) {
  const std::string cgroups = host.read("proc/cgroups").value_or("");
  Result<Hierarchy> first = fail(ErrorCode::not_found, "read mountinfo: /proc is not there");
  for (const std::string_view file : {"proc/1/mountinfo", "proc/self/mountinfo"}) {
    const auto text = host.read(file);
    if (!text) continue;
    auto found = choose_hierarchy(*text, cgroups);
    if (found) return found;
    first = std::move(found);
  }
  return first;
}

std::optional<std::string_view> path_in(const Hierarchy& hierarchy,
                                        std::string_view proc_pid_cgroup) {
  for (const std::string_view line : base::split(proc_pid_cgroup, '\n')) {
    // "4:memory:/path"; the path may hold colons.
    const auto first = line.find(':');
    if (first == std::string_view::npos) continue;
    const auto second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const auto controllers = base::split(line.substr(first + 1, second - first - 1), ',');
    const bool fits =
        hierarchy.version == 2 ? line.starts_with("0::") : holds(controllers, hierarchy.controller);
    if (fits) return line.substr(second + 1);
  }
  return std::nullopt;
}

}  // namespace tarsier::enrich
