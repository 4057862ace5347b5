// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Names for the other sides of connections, and the entities of subjects towards them. Collector
// thread only.
//
// A peer's name stands behind a number (Peer::id). A flow whose other side has only an address so
// far gets a number of its own for at most kPeerPendingNs: its series are hidden until the number
// stands for a name, because the answer (the other end's record, a translation, a DNS answer, a
// pod) may be on its way. Nothing changes its name after it was shown; a connection that lives on
// may go on under a better one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "enrich/address.h"
#include "enrich/cluster_names.h"
#include "enrich/local_flows.h"
#include "enrich/pods.h"
#include "metrics/registry.h"
#include "tarsier/probe.h"

namespace tarsier::daemon {

inline constexpr std::size_t kMaxPeers = 8'192;  // names at one time, of any kind
// Names and addresses that are neither of this node nor of the cluster; the rest is "~other".
inline constexpr std::size_t kMaxExternalPeers = 1'024;
inline constexpr std::size_t kMaxAliases = 8'192;        // numbers that wait or waited for a name
inline constexpr std::size_t kMaxUnknownPeers = 16'384;  // addresses remembered as nameless
inline constexpr std::size_t kMaxEdges = 16'384;         // pairs of a subject's labels and a peer
inline constexpr std::uint64_t kPeerPendingNs = 1'000'000'000;
// What nobody used for so long is forgotten. Longer than any sample interval of a probe.
inline constexpr std::uint64_t kPeerIdleNs = 600'000'000'000;
inline constexpr std::uint64_t kUnknownIdleNs = 60'000'000'000;
inline constexpr std::string_view kOtherPeers = "~other";

// Who knows names. Asked in this order; empty functions know nothing.
struct PeerSources {
  // The true other end, where the address that the socket sees is a translated one.
  std::function<std::optional<Endpoint>(const Flow&)> translate;
  // How others call a process of this node; nothing: it is not known or has ended.
  struct LocalName {
    std::string name, namespace_name;
    bool complete = true;
  };
  std::function<std::optional<LocalName>(const enrich::FlowOwner&, std::uint64_t now_ns)> process;
  const enrich::PodTable* pods = nullptr;
  const enrich::ClusterNames* cluster = nullptr;
  // What a process of this node asked DNS for when it was told the address.
  std::function<std::optional<std::string>(const Address&, std::uint32_t tgid,
                                           std::uint64_t now_ns)>
      dns;
};

struct PeerFigures {
  std::size_t peers = 0, external = 0, aliases = 0, edges = 0;
  std::uint64_t peers_refused = 0;     // no room for the name: counted for "~other"
  std::uint64_t external_refused = 0;  // the same, because of kMaxExternalPeers
  std::uint64_t aliases_refused = 0;   // shown by address without waiting for a name
  std::uint64_t edges_refused = 0;     // no room for the pair: counted without a peer
};

class Peers {
 public:
  Peers(metrics::Registry& registry, PeerSources sources)
      : registry_(registry), sources_(std::move(sources)) {}

  // [labels] peer. Off: every flow's peer is 0.
  void enable(bool enabled) { enabled_ = enabled; }

  Peer connect(const Subject& subject, const Flow& flow, std::uint64_t now_ns);
  void disconnected(const Flow& flow, std::uint64_t now_ns);

  // The entity of a subject towards a peer; `base` is the subject's own. Holds a reference until
  // nobody asked for kPeerIdleNs.
  metrics::EntityId entity(metrics::EntityId base, std::uint32_t peer, std::uint64_t now_ns);
  // A subject's pending entity got its name.
  void on_entity_named(metrics::EntityId before, metrics::EntityId after);

  // Names what waits, forgets what is idle. Cheap; call it at the end of each round, so that what
  // one round told of a connection is shown together. Calls merged(before, after)
  // for each entity that another one took over.
  void poll(std::uint64_t now_ns,
            const std::function<void(metrics::EntityId, metrics::EntityId)>& merged);

  [[nodiscard]] PeerFigures figures() const;
  [[nodiscard]] const enrich::LocalFlows& flows() const { return flows_; }

