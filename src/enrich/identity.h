// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// From what is known about a subject to its labels, under the user's choice. A pure function.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "enrich/cgroup_path.h"
#include "tarsier/peer.h"

namespace tarsier::enrich {

struct Label {
  std::string name;
  std::string value;
  friend bool operator==(const Label&, const Label&) = default;
};

enum class Dialect : std::uint8_t { short_names, otel };

// [labels] of the configuration.
struct LabelChoice {
  bool comm = true;
  bool pid = false;
  bool exe = false;
  bool unit = false;
  bool container = true;      // the name; container_id and image stand on tarsier_container_info
  bool container_id = false;  // 12 digits
  bool image = false;
  bool kubernetes = true;                    // namespace, pod, workload, and the pod labels below
  std::vector<std::string> pod_labels = {};  // shown as label_NAME
  std::vector<std::string> pod_annotations = {};  // shown as annotation_NAME
  std::vector<std::string> node_labels = {};      // of tarsier_kubernetes_node_info
  std::vector<Label> fixed = {};                  // on every series, as they are
  Dialect dialect = Dialect::short_names;
};

// The pod of a container, as its runtime knows it.
struct PodName {
  std::string uid{};
  std::string name{};
  std::string namespace_name{};
  friend bool operator==(const PodName&, const PodName&) = default;
};

struct ContainerLimits {
  std::uint64_t memory_bytes = 0;  // 0: none
  double cpu_cores = 0;            // 0: none
  friend bool operator==(const ContainerLimits&, const ContainerLimits&) = default;
};

struct ExitFacts {
  std::int32_t code = 0;
  std::string reason{};          // one word: "Completed", "Error", "OOMKilled", …
  std::int64_t finished_ns = 0;  // unix time; 0: unknown
  friend bool operator==(const ExitFacts&, const ExitFacts&) = default;
};

// What a container runtime says about one container. Times are unix time in nanoseconds by the
// runtime's clock; 0: unknown.
struct ContainerFacts {
  std::string id{};  // whole
  std::string name{};
  std::string image{};  // as it was asked for, with its tag
  Runtime runtime = Runtime::unknown;
  std::string image_digest{};  // "sha256:…": the registry's where the runtime tells it, else the id
  std::vector<Label> labels{};       // by name
  std::uint32_t labels_refused = 0;  // more than are kept
  std::string sandbox_id{};          // of its pod
  PodName pod{};
  std::int64_t created_ns = 0;
  enum class State : std::uint8_t { created, running, exited };
  State state = State::running;
  // The rest is known once the runtime was asked for this one container, and not from a list.
  bool complete = false;
  std::int64_t started_ns = 0;
  std::uint32_t restart_count = 0;
  ContainerLimits limits{};
  std::optional<ExitFacts> exit{};  // where state is exited
  // Holds a pod's namespaces and runs nothing of the user's.
  [[nodiscard]] bool is_sandbox() const { return !sandbox_id.empty() && sandbox_id == id; }
  friend bool operator==(const ContainerFacts&, const ContainerFacts&) = default;
};

struct PodContainer {
  std::string id;  // whole; empty: not started yet
  std::string name;
  std::string image;
  std::uint64_t restarts = 0;  // since the pod exists
  friend bool operator==(const PodContainer&, const PodContainer&) = default;
};

// What Kubernetes says about one pod.
struct PodFacts {
  std::string uid;         // as the API server knows it
  std::string cgroup_uid;  // of a static pod, whose cgroup is called otherwise; else empty
  std::string name, namespace_name, node;
  std::string workload, workload_kind;  // who made it: "web", "Deployment"; empty: not known
  std::vector<Label> labels;            // by their own names
  std::vector<Label> annotations;       // those that were asked for
  std::vector<Address> addresses;
  std::vector<PodContainer> containers;
  bool host_network = false;
  bool complete = true;  // false: its workload may be told in a moment
  friend bool operator==(const PodFacts&, const PodFacts&) = default;
};
// The same from the container's runtime alone; a pod without a uid where it is in none.
[[nodiscard]] PodFacts pod_told_by(const ContainerFacts& container);
// Whether the two look alike on a series.
[[nodiscard]] bool same_labels(const PodFacts& one, const PodFacts& other);

// What Kubernetes says about this node.
struct NodeFacts {
  std::string name, zone;
  std::vector<Label> labels;
  friend bool operator==(const NodeFacts&, const NodeFacts&) = default;
};

// All that is known about a subject. Empty fields are unknown or not asked for.
struct SubjectFacts {
  std::string_view comm;
  std::uint32_t pid = 0;
  std::string_view exe;
  const CgroupInfo* cgroup = nullptr;
  const ContainerFacts* container = nullptr;
  const PodFacts* pod = nullptr;
};

// The name of the container that the facts are about, its short id where nobody knows a name; empty
// outside of containers. facts.cgroup must be there.
[[nodiscard]] std::string container_name(const SubjectFacts& facts);

// Labels in a fixed order (process, container, pod, fixed ones), empty ones left out. A container
// whose name is not known is called by its short id. Values are as the source wrote them; the
// registry makes them valid UTF-8 of bounded length and counts that.
[[nodiscard]] std::vector<Label> labels_of(const SubjectFacts& facts, const LabelChoice& choice);

// The labels of tarsier_container_info: container, container_id, image, image_digest, runtime, and
// of its pod namespace and pod. `pod` may be null.
[[nodiscard]] std::vector<Label> container_info_labels(const ContainerFacts& facts,
                                                       const PodFacts* pod, Dialect dialect);
// The labels of tarsier_kubernetes_node_info: node, zone and the chosen labels.
[[nodiscard]] std::vector<Label> node_info_labels(const NodeFacts& node, const LabelChoice& choice);
// The labels of tarsier_pod_info: all that is known of the pod, its chosen labels included.
[[nodiscard]] std::vector<Label> pod_info_labels(const PodFacts& pod, const LabelChoice& choice);

}  // namespace tarsier::enrich
