// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What an answer of a DNS server says: the name that was asked for and the addresses it has. A pure
// function over foreign bytes, which may be cut off anywhere or made to do harm.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

namespace tarsier::enrich {

using IpAddress = std::array<std::uint8_t, 16>;  // IPv4 as ::ffff:a.b.c.d

inline constexpr std::size_t kMaxDnsName = 253;  // characters of a name as text (RFC 1035, 2.3.4)
inline constexpr std::size_t kMaxDnsRecords = 128;   // records of one answer that are looked at
inline constexpr std::size_t kMaxDnsAddresses = 64;  // addresses of one answer that are kept

struct DnsAddress {
  IpAddress address{};
  std::uint32_t ttl_s = 0;  // the shortest on the way from the name to the address
  friend bool operator==(const DnsAddress&, const DnsAddress&) = default;
};

struct DnsAnswer {
  std::string name;  // lower case, no dot at its end
  std::vector<DnsAddress> addresses;
  // Everything was read: neither did the bytes end too early nor did a limit above bite.
  bool complete = true;
};

// Why there is nothing to be learnt from a message.
enum class DnsFault : std::uint8_t {
  no_answer,  // a query, an error, not one question of the class IN, no address for the name
  malformed,  // it breaks the rules of RFC 1035, 4.1
  bad_name,   // the name has other characters than letters, digits, '-', '_' and dots
};

// Reads the question and the records of the answer section. Aliases (CNAME) are followed in the
// order in which they stand, as resolvers write them; the name is that of the question, because
// it is what the process asked for. Addresses of other names are left out, other sections are not
// read. What stands before the end of a message that was cut off counts.
[[nodiscard]] std::expected<DnsAnswer, DnsFault> read_dns_answer(
    std::span<const std::byte> message);

}  // namespace tarsier::enrich
