// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Any bytes as any of the node's files: no crash, and numbers that are in range.
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tarsier;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (node::parse_stat(text).cpus.size() > node::kMaxCpus) std::abort();
  if (const auto load = node::parse_loadavg(text)) {
    if (!std::isfinite(load->minutes1) || load->minutes15 < 0) std::abort();
  }
  (void)node::parse_meminfo(text);
  (void)node::parse_pressure(text);
  if (node::parse_os_release(text).size() > size) std::abort();
  const std::string_view rest = text.substr(text.size() / 3);
  if (node::find_address(text, rest, rest).size() > 45) std::abort();
  return 0;
}
