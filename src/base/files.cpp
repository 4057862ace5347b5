// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/fd.h"

namespace tarsier::base {

constexpr mode_t kDirectoryMode = 0755;

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(fmt::format("open {}", path));
  std::string content;
  char buffer[16 * 1024];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(fmt::format("read {}", path));
    if (n == 0) return content;
    content.append(buffer, static_cast<std::size_t>(n));
    if (content.size() > max_bytes) {
      return fail(ErrorCode::limit_reached,
                  fmt::format("read {}: longer than {} bytes", path, max_bytes));
    }
  }
}

Status make_parent(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  if (directory.empty() || ::mkdir(directory.c_str(), kDirectoryMode) == 0 || errno == EEXIST) {
    return {};
  }
  return fail_errno(fmt::format("make the directory {}", directory));
}

Status replace_file(const std::string& path, std::string_view content, unsigned mode) {
  const std::string temporary = fmt::format("{}.{}.new", path, ::getpid());
  UniqueFd fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return fail_errno(fmt::format("create {}", temporary));
  while (!content.empty()) {
    const ssize_t n = ::write(fd.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      ::unlink(temporary.c_str());
      return fail_errno(fmt::format("write {}", temporary), error);
    }
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return fail_errno(fmt::format("rename {} to {}", temporary, path), error);
  }
  return {};
}

}  // namespace tarsier::base
