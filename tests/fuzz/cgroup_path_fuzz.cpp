// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Any bytes as a cgroup path: no crash, and what comes out is a part of what went in.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "enrich/cgroup_path.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view path(reinterpret_cast<const char*>(data), size);
  const tarsier::enrich::CgroupInfo info = tarsier::enrich::parse_cgroup_path(path);
  if (path.find(info.container_id) == std::string_view::npos) std::abort();
  if (info.unit.size() > size || info.pod_uid.size() > size) std::abort();
  return 0;
}
