// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/cgroup_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>

namespace tarsier::enrich {
namespace {

constexpr std::uint32_t kEvents = IN_CREATE | IN_DELETE | IN_MOVE | IN_ONLYDIR;

}  // namespace

Result<CgroupWatch> CgroupWatch::open(CgroupTable& table) {
  base::UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify) return fail_errno("watch the cgroup directories");
  return CgroupWatch(table, std::move(inotify));
}

void CgroupWatch::poll(std::uint64_t now_ns) {
  read_events();
  if (!changed_ || now_ns < next_walk_ns_) return;
  next_walk_ns_ = now_ns + kWatchWalkNs;
  // Watches first: what is made while we walk is then told, and walked to the next time.
  changed_ = false;
  watch_all();
  (void)table_->walk(now_ns);
  watch_all();
}

void CgroupWatch::read_events() {
  alignas(inotify_event) std::array<char, 64 * 1024> buffer;
  while (true) {
    const ssize_t size = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (size <= 0) return;
    changed_ = true;
    for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(size);) {
      inotify_event event;
      std::memcpy(&event, buffer.data() + at, sizeof event);
      at += sizeof event + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) ++stats_.lost;
      if ((event.mask & IN_IGNORED) == 0) continue;
      // The directory is gone, and its watch with it.
      const auto found = by_number_.find(event.wd);
      if (found == by_number_.end()) continue;
      watched_.erase(found->second);
      by_number_.erase(found);
    }
  }
}

void CgroupWatch::watch_all() {
  table_->each_directory([this](const std::string& path) {
    if (watched_.contains(path)) return;
    if (watched_.size() >= kMaxCgroupWatches) {
      ++stats_.refused;
      return;
    }
    const int number = ::inotify_add_watch(inotify_.get(), path.c_str(), kEvents);
    if (number < 0) {
      if (errno != ENOENT) ++stats_.refused;
      return;
    }
    // Something that was not seen before may have happened in it meanwhile.
    changed_ = true;
    watched_[path] = number;
    by_number_[number] = path;
  });
}

}  // namespace tarsier::enrich
