// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// From the subject of a record to the entity that its series belong to. Collector thread only.
//
// Here the tables of src/enrich meet the registry: lifecycle records go in, entities come out. A
// subject whose container is not named yet gets a pending entity, whose series are hidden for at
// most enrich::kPendingNs.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/files.h"
#include "config/config.h"
#include "daemon/inventory.h"
#include "daemon/peers.h"
#include "daemon/targets.h"
#include "enrich/cgroup_watch.h"
#include "enrich/cgroups.h"
#include "enrich/cluster_names.h"
#include "enrich/containers.h"
#include "enrich/dns_names.h"
#include "enrich/enricher.h"
#include "enrich/pods.h"
#include "enrich/processes.h"
#include "enrich/resolver.h"
#include "metrics/registry.h"
#include "tarsier/probe.h"

namespace tarsier::daemon {

struct SubjectEntity {
  metrics::EntityId entity = metrics::EntityId::node;
  bool observed = true;  // false: the daemon itself, or left out by [targets]
  bool alive = true;     // false: the process has ended
};

// How full a table is, for tarsier_table_*.
struct TableFigures {
  std::string_view name;
  std::size_t entries = 0, max_entries = 0;
  std::uint64_t refused = 0;
};
struct SubjectFigures {
  std::vector<TableFigures> tables;
  std::uint64_t unknown_processes = 0;  // records about a process that nobody announced
};

// Stands in ProcessVersion::identity for a process that [targets] leaves out. No entity has this
// id; the highest one is the registry's own "no room".
inline constexpr std::uint32_t kLeftOut = std::numeric_limits<std::uint32_t>::max() - 1;

class Subjects {
 public:
  struct Parts {
    const base::HostFiles& host;
    metrics::Registry& registry;
    enrich::CgroupTable& cgroups;
    enrich::Resolver& resolver;
    std::uint32_t self_tgid = 0;
    // Tells what translated addresses became; may be empty.
    std::function<std::optional<Endpoint>(const Flow&)> translate = {};
  };
  explicit Subjects(const Parts& parts);
  // Whoever keeps something for a process by its entity: told when the process ended, and when an
  // entity was merged into another one.
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void on_process_end(std::uint32_t tgid, std::uint64_t start_ns) = 0;
    virtual void on_entity_named(std::uint32_t tgid, std::uint64_t start_ns,
                                 metrics::EntityId before, metrics::EntityId after) = 0;
    // The same for the entity of a subject towards a peer.
    virtual void on_edge_named(metrics::EntityId before, metrics::EntityId after) = 0;
  };
  void set_observer(Observer* observer) { observer_ = observer; }

  // [labels] and [targets]. What is named already keeps its name until its process changes.
  Status configure(const config::Config& config);

  // One record of the lifecycle service; false: undecodable.
  bool on_lifecycle(Bytes record);
  // One record of the service `names`; false: undecodable.
  bool on_dns_answer(Bytes record);
  // All processes, from the service's iterator (pieces of lifecycle_process).
  void add_snapshot(Bytes record);
  void finish_snapshot(std::uint64_t taken_ns);
  // The same from /proc, where there is no lifecycle service.
  void apply_snapshot(std::span<const enrich::SnapshotEntry> entries, std::uint64_t taken_ns) {
    processes_.apply_snapshot(entries, taken_ns);
  }

  // Pods of this node, told by Kubernetes. `expected`: somebody tells of them, so that what runs in
  // a pod waits for its name.
  void expect_pods(bool expected) { enricher_.expect_pods(expected); }
  void put_pod(enrich::PodFacts pod);
  void remove_pod(std::string_view uid, std::uint64_t now_ns) { pods_.remove(uid, now_ns); }
  void put_own_node(const enrich::NodeFacts& node) { inventory_.put(node); }
  [[nodiscard]] std::uint64_t missed_pods() const { return enricher_.missed_pods(); }
  enrich::PodTable& pods() { return pods_; }
  enrich::ClusterNames& cluster() { return cluster_; }
  Peers& peers() { return peers_; }

  // The kernel does not tell of cgroups that are made and removed: their directories are watched.
  Status watch_cgroups();

  // The subject as it was at time_ns, towards its peer.
  SubjectEntity find(const Subject& subject, std::uint64_t time_ns, std::uint64_t now_ns);

  // Takes answers of the runtimes, names what was pending long enough, forgets what ended. Cheap;
  // call it each round.
  void poll(std::uint64_t now_ns);
  // The same for the peers; at the end of each round.
  void poll_peers(std::uint64_t now_ns);

  [[nodiscard]] SubjectFigures figures() const;
  // What is known now, for people; defined in targets.cpp.
  [[nodiscard]] TargetsReport report(const TargetsQuery& query, std::uint64_t now_ns);
  [[nodiscard]] const enrich::ProcessTable& processes() const { return processes_; }
  [[nodiscard]] const enrich::ContainerTable& containers() const { return containers_; }

 private:
  // What only a living process tells of itself, read once where [targets] may ask for it.
  struct OwnFacts {
    std::string exe, cmdline;
  };
  struct PendingVersion {
    std::uint32_t tgid;
    std::uint64_t start_ns;
    std::uint64_t since_ns;
    OwnFacts own;
  };

  SubjectEntity find_process(const Subject& subject, std::uint64_t time_ns, std::uint64_t now_ns);
  metrics::EntityId name(enrich::Process& process, enrich::ProcessVersion& version,
                         std::uint64_t now_ns);
  [[nodiscard]] bool is_own(const enrich::Process& process,
                            const enrich::ProcessVersion& version) const;
  [[nodiscard]] OwnFacts own_facts(std::uint32_t tgid) const;
  [[nodiscard]] bool observes(const enrich::Process& process, const enrich::ProcessVersion& version,
                              const OwnFacts& own, std::uint64_t now_ns);
  bool retry(const PendingVersion& waiting, std::uint64_t now_ns);
  [[nodiscard]] const enrich::PodFacts* pod_of(const enrich::ContainerFacts& container) const;
  void relabel(enrich::Process& process, std::uint64_t now_ns);
  void relabel_changed(std::uint64_t now_ns);
  void second(std::uint64_t now_ns);
  std::optional<PeerSources::LocalName> peer_name(const enrich::FlowOwner& owner,
                                                  std::uint64_t now_ns);
  PeerSources peer_sources(std::function<std::optional<Endpoint>(const Flow&)> translate);

  const base::HostFiles& host_;
  metrics::Registry& registry_;
  enrich::CgroupTable& cgroups_;
  enrich::Resolver& resolver_;
  std::optional<enrich::CgroupWatch> cgroup_watch_;
  enrich::ContainerTable containers_;
  enrich::PodTable pods_;
  enrich::ClusterNames cluster_;
  enrich::DnsNames dns_;
  enrich::ProcessTable processes_;
  enrich::Enricher enricher_;
  Inventory inventory_;
  Peers peers_;
  std::uint32_t self_tgid_;
  config::TargetRules rules_;
  bool has_rules_ = false;
  bool observe_self_ = false;
  Observer* observer_ = nullptr;
  std::vector<PendingVersion> pending_;
  std::vector<enrich::SnapshotEntry> snapshot_;
  // Containers (by id) and pods (by uid) about which something else is known now.
  std::unordered_set<std::string> changed_;
  std::uint64_t next_second_ns_ = 0;
  std::uint64_t next_unnamed_ns_ = 0;
  std::uint64_t unknown_processes_ = 0;
};

}  // namespace tarsier::daemon
