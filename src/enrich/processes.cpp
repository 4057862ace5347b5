// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/processes.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/text.h"

namespace tarsier::enrich {
namespace {

// A process is in the kernel's list a moment after its start was stamped; a snapshot that misses
// one this young proves nothing.
constexpr std::uint64_t kBirthNs = 1'000'000'000;

bool is_told(const Comm& comm) {
  return comm[0] != '\0';
}

bool matches(const Process& process, std::uint64_t start_ns) {
  if (start_ns == 0 || start_ns == process.start_ns) return true;
  return process.start_slack_ns != 0 && start_ns > process.start_ns &&
         start_ns - process.start_ns < process.start_slack_ns;
}

}  // namespace

Comm to_comm(std::string_view text) {
  Comm comm = {};
  std::ranges::copy(text.substr(0, comm.size() - 1), comm.begin());
  return comm;
}

std::string_view text_of(const Comm& comm) {
  return base::until_zero(comm);
}

Process* ProcessTable::find(std::uint32_t tgid, std::uint64_t start_ns) {
  const auto current = current_.find(tgid);
  if (current == current_.end()) return nullptr;
  Process& process = current->second;
  if (matches(process, start_ns)) {
    // The first exact word about a process that /proc had told us of. Not for ended ones: their
    // place in ends_ goes by the start.
    if (process.start_slack_ns != 0 && start_ns != 0 && process.ended_ns == 0) {
      process.start_ns = start_ns;
      process.start_slack_ns = 0;
    }
    return &process;
  }
  const auto replaced = replaced_.find(Key{tgid, start_ns});
  return replaced == replaced_.end() ? nullptr : &replaced->second;
}

ProcessVersion* ProcessTable::at(std::uint32_t tgid, std::uint64_t start_ns,
                                 std::uint64_t time_ns) {
  Process* process = find(tgid, start_ns);
  if (process == nullptr) return nullptr;
  std::size_t index = process->version_count - 1U;
  while (index > 0 && process->versions[index].since_ns > time_ns) --index;
  return &process->versions[index];
}

Process* ProcessTable::add(const Process& process) {
  if (live_ >= limits_.live) {
    ++stats_.refused;
    return nullptr;
  }
  ++live_;
  return &(current_[process.tgid] = process);
}

// The tgid has a new owner: whoever had it has ended, and moves aside.
void ProcessTable::make_room_for(std::uint32_t tgid, std::uint64_t time_ns) {
  const auto found = current_.find(tgid);
  if (found == current_.end()) return;
  if (found->second.ended_ns == 0) {
    ++stats_.unseen_ends;
    end(found->second, time_ns);
  }
  // Ending one can push the oldest out, which may be this one.
  const auto still = current_.find(tgid);
  if (still == current_.end()) return;
  const Key key{tgid, still->second.start_ns};
  replaced_.insert_or_assign(key, still->second);
  current_.erase(still);
}

Process* ProcessTable::find_or_add(std::uint32_t tgid, std::uint64_t start_ns,
                                   std::uint64_t time_ns, const Comm& comm,
                                   std::uint64_t cgroup_id) {
  if (Process* process = find(tgid, start_ns)) return process;
  if (start_ns == 0) return nullptr;
  // Late words about somebody who is forgotten must not displace the present owner.
  const auto current = current_.find(tgid);
  if (current != current_.end() && current->second.start_ns > start_ns) return nullptr;
  make_room_for(tgid, time_ns);
  Process process{.tgid = tgid, .start_ns = start_ns, .version_count = 1};
  process.versions[0] = {.since_ns = start_ns, .cgroup_id = cgroup_id, .comm = comm};
  return add(process);
}

void ProcessTable::push_version(Process& process, std::uint64_t time_ns, const Comm& comm,
                                std::uint64_t cgroup_id) {
  ProcessVersion& last = process.last();
  const std::uint64_t since_ns = std::max(time_ns, last.since_ns);
  if (last.state == LabelState::none && last.since_ns == since_ns) {
    last.comm = comm;
    last.cgroup_id = cgroup_id;
    return;
  }
  if (process.version_count == kMaxVersions) {
    ++stats_.versions_dropped;
    if (on_gone_ && process.versions[0].state != LabelState::none) {
      on_gone_(process, process.versions[0]);
    }
    std::ranges::copy(process.versions.begin() + 1, process.versions.end(),
                      process.versions.begin());
    --process.version_count;
  }
  process.versions[process.version_count++] = {
      .since_ns = since_ns, .cgroup_id = cgroup_id, .comm = comm};
}

void ProcessTable::change(Process& process, std::uint64_t time_ns, const Comm& comm,
                          std::uint64_t cgroup_id) {
  const ProcessVersion& last = process.last();
  const Comm& new_comm = is_told(comm) ? comm : last.comm;
  const std::uint64_t new_cgroup = cgroup_id != 0 ? cgroup_id : last.cgroup_id;
  if (new_comm == last.comm && new_cgroup == last.cgroup_id) return;
  push_version(process, time_ns, Comm(new_comm), new_cgroup);
}

void ProcessTable::on(const ForkEvent& event) {
  // A snapshot can have been quicker than the event.
  if (Process* known = find(event.tgid, event.start_ns); known != nullptr && event.start_ns != 0) {
    known->parent_tgid = event.parent_tgid;
    if (known->versions[0].cgroup_id == 0) known->versions[0].cgroup_id = event.cgroup_id;
    return;
  }
  Process* process =
      find_or_add(event.tgid, event.start_ns, event.time_ns, event.comm, event.cgroup_id);
  if (process != nullptr) process->parent_tgid = event.parent_tgid;
}

void ProcessTable::on(const ExecEvent& event) {
  Process* process =
      find_or_add(event.tgid, event.start_ns, event.time_ns, event.comm, event.cgroup_id);
  if (process == nullptr) return;
  const ProcessVersion& last = process->last();
  const bool other_comm = is_told(event.comm) && event.comm != last.comm;
  // The same name can be another program: labels that were made stay with the old one.
  if (!other_comm && last.state != LabelState::none && event.time_ns > last.since_ns) {
    const std::uint64_t cgroup_id = event.cgroup_id != 0 ? event.cgroup_id : last.cgroup_id;
    push_version(*process, event.time_ns, Comm(last.comm), cgroup_id);
    return;
  }
  change(*process, event.time_ns, event.comm, event.cgroup_id);
}

void ProcessTable::on(const RenameEvent& event) {
  if (Process* process = find_or_add(event.tgid, event.start_ns, event.time_ns, event.comm, 0)) {
    change(*process, event.time_ns, event.comm, 0);
  }
}

void ProcessTable::on(const CgroupMoveEvent& event) {
  if (Process* process = find(event.tgid, event.start_ns)) {
    change(*process, event.time_ns, {}, event.cgroup_id);
  }
}

void ProcessTable::on(const ExitEvent& event) {
  Process* process =
      find_or_add(event.tgid, event.start_ns, event.time_ns, event.comm, event.cgroup_id);
  if (process == nullptr || process->ended_ns != 0) return;
  change(*process, event.time_ns, event.comm, event.cgroup_id);
  end(*process, event.time_ns);
}

void ProcessTable::apply_snapshot(std::span<const SnapshotEntry> entries, std::uint64_t taken_ns) {
  std::unordered_set<std::uint32_t> seen;
  seen.reserve(entries.size());
  for (const SnapshotEntry& entry : entries) {
    seen.insert(entry.tgid);
    if (Process* known = find_in_snapshot(entry)) {
      if (known->parent_tgid == 0) known->parent_tgid = entry.parent_tgid;
      if (known->last().cgroup_id == 0) known->last().cgroup_id = entry.cgroup_id;
      continue;
    }
    Process* added = find_or_add(entry.tgid, entry.start_ns, taken_ns, entry.comm, entry.cgroup_id);
    if (added == nullptr) continue;
    added->parent_tgid = entry.parent_tgid;
    added->start_slack_ns = entry.start_slack_ns;
  }
  std::vector<std::uint32_t> absent;
  for (const auto& [tgid, process] : current_) {
    const bool old = process.start_ns + kBirthNs < taken_ns;
    if (process.ended_ns == 0 && old && !seen.contains(tgid)) absent.push_back(tgid);
  }
  for (const std::uint32_t tgid : absent) {
    const auto found = current_.find(tgid);
    if (found == current_.end()) continue;
    ++stats_.unseen_ends;
    end(found->second, taken_ns);
  }
}

// The process of an entry, its start compared as roughly as either side knows it.
Process* ProcessTable::find_in_snapshot(const SnapshotEntry& entry) {
  const auto current = current_.find(entry.tgid);
  if (current == current_.end()) return nullptr;
  Process& process = current->second;
  const std::uint64_t slack = std::max(entry.start_slack_ns, process.start_slack_ns);
  const std::uint64_t apart =
      std::max(entry.start_ns, process.start_ns) - std::min(entry.start_ns, process.start_ns);
  return apart == 0 || apart < slack ? &process : nullptr;
}

void ProcessTable::end(Process& process, std::uint64_t time_ns) {
  process.ended_ns = std::max<std::uint64_t>(time_ns, 1);
  --live_;
  ends_.push_back({{process.tgid, process.start_ns}, process.ended_ns});
  while (ends_.size() > limits_.ended) {
    ++stats_.ended_early;
    const Key key = ends_.front().key;
    ends_.pop_front();
    forget(key);
  }
}

void ProcessTable::forget(const Key& key) {
  const auto current = current_.find(key.tgid);
  if (current != current_.end() && current->second.start_ns == key.start_ns) {
    say_gone(current->second);
    current_.erase(current);
    return;
  }
  const auto replaced = replaced_.find(key);
  if (replaced == replaced_.end()) return;
  say_gone(replaced->second);
  replaced_.erase(replaced);
}

void ProcessTable::say_gone(const Process& process) {
  if (!on_gone_) return;
  for (std::size_t i = 0; i < process.version_count; ++i) {
    if (process.versions[i].state != LabelState::none) on_gone_(process, process.versions[i]);
  }
}

void ProcessTable::expire(std::uint64_t now_ns) {
  while (!ends_.empty() && ends_.front().time_ns + limits_.grace_ns <= now_ns) {
    const Key key = ends_.front().key;
    ends_.pop_front();
    forget(key);
  }
}

std::string read_exe(const base::HostFiles& host, std::uint32_t tgid) {
  char buffer[4096];
  const std::string path = host.path(fmt::format("proc/{}/exe", tgid));
  const ssize_t length = ::readlink(path.c_str(), buffer, sizeof buffer);
  if (length < 0) return {};
  std::string_view exe(buffer, static_cast<std::size_t>(length));
  // The kernel says so when the file was replaced, as a package upgrade does.
  constexpr std::string_view kDeleted = " (deleted)";
  if (exe.ends_with(kDeleted)) exe.remove_suffix(kDeleted.size());
  return std::string(exe);
}

}  // namespace tarsier::enrich
