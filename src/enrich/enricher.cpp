// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/enricher.h"

#include <algorithm>

namespace tarsier::enrich {
namespace {

// The container whose end the end of this cgroup is; empty: it is no container's, or one that a
// container made inside of its own, which says nothing about the container.
std::string container_of(const std::string& path) {
  const CgroupInfo info = parse_cgroup_path(path);
  if (info.kind != CgroupKind::container) return {};
  const CgroupInfo outer = parse_cgroup_path(path.substr(0, path.rfind('/')));
  return outer.container_id == info.container_id ? std::string{} : std::string(info.container_id);
}

SubjectFacts facts_of(const CgroupInfo* cgroup, const ContainerFacts* container,
                      const PodFacts* pod) {
  SubjectFacts facts;
  facts.cgroup = cgroup;
  facts.container = container;
  facts.pod = pod;
  return facts;
}

}  // namespace

std::string container_name(const Place& place) {
  return place.cgroup == nullptr
             ? std::string{}
             : container_name(facts_of(place.cgroup, place.container, place.pod));
}

void Enricher::look_up(std::uint64_t cgroup_id, std::uint32_t tgid, std::uint64_t now_ns,
                       Place& place) {
  if (cgroup_id == 0) return;
  const Cgroup* cgroup = cgroups_.find(cgroup_id, now_ns, tgid);
  if (cgroup == nullptr) {
    place.complete = place.named = false;
    return;
  }
  place.path = cgroup->path;
  place.cgroup = &cgroup->info;
  if (cgroup->info.kind == CgroupKind::container) look_up_container(now_ns, place);
  if (choice_.kubernetes) look_up_pod(place);
}

void Enricher::look_up_container(std::uint64_t now_ns, Place& place) {
  if (!choice_.container && !choice_.image && !choice_.kubernetes) return;
  const Container* container =
      containers_.want(place.cgroup->container_id, place.cgroup->runtime, now_ns);
  if (container == nullptr) return;
  if (container->state == ContainerState::known) {
    place.container = &container->facts;
    return;
  }
  place.named = false;
  place.complete = container->state == ContainerState::absent;
}

void Enricher::miss_pod(Place& place) {
  ++missed_pods_;
  place.complete = false;
}

void Enricher::look_up_pod(Place& place) {
  const CgroupInfo& cgroup = *place.cgroup;
  if (!cgroup.pod_uid.empty()) place.pod = pods_.find(cgroup.pod_uid);
  if (place.pod == nullptr && place.container != nullptr && !place.container->pod.uid.empty()) {
    place.pod = pods_.find(place.container->pod.uid);
  }
  if (place.pod == nullptr && !cgroup.container_id.empty()) {
    place.pod = pods_.of_container(cgroup.container_id);
  }
  if (place.pod != nullptr) {
    // The pod's own list names the container where no runtime could be asked.
    const auto& containers = place.pod->containers;
    const bool listed =
        std::ranges::find(containers, cgroup.container_id, &PodContainer::id) != containers.end();
    if (listed) place.complete = place.named = true;
    if (!place.pod->complete) place.complete = false;
    return;
  }
  if (place.container != nullptr && !place.container->pod.name.empty()) {
    place.told_by_runtime = pod_told_by(*place.container);
    place.pod = &place.told_by_runtime;
    // Whoever tells of pods knows its workload and labels as well.
    if (pods_expected_) miss_pod(place);
    return;
  }
  if (cgroup.pod_uid.empty()) return;
  place.named = false;
  if (pods_expected_) miss_pod(place);
}

std::vector<Label> Enricher::labels_at(const Process& process, const ProcessVersion& version,
                                       const Place& place) const {
  SubjectFacts facts = facts_of(place.cgroup, place.container, place.pod);
  facts.comm = text_of(version.comm);
  facts.pid = process.tgid;
  const std::string exe = choice_.exe ? read_exe(host_, process.tgid) : std::string{};
  facts.exe = exe;
  return labels_of(facts, choice_);
}

Identity Enricher::identify(const Process& process, ProcessVersion& version, std::uint64_t now_ns) {
  Place place;
  look_up(version.cgroup_id, process.tgid, now_ns, place);
  Identity identity;
  identity.labels = labels_at(process, version, place);
  identity.complete = place.complete;
  identity.named = place.named;
  if (version.state == LabelState::none) version.pending_since_ns = now_ns;
  if (now_ns - version.pending_since_ns >= kPendingNs) identity.complete = true;
  version.state = identity.complete ? LabelState::resolved : LabelState::pending;
  version.named = identity.named;
  return identity;
}

void Enricher::place_of(const Process& process, const ProcessVersion& version, std::uint64_t now_ns,
                        Place& place) {
  look_up(version.cgroup_id, process.tgid, now_ns, place);
}

PeerName Enricher::peer_name(const Process& process, const ProcessVersion& version,
                             std::uint64_t now_ns) {
  Place place;
  look_up(version.cgroup_id, process.tgid, now_ns, place);
  PeerName name;
  name.complete = place.complete;
  if (place.pod != nullptr) {
    name.name = place.pod->workload.empty() ? place.pod->name : place.pod->workload;
    name.namespace_name = place.pod->namespace_name;
  } else if (place.cgroup != nullptr && place.cgroup->kind == CgroupKind::container) {
    name.name = container_name(place);
  } else {
    name.name = text_of(version.comm);
  }
  return name;
}

Identity Enricher::identify_cgroup(std::uint64_t cgroup_id, std::uint64_t asked_since_ns,
                                   std::uint64_t now_ns) {
  Place place;
  look_up(cgroup_id, 0, now_ns, place);
  Identity identity;
  identity.labels = labels_of(facts_of(place.cgroup, place.container, place.pod), choice_);
  identity.complete = place.complete || now_ns - asked_since_ns >= kPendingNs;
  identity.named = place.named;
  return identity;
}

void Enricher::expire(std::uint64_t now_ns) {
  cgroups_.each_new_removal([&](const std::string& path) {
    if (const std::string id = container_of(path); !id.empty()) containers_.ended(id, now_ns);
  });
  cgroups_.expire(now_ns, [&](const CgroupTable::Gone& gone) {
    if (const std::string id = container_of(gone.path); !id.empty()) {
      containers_.forget(id, now_ns);
    }
  });
}

}  // namespace tarsier::enrich
