// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Connections as people write them. For tests only.
#pragma once

#include <string_view>

#include "enrich/address.h"

namespace tarsier::enrich {

inline Flow client_flow(std::string_view from, std::uint16_t from_port, std::string_view to,
                        std::uint16_t to_port, std::uint32_t netns = 1) {
  Flow flow;
  flow.local = {parse_address(from).value(), from_port};
  flow.remote = {parse_address(to).value(), to_port};
  flow.netns = netns;
  flow.side = Flow::Side::client;
  return flow;
}

}  // namespace tarsier::enrich
