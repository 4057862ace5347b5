// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/subjects.h"

#include <algorithm>

#include "base/text.h"
#include "lifecycle.h"
#include "names.h"

namespace tarsier::daemon {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
// How often processes without a name that they should have are looked at again.
constexpr std::uint64_t kUnnamedNs = enrich::kNegativeNs;
constexpr std::uint16_t kDnsPort = 53;
constexpr std::string_view kOwnComm = "tarsier";

enrich::Comm comm_of(const lifecycle_process& record) {
  enrich::Comm comm;
  std::ranges::copy(record.comm, comm.begin());
  return comm;
}

bool wants(const std::vector<std::string>& labels, std::string_view name) {
  return std::ranges::find(labels, name) != labels.end();
}

enrich::LabelChoice choice_of(const config::Config& config) {
  const auto& labels = config.labels;
  enrich::LabelChoice choice;
  choice.comm = wants(labels.process, "comm");
  choice.pid = wants(labels.process, "pid");
  choice.exe = wants(labels.process, "exe");
  choice.unit = wants(labels.process, "unit");
  choice.container = labels.container;
  choice.kubernetes = labels.kubernetes;
  choice.pod_labels = labels.k8s_pod_labels;
  choice.pod_annotations = labels.k8s_pod_annotations;
  choice.node_labels = labels.k8s_node_labels;
  for (const auto& [name, value] : labels.fixed) choice.fixed.push_back({name, value});
  choice.dialect = labels.dialect == config::Dialect::otel ? enrich::Dialect::otel
                                                           : enrich::Dialect::short_names;
  return choice;
}

metrics::EntityId entity_of(metrics::Registry& registry, const std::vector<enrich::Label>& labels) {
  return registry.entity(metric_labels(labels));
}

}  // namespace

Subjects::Subjects(const Parts& parts)
    : host_(parts.host),
      registry_(parts.registry),
      cgroups_(parts.cgroups),
      resolver_(parts.resolver),
      containers_(parts.resolver),
      enricher_(parts.host, parts.cgroups, containers_, pods_, {}),
      inventory_(registry_),
      peers_(registry_, peer_sources(parts.translate)),
      self_tgid_(parts.self_tgid) {
  processes_.set_on_gone([this](const enrich::Process&, const enrich::ProcessVersion& version) {
    if (version.state != enrich::LabelState::none && version.identity != kLeftOut) {
      registry_.release(metrics::EntityId{version.identity});
    }
  });
}

Status Subjects::configure(const config::Config& config) {
  auto rules = config::TargetRules::make(config.targets);
  if (!rules) return std::unexpected(rules.error());
  rules_ = std::move(*rules);
  has_rules_ = !config.targets.include.empty() || !config.targets.exclude.empty();
  observe_self_ = config.targets.self;
  enricher_.set_choice(choice_of(config));
  inventory_.set_choice(choice_of(config));
  peers_.enable(config.labels.peer);
  return {};
}

bool Subjects::on_lifecycle(Bytes bytes) {
  tarsier_header header;
  if (!copy_from(bytes, header)) return false;
  if (header.type == LIFECYCLE_CGROUP_MAKE || header.type == LIFECYCLE_CGROUP_REMOVE) {
    lifecycle_cgroup record;
    if (!copy_from(bytes, record)) return false;
    if (header.type == LIFECYCLE_CGROUP_MAKE) {
      cgroups_.made(record.cgroup_id, base::until_zero(record.path), header.time_ns);
    } else {
      cgroups_.removed(record.cgroup_id, header.time_ns);
    }
    return true;
  }
  lifecycle_process record;
  if (!copy_from(bytes, record)) return false;
  const enrich::Comm comm = comm_of(record);
  const std::uint64_t time = header.time_ns, start = header.start_ns;
  switch (header.type) {
    case LIFECYCLE_FORK:
      processes_.on(
          enrich::ForkEvent{time, header.tgid, start, record.parent_tgid, comm, record.cgroup_id});
      return true;
    case LIFECYCLE_EXEC:
      processes_.on(enrich::ExecEvent{time, header.tgid, start, comm, record.cgroup_id});
      return true;
    case LIFECYCLE_RENAME:
      processes_.on(enrich::RenameEvent{time, header.tgid, start, comm});
      return true;
    case LIFECYCLE_MOVE:
      processes_.on(enrich::CgroupMoveEvent{time, header.tgid, start, record.cgroup_id});
      return true;
    case LIFECYCLE_EXIT:
      processes_.on(enrich::ExitEvent{time, header.tgid, start, comm, record.cgroup_id});
      if (observer_ != nullptr) observer_->on_process_end(header.tgid, start);
      return true;
    default: return false;
  }
}

