// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// From the subject of a record to the entity that its series belong to. Collector thread only.
//
// Here the tables of src/enrich meet the registry: lifecycle records go in, entities come out. A
// subject whose container is not named yet gets a pending entity, whose series are hidden for at
// most enrich::kPendingNs.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/files.h"
#include "config/config.h"
#include "enrich/cgroups.h"
#include "enrich/containers.h"
#include "enrich/enricher.h"
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

// The families that are filled here: tarsier_container_info.
[[nodiscard]] std::span<const MetricDef* const> subject_metrics();

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

class Subjects {
 public:
  struct Parts {
    const base::HostFiles& host;
    metrics::Registry& registry;
    enrich::CgroupTable& cgroups;
    enrich::Resolver& resolver;
    std::uint32_t self_tgid = 0;
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
  };
  void set_observer(Observer* observer) { observer_ = observer; }

  // [labels] and [targets]. What is named already keeps its name until its process changes.
  Status configure(const config::Config& config);

  // One record of the lifecycle service; false: undecodable.
  bool on_lifecycle(Bytes record);
  // All processes, from the service's iterator (pieces of lifecycle_process).
  void add_snapshot(Bytes record);
  void finish_snapshot(std::uint64_t taken_ns);
  // The same from /proc, where there is no lifecycle service.
  void apply_snapshot(std::span<const enrich::SnapshotEntry> entries, std::uint64_t taken_ns) {
    processes_.apply_snapshot(entries, taken_ns);
  }

  // The subject as it was at time_ns.
  SubjectEntity find(const Subject& subject, std::uint64_t time_ns, std::uint64_t now_ns);

  // Takes answers of the runtimes, names what was pending long enough, forgets what ended. Cheap;
  // call it each round.
  void poll(std::uint64_t now_ns);

  [[nodiscard]] SubjectFigures figures() const;
  [[nodiscard]] const enrich::ProcessTable& processes() const { return processes_; }
  [[nodiscard]] const enrich::ContainerTable& containers() const { return containers_; }

 private:
  struct PendingVersion {
    std::uint32_t tgid;
    std::uint64_t start_ns;
    std::uint64_t since_ns;
  };

  metrics::EntityId name(enrich::Process& process, enrich::ProcessVersion& version,
                         std::uint64_t now_ns);
  [[nodiscard]] bool observes(const enrich::Process& process,
                              const enrich::ProcessVersion& version);
  void retry_pending(std::uint64_t now_ns);
  void refresh_container_info(std::uint64_t now_ns);
  metrics::EntityId entity_of(const std::vector<enrich::Label>& labels);

  const base::HostFiles& host_;
  metrics::Registry& registry_;
  enrich::CgroupTable& cgroups_;
  enrich::Resolver& resolver_;
  enrich::ContainerTable containers_;
  enrich::ProcessTable processes_;
  enrich::Enricher enricher_;
  std::uint32_t self_tgid_;
  config::TargetRules rules_;
  bool has_rules_ = false;
  bool observe_self_ = false;
  enrich::LabelChoice choice_;
  Observer* observer_ = nullptr;
  std::vector<PendingVersion> pending_;
  std::vector<enrich::SnapshotEntry> snapshot_;
  std::unordered_map<std::string, metrics::EntityId> container_info_;  // by container id
  std::uint64_t next_expire_ns_ = 0;
  std::uint64_t unknown_processes_ = 0;
};

}  // namespace tarsier::daemon
