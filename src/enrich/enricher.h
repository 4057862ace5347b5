// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One door for the collector: from a subject to its labels, through the tables of this room.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "enrich/cgroups.h"
#include "enrich/containers.h"
#include "enrich/identity.h"
#include "enrich/pods.h"
#include "enrich/processes.h"

namespace tarsier::enrich {

// A subject that is not resolved yet is shown after this time with what is known then.
inline constexpr std::uint64_t kPendingNs = 1'000'000'000;

struct Identity {
  std::vector<Label> labels;
  bool complete = true;  // false: ask again; a runtime or Kubernetes has not answered yet
  bool named = true;     // false: the time to wait is over and something still has no name
};

// Where a process is, as far as anybody knows now. Points into itself, hence no copies.
struct Place {
  Place() = default;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  std::string_view path;  // of the cgroup
  const CgroupInfo* cgroup = nullptr;
  const ContainerFacts* container = nullptr;
  const PodFacts* pod = nullptr;
  PodFacts told_by_runtime;  // what `pod` points to where no pod source knows it
  bool complete = true;      // false: more can be known in a moment
  bool named = true;         // false: it is in a container or pod that has no name yet
};
// The container's name, or its short id where it has none (yet); empty outside of containers.
[[nodiscard]] std::string container_name(const Place& place);

// What others call a process that they talk to: its workload, pod, container or comm.
struct PeerName {
  std::string name;
  std::string namespace_name;  // of a pod or service, else empty
  bool complete = true;        // as in Identity
  friend bool operator==(const PeerName&, const PeerName&) = default;
};

// Collector thread only. Owns no table, so that each can be tested and fed alone.
class Enricher {
 public:
  Enricher(const base::HostFiles& host, CgroupTable& cgroups, ContainerTable& containers,
           const PodTable& pods, LabelChoice choice)
      : host_(host),
        cgroups_(cgroups),
        containers_(containers),
        pods_(pods),
        choice_(std::move(choice)) {}

  void set_choice(LabelChoice choice) { choice_ = std::move(choice); }
  // Whether somebody tells of the pods of this node: then what runs in a pod waits for it.
  void expect_pods(bool expected) { pods_expected_ = expected; }

  // Grows when somebody is in a pod that nobody has told of.
  [[nodiscard]] std::uint64_t missed_pods() const { return missed_pods_; }

  // The labels of a version of a process. Writes version.state and pending_since_ns: complete, or
  // pending for kPendingNs, makes it resolved.
  Identity identify(const Process& process, ProcessVersion& version, std::uint64_t now_ns);
  // Fills in where it is; pointers are valid until a table changes.
  void place_of(const Process& process, const ProcessVersion& version, std::uint64_t now_ns,
                Place& place);
  // The labels that it would get there now; asks nobody.
  [[nodiscard]] std::vector<Label> labels_at(const Process& process, const ProcessVersion& version,
                                             const Place& place) const;
  // The process as others call it.
  PeerName peer_name(const Process& process, const ProcessVersion& version, std::uint64_t now_ns);
  // The labels of a cgroup: container and unit only. `asked_since_ns`: when it was first asked for.
  Identity identify_cgroup(std::uint64_t cgroup_id, std::uint64_t asked_since_ns,
                           std::uint64_t now_ns);
  // Has the exits of containers asked for whose cgroup was removed, and forgets cgroups whose grace
  // time is over, and their containers. Call it about once a second.
  void expire(std::uint64_t now_ns);

 private:
  void look_up(std::uint64_t cgroup_id, std::uint32_t tgid, std::uint64_t now_ns, Place& place);
  void look_up_container(std::uint64_t now_ns, Place& place);
  void look_up_pod(Place& place);
  void miss_pod(Place& place);

  const base::HostFiles& host_;
  CgroupTable& cgroups_;
  ContainerTable& containers_;
  const PodTable& pods_;
  bool pods_expected_ = false;
  std::uint64_t missed_pods_ = 0;
  LabelChoice choice_;
};

}  // namespace tarsier::enrich
