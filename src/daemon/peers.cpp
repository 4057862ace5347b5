// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/peers.h"

#include <algorithm>

namespace tarsier::daemon {
namespace {

// How often what waits is looked up again, and how often the idle is looked for.
constexpr std::uint64_t kSettleNs = 20'000'000;
constexpr std::uint64_t kForgetNs = 10'000'000'000;
// A pair whose subject never got a name goes to the overflow series after this.
constexpr std::uint64_t kLostBaseNs = 5'000'000'000;
constexpr std::uint32_t kIndexBits = 16;
constexpr std::uint32_t kIndexMask = (1U << kIndexBits) - 1;
static_assert(kMaxPeers + kMaxAliases < kIndexMask);

enrich::FlowOwner owner_of(const Subject& subject) {
  return {subject.tgid, subject.start_ns};
}

}  // namespace

Peers::RemoteKey Peers::connection_key(const Flow& flow) {
  return {flow.local, flow.remote, flow.netns, flow.side};
}

// A server's many clients come from one address and many ports.
Peers::RemoteKey Peers::remote_key(const Flow& flow) {
  const bool own = enrich::is_namespace_local(flow.remote.address);
  RemoteKey key{{}, flow.remote, own ? flow.netns : 0, flow.side};
  if (flow.side != Flow::Side::client) key.remote.port = 0;
  return key;
}

std::uint64_t Peers::edge_key(metrics::EntityId base, std::uint32_t peer) {
  return (std::uint64_t{static_cast<std::uint32_t>(base)} << 32U) | peer;
}

std::optional<Peers::Name> Peers::name_of(const Address& address) const {
  if (const enrich::PodFacts* pod = sources_.pods == nullptr ? nullptr : sources_.pods->at(address);
      pod != nullptr) {
    return Name{pod->workload.empty() ? pod->name : pod->workload, pod->namespace_name,
                Kind::internal};
  }
  const enrich::ClusterName* name =
      sources_.cluster == nullptr ? nullptr : sources_.cluster->find(address);
  if (name == nullptr) return std::nullopt;
  return Name{name->name, name->namespace_name, Kind::internal};
}

Flow Peers::true_flow(const Flow& flow) const {
  Flow truth = flow;
  if (!sources_.translate) return truth;
  if (const auto remote = sources_.translate(flow)) truth.remote = *remote;
  return truth;
}

Peers::Found Peers::look_up(const Subject& subject, const Flow& flow, const Flow& truth,
                            std::uint64_t now_ns) const {
  if (const auto owner = flows_.owner_of(far_end(truth)); owner && sources_.process) {
    if (auto name = sources_.process(*owner, now_ns)) {
      return {{std::move(name->name), std::move(name->namespace_name), Kind::internal},
              name->complete};
    }
  }
  if (auto name = name_of(truth.remote.address)) {
    // Named after a service's own address: its backend may be told in a moment.
    const bool is_service = sources_.cluster != nullptr && sources_.translate &&
                            sources_.cluster->is_service(truth.remote.address);
    return {std::move(*name), !is_service};
  }
  // Where the backend has no name, the service that was asked for has one.
  if (auto name = name_of(flow.remote.address)) return {std::move(*name), true};
  const bool client = flow.side == Flow::Side::client;
  if (client && sources_.dns) {
    for (const Address& asked : {flow.remote.address, truth.remote.address}) {
      auto name = sources_.dns(asked, subject.tgid, now_ns);
      if (name) return {{std::move(*name), "", Kind::external}, true};
    }
  }
  return {{client ? enrich::format_endpoint(truth.remote)
                  : enrich::format_address(truth.remote.address),
           "", Kind::external},
          false};
}

Peer Peers::connect(const Subject& subject, const Flow& flow, std::uint64_t now_ns) {
  if (!enabled_ || enrich::is_unspecified(flow.remote.address)) return {};
  const Flow truth = true_flow(flow);
  if (truth.remote != flow.remote) remember(translated_, flow, now_ns);
  if (subject.type == Subject::Type::process) {
    // A translation that was told late: nobody will look for the end as it was known first.
    if (truth.remote != flow.remote) flows_.disconnected(flow, now_ns);
    flows_.connected(truth, owner_of(subject), now_ns);
  }
  const Found found = look_up(subject, flow, truth, now_ns);
  if (found.settled) {
    const std::uint32_t name = intern(found.name, now_ns);
    settle_early(flow, name);
    return {name, true};
  }
  if (is_known_unknown(flow, now_ns)) return {intern(found.name, now_ns), false};
  return wait_for_name(subject, flow, found.name, now_ns);
}

void Peers::disconnected(const Flow& flow, std::uint64_t now_ns) {
  flows_.disconnected(flow, now_ns);
  const Flow truth = true_flow(flow);
  if (truth.remote != flow.remote) flows_.disconnected(truth, now_ns);
}

Peer Peers::wait_for_name(const Subject& subject, const Flow& flow, const Name& address,
                          std::uint64_t now_ns) {
  const RemoteKey key = connection_key(flow);
  if (const auto found = waiting_.find(key); found != waiting_.end()) {
    return {found->second.id, false};
  }
  if (aliases_ >= kMaxAliases) {
    ++counts_.aliases_refused;
    return {intern(address, now_ns), false};
  }
  const std::uint32_t id = take_slot(now_ns);
  slot_of(id)->pending = true;
  ++aliases_;
  waiting_.emplace(key, Waiting{id, subject, flow, now_ns});
  return {id, false};
}

// Once an address had no name, no connection from or to it waits again. An address behind which
// somebody else answered is none: its translation may only be late.
bool Peers::is_known_unknown(const Flow& flow, std::uint64_t now_ns) {
  const RemoteKey key = remote_key(flow);
  if (const auto found = translated_.find(key); found != translated_.end()) {
    found->second = now_ns;
    return false;
  }
  const auto found = unknown_.find(key);
  if (found == unknown_.end()) return false;
  found->second = now_ns;
  return true;
}

void Peers::remember(std::unordered_map<RemoteKey, std::uint64_t, RemoteHash>& table,
                     const Flow& flow, std::uint64_t now_ns) {
  if (table.size() >= kMaxUnknownPeers) return;  // it waits next time, that is all
  table.insert_or_assign(remote_key(flow), now_ns);
}

std::uint32_t Peers::take_slot(std::uint64_t now_ns) {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  Slot& slot = slots_[index];
  slot.used = true;
  slot.used_ns = now_ns;
  return (std::uint32_t{slot.generation} << kIndexBits) | index;
}

void Peers::free_slot(std::uint32_t index) {
  Slot& slot = slots_[index];
  if (slot.is_alias()) {
    --aliases_;
  } else {
    if (slot.name.kind == Kind::external) --external_;
    by_name_.erase(slot.name);
  }
  const auto generation = static_cast<std::uint16_t>(slot.generation + 1U);
  slot = {};
  slot.generation = generation;
  free_slots_.push_back(index);
}

Peers::Slot* Peers::slot_of(std::uint32_t id) {
  const std::uint32_t index = id & kIndexMask;
  if (index == 0 || index >= slots_.size()) return nullptr;
  Slot& slot = slots_[index];
  return slot.used && slot.generation == id >> kIndexBits ? &slot : nullptr;
}

Peers::Slot* Peers::slot_behind(std::uint32_t& id) {
  Slot* slot = slot_of(id);
  if (slot == nullptr || slot->forward == 0) return slot;
  id = slot->forward;
  return slot_of(id);
}

std::uint32_t Peers::intern(const Name& name, std::uint64_t now_ns) {
  static const Name kOther{std::string(kOtherPeers), "", Kind::internal};
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    if (Slot* slot = slot_of(found->second)) slot->used_ns = now_ns;
    return found->second;
  }
  if (name != kOther) {
    const bool external = name.kind == Kind::external;
    if (external && external_ >= kMaxExternalPeers) {
      ++counts_.external_refused;
      return intern(kOther, now_ns);
    }
    if (by_name_.size() >= kMaxPeers) {
      ++counts_.peers_refused;
      return intern(kOther, now_ns);
    }
    external_ += external ? 1 : 0;
  }
  const std::uint32_t id = take_slot(now_ns);
  slot_of(id)->name = name;
  by_name_.emplace(name, id);
  return id;
}