 private:
  enum class Kind : std::uint8_t { internal, external };
  struct Name {
    std::string name, namespace_name;
    Kind kind = Kind::internal;
    friend auto operator<=>(const Name&, const Name&) = default;
  };
  // What a look at all sources gave.
  struct Found {
    Name name;
    bool settled = true;  // better than the address, and nothing more is to come
  };
  struct Slot {
    std::uint16_t generation = 0;
    bool used = false;
    bool pending = false;
    std::uint32_t forward = 0;  // an alias: the number of the name that it got
    std::uint64_t used_ns = 0;
    Name name;
    [[nodiscard]] bool is_alias() const { return pending || forward != 0; }
  };
  // A connection that waits for the name of its peer.
  struct Waiting {
    std::uint32_t id = 0;
    Subject subject;
    Flow flow;
    std::uint64_t since_ns = 0;
  };
  struct RemoteKey {
    // Of who waits, both ends: one address may stand for several backends. Else the remote one.
    Endpoint local, remote;
    std::uint32_t netns = 0;  // 0 where the address means the same in all of them
    Flow::Side side = Flow::Side::unknown;
    friend bool operator==(const RemoteKey&, const RemoteKey&) = default;
  };
  struct RemoteHash {
    std::size_t operator()(const RemoteKey& key) const {
      return enrich::AddressHash()(key.remote.address) ^ (std::size_t{key.remote.port} << 16U) ^
             std::size_t{key.local.port} ^ (std::size_t{key.netns} << 32U);
    }
  };
  struct Edge {
    metrics::EntityId entity{};
    std::uint64_t used_ns = 0;
    bool pending = false;
  };
  struct PendingEdge {
    metrics::EntityId base{};
    std::uint32_t peer = 0;
    metrics::EntityId entity{};
    std::uint64_t since_ns = 0;
  };
  using Merged = std::function<void(metrics::EntityId, metrics::EntityId)>;

  static RemoteKey connection_key(const Flow& flow);
  static RemoteKey remote_key(const Flow& flow);
  static std::uint64_t edge_key(metrics::EntityId base, std::uint32_t peer);
  // The flow between the two true ends: both sockets of a connection have the same, changed over.
  [[nodiscard]] Flow true_flow(const Flow& flow) const;
  [[nodiscard]] Found look_up(const Subject& subject, const Flow& flow, const Flow& truth,
                              std::uint64_t now_ns) const;
  [[nodiscard]] std::optional<Name> name_of(const Address& address) const;
  Peer wait_for_name(const Subject& subject, const Flow& flow, const Name& address,
                     std::uint64_t now_ns);
  bool is_known_unknown(const Flow& flow, std::uint64_t now_ns);
  static void remember(std::unordered_map<RemoteKey, std::uint64_t, RemoteHash>& table,
                       const Flow& flow, std::uint64_t now_ns);
  std::uint32_t intern(const Name& name, std::uint64_t now_ns);
  std::uint32_t take_slot(std::uint64_t now_ns);
  void free_slot(std::uint32_t index);
  Slot* slot_of(std::uint32_t id);
  // The slot of the name that a number stands for by now; null: forgotten.
  Slot* slot_behind(std::uint32_t& id);
  void forward(std::uint32_t alias, std::uint32_t name);
  void settle_early(const Flow& flow, std::uint32_t name);
  void settle_waiting(std::uint64_t now_ns);
  void settle_edges(std::uint64_t now_ns, const Merged& merged);
  bool settle_edge(const PendingEdge& edge, std::uint64_t now_ns, const Merged& merged);
  void forget_idle(std::uint64_t now_ns);

  metrics::Registry& registry_;
  PeerSources sources_;
  bool enabled_ = true;
  enrich::LocalFlows flows_;
  std::vector<Slot> slots_{1};  // number 0 is nobody
  std::vector<std::uint32_t> free_slots_;
  std::map<Name, std::uint32_t> by_name_;
  std::unordered_map<RemoteKey, Waiting, RemoteHash> waiting_;
  // To when they were last used: addresses that had no name, and those that were translated ones.
  std::unordered_map<RemoteKey, std::uint64_t, RemoteHash> unknown_, translated_;
  std::unordered_map<std::uint64_t, Edge> edges_;
  std::vector<PendingEdge> pending_edges_;
  std::size_t external_ = 0, aliases_ = 0;
  bool edges_are_due_ = false;  // somebody who waited has a name
  std::uint64_t next_settle_ns_ = 0, next_forget_ns_ = 0;
  PeerFigures counts_;
};

}  // namespace tarsier::daemon