bool Subjects::on_dns_answer(Bytes bytes) {
  names_answer record;
  if (!copy_from(bytes, record) || record.captured > sizeof record.message) return false;
  const auto sender =
      record.server_port == kDnsPort ? enrich::DnsSender::server : enrich::DnsSender::unknown;
  dns_.learn(std::as_bytes(std::span(record.message, record.captured)), record.header.tgid, sender,
             record.header.time_ns);
  return true;
}

void Subjects::add_snapshot(Bytes bytes) {
  lifecycle_process record;
  if (!copy_from(bytes, record)) return;
  enrich::SnapshotEntry entry;
  entry.tgid = record.header.tgid;
  entry.start_ns = record.header.start_ns;
  entry.parent_tgid = record.parent_tgid;
  entry.comm = comm_of(record);
  entry.cgroup_id = record.cgroup_id;
  snapshot_.push_back(entry);
}

void Subjects::finish_snapshot(std::uint64_t taken_ns) {
  processes_.apply_snapshot(snapshot_, taken_ns);
  snapshot_ = {};
}

SubjectEntity Subjects::find(const Subject& subject, std::uint64_t time_ns, std::uint64_t now_ns) {
  SubjectEntity found;
  if (subject.type == Subject::Type::process) found = find_process(subject, time_ns, now_ns);
  if (subject.peer != 0 && found.observed) {
    found.entity = peers_.entity(found.entity, subject.peer, now_ns);
  }
  return found;
}

SubjectEntity Subjects::find_process(const Subject& subject, std::uint64_t time_ns,
                                     std::uint64_t now_ns) {
  enrich::Process* process = processes_.find(subject.tgid, subject.start_ns);
  enrich::ProcessVersion* version =
      process == nullptr ? nullptr : processes_.at(subject.tgid, subject.start_ns, time_ns);
  if (version == nullptr) {
    ++unknown_processes_;
    return {};
  }
  SubjectEntity found;
  found.alive = process->ended_ns == 0;
  if (version->state == enrich::LabelState::none) {
    version->identity = static_cast<std::uint32_t>(name(*process, *version, now_ns));
  }
  found.observed = version->identity != kLeftOut;
  if (found.observed) found.entity = metrics::EntityId{version->identity};
  return found;
}

// The first look at a version: its entity, or kLeftOut.
metrics::EntityId Subjects::name(enrich::Process& process, enrich::ProcessVersion& version,
                                 std::uint64_t now_ns) {
  if (is_own(process, version) && !observe_self_) {
    version.state = enrich::LabelState::resolved;
    return metrics::EntityId{kLeftOut};
  }
  OwnFacts own = has_rules_ ? own_facts(process.tgid) : OwnFacts{};
  const enrich::Identity identity = enricher_.identify(process, version, now_ns);
  if (!identity.complete) {
    pending_.push_back({process.tgid, process.start_ns, version.since_ns, std::move(own)});
    return registry_.pending_entity();
  }
  if (!observes(process, version, own, now_ns)) return metrics::EntityId{kLeftOut};
  return entity_of(registry_, identity.labels);
}

bool Subjects::is_own(const enrich::Process& process, const enrich::ProcessVersion& version) const {
  return process.tgid == self_tgid_ || enrich::text_of(version.comm) == kOwnComm;
}

Subjects::OwnFacts Subjects::own_facts(std::uint32_t tgid) const {
  OwnFacts own;
  own.exe = enrich::read_exe(host_, tgid);
  own.cmdline = host_.read("proc/" + std::to_string(tgid) + "/cmdline").value_or("");
  while (own.cmdline.ends_with('\0')) own.cmdline.pop_back();
  std::ranges::replace(own.cmdline, '\0', ' ');
  return own;
}

