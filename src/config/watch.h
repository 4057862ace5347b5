// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Tells when the content of the configuration file has changed.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>

#include "base/fd.h"
#include "tarsier/result.h"

namespace tarsier::config {

inline constexpr int kMaxLinks = 16;  // symbolic links on the way to the file

// Watches, by inotify, every directory in which the way to the file can be bent: the one that holds
// the file and those that hold a symbolic link on the way. So it sees a write, an editor's rename
// and the swap of `..data` in a mounted ConfigMap. No thread: poll fd(), then ask changed().
//
// Make it before the file is loaded, so that no change falls between the two. One thread.
class FileWatch {
 public:
  // The file may be absent; its arrival is a change. Fails where inotify is used up.
  [[nodiscard]] static Result<FileWatch> open(std::string path);

  [[nodiscard]] int fd() const { return inotify_.get(); }  // readable: ask changed()
  // Takes what inotify has to say and compares the content. True once per new content; a file that
  // is gone, unreadable, too large or as before is no change. Never blocks.
  [[nodiscard]] bool changed();

 private:
  using Places = std::map<std::string, std::set<std::string>>;  // directory to names of interest
  FileWatch(std::string path, base::UniqueFd inotify)
      : path_(std::move(path)), inotify_(std::move(inotify)) {}
  [[nodiscard]] bool drain();
  Status arm();

  std::string path_;
  base::UniqueFd inotify_;
  std::map<int, std::set<std::string>> names_;  // by watch descriptor
  std::string content_;
  bool known_ = false;  // content_ is that of a file that was there
};

}  // namespace tarsier::config
