// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Addresses as people and programs write them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "tarsier/peer.h"

namespace tarsier::enrich {

struct AddressHash {
  [[nodiscard]] std::size_t operator()(const Address& address) const;
};

// "10.0.0.1" or "2001:db8::1", without a port and without a zone.
[[nodiscard]] std::optional<Address> parse_address(std::string_view text);
[[nodiscard]] std::string format_address(const Address& address);
// "10.0.0.1:80", "[2001:db8::1]:80".
[[nodiscard]] std::string format_endpoint(const Endpoint& endpoint);

// 0.0.0.0 and ::, which no connection has.
[[nodiscard]] bool is_unspecified(const Address& address);
// Whether the address means another machine in each network namespace: 127.0.0.0/8, ::1, link-local
// (RFC 3927, RFC 4291).
[[nodiscard]] bool is_namespace_local(const Address& address);

}  // namespace tarsier::enrich
