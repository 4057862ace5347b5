// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/local_flows.h"

#include <cstring>

#include "enrich/address.h"

namespace tarsier::enrich {
namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15U;
  return hash ^ (hash >> 29U);
}

std::uint64_t mix(std::uint64_t hash, const Endpoint& endpoint) {
  std::uint64_t halves[2];
  std::memcpy(halves, endpoint.address.data(), sizeof halves);
  return mix(mix(mix(hash, halves[0]), halves[1]), endpoint.port);
}

}  // namespace

std::size_t LocalFlows::KeyHash::operator()(const Key& key) const {
  const std::uint64_t seed =
      (std::uint64_t{key.netns} << 8U) | static_cast<std::uint64_t>(key.protocol);
  return static_cast<std::size_t>(mix(mix(seed, key.local), key.remote));
}

LocalFlows::Key LocalFlows::client_key(const Flow& flow) {
  const bool own =
      is_namespace_local(flow.local.address) || is_namespace_local(flow.remote.address);
  return {flow.local, flow.remote, own ? flow.netns : 0, flow.protocol};
}

LocalFlows::Key LocalFlows::server_key(const Flow& flow) {
  return {flow.local, {}, is_namespace_local(flow.local.address) ? flow.netns : 0, flow.protocol};
}

LocalFlows::Held* LocalFlows::keep(Table& table, const Key& key, std::size_t limit,
                                   std::uint64_t& refused) {
  const auto found = table.find(key);
  if (found != table.end()) return &found->second;
  if (table.size() >= limit) {
    ++refused;
    return nullptr;
  }
  return &table[key];
}

void LocalFlows::connected(const Flow& flow, const FlowOwner& owner, std::uint64_t now_ns) {
  if (flow.side == Flow::Side::unknown || owner.tgid == 0) return;
  const bool client = flow.side == Flow::Side::client;
  Held* held = client ? keep(clients_, client_key(flow), kMaxLocalClients, stats_.clients_refused)
                      : keep(servers_, server_key(flow), kMaxLocalServers, stats_.servers_refused);
  if (held == nullptr) return;
  held->owner = owner;
  held->since_ns = client ? 0 : now_ns;
}

void LocalFlows::disconnected(const Flow& flow, std::uint64_t now_ns) {
  Table& table = flow.side == Flow::Side::client ? clients_ : servers_;
  const auto found =
      table.find(flow.side == Flow::Side::client ? client_key(flow) : server_key(flow));
  if (found != table.end()) found->second.since_ns = now_ns;
}

std::optional<FlowOwner> LocalFlows::owner_of(const Flow& other_end) const {
  const bool client = other_end.side == Flow::Side::client;
  const Table& table = client ? clients_ : servers_;
  const auto found = table.find(client ? client_key(other_end) : server_key(other_end));
  if (found == table.end()) return std::nullopt;
  return found->second.owner;
}

void LocalFlows::expire(std::uint64_t now_ns) {
  const auto over = [now_ns](std::uint64_t grace_ns) {
    return [=](const auto& entry) {
      const std::uint64_t since_ns = entry.second.since_ns;
      return since_ns != 0 && now_ns >= since_ns + grace_ns;
    };
  };
  std::erase_if(clients_, over(kClientGraceNs));
  std::erase_if(servers_, over(kServerGraceNs));
}

}  // namespace tarsier::enrich