metrics::EntityId Peers::entity(metrics::EntityId base, std::uint32_t peer, std::uint64_t now_ns) {
  Slot* slot = slot_behind(peer);
  if (slot == nullptr) return base;
  slot->used_ns = now_ns;
  const std::uint64_t key = edge_key(base, peer);
  if (const auto found = edges_.find(key); found != edges_.end()) {
    found->second.used_ns = now_ns;
    return found->second.entity;
  }
  if (edges_.size() >= kMaxEdges) {
    ++counts_.edges_refused;
    return base;
  }
  Edge edge;
  edge.used_ns = now_ns;
  auto labels = slot->pending ? std::nullopt : registry_.labels_of(base);
  if (labels) {
    labels->push_back({"peer", slot->name.name});
    labels->push_back({"peer_namespace", slot->name.namespace_name});
    edge.entity = registry_.entity(*labels);
  } else {
    edge.entity = registry_.pending_entity();
    edge.pending = true;
    pending_edges_.push_back({base, peer, edge.entity, now_ns});
  }
  edges_.emplace(key, edge);
  return edge.entity;
}

void Peers::on_entity_named(metrics::EntityId before, metrics::EntityId after) {
  if (before == after) return;
  for (PendingEdge& edge : pending_edges_) {
    if (edge.base != before) continue;
    edges_.erase(edge_key(before, edge.peer));
    edge.base = after;
    edges_.try_emplace(edge_key(after, edge.peer), Edge{edge.entity, edge.since_ns, true});
  }
}

