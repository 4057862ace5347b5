// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One door for the collector: from a subject to its labels, through the tables of this room.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/files.h"
#include "enrich/cgroups.h"
#include "enrich/containers.h"
#include "enrich/identity.h"
#include "enrich/processes.h"

namespace tarsier::enrich {

// A subject that is not resolved yet is shown after this time with what is known then.
inline constexpr std::uint64_t kPendingNs = 1'000'000'000;

struct Identity {
  std::vector<Label> labels;
  bool complete = true;  // false: ask again; a container runtime has not answered yet
};

// Collector thread only. Owns no table, so that each can be tested and fed alone.
class Enricher {
 public:
  Enricher(const base::HostFiles& host, CgroupTable& cgroups, ContainerTable& containers,
           LabelChoice choice)
      : host_(host), cgroups_(cgroups), containers_(containers), choice_(choice) {}

  void set_choice(const LabelChoice& choice) { choice_ = choice; }

  // The labels of a version of a process. Writes version.state and pending_since_ns: complete, or
  // pending for kPendingNs, makes it resolved.
  Identity identify(const Process& process, ProcessVersion& version, std::uint64_t now_ns);
  // The labels of a cgroup: container and unit only. `asked_since_ns`: when it was first asked for.
  Identity identify_cgroup(std::uint64_t cgroup_id, std::uint64_t asked_since_ns,
                           std::uint64_t now_ns);
  // Forgets cgroups whose grace time is over, and their containers. Call it about once a second.
  void expire(std::uint64_t now_ns);

 private:
  // Fills the cgroup's part of `facts`; false: more can be known in a moment.
  bool look_up(std::uint64_t cgroup_id, std::uint32_t tgid, std::uint64_t now_ns,
               SubjectFacts& facts);

  const base::HostFiles& host_;
  CgroupTable& cgroups_;
  ContainerTable& containers_;
  LabelChoice choice_;
};

}  // namespace tarsier::enrich
