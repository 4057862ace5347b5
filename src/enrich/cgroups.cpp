// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/text.h"

namespace tarsier::enrich {
namespace {

// Deeper than any runtime nests; the walk holds one descriptor per level.
constexpr int kMaxDepth = 64;

struct DirCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using UniqueDir = std::unique_ptr<DIR, DirCloser>;

bool is_dots(std::string_view name) {
  return name == "." || name == "..";
}

// The inode number and the number of sub-directories, which file systems that count them keep as
// the link count minus 2; -1 where this one does not.
struct DirFacts {
  std::uint64_t id = 0;
  std::int64_t children = -1;
};
std::optional<DirFacts> look_at(int parent, const char* name) {
  struct stat status = {};
  const int flags = *name == '\0' ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
  if (::fstatat(parent, name, &status, flags) != 0 || !S_ISDIR(status.st_mode)) return std::nullopt;
  return DirFacts{status.st_ino, static_cast<std::int64_t>(status.st_nlink) - 2};
}

std::string read_link(const std::string& path) {
  char buffer[4096];
  const ssize_t length = ::readlink(path.c_str(), buffer, sizeof buffer);
  return length < 0 ? std::string{} : std::string(buffer, static_cast<std::size_t>(length));
}

base::UniqueFd open_directory(int parent, const char* name) {
  return base::UniqueFd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

}  // namespace

CgroupTable::CgroupTable(Hierarchy hierarchy, const base::HostFiles& host, CgroupLimits limits)
    : hierarchy_(std::move(hierarchy)), host_(host), limits_(limits) {
  const std::string path = host_.path(std::string_view(hierarchy_.mount_point).substr(1));
  mount_.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!mount_) return;
  mount_path_ = read_link(fmt::format("/proc/self/fd/{}", mount_.get()));
  // Where the root itself can be opened by its id, a miss by handle is a sure answer.
  if (const auto root = look_at(mount_.get(), "")) handles_work_ = open_by_id(root->id).get() >= 0;
}

Status CgroupTable::walk(std::uint64_t now_ns) {
  base::UniqueFd root(mount_ ? open_directory(mount_.get(), ".").release() : -1);
  const auto facts = root ? look_at(root.get(), "") : std::nullopt;
  if (!facts) {
    return fail(ErrorCode::not_found,
                fmt::format("read the cgroups below {}: the directory cannot be opened; containers "
                            "are found by their processes alone",
                            hierarchy_.mount_point));
  }
  ++stats_.walks;
  ++walk_number_;
  next_walk_ns_ = now_ns + limits_.rewalk_ns;
  const std::string_view prefix =
      hierarchy_.mount_root == "/" ? std::string_view() : hierarchy_.mount_root;
  if (Node* node = keep(facts->id, 0, prefix)) {
    node->walk = walk_number_;
    walk_directory(std::move(root), facts->id, 1);
  }
  for (auto& [id, node] : nodes_) {
    if (node.removed_ns == 0 && node.walk != walk_number_) mark_removed(id, node, now_ns);
  }
  return {};
}

void CgroupTable::walk_directory(base::UniqueFd directory, std::uint64_t id, int depth) {
  const UniqueDir stream(::fdopendir(directory.get()));
  if (stream == nullptr) return;
  const int fd = directory.release();  // the stream's now
  while (const dirent* entry = ::readdir(stream.get())) {
    if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) continue;
    if (is_dots(entry->d_name)) continue;
    const auto facts = look_at(fd, entry->d_name);
    if (!facts) continue;  // gone again, or no directory
    Node* node = keep(facts->id, id, entry->d_name);
    if (node == nullptr) continue;
    node->walk = walk_number_;
    // A leaf's files, some dozens, need not be listed to learn that it has no sub-directory.
    if (facts->children == 0 || depth >= kMaxDepth) continue;
    if (base::UniqueFd child = open_directory(fd, entry->d_name)) {
      walk_directory(std::move(child), facts->id, depth + 1);
    }
  }
}

