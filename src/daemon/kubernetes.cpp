// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/kubernetes.h"

#include <unistd.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "base/log.h"
#include "enrich/address.h"

namespace tarsier::daemon {
namespace {

namespace k8s = net::kubernetes;

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::string_view kTemplateHash = "pod-template-hash";

std::string node_name(const config::Config& config, const k8s::Environment& environment) {
  if (!config.kubernetes.node_name.empty()) return config.kubernetes.node_name;
  if (std::string name = environment("NODE_NAME"); !name.empty()) return name;
  char host[256] = {};
  (void)::gethostname(host, sizeof host - 1);
  std::string name = host;  // the kubelet registers the node by it, in lower case
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

// Explicit keys first, then the service account of a pod, then KUBECONFIG.
Result<std::optional<k8s::Credentials>> find_credentials(const config::Config& config,
                                                         const k8s::Environment& environment) {
  const auto& kubernetes = config.kubernetes;
  auto found = [&]() -> Result<k8s::Credentials> {
    if (!kubernetes.kubeconfig.empty()) return k8s::kubeconfig_credentials(kubernetes.kubeconfig);
    if (!kubernetes.api_server.empty()) return k8s::url_credentials(kubernetes.api_server);
    auto in_cluster = k8s::in_cluster_credentials(environment);
    if (in_cluster || in_cluster.error().code != ErrorCode::not_found) return in_cluster;
    const std::string path = environment("KUBECONFIG");
    return path.empty() ? in_cluster : k8s::kubeconfig_credentials(path);
  }();
  if (!found) {
    if (found.error().code == ErrorCode::not_found && kubernetes.kubeconfig.empty()) {
      return std::optional<k8s::Credentials>{};
    }
    return std::unexpected(std::move(found.error()));
  }
  if (!kubernetes.kubeconfig.empty() && !kubernetes.api_server.empty()) {
    auto server = k8s::clean_server(kubernetes.api_server);
    if (!server) return std::unexpected(std::move(server.error()));
    found->server = *server;
  }
  return std::optional(std::move(*found));
}

std::vector<Address> addresses_of(const std::vector<std::string>& texts) {
  std::vector<Address> addresses;
  for (const std::string& text : texts) {
    if (const auto address = enrich::parse_address(text)) addresses.push_back(*address);
  }
  return addresses;
}

std::string object_id(const std::string& namespace_name, const std::string& name) {
  return namespace_name + "/" + name;
}

std::vector<enrich::Label> labels_of(const k8s::Labels& labels) {
  std::vector<enrich::Label> all;
  all.reserve(labels.size());
  for (const auto& [name, value] : labels) all.push_back({name, value});
  return all;
}

// Whether somebody stands behind the pod's owner that the API server has to be asked for.
bool has_owner_behind(const k8s::Pod& pod) {
  return pod.owner.kind == "ReplicaSet" || pod.owner.kind == "Job";
}

// A Deployment calls its ReplicaSets by its own name and the hash that their pods carry: known at
// once, and corrected where the API server says that something else made it.
std::string deployment_of(const k8s::Pod& pod) {
  const auto hash =
      std::ranges::find(pod.labels, kTemplateHash, &std::pair<std::string, std::string>::first);
  if (pod.owner.kind != "ReplicaSet" || hash == pod.labels.end() || hash->second.empty()) return {};
  const std::string suffix = "-" + hash->second;
  if (!pod.owner.name.ends_with(suffix)) return {};
  return pod.owner.name.substr(0, pod.owner.name.size() - suffix.size());
}

void set_workload(const k8s::Pod& pod, const k8s::Owner* owner, enrich::PodFacts& facts) {
  if (owner != nullptr) {
    facts.workload = owner->workload_name;
    facts.workload_kind = owner->workload_kind;
  } else if (std::string deployment = deployment_of(pod); !deployment.empty()) {
    facts.workload = std::move(deployment);
    facts.workload_kind = "Deployment";
  } else if (has_owner_behind(pod)) {
    facts.complete = false;
  } else if (pod.owner.kind != "Node") {  // a static pod is owned by its node
    facts.workload = pod.owner.name;
    facts.workload_kind = pod.owner.kind;
  }
}

}  // namespace

Result<std::optional<k8s::ClusterOptions>> cluster_options(const config::Config& config,
                                                           const k8s::Environment& environment) {
  using Source = config::KubernetesSource;
  const Source source = config.kubernetes.source;
  if (source == Source::off || source == Source::cri) return std::nullopt;
  auto credentials = find_credentials(config, environment);
  if (!credentials) return std::unexpected(std::move(credentials.error()));
  const bool kubelet_given = !config.kubernetes.kubelet.empty();
  if (!*credentials && source == Source::automatic && !kubelet_given) return std::nullopt;
  k8s::ClusterOptions options;
  options.node_name = node_name(config, environment);
  if (*credentials) options.credentials = std::move(**credentials);
  options.kubelet_url = kubelet_given ? config.kubernetes.kubelet : "https://127.0.0.1:10250";
  options.verify_kubelet = config.kubernetes.kubelet_verify;
  options.annotations = config.labels.k8s_pod_annotations;
  options.services = config.kubernetes.services && config.labels.peer;
  options.nodes = options.services;
  switch (source) {
    case Source::api: options.source = k8s::PodSource::api; break;
    case Source::kubelet: options.source = k8s::PodSource::kubelet; break;
    default: options.source = k8s::PodSource::automatic;
  }
  return options;
}

enrich::PodFacts pod_facts(const k8s::Pod& pod, const k8s::Owner* owner) {
  enrich::PodFacts facts;
  facts.uid = pod.uid;
  if (pod.mirror_uid != pod.uid) facts.cgroup_uid = pod.mirror_uid;
  facts.name = pod.name;
  facts.namespace_name = pod.namespace_name;
  facts.node = pod.node;
  facts.labels = labels_of(pod.labels);
  facts.annotations = labels_of(pod.annotations);
  facts.addresses = addresses_of(pod.ips);
  facts.host_network = pod.host_network;
  for (const k8s::Container& container : pod.containers) {
    facts.containers.push_back({container.id, container.name, container.image,
                                static_cast<std::uint64_t>(container.restart_count)});
  }
  set_workload(pod, owner, facts);
  return facts;
}

Status KubernetesFeed::start(std::optional<k8s::ClusterOptions> options) {
  if (!options) return {};
  auto cluster = k8s::Cluster::start(std::move(*options), clock_);
  if (!cluster) return std::unexpected(std::move(cluster.error()));
  cluster_ = std::move(*cluster);
  subjects_.expect_pods(true);
  return {};
}

void KubernetesFeed::stop() {
  if (cluster_) cluster_->stop();
}

bool KubernetesFeed::first_sync_done() const {
  return cluster_ == nullptr || cluster_->first_sync_done();
}

std::optional<k8s::ClusterState> KubernetesFeed::state() const {
  if (cluster_ == nullptr) return std::nullopt;
  return cluster_->state();
}

void KubernetesFeed::poll(std::uint64_t now_ns) {
  if (cluster_ == nullptr) return;
  changes_.clear();
  cluster_->drain(changes_);
  for (k8s::Change& change : changes_) take(change, now_ns);
  if (now_ns < next_look_ns_) return;
  next_look_ns_ = now_ns + kSecondNs;
  look_at_state();
}

// While nobody tells of pods, nothing waits for them.
void KubernetesFeed::look_at_state() {
  subjects_.expect_pods(!cluster_->first_sync_done() || !cluster_->state().pods_from.empty());
  const std::uint64_t missed = subjects_.missed_pods();
  if (missed != missed_pods_) cluster_->poke();
  missed_pods_ = missed;
}

void KubernetesFeed::take(k8s::Change& change, std::uint64_t now_ns) {
  switch (change.kind) {
    case k8s::ChangeKind::begin_list:
    case k8s::ChangeKind::end_list: take_list_mark(change, now_ns); return;
    case k8s::ChangeKind::remove: remove(change.object, now_ns); return;
    case k8s::ChangeKind::upsert: break;
  }
  if (const auto* pod = std::get_if<k8s::Pod>(&change.object)) {
    put(*pod);
  } else if (const auto* service = std::get_if<k8s::Service>(&change.object)) {
    put(*service);
  } else if (const auto* slice = std::get_if<k8s::EndpointSlice>(&change.object)) {
    put(*slice);
  } else if (const auto* node = std::get_if<k8s::Node>(&change.object)) {
    put(*node, change.resource == k8s::Resource::own_node);
  } else if (const auto* owner = std::get_if<k8s::Owner>(&change.object)) {
    put(*owner);
  }
}

void KubernetesFeed::take_list_mark(const k8s::Change& change, std::uint64_t now_ns) {
  const bool begins = change.kind == k8s::ChangeKind::begin_list;
  const auto mark = [&](enrich::ClusterKind kind) {
    if (begins) {
      subjects_.cluster().begin_list(kind);
    } else {
      subjects_.cluster().end_list(kind);
    }
  };
  switch (change.resource) {
    case k8s::Resource::pods:
      if (begins) {
        subjects_.pods().begin_list();
      } else {
        subjects_.pods().end_list(now_ns);
        std::erase_if(owned_pods_,
                      [this](const auto& entry) { return subjects_.pods().is_gone(entry.first); });
      }
      return;
    case k8s::Resource::services: mark(enrich::ClusterKind::service); return;
    case k8s::Resource::endpoint_slices: mark(enrich::ClusterKind::slice); return;
    case k8s::Resource::nodes: mark(enrich::ClusterKind::node); return;
    default: return;
  }
}

void KubernetesFeed::put(const k8s::Pod& pod) {
  const auto owner = owners_.find(pod.owner.uid);
  subjects_.put_pod(pod_facts(pod, owner == owners_.end() ? nullptr : &owner->second));
  if (has_owner_behind(pod)) {
    owned_pods_.insert_or_assign(pod.uid, pod.owner.uid);
  } else {
    owned_pods_.erase(pod.uid);
  }
}

void KubernetesFeed::put(const k8s::Owner& owner) {
  owners_.insert_or_assign(owner.uid, owner);
  for (const auto& [uid, owner_uid] : owned_pods_) {
    if (owner_uid != owner.uid) continue;
    const enrich::PodFacts* known = subjects_.pods().find(uid);
    if (known == nullptr) continue;
    enrich::PodFacts facts = *known;
    facts.workload = owner.workload_name;
    facts.workload_kind = owner.workload_kind;
    facts.complete = true;
    subjects_.put_pod(std::move(facts));
  }
}

void KubernetesFeed::put(const k8s::Service& service) {
  std::vector<Address> addresses = addresses_of(service.cluster_ips);
  for (const Address& address : addresses_of(service.external_ips)) addresses.push_back(address);
  const auto kind = enrich::ClusterKind::service;
  subjects_.cluster().put(kind, object_id(service.namespace_name, service.name),
                          {kind, service.name, service.namespace_name}, addresses);
}

void KubernetesFeed::put(const k8s::EndpointSlice& slice) {
  std::vector<Address> addresses;
  for (const k8s::Endpoint& endpoint : slice.endpoints) {
    for (const Address& address : addresses_of(endpoint.addresses)) addresses.push_back(address);
  }
  const auto kind = enrich::ClusterKind::slice;
  subjects_.cluster().put(kind, object_id(slice.namespace_name, slice.name),
                          {kind, slice.service, slice.namespace_name}, addresses);
}

void KubernetesFeed::put(const k8s::Node& node, bool own) {
  if (own) {
    subjects_.put_own_node({node.name, node.zone, labels_of(node.labels)});
    return;
  }
  std::vector<Address> addresses = addresses_of(node.internal_ips);
  for (const Address& address : addresses_of(node.external_ips)) addresses.push_back(address);
  const auto kind = enrich::ClusterKind::node;
  subjects_.cluster().put(kind, object_id("", node.name), {kind, node.name, ""}, addresses);
}

void KubernetesFeed::remove(const k8s::Object& object, std::uint64_t now_ns) {
  const auto forget = [this](enrich::ClusterKind kind, const std::string& namespace_name,
                             const std::string& name) {
    subjects_.cluster().remove(kind, object_id(namespace_name, name));
  };
  if (const auto* pod = std::get_if<k8s::Pod>(&object)) {
    subjects_.remove_pod(pod->uid, now_ns);
    owned_pods_.erase(pod->uid);
  } else if (const auto* service = std::get_if<k8s::Service>(&object)) {
    forget(enrich::ClusterKind::service, service->namespace_name, service->name);
  } else if (const auto* slice = std::get_if<k8s::EndpointSlice>(&object)) {
    forget(enrich::ClusterKind::slice, slice->namespace_name, slice->name);
  } else if (const auto* node = std::get_if<k8s::Node>(&object)) {
    forget(enrich::ClusterKind::node, "", node->name);
  } else if (const auto* owner = std::get_if<k8s::Owner>(&object)) {
    owners_.erase(owner->uid);
  }
}

}  // namespace tarsier::daemon
