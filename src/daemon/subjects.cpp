// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/subjects.h"

#include <algorithm>
#include <limits>

#include "base/text.h"
#include "lifecycle.h"

namespace tarsier::daemon {
namespace {

// How often ended processes and removed cgroups are looked for.
constexpr std::uint64_t kExpireNs = 1'000'000'000;
// Stands in ProcessVersion::identity for a process that [targets] leaves out.
// No entity has this id; the highest one is the registry's own "no room".
constexpr std::uint32_t kLeftOut = std::numeric_limits<std::uint32_t>::max() - 1;
constexpr std::string_view kOwnComm = "tarsier";

constexpr auto kContainerInfo =
    gauge("tarsier_container_info",
          "A container that runs processes here: its name, short id, image and runtime; always 1.",
          Unit::none, false);

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
  choice.dialect = labels.dialect == config::Dialect::otel ? enrich::Dialect::otel
                                                           : enrich::Dialect::short_names;
  return choice;
}

}  // namespace

std::span<const MetricDef* const> subject_metrics() {
  static constexpr const MetricDef* kAll[] = {&kContainerInfo};
  return kAll;
}

Subjects::Subjects(const Parts& parts)
    : host_(parts.host),
      registry_(parts.registry),
      cgroups_(parts.cgroups),
      resolver_(parts.resolver),
      containers_(parts.resolver),
      enricher_(parts.host, parts.cgroups, containers_, {}),
      self_tgid_(parts.self_tgid) {
  (void)registry_.add_family(kContainerInfo);
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
  choice_ = choice_of(config);
  enricher_.set_choice(choice_);
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
  if (subject.type != Subject::Type::process) return {};
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

metrics::EntityId Subjects::entity_of(const std::vector<enrich::Label>& labels) {
  std::vector<metrics::Label> converted;
  converted.reserve(labels.size());
  for (const enrich::Label& label : labels) converted.push_back({label.name, label.value});
  return registry_.entity(converted);
}

// The first look at a version: its entity, or kLeftOut.
metrics::EntityId Subjects::name(enrich::Process& process, enrich::ProcessVersion& version,
                                 std::uint64_t now_ns) {
  if (!observes(process, version)) {
    version.state = enrich::LabelState::resolved;
    return metrics::EntityId{kLeftOut};
  }
  const enrich::Identity identity = enricher_.identify(process, version, now_ns);
  if (identity.complete) return entity_of(identity.labels);
  pending_.push_back({process.tgid, process.start_ns, version.since_ns});
  return registry_.pending_entity();
}

bool Subjects::observes(const enrich::Process& process, const enrich::ProcessVersion& version) {
  const std::string_view comm = enrich::text_of(version.comm);
  const bool own = process.tgid == self_tgid_ || comm == kOwnComm;
  if (own && !observe_self_) return false;
  if (!has_rules_) return true;
  config::TargetFacts facts;
  facts.comm = comm;
  facts.pid = process.tgid;
  facts.tarsier = own;
  const std::string exe = enrich::read_exe(host_, process.tgid);
  facts.exe = exe;
  std::string cmdline =
      host_.read("proc/" + std::to_string(process.tgid) + "/cmdline").value_or("");
  while (cmdline.ends_with('\0')) cmdline.pop_back();
  std::ranges::replace(cmdline, '\0', ' ');
  facts.cmdline = cmdline;
  const enrich::Cgroup* cgroup =
      version.cgroup_id == 0 ? nullptr
                             : cgroups_.find(version.cgroup_id, version.since_ns, process.tgid);
  if (cgroup != nullptr) {
    facts.cgroup = cgroup->path;
    facts.unit = cgroup->info.unit;
    facts.container_id = cgroup->info.container_id;
    const enrich::Container* container =
        cgroup->info.container_id.empty()
            ? nullptr
            : containers_.want(cgroup->info.container_id, cgroup->info.runtime, version.since_ns);
    if (container != nullptr) {
      facts.container = container->facts.name;
      facts.image = container->facts.image;
    }
  }
  return rules_.observes(facts);
}

void Subjects::retry_pending(std::uint64_t now_ns) {
  std::erase_if(pending_, [&](const PendingVersion& waiting) {
    enrich::Process* process = processes_.find(waiting.tgid, waiting.start_ns);
    enrich::ProcessVersion* version =
        processes_.at(waiting.tgid, waiting.start_ns, waiting.since_ns);
    if (process == nullptr || version == nullptr || version->state != enrich::LabelState::pending) {
      return true;  // forgotten meanwhile; on_gone gave the entity back
    }
    const enrich::Identity identity = enricher_.identify(*process, *version, now_ns);
    if (!identity.complete) return false;
    std::vector<metrics::Label> labels;
    for (const enrich::Label& label : identity.labels) labels.push_back({label.name, label.value});
    const metrics::EntityId before{version->identity};
    const metrics::EntityId after = registry_.resolve(before, labels);
    version->identity = static_cast<std::uint32_t>(after);
    if (observer_ != nullptr) {
      observer_->on_entity_named(waiting.tgid, waiting.start_ns, before, after);
    }
    return true;
  });
}

void Subjects::poll(std::uint64_t now_ns) {
  const bool more_is_known = !containers_.poll(now_ns).empty();
  if (!pending_.empty()) retry_pending(now_ns);
  if (more_is_known) refresh_container_info(now_ns);
  if (now_ns < next_expire_ns_) return;
  next_expire_ns_ = now_ns + kExpireNs;
  processes_.expire(now_ns);
  enricher_.expire(now_ns);
  refresh_container_info(now_ns);
}

// One series per known container, on an entity of its own, so that it goes when the container goes.
void Subjects::refresh_container_info(std::uint64_t) {
  std::unordered_map<std::string, metrics::EntityId> gone;
  gone.swap(container_info_);
  containers_.each([&](const enrich::Container& container) {
    if (container.state != enrich::ContainerState::known) return;
    const std::string& id = container.facts.id;
    if (const auto known = gone.find(id); known != gone.end()) {
      container_info_.insert(gone.extract(known));
    } else {
      enrich::CgroupInfo cgroup;
      cgroup.container_id = id;
      container_info_[id] =
          entity_of(enrich::container_info_labels(container.facts, cgroup, choice_.dialect));
    }
    registry_.record(kContainerInfo, container_info_[id], 1, {});
  });
  for (const auto& [id, entity] : gone) registry_.release(entity);
}

SubjectFigures Subjects::figures() const {
  const enrich::ProcessTable::Stats& processes = processes_.stats();
  const metrics::Stats registry = registry_.stats();
  return {.tables =
              {
                  {"processes", processes_.live(), processes_.limits().live, processes.refused},
                  {"ended_processes", processes_.ended(), processes_.limits().ended,
                   processes.ended_early},
                  {"cgroups", cgroups_.size(), cgroups_.limits().cgroups, cgroups_.stats().refused},
                  {"containers", containers_.size(), enrich::kMaxContainers,
                   containers_.stats().refused},
                  {"container_lookups", resolver_.queued(), enrich::kMaxQueue, resolver_.refused()},
                  {"entities", registry.entities, metrics::kMaxEntities, registry.entities_refused},
              },
          .unknown_processes = unknown_processes_};
}

}  // namespace tarsier::daemon
