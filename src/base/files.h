// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Small files of the node, below a root that the configuration or a test names.
#pragma once

#include <string>
#include <string_view>

#include "tarsier/probe.h"
#include "tarsier/result.h"

namespace tarsier::base {

// Largest file that is read whole (/proc/kallsyms of a large kernel is 20 MiB).
inline constexpr std::size_t kMaxFileBytes = 64U << 20U;

// Reads a file whole, also where stat says that it is empty (/proc).
[[nodiscard]] Result<std::string> read_file(const std::string& path,
                                            std::size_t max_bytes = kMaxFileBytes);
// Writes a new file beside `path` and renames it over it, so that readers see old or new.
Status replace_file(const std::string& path, std::string_view content, unsigned mode);

// Makes the directory that `path` lies in, mode 0755, where it is missing; its own parent must be
// there (/run/tarsier, not /run).
Status make_parent(const std::string& path);

class HostFiles final : public Host {
 public:
  explicit HostFiles(std::string root) : root_(std::move(root)) {
    while (root_.ends_with('/')) root_.pop_back();
  }
  // path("proc/stat") is "/proc/stat" for the root "/".
  [[nodiscard]] std::string path(std::string_view relative) const {
    std::string full = root_;
    return full.append("/").append(relative);
  }
  [[nodiscard]] Result<std::string> read(std::string_view relative) const override {
    return read_file(path(relative));
  }

 private:
  std::string root_;
};

}  // namespace tarsier::base
