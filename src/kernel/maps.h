// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The maps of one loaded object, as a probe sees them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "tarsier/probe.h"

struct bpf_link;

namespace tarsier::kernel {

struct MapInfo {
  int fd = -1;
  std::uint32_t type = 0;
  std::size_t key_size = 0;
  std::size_t value_size = 0;  // of one lookup: all CPUs' values for a per-CPU map
  std::uint32_t max_entries = 0;
  std::uint64_t memory_bytes = 0;
};

class ObjectMaps final : public Maps {
 public:
  explicit ObjectMaps(std::string probe) : probe_(std::move(probe)) {}

  // A failure to describe the map is remembered and shows at its first use.
  void add(const std::string& name, int fd);
  void add_iterator(const std::string& program, bpf_link* link) { iterators_[program] = link; }

  Status each(std::string_view map,
              const std::function<void(Bytes key, Bytes value)>& visit) override;
  Status lookup(std::string_view map, Bytes key, std::span<std::byte> value) override;
  Status update(std::string_view map, Bytes key, Bytes value) override;
  Status erase(std::string_view map, Bytes key) override;
  Status iterate(std::string_view program, std::size_t record_size,
                 const std::function<void(Bytes record)>& visit) override;

  [[nodiscard]] const std::map<std::string, MapInfo, std::less<>>& all() const { return maps_; }
  // Number of entries, by walking the keys; bounded by the map's own size.
  [[nodiscard]] static std::uint64_t count(const MapInfo& info);

 private:
  [[nodiscard]] Result<const MapInfo*> find(std::string_view map) const;

  std::string probe_;
  std::map<std::string, MapInfo, std::less<>> maps_;
  std::map<std::string, bpf_link*, std::less<>> iterators_;
};

}  // namespace tarsier::kernel