// false: it still waits.
bool Peers::settle_edge(const PendingEdge& edge, std::uint64_t now_ns, const Merged& merged) {
  std::uint32_t peer = edge.peer;
  const Slot* slot = slot_behind(peer);
  if (slot != nullptr && slot->pending) return false;
  auto labels = registry_.labels_of(edge.base);
  if (!labels && now_ns - edge.since_ns < kLostBaseNs) return false;
  const auto old = edges_.find(edge_key(edge.base, edge.peer));
  if (old != edges_.end() && old->second.entity == edge.entity) edges_.erase(old);
  if (!labels) {
    registry_.release(edge.entity);
    return true;
  }
  if (slot != nullptr) {
    labels->push_back({"peer", slot->name.name});
    labels->push_back({"peer_namespace", slot->name.namespace_name});
  }
  const metrics::EntityId entity = registry_.resolve(edge.entity, *labels);
  if (entity != edge.entity) merged(edge.entity, entity);
  const auto [place, is_new] =
      edges_.try_emplace(edge_key(edge.base, peer), Edge{entity, now_ns, false});
  if (!is_new) registry_.release(entity);  // the pair is known and has a reference of its own
  return true;
}

void Peers::settle_edges(std::uint64_t now_ns, const Merged& merged) {
  std::vector<PendingEdge> left;
  for (const PendingEdge& edge : pending_edges_) {
    if (!settle_edge(edge, now_ns, merged)) left.push_back(edge);
  }
  pending_edges_ = std::move(left);
}

void Peers::forward(std::uint32_t alias, std::uint32_t name) {
  Slot* slot = slot_of(alias);
  slot->pending = false;
  slot->forward = name;
}

// A connection that is asked about again need not wait for the next look.
void Peers::settle_early(const Flow& flow, std::uint32_t name) {
  if (waiting_.empty()) return;
  const auto found = waiting_.find(connection_key(flow));
  if (found == waiting_.end()) return;
  forward(found->second.id, name);
  waiting_.erase(found);
  edges_are_due_ = true;
}

void Peers::settle_waiting(std::uint64_t now_ns) {
  std::erase_if(waiting_, [&](const auto& entry) {
    const Waiting& waiting = entry.second;
    const Found found = look_up(waiting.subject, waiting.flow, true_flow(waiting.flow), now_ns);
    if (!found.settled && now_ns - waiting.since_ns < kPeerPendingNs) return false;
    if (!found.settled) remember(unknown_, waiting.flow, now_ns);
    forward(waiting.id, intern(found.name, now_ns));
    return true;
  });
}

void Peers::forget_idle(std::uint64_t now_ns) {
  std::erase_if(edges_, [&](const auto& entry) {
    const Edge& edge = entry.second;
    if (edge.pending || now_ns - edge.used_ns < kPeerIdleNs) return false;
    registry_.release(edge.entity);
    return true;
  });
  for (std::uint32_t index = 1; index < slots_.size(); ++index) {
    const Slot& slot = slots_[index];
    if (slot.used && !slot.pending && now_ns - slot.used_ns >= kPeerIdleNs) free_slot(index);
  }
  for (auto* table : {&unknown_, &translated_}) {
    std::erase_if(*table,
                  [&](const auto& entry) { return now_ns - entry.second >= kUnknownIdleNs; });
  }
  flows_.expire(now_ns);
}

void Peers::poll(std::uint64_t now_ns, const Merged& merged) {
  if (now_ns >= next_settle_ns_ && (!waiting_.empty() || !pending_edges_.empty())) {
    next_settle_ns_ = now_ns + kSettleNs;
    settle_waiting(now_ns);
    edges_are_due_ = true;
  }
  if (edges_are_due_) settle_edges(now_ns, merged);
  edges_are_due_ = false;
  if (now_ns < next_forget_ns_) return;
  next_forget_ns_ = now_ns + kForgetNs;
  forget_idle(now_ns);
}

PeerFigures Peers::figures() const {
  PeerFigures figures = counts_;
  figures.peers = by_name_.size();
  figures.external = external_;
  figures.aliases = aliases_;
  figures.edges = edges_.size();
  return figures;
}

}  // namespace tarsier::daemon