CgroupTable::Node* CgroupTable::keep(std::uint64_t id, std::uint64_t parent,
                                     std::string_view name) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) {
    if (nodes_.size() >= limits_.cgroups) {
      ++stats_.refused;
      return nullptr;
    }
    Node node;
    node.parent = parent;
    node.name = name;
    return &nodes_.emplace(id, std::move(node)).first->second;
  }
  Node& node = found->second;
  node.removed_ns = 0;
  // What is known already stays, so that the words of an event and of a walk do not alternate.
  if (node.parent == 0 && parent != 0 && !node.name.empty() && node.name.ends_with(name)) {
    return &node;
  }
  if (node.parent != parent || node.name != name) {
    node.parent = parent;
    node.name = name;
    node.asked.reset();
  }
  return &node;
}

void CgroupTable::made(std::uint64_t id, std::string_view path, std::uint64_t) {
  if (Node* node = keep(id, 0, path)) node->walk = walk_number_;
  unknown_.erase(id);
}

void CgroupTable::renamed(std::uint64_t id, std::string_view path, std::uint64_t now_ns) {
  made(id, path, now_ns);
}

void CgroupTable::removed(std::uint64_t id, std::uint64_t now_ns) {
  const auto found = nodes_.find(id);
  if (found != nodes_.end() && found->second.removed_ns == 0) {
    mark_removed(id, found->second, now_ns);
  }
}

void CgroupTable::mark_removed(std::uint64_t id, Node& node, std::uint64_t now_ns) {
  node.removed_ns = now_ns;
  removals_.push_back({id, now_ns});
  ++new_removals_;
}

std::optional<std::string> CgroupTable::pop_new_removal() {
  while (new_removals_ > 0) {
    const Removal& removal = removals_[removals_.size() - new_removals_--];
    const auto found = nodes_.find(removal.id);
    if (found == nodes_.end() || found->second.removed_ns != removal.time_ns) continue;
    return path_of(found->second).value_or("");
  }
  return std::nullopt;
}

std::optional<CgroupTable::Gone> CgroupTable::pop_expired(std::uint64_t now_ns) {
  while (!removals_.empty() && removals_.front().time_ns + limits_.grace_ns <= now_ns) {
    const Removal removal = removals_.front();
    removals_.pop_front();
    new_removals_ = std::min(new_removals_, removals_.size());
    const auto found = nodes_.find(removal.id);
    // It may have come back to life by a walk or an event.
    if (found == nodes_.end() || found->second.removed_ns != removal.time_ns) continue;
    Gone gone{removal.id, path_of(found->second).value_or("")};
    nodes_.erase(found);
    return gone;
  }
  return std::nullopt;
}

std::optional<std::string> CgroupTable::path_of(const Node& node) const {
  std::vector<const Node*> chain{&node};
  while (chain.back()->parent != 0) {
    const auto parent = nodes_.find(chain.back()->parent);
    if (parent == nodes_.end() || chain.size() > kMaxDepth + 1) return std::nullopt;
    chain.push_back(&parent->second);
  }
  std::string path = chain.back()->name;
  for (auto part = chain.rbegin() + 1; part != chain.rend(); ++part) {
    if (!path.ends_with('/')) path.push_back('/');
    path.append((*part)->name);
  }
  return path.empty() ? "/" : path;
}

void CgroupTable::each_directory(const std::function<void(const std::string&)>& visit) const {
  const std::size_t above = hierarchy_.mount_root == "/" ? 0 : hierarchy_.mount_root.size();
  for (const auto& [id, node] : nodes_) {
    if (node.removed_ns != 0) continue;
    const auto path = path_of(node);
    if (path && path->size() >= above) visit(mount_path_ + path->substr(above));
  }
}

base::UniqueFd CgroupTable::open_by_id(std::uint64_t id) const {
  // A kernfs file handle is the 64-bit id alone, type FILEID_KERNFS (include/linux/exportfs.h,
  // since 5.5, kernel commit 33c5ac9175195). Needs CAP_DAC_READ_SEARCH.
  constexpr int kFileidKernfs = 0xfe;
  alignas(file_handle) char memory[sizeof(file_handle) + sizeof id] = {};
  auto* handle = new (memory) file_handle{};
  handle->handle_bytes = sizeof id;
  handle->handle_type = kFileidKernfs;
  std::memcpy(memory + offsetof(file_handle, f_handle), &id, sizeof id);
  return base::UniqueFd(::open_by_handle_at(mount_.get(), handle, O_PATH | O_CLOEXEC));
}

