// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/enricher.h"

namespace tarsier::enrich {

bool Enricher::look_up(std::uint64_t cgroup_id, std::uint32_t tgid, std::uint64_t now_ns,
                       SubjectFacts& facts) {
  if (cgroup_id == 0) return true;
  const Cgroup* cgroup = cgroups_.find(cgroup_id, now_ns, tgid);
  if (cgroup == nullptr) return false;
  facts.cgroup = &cgroup->info;
  const bool asks = choice_.container || choice_.image;
  if (!asks || cgroup->info.kind != CgroupKind::container) return true;
  const Container* container =
      containers_.want(cgroup->info.container_id, cgroup->info.runtime, now_ns);
  if (container == nullptr) return true;
  if (container->state == ContainerState::known) facts.container = &container->facts;
  return container->state == ContainerState::known || container->state == ContainerState::absent;
}

Identity Enricher::identify(const Process& process, ProcessVersion& version, std::uint64_t now_ns) {
  SubjectFacts facts;
  facts.comm = text_of(version.comm);
  facts.pid = process.tgid;
  Identity identity;
  identity.complete = look_up(version.cgroup_id, process.tgid, now_ns, facts);
  const std::string exe = choice_.exe ? read_exe(host_, process.tgid) : std::string{};
  facts.exe = exe;
  identity.labels = labels_of(facts, choice_);
  if (version.state == LabelState::none) version.pending_since_ns = now_ns;
  if (now_ns - version.pending_since_ns >= kPendingNs) identity.complete = true;
  version.state = identity.complete ? LabelState::resolved : LabelState::pending;
  return identity;
}

Identity Enricher::identify_cgroup(std::uint64_t cgroup_id, std::uint64_t asked_since_ns,
                                   std::uint64_t now_ns) {
  SubjectFacts facts;
  Identity identity;
  identity.complete = look_up(cgroup_id, 0, now_ns, facts);
  identity.labels = labels_of(facts, choice_);
  if (now_ns - asked_since_ns >= kPendingNs) identity.complete = true;
  return identity;
}

void Enricher::expire(std::uint64_t now_ns) {
  cgroups_.expire(now_ns, [this](const CgroupTable::Gone& gone) {
    const CgroupInfo info = parse_cgroup_path(gone.path);
    if (info.kind != CgroupKind::container) return;
    // A cgroup that a container made inside of its own says nothing about the container's end.
    const CgroupInfo outer = parse_cgroup_path(gone.path.substr(0, gone.path.rfind('/')));
    if (outer.container_id != info.container_id) containers_.forget(info.container_id);
  });
}

}  // namespace tarsier::enrich