bool Subjects::observes(const enrich::Process& process, const enrich::ProcessVersion& version,
                        const OwnFacts& own, std::uint64_t now_ns) {
  if (!has_rules_) return true;
  enrich::Place place;
  enricher_.place_of(process, version, now_ns, place);
  config::TargetFacts facts;
  facts.comm = enrich::text_of(version.comm);
  facts.pid = process.tgid;
  facts.tarsier = is_own(process, version);
  facts.exe = own.exe;
  facts.cmdline = own.cmdline;
  facts.cgroup = place.path;
  if (place.cgroup != nullptr) {
    facts.unit = place.cgroup->unit;
    facts.container_id = place.cgroup->container_id;
  }
  std::string container;
  if (place.cgroup != nullptr) container = enrich::container_name(place);
  facts.container = container;
  if (place.container != nullptr) facts.image = place.container->image;
  std::vector<std::pair<std::string, std::string>> labels;
  if (place.pod != nullptr) {
    facts.pod = place.pod->name;
    facts.pod_namespace = place.pod->namespace_name;
    for (const enrich::Label& label : place.pod->labels) {
      labels.emplace_back(label.name, label.value);
    }
  }
  facts.labels = labels;
  return rules_.observes(facts);
}

// false: it still waits.
bool Subjects::retry(const PendingVersion& waiting, std::uint64_t now_ns) {
  enrich::Process* process = processes_.find(waiting.tgid, waiting.start_ns);
  enrich::ProcessVersion* version = processes_.at(waiting.tgid, waiting.start_ns, waiting.since_ns);
  if (process == nullptr || version == nullptr || version->state != enrich::LabelState::pending) {
    return true;  // forgotten meanwhile; on_gone gave the entity back
  }
  const enrich::Identity identity = enricher_.identify(*process, *version, now_ns);
  if (!identity.complete) return false;
  const metrics::EntityId before{version->identity};
  if (!observes(*process, *version, waiting.own, now_ns)) {
    registry_.discard(before);
    version->identity = kLeftOut;
    return true;
  }
  const metrics::EntityId after = registry_.resolve(before, metric_labels(identity.labels));
  version->identity = static_cast<std::uint32_t>(after);
  peers_.on_entity_named(before, after);
  if (observer_ != nullptr) {
    observer_->on_entity_named(waiting.tgid, waiting.start_ns, before, after);
  }
  return true;
}

// Something else is known of where the process runs. What it counted stays where it is; from now on
// it counts under its other name, as after an exec.
void Subjects::relabel(enrich::Process& process, std::uint64_t now_ns) {
  enrich::ProcessVersion& version = process.last();
  if (version.state != enrich::LabelState::resolved) return;
  if (is_own(process, version) && !observe_self_) return;
  const enrich::Identity identity = enricher_.identify(process, version, now_ns);
  const OwnFacts own = has_rules_ ? own_facts(process.tgid) : OwnFacts{};
  const bool was_left_out = version.identity == kLeftOut;
  const metrics::EntityId before{version.identity};
  metrics::EntityId after{kLeftOut};
  if (observes(process, version, own, now_ns)) after = entity_of(registry_, identity.labels);
  version.identity = static_cast<std::uint32_t>(after);
  if (!was_left_out) registry_.release(before);  // the reference of `after` took its place
}

void Subjects::relabel_changed(std::uint64_t now_ns) {
  const bool unnamed_are_due = now_ns >= next_unnamed_ns_;
  if (unnamed_are_due) next_unnamed_ns_ = now_ns + kUnnamedNs;
  if (changed_.empty() && !unnamed_are_due) return;
  processes_.each_live([&](enrich::Process& process) {
    const enrich::ProcessVersion& version = process.last();
    if (version.state != enrich::LabelState::resolved) return;
    bool concerned = unnamed_are_due && !version.named;
    if (!concerned && !changed_.empty()) {
      const enrich::Cgroup* cgroup = cgroups_.known(version.cgroup_id);
      concerned = cgroup != nullptr && (changed_.contains(cgroup->info.container_id) ||
                                        changed_.contains(cgroup->info.pod_uid));
    }
    if (concerned) relabel(process, now_ns);
  });
  changed_.clear();
}

void Subjects::put_pod(enrich::PodFacts pod) {
  const std::string uid = pod.cgroup_uid.empty() ? pod.uid : pod.cgroup_uid;
  std::vector<std::string> containers;
  for (const enrich::PodContainer& container : pod.containers) containers.push_back(container.id);
  inventory_.put(pod);
  if (!pods_.put(std::move(pod))) return;
  changed_.insert(uid);
  for (std::string& id : containers) {
    if (!id.empty()) changed_.insert(std::move(id));
  }
}

std::optional<PeerSources::LocalName> Subjects::peer_name(const enrich::FlowOwner& owner,
                                                          std::uint64_t now_ns) {
  enrich::Process* process = processes_.find(owner.tgid, owner.start_ns);
  if (process == nullptr) return std::nullopt;
  enrich::PeerName name = enricher_.peer_name(*process, process->last(), now_ns);
  return PeerSources::LocalName{std::move(name.name), std::move(name.namespace_name),
                                name.complete};
}