std::optional<std::string> CgroupTable::path_by_handle(std::uint64_t id) const {
  const base::UniqueFd fd = open_by_id(id);
  if (!fd) return std::nullopt;
  std::string path = read_link(fmt::format("/proc/self/fd/{}", fd.get()));
  // A cgroup outside of what is mounted here has no path that would mean anything.
  if (mount_path_.empty() || !path.starts_with(mount_path_)) return std::nullopt;
  path.erase(0, mount_path_.size());
  if (hierarchy_.mount_root != "/") path.insert(0, hierarchy_.mount_root);
  return path.empty() ? "/" : path;
}

std::optional<std::string> CgroupTable::path_by_process(std::uint64_t id,
                                                        std::uint32_t tgid) const {
  const auto text = host_.read(fmt::format("proc/{}/cgroup", tgid));
  if (!text) return std::nullopt;
  const auto path = path_in(hierarchy_, *text);
  if (!path) return std::nullopt;
  // The process may have moved on: its path is the answer only if it leads to the same id.
  if (id_of(*path) != id) return std::nullopt;
  return std::string(*path);
}

Result<std::uint64_t> CgroupTable::id_of(std::string_view path) const {
  if (hierarchy_.mount_root != "/" && path.starts_with(hierarchy_.mount_root)) {
    path.remove_prefix(hierarchy_.mount_root.size());
  }
  while (path.starts_with('/')) path.remove_prefix(1);
  const auto parts = base::split(path, '/');
  if (!mount_ || std::ranges::any_of(parts, is_dots)) {
    return fail(ErrorCode::not_found,
                fmt::format("look up cgroup {}: it is not below {}", path, hierarchy_.mount_point));
  }
  const auto facts = look_at(mount_.get(), std::string(path).c_str());
  if (!facts)
    return fail_errno(fmt::format("look up cgroup {} in {}", path, hierarchy_.mount_point));
  return facts->id;
}

CgroupTable::Node* CgroupTable::look_for(std::uint64_t id, std::uint64_t now_ns,
                                         std::uint32_t tgid) {
  const auto unknown = unknown_.find(id);
  if (unknown != unknown_.end() && now_ns < unknown->second) return nullptr;
  if (mount_ && handles_work_) {
    if (auto path = path_by_handle(id)) {
      ++stats_.by_handle;
      unknown_.erase(id);
      return keep(id, 0, *path);
    }
  }
  if (tgid != 0) {
    if (auto path = path_by_process(id, tgid)) {
      ++stats_.by_process;
      unknown_.erase(id);
      return keep(id, 0, *path);
    }
  }
  if (mount_ && !handles_work_ && now_ns >= next_walk_ns_ && walk(now_ns)) {
    if (const auto found = nodes_.find(id); found != nodes_.end()) return &found->second;
  }
  ++stats_.unknown;
  // Forgetting them all costs one more question each; an order would cost memory for nothing.
  if (unknown_.size() >= limits_.unknown_ids) unknown_.clear();
  unknown_[id] = now_ns + limits_.unknown_ns;
  return nullptr;
}

const Cgroup* CgroupTable::known(std::uint64_t id) const {
  const auto found = nodes_.find(id);
  return found == nodes_.end() ? nullptr : found->second.asked.get();
}

const Cgroup* CgroupTable::find(std::uint64_t id, std::uint64_t now_ns, std::uint32_t tgid) {
  const auto found = nodes_.find(id);
  Node* node = found != nodes_.end() ? &found->second : look_for(id, now_ns, tgid);
  if (node == nullptr) return nullptr;
  if (node->asked != nullptr) return node->asked.get();
  auto path = path_of(*node);
  if (!path) return nullptr;
  CgroupInfo info = parse_cgroup_path(*path);
  node->asked = std::make_unique<Cgroup>(Cgroup{std::move(*path), std::move(info)});
  return node->asked.get();
}

}  // namespace tarsier::enrich
