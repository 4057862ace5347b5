// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Any bytes as the answer of a DNS server: no crash, a name that may go into a label, bounded
// lists, and the same bytes cut off somewhere never say more.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "enrich/dns_message.h"

using namespace tarsier::enrich;

namespace {

bool is_label_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto whole = read_dns_answer(bytes);
  if (!whole) return 0;
  if (whole->name.empty() || whole->name.size() > kMaxDnsName) std::abort();
  if (!std::ranges::all_of(whole->name, is_label_character)) std::abort();
  if (whole->addresses.empty() || whole->addresses.size() > kMaxDnsAddresses) std::abort();
  const auto part = read_dns_answer(bytes.first(size - 1 - data[0] % size % (size / 2 + 1)));
  if (part && (part->name != whole->name || part->addresses.size() > whole->addresses.size())) {
    std::abort();
  }
  return 0;
}