PeerSources Subjects::peer_sources(std::function<std::optional<Endpoint>(const Flow&)> translate) {
  PeerSources sources;
  sources.translate = std::move(translate);
  sources.pods = &pods_;
  sources.cluster = &cluster_;
  sources.process = [this](const enrich::FlowOwner& owner, std::uint64_t now_ns) {
    return peer_name(owner, now_ns);
  };
  sources.dns = [this](const Address& address, std::uint32_t tgid,
                       std::uint64_t now_ns) -> std::optional<std::string> {
    const std::string* name = dns_.find(address, tgid, now_ns);
    return name == nullptr ? std::nullopt : std::optional(*name);
  };
  return sources;
}

const enrich::PodFacts* Subjects::pod_of(const enrich::ContainerFacts& container) const {
  const enrich::PodFacts* pod = pods_.of_container(container.id);
  return pod != nullptr ? pod : pods_.find(container.pod.uid);
}

Status Subjects::watch_cgroups() {
  auto watch = enrich::CgroupWatch::open(cgroups_);
  if (!watch) return std::unexpected(std::move(watch.error()));
  cgroup_watch_.emplace(std::move(*watch));
  return {};
}

void Subjects::poll(std::uint64_t now_ns) {
  if (cgroup_watch_) cgroup_watch_->poll(now_ns);
  for (std::string& id : containers_.poll(now_ns)) {
    if (const enrich::Container* container = containers_.find(id)) {
      inventory_.put(*container, pod_of(container->facts));
    }
    changed_.insert(std::move(id));
  }
  if (!pending_.empty()) {
    std::erase_if(pending_, [&](const PendingVersion& waiting) { return retry(waiting, now_ns); });
  }
  if (now_ns >= next_second_ns_) second(now_ns);
}

void Subjects::poll_peers(std::uint64_t now_ns) {
  peers_.poll(now_ns, [this](metrics::EntityId before, metrics::EntityId after) {
    if (observer_ != nullptr) observer_->on_edge_named(before, after);
  });
}

void Subjects::second(std::uint64_t now_ns) {
  next_second_ns_ = now_ns + kSecondNs;
  processes_.expire(now_ns);
  enricher_.expire(now_ns);
  pods_.expire(now_ns);
  relabel_changed(now_ns);
  for (const enrich::ContainerExit& exit : containers_.take_exits()) {
    inventory_.count(exit, pod_of(exit.facts));
  }
  inventory_.refresh(containers_, pods_);
}

SubjectFigures Subjects::figures() const {
  const enrich::ProcessTable::Stats& processes = processes_.stats();
  const metrics::Stats registry = registry_.stats();
  const PeerFigures peers = peers_.figures();
  return {.tables =
              {
                  {"processes", processes_.live(), processes_.limits().live, processes.refused},
                  {"ended_processes", processes_.ended(), processes_.limits().ended,
                   processes.ended_early},
                  {"cgroups", cgroups_.size(), cgroups_.limits().cgroups, cgroups_.stats().refused},
                  {"containers", containers_.size(), enrich::kMaxContainers,
                   containers_.stats().refused},
                  {"pods", pods_.size(), enrich::kMaxPods, pods_.stats().refused},
                  {"cluster_objects", cluster_.objects(), enrich::kMaxClusterObjects, 0},
                  {"cluster_addresses", cluster_.addresses(), enrich::kMaxClusterAddresses,
                   cluster_.stats().refused},
                  {"container_lookups", resolver_.queued(), enrich::kMaxQueue, resolver_.refused()},
                  {"entities", registry.entities, metrics::kMaxEntities, registry.entities_refused},
                  {"peers", peers.peers, kMaxPeers, peers.peers_refused},
                  {"external_peers", peers.external, kMaxExternalPeers, peers.external_refused},
                  {"unsettled_peers", peers.aliases, kMaxAliases, peers.aliases_refused},
                  {"dns_names", dns_.size(), enrich::kMaxDnsNames, dns_.stats().evicted},
                  {"edges", peers.edges, kMaxEdges, peers.edges_refused},
                  {"local_clients", peers_.flows().clients(), enrich::kMaxLocalClients,
                   peers_.flows().stats().clients_refused},
                  {"local_servers", peers_.flows().servers(), enrich::kMaxLocalServers,
                   peers_.flows().stats().servers_refused},
              },
          .unknown_processes = unknown_processes_};
}

}  // namespace tarsier::daemon
