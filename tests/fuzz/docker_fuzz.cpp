// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Any bytes as the answer or event of a container runtime: no crash, and only ids that may go into
// a request.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "net/docker_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto list = tarsier::net::parse_docker_list(text)) {
    for (const auto& container : *list) {
      if (!tarsier::net::is_container_id(container.id)) std::abort();
    }
  }
  if (const auto one = tarsier::net::parse_docker_container(text)) {
    if (!tarsier::net::is_container_id(one->id)) std::abort();
    if (one->labels.size() > tarsier::net::kMaxLabels) std::abort();
  }
  if (const auto event = tarsier::net::parse_docker_event(text)) {
    if (*event && !tarsier::net::is_container_id((*event)->id)) std::abort();
  }
  if (const auto info = tarsier::net::parse_cri_info(text)) {
    if (!info->sandbox_id.empty() && !tarsier::net::is_container_id(info->sandbox_id)) std::abort();
  }
  (void)tarsier::net::parse_time(text);
  (void)tarsier::net::digest_of(text);
  return 0;
}
