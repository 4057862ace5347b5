// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/dns_names.h"

#include <algorithm>
#include <cstring>

namespace tarsier::enrich {

std::size_t DnsNames::KeyHash::operator()(const Key& key) const {
  std::uint64_t halves[2];
  static_assert(sizeof halves == sizeof key.address);
  std::memcpy(halves, key.address.data(), sizeof halves);
  // The middle bits of a product depend on all bits below: an odd factor, one shift, again.
  std::uint64_t hash = (halves[0] ^ key.tgid) * 0x9E3779B97F4A7C15U;
  hash = (hash ^ hash >> 32U ^ halves[1]) * 0x9E3779B97F4A7C15U;
  return static_cast<std::size_t>(hash ^ hash >> 32U);
}

void DnsNames::learn(std::span<const std::byte> message, std::uint32_t tgid, DnsSender sender,
                     std::uint64_t time_ns) {
  const auto answer = read_dns_answer(message);
  if (!answer) {
    if (answer.error() == DnsFault::malformed) ++stats_.malformed;
    if (answer.error() == DnsFault::bad_name) ++stats_.bad_names;
    return;
  }
  ++stats_.learnt;
  if (!answer->complete) ++stats_.incomplete;
  for (const DnsAddress& one : answer->addresses) {
    const std::uint64_t ttl_ns = std::uint64_t{one.ttl_s} * 1'000'000'000;
    const std::uint64_t until_ns = time_ns + std::clamp(ttl_ns, kMinDnsKeepNs, kMaxDnsKeepNs);
    keep({one.address, tgid}, answer->name, until_ns, time_ns);
    if (sender == DnsSender::server) {
      keep({one.address, kEveryone}, answer->name, until_ns, time_ns);
    }
  }
}

void DnsNames::keep(const Key& key, const std::string& name, std::uint64_t until_ns,
                    std::uint64_t time_ns) {
  if (const auto found = places_.find(key); found != places_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    if (entries_.front().name != name) entries_.front().name = name;
    entries_.front().until_ns = until_ns;
    return;
  }
  if (entries_.size() >= limit_ && !entries_.empty()) {
    if (time_ns < entries_.back().until_ns) ++stats_.evicted;
    places_.erase(entries_.back().key);
    entries_.pop_back();
  }
  entries_.push_front({key, name, until_ns});
  places_[key] = entries_.begin();
}

const DnsNames::Entry* DnsNames::find_entry(const Key& key, std::uint64_t now_ns) const {
  const auto found = places_.find(key);
  if (found == places_.end() || found->second->until_ns <= now_ns) return nullptr;
  return &*found->second;
}

const std::string* DnsNames::find(const IpAddress& address, std::uint32_t tgid,
                                  std::uint64_t now_ns) const {
  const Entry* entry = find_entry({address, tgid}, now_ns);
  if (entry == nullptr) entry = find_entry({address, kEveryone}, now_ns);
  return entry == nullptr ? nullptr : &entry->name;
}

}  // namespace tarsier::enrich
