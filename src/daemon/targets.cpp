// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "daemon/subjects.h"

namespace tarsier::daemon {
namespace {

using Json = nlohmann::ordered_json;

std::string why_unnamed(const enrich::Container& container) {
  switch (container.state) {
    case enrich::ContainerState::known: return {};
    case enrich::ContainerState::absent: return "no container runtime knows it";
    default: break;
  }
  return container.failures > 0 ? "a container runtime could not be asked; it is asked again"
                                : "a container runtime is being asked";
}

std::string why_unresolved(const enrich::Place& place, const enrich::ContainerTable& containers) {
  if (place.named && place.complete) return {};
  if (place.cgroup == nullptr) return "its cgroup is not known";
  if (place.container == nullptr && !place.cgroup->container_id.empty()) {
    const enrich::Container* container = containers.find(place.cgroup->container_id);
    if (container != nullptr) return why_unnamed(*container);
  }
  if (place.pod == nullptr) return fmt::format("nobody told of its pod {}", place.cgroup->pod_uid);
  return "the workload of its pod is being asked for";
}

Json json_of(const std::vector<enrich::Label>& labels) {
  Json json = Json::object();
  for (const enrich::Label& label : labels) json[label.name] = label.value;
  return json;
}

Json json_of(const ReportedProcess& process, std::uint64_t now_ns) {
  Json json;
  json["pid"] = process.pid;
  json["comm"] = process.comm;
  json["cgroup"] = process.cgroup;
  json["since_seconds"] = static_cast<double>(now_ns - process.since_ns) / 1e9;
  json["observed"] = process.observed;
  json["labels"] = json_of(process.labels);
  if (!process.unresolved.empty()) json["unresolved"] = process.unresolved;
  return json;
}

Json json_of(const ReportedContainer& container) {
  const enrich::ContainerFacts& facts = container.facts;
  Json json;
  json["id"] = facts.id;
  json["name"] = facts.name;
  json["image"] = facts.image;
  json["image_digest"] = facts.image_digest;
  json["source"] = enrich::name_of(facts.runtime);
  json["pod"] = facts.pod.name;
  json["namespace"] = facts.pod.namespace_name;
  json["pod_uid"] = facts.pod.uid;
  json["sandbox"] = facts.is_sandbox();
  json["started_unix_seconds"] = static_cast<double>(facts.started_ns) / 1e9;
  json["restarts"] = facts.restart_count;
  json["memory_limit_bytes"] = facts.limits.memory_bytes;
  json["cpu_limit_cores"] = facts.limits.cpu_cores;
  json["labels"] = json_of(facts.labels);
  if (!container.unresolved.empty()) json["unresolved"] = container.unresolved;
  return json;
}

Json json_of(const enrich::PodFacts& facts) {
  Json json;
  json["uid"] = facts.uid;
  json["name"] = facts.name;
  json["namespace"] = facts.namespace_name;
  json["workload"] = facts.workload;
  json["workload_kind"] = facts.workload_kind;
  json["host_network"] = facts.host_network;
  json["addresses"] = Json::array();
  for (const Address& address : facts.addresses) {
    json["addresses"].push_back(enrich::format_address(address));
  }
  json["containers"] = Json::array();
  for (const enrich::PodContainer& container : facts.containers) {
    json["containers"].push_back({{"name", container.name}, {"id", container.id}});
  }
  json["labels"] = json_of(facts.labels);
  return json;
}

}  // namespace

TargetsReport Subjects::report(const TargetsQuery& query, std::uint64_t now_ns) {
  TargetsReport report;
  report.processes_total = processes_.live();
  processes_.each_live([&](enrich::Process& process) {
    const enrich::ProcessVersion& version = process.last();
    enrich::Place place;
    enricher_.place_of(process, version, now_ns, place);
    std::string unresolved = why_unresolved(place, containers_);
    report.unresolved_total += unresolved.empty() ? 0 : 1;
    const bool wanted = query.only_unresolved ? !unresolved.empty() : query.processes;
    if (!wanted || report.processes.size() >= query.limit) return;
    ReportedProcess& one = report.processes.emplace_back();
    one.pid = process.tgid;
    one.since_ns = std::min(version.since_ns, now_ns);
    one.comm = enrich::text_of(version.comm);
    one.cgroup = place.path;
    one.observed = version.identity != kLeftOut && !(is_own(process, version) && !observe_self_);
    one.labels = enricher_.labels_at(process, version, place);
    one.unresolved = std::move(unresolved);
  });
  report.containers_total = containers_.size();
  containers_.each([&](const enrich::Container& container) {
    std::string unresolved = why_unnamed(container);
    if (query.only_unresolved && unresolved.empty()) return;
    if (report.containers.size() >= query.limit) return;
    report.containers.push_back({container.facts, std::move(unresolved)});
  });
  report.pods_total = pods_.size();
  pods_.each([&](const enrich::PodFacts& pod) {
    if (query.only_unresolved || report.pods.size() >= query.limit) return;
    report.pods.push_back(pod);
  });
  return report;
}

std::string targets_json(const TargetsReport& report, std::span<const SourceFigures> sources,
                         std::uint64_t now_boot_ns) {
  Json json;
  json["sources"] = Json::array();
  for (const SourceFigures& source : sources) json["sources"].push_back(json_of(source));
  json["totals"] = {{"processes", report.processes_total},
                    {"containers", report.containers_total},
                    {"pods", report.pods_total},
                    {"unresolved", report.unresolved_total}};
  json["processes"] = Json::array();
  for (const ReportedProcess& process : report.processes) {
    json["processes"].push_back(json_of(process, now_boot_ns));
  }
  json["containers"] = Json::array();
  for (const ReportedContainer& container : report.containers) {
    json["containers"].push_back(json_of(container));
  }
  json["pods"] = Json::array();
  for (const enrich::PodFacts& pod : report.pods) json["pods"].push_back(json_of(pod));
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace tarsier::daemon
