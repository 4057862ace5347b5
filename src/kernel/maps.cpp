// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "kernel/maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"

namespace tarsier::kernel {
namespace {

// What one read of an iterator asks for. The kernel buffers 8 pages and hands out whole writes.
constexpr std::size_t kIteratorBuffer = 32 * 1024;

bool is_per_cpu(std::uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

bool is_array(std::uint32_t type) {
  return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

bool has_keys(std::uint32_t type) {
  return type != BPF_MAP_TYPE_RINGBUF && type != BPF_MAP_TYPE_STACK_TRACE &&
         type != BPF_MAP_TYPE_PERF_EVENT_ARRAY;
}

}  // namespace

void ObjectMaps::add(const std::string& name, int fd) {
  bpf_map_info info{};
  std::uint32_t size = sizeof info;
  MapInfo described{.fd = fd};
  if (bpf_map_get_info_by_fd(fd, &info, &size) == 0) {
    described.type = info.type;
    described.key_size = info.key_size;
    described.value_size = info.value_size;
    described.max_entries = info.max_entries;
    if (is_per_cpu(info.type)) {
      const auto cpus = static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1));
      described.value_size = ((info.value_size + 7U) & ~std::size_t{7}) * cpus;
    }
  }
  maps_[name] = described;
}

Result<const MapInfo*> ObjectMaps::find(std::string_view map) const {
  const auto found = maps_.find(map);
  if (found == maps_.end() || found->second.key_size == 0) {
    return fail(ErrorCode::not_found, fmt::format("probe {} has no map {}", probe_, map));
  }
  return &found->second;
}

Status ObjectMaps::each(std::string_view map, const std::function<void(Bytes, Bytes)>& visit) {
  const auto found = find(map);
  if (!found) return std::unexpected(found.error());
  const MapInfo& info = **found;
  std::vector<std::byte> key(info.key_size), next(info.key_size), value(info.value_size);
  int error = bpf_map_get_next_key(info.fd, nullptr, next.data());
  // A map that others fill while we walk may send us round again; its size bounds the walk.
  for (std::uint32_t i = 0; error == 0 && i < info.max_entries; ++i) {
    key = next;
    error = bpf_map_get_next_key(info.fd, key.data(), next.data());
    if (bpf_map_lookup_elem(info.fd, key.data(), value.data()) == 0) visit(key, value);
  }
  if (error != 0 && error != -ENOENT) {
    return fail_errno(fmt::format("walk map {} of probe {}", map, probe_), -error);
  }
  return {};
}

Status ObjectMaps::lookup(std::string_view map, Bytes key, std::span<std::byte> value) {
  const auto found = find(map);
  if (!found) return std::unexpected(found.error());
  if (key.size() != (*found)->key_size || value.size() != (*found)->value_size) {
    return fail(ErrorCode::invalid,
                fmt::format("map {} of probe {} holds other sizes", map, probe_));
  }
  const int error = bpf_map_lookup_elem((*found)->fd, key.data(), value.data());
  if (error != 0)
    return fail_errno(fmt::format("look up in map {} of probe {}", map, probe_), -error);
  return {};
}

Status ObjectMaps::update(std::string_view map, Bytes key, Bytes value) {
  const auto found = find(map);
  if (!found) return std::unexpected(found.error());
  if (key.size() != (*found)->key_size || value.size() != (*found)->value_size) {
    return fail(ErrorCode::invalid,
                fmt::format("map {} of probe {} holds other sizes", map, probe_));
  }
  const int error = bpf_map_update_elem((*found)->fd, key.data(), value.data(), BPF_ANY);
  if (error != 0) return fail_errno(fmt::format("update map {} of probe {}", map, probe_), -error);
  return {};
}

Status ObjectMaps::erase(std::string_view map, Bytes key) {
  const auto found = find(map);
  if (!found) return std::unexpected(found.error());
  const int error = bpf_map_delete_elem((*found)->fd, key.data());
  if (error != 0 && error != -ENOENT) {
    return fail_errno(fmt::format("erase from map {} of probe {}", map, probe_), -error);
  }
  return {};
}

Status ObjectMaps::iterate(std::string_view program, std::size_t record_size,
                           const std::function<void(Bytes)>& visit) {
  const auto found = iterators_.find(program);
  if (found == iterators_.end()) {
    return fail(ErrorCode::not_found,
                fmt::format("probe {} has no iterator {} on this kernel", probe_, program));
  }
  const base::UniqueFd iterator(bpf_iter_create(bpf_link__fd(found->second)));
  if (!iterator) return fail_errno(fmt::format("start iterator {} of probe {}", program, probe_));
  std::vector<std::byte> buffer(kIteratorBuffer);
  std::size_t filled = 0;
  while (true) {
    const ssize_t n = ::read(iterator.get(), buffer.data() + filled, buffer.size() - filled);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return fail_errno(fmt::format("read iterator {} of probe {}", program, probe_));
    filled += static_cast<std::size_t>(n);
    std::size_t at = 0;
    if (record_size > 0) {
      for (; filled - at >= record_size; at += record_size) {
        visit(Bytes(buffer.data() + at, record_size));
      }
    } else {
      at = filled;  // nothing was promised, nothing is shown
    }
    std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(at),
              buffer.begin() + static_cast<std::ptrdiff_t>(filled), buffer.begin());
    filled -= at;
    if (n == 0) return {};
  }
}

std::uint64_t ObjectMaps::count(const MapInfo& info) {
  if (!has_keys(info.type) || info.key_size == 0) return 0;
  if (is_array(info.type)) return info.max_entries;
  std::vector<std::byte> key(info.key_size), next(info.key_size);
  std::uint64_t entries = 0;
  int error = bpf_map_get_next_key(info.fd, nullptr, next.data());
  while (error == 0 && entries < info.max_entries) {
    ++entries;
    key = next;
    error = bpf_map_get_next_key(info.fd, key.data(), next.data());
  }
  return entries;
}

}  // namespace tarsier::kernel
