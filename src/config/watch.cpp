// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/watch.h"

#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <deque>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "config/config.h"

namespace tarsier::config {
namespace {

// Not IN_MODIFY: a file that is being written is not read before its writer is done.
constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM |
                                  IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB |
                                  IN_ONLYDIR;

std::optional<std::string> link_target(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t length = ::readlink(path.c_str(), target, sizeof target);
  if (length <= 0) return std::nullopt;
  return std::string(target, static_cast<std::size_t>(length));
}

void put_in_front(std::deque<std::string>& parts, std::string_view path) {
  const auto pieces = base::split(path, '/');
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    if (!piece->empty() && *piece != ".") parts.emplace_front(*piece);
  }
}

// Walks to the file as the kernel would and notes every place where the way can be bent.
std::map<std::string, std::set<std::string>> places_of(const std::string& path) {
  std::map<std::string, std::set<std::string>> places;
  std::deque<std::string> parts;
  put_in_front(parts, path);
  std::string at;  // so far, without links; "" is the root
  for (int links = 0; !parts.empty();) {
    const std::string name = parts.front();
    parts.pop_front();
    if (name == "..") {
      at.erase(at.empty() ? 0 : at.rfind('/'));
      continue;
    }
    const std::string directory = at.empty() ? "/" : at;
    const std::string next = at + "/" + name;
    if (const auto target = link_target(next)) {
      places[directory].insert(name);
      if (++links > kMaxLinks) break;
      if (target->starts_with('/')) at.clear();
      put_in_front(parts, *target);
      continue;
    }
    struct stat info{};
    const bool there = ::lstat(next.c_str(), &info) == 0;
    if (!there || parts.empty()) places[directory].insert(name);
    if (!there) break;
    at = next;
  }
  return places;
}

}  // namespace

Result<FileWatch> FileWatch::open(std::string path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  if (error) {
    return fail_errno(fmt::format("find the current directory for {}", path), error.value());
  }
  base::UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify) {
    return fail_errno(
        "watch the configuration file with inotify (raise "
        "fs.inotify.max_user_instances)");
  }
  FileWatch watch(absolute.string(), std::move(inotify));
  const Status armed = watch.arm();
  if (!armed) return std::unexpected(armed.error());
  auto content = base::read_file(watch.path_, kMaxFileBytes);
  watch.known_ = content.has_value();
  if (content) watch.content_ = std::move(*content);
  return watch;
}

Status FileWatch::arm() {
  std::map<int, std::set<std::string>> fresh;
  for (const auto& [directory, names] : places_of(path_)) {
    const int watch = ::inotify_add_watch(inotify_.get(), directory.c_str(), kEvents);
    if (watch >= 0) {
      fresh[watch].insert(names.begin(), names.end());
    } else if (errno == ENOSPC || errno == ENOMEM || errno == EACCES) {
      return fail_errno(
          fmt::format("watch {} with inotify (fs.inotify.max_user_watches)", directory));
    }  // Any other failure is a directory that went away meanwhile; its parent tells.
  }
  for (const auto& [watch, names] : names_) {
    if (!fresh.contains(watch)) ::inotify_rm_watch(inotify_.get(), watch);
  }
  names_ = std::move(fresh);
  return {};
}

// Whether something happened that concerns the way to the file.
bool FileWatch::drain() {
  alignas(inotify_event) char buffer[16 * 1024];
  bool concerned = false;
  while (true) {
    const ssize_t length = ::read(inotify_.get(), buffer, sizeof buffer);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return concerned;
    for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
      inotify_event event{};
      std::memcpy(&event, buffer + at, sizeof event);
      // No name: about the directory itself, or the queue overflowed.
      const std::string_view name = event.len == 0 ? "" : buffer + at + sizeof event;
      const auto watched = names_.find(event.wd);
      concerned |=
          name.empty() || (watched != names_.end() && watched->second.contains(std::string(name)));
      at += sizeof event + event.len;
    }
  }
}

bool FileWatch::changed() {
  if (!drain()) return false;
  // The watches come before the reading, so that nothing is missed in between. A place that cannot
  // be watched now is tried again with the next event from the others.
  const Status armed = arm();
  if (!armed) base::log_warning("configuration file: {}", armed.error().message);
  auto content = base::read_file(path_, kMaxFileBytes);
  if (!content || (known_ && *content == content_)) return false;
  known_ = true;
  content_ = std::move(*content);
  return true;
}

}  // namespace tarsier::config
