// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The objects of a Kubernetes cluster, trimmed to what gives names to containers and addresses.
// Texts are valid UTF-8 and bounded; what a limit cut off is counted by the reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tarsier::net::kubernetes {

inline constexpr std::size_t kMaxText = 512;         // of any text but an annotation, in bytes
inline constexpr std::size_t kMaxAnnotation = 1024;  // of the value of an annotation, in bytes
inline constexpr std::size_t kMaxLabels = 128;       // of one object; annotations likewise
inline constexpr std::size_t kMaxAddresses = 64;     // of one object or endpoint
inline constexpr std::size_t kMaxContainers = 256;   // of one pod, all kinds together
inline constexpr std::size_t kMaxPorts = 256;        // of one service or slice
inline constexpr std::size_t kMaxEndpoints = 1000;   // of one slice; the API's own limit

using Labels = std::vector<std::pair<std::string, std::string>>;

enum class ContainerKind : std::uint8_t { regular, init, sidecar, ephemeral };
enum class ContainerState : std::uint8_t { unknown, waiting, running, terminated };

struct Container {
  std::string name;
  std::string id;                   // without "containerd://"; empty until the runtime has made it
  std::string image;                // as the pod asks for it
  std::string image_id;             // as the runtime resolved it
  std::string reason;               // of waiting or of the end: CrashLoopBackOff, OOMKilled
  std::int64_t started_unix_s = 0;  // 0: not known
  std::int64_t restart_count = 0;
  std::int64_t exit_code = 0;  // where the state is terminated
  ContainerKind kind = ContainerKind::regular;
  ContainerState state = ContainerState::unknown;
};

// A reference to the object that made this one and replaces it; empty where nobody did.
struct OwnerReference {
  std::string kind;
  std::string name;
  std::string uid;
  friend bool operator==(const OwnerReference&, const OwnerReference&) = default;
};

struct Pod {
  std::string uid;
  std::string name;
  std::string namespace_name;
  std::string node;
  // The uid in the cgroup paths of a static pod (annotation kubernetes.io/config.hash); the API
  // knows such a pod by a mirror with another uid. Empty for other pods.
  std::string mirror_uid;
  std::string phase;
  std::vector<std::string> ips;
  Labels labels;
  Labels annotations;  // those asked for
  OwnerReference owner;
  std::vector<Container> containers;
  std::int64_t start_unix_s = 0;  // 0: not started
  bool host_network = false;      // its addresses are those of the node
};

struct ServicePort {
  std::string name;
  std::string protocol;
  std::uint16_t port = 0;
  std::uint16_t node_port = 0;  // 0: none
  friend bool operator==(const ServicePort&, const ServicePort&) = default;
};

struct Service {
  std::string name;
  std::string namespace_name;
  std::vector<std::string> cluster_ips;   // none for a headless service
  std::vector<std::string> external_ips;  // spec.externalIPs and those of load balancers
  std::vector<ServicePort> ports;
};

struct Endpoint {
  std::vector<std::string> addresses;
  std::string pod;  // empty: the endpoint is no pod
  std::string pod_namespace;
  std::string node;
};

struct EndpointSlice {
  std::string name;
  std::string namespace_name;
  std::string service;  // label kubernetes.io/service-name
  std::vector<ServicePort> ports;
  std::vector<Endpoint> endpoints;  // none where the addresses are DNS names
};

// From the watch of the own node whole, from the table of all nodes name and addresses alone.
struct Node {
  std::string name;
  std::string zone;  // label topology.kubernetes.io/zone
  Labels labels;
  std::vector<std::string> internal_ips;
  std::vector<std::string> external_ips;
};

// What stands behind an owner of pods: for the ReplicaSet "web-5d4f8c" the Deployment "web".
struct Owner {
  std::string uid;  // as in Pod::owner
  std::string workload_kind;
  std::string workload_name;
  bool deduced = false;  // from the pod's label, because the API did not say
};

enum class Resource : std::uint8_t { pods, own_node, services, endpoint_slices, owners, nodes };
inline constexpr std::size_t kResources = 6;
[[nodiscard]] std::string_view resource_name(Resource resource);

// begin_list and end_list stand around a full list: after end_list, what was not upserted since the
// last begin_list is gone. A list that broke off has no end_list, and the next one begins anew.
// owners and nodes that are not listed this way are upserted and removed one by one.
enum class ChangeKind : std::uint8_t { upsert, remove, begin_list, end_list };

using Object = std::variant<std::monostate, Pod, Service, EndpointSlice, Node, Owner>;

struct Change {
  Resource resource = Resource::pods;
  ChangeKind kind = ChangeKind::upsert;
  Object object;  // of a remove only the identity is promised: uid, or namespace and name
};

}  // namespace tarsier::net::kubernetes
