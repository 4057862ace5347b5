// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/identity.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "enrich/address.h"

namespace tarsier::enrich {
namespace {

// One row per label. The otel column follows the semantic conventions' attributes process.*,
// container.*, k8s.*; they have none for a systemd unit.
struct Names {
  std::string_view short_name;
  std::string_view otel;
  [[nodiscard]] std::string_view in(Dialect dialect) const {
    return dialect == Dialect::otel ? otel : short_name;
  }
};
constexpr Names kComm{"comm", "process_executable_name"};
constexpr Names kPid{"pid", "process_pid"};
constexpr Names kExe{"exe", "process_executable_path"};
constexpr Names kUnit{"unit", "systemd_unit"};
constexpr Names kContainer{"container", "container_name"};
constexpr Names kPodContainer{"container", "k8s_container_name"};
constexpr Names kContainerId{"container_id", "container_id"};
constexpr Names kImage{"image", "container_image_name"};
constexpr Names kImageDigest{"image_digest", "container_image_digest"};
constexpr Names kZone{"zone", "cloud_availability_zone"};
constexpr Names kNodeLabel{"label_", "k8s_node_label_"};
constexpr Names kRuntime{"runtime", "container_runtime"};
constexpr Names kNamespace{"namespace", "k8s_namespace_name"};
constexpr Names kPod{"pod", "k8s_pod_name"};
constexpr Names kPodUid{"uid", "k8s_pod_uid"};
constexpr Names kPodAddress{"pod_ip", "k8s_pod_ip"};
constexpr Names kNode{"node", "k8s_node_name"};
constexpr Names kHostNetwork{"host_network", "k8s_pod_host_network"};
constexpr Names kWorkload{"workload", "k8s_workload_name"};
constexpr Names kWorkloadKind{"workload_kind", "k8s_workload_kind"};
constexpr Names kPodLabel{"label_", "k8s_pod_label_"};  // and the label's own name
constexpr Names kPodAnnotation{"annotation_", "k8s_pod_annotation_"};

// The semantic conventions have an attribute for the name of each of these kinds.
constexpr std::string_view kOtelWorkloads[] = {"Deployment", "StatefulSet", "DaemonSet",
                                               "ReplicaSet", "Job",         "CronJob"};

class Writer {
 public:
  explicit Writer(Dialect dialect) : dialect_(dialect) {}
  void add(const Names& names, std::string_view value) {
    if (!value.empty()) labels_.push_back({std::string(names.in(dialect_)), std::string(value)});
  }
  void add(std::string name, std::string_view value) {
    if (!value.empty()) labels_.push_back({std::move(name), std::string(value)});
  }
  [[nodiscard]] Dialect dialect() const { return dialect_; }
  [[nodiscard]] std::vector<Label> take() && { return std::move(labels_); }

 private:
  Dialect dialect_;
  std::vector<Label> labels_;
};

void add_workload(const PodFacts& pod, Writer& writer) {
  if (pod.workload.empty()) return;
  const bool has_own_name =
      std::ranges::find(kOtelWorkloads, pod.workload_kind) != std::end(kOtelWorkloads);
  if (writer.dialect() == Dialect::otel && has_own_name) {
    std::string kind = pod.workload_kind;
    std::ranges::transform(kind, kind.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    writer.add("k8s_" + kind + "_name", pod.workload);
    return;
  }
  writer.add(kWorkload, pod.workload);
  writer.add(kWorkloadKind, pod.workload_kind);
}

void add_chosen(const std::vector<Label>& labels, const std::vector<std::string>& choice,
                const Names& prefix, Writer& writer) {
  for (const std::string& wanted : choice) {
    const auto found = std::ranges::find(labels, wanted, &Label::name);
    if (found == labels.end()) continue;
    writer.add(std::string(prefix.in(writer.dialect())) + wanted, found->value);
  }
}

void add_pod_labels(const PodFacts& pod, const LabelChoice& choice, Writer& writer) {
  add_chosen(pod.labels, choice.pod_labels, kPodLabel, writer);
  add_chosen(pod.annotations, choice.pod_annotations, kPodAnnotation, writer);
}

}  // namespace

std::string container_name(const SubjectFacts& facts) {
  const std::string_view id = facts.cgroup->container_id;
  if (facts.container != nullptr && !facts.container->name.empty()) return facts.container->name;
  if (facts.pod != nullptr) {
    for (const PodContainer& container : facts.pod->containers) {
      if (container.id == id) return container.name;
    }
  }
  return std::string(short_container_id(id));
}

PodFacts pod_told_by(const ContainerFacts& container) {
  PodFacts pod;
  pod.uid = container.pod.uid;
  pod.name = container.pod.name;
  pod.namespace_name = container.pod.namespace_name;
  return pod;
}

bool same_labels(const PodFacts& one, const PodFacts& other) {
  return one.name == other.name && one.namespace_name == other.namespace_name &&
         one.workload == other.workload && one.workload_kind == other.workload_kind &&
         one.labels == other.labels && one.annotations == other.annotations &&
         one.complete == other.complete && one.containers == other.containers;
}

std::vector<Label> labels_of(const SubjectFacts& facts, const LabelChoice& choice) {
  Writer writer(choice.dialect);
  if (choice.comm) writer.add(kComm, facts.comm);
  if (choice.pid && facts.pid != 0) writer.add(kPid, std::to_string(facts.pid));
  if (choice.exe) writer.add(kExe, facts.exe);
  if (facts.cgroup != nullptr) {
    const CgroupInfo& cgroup = *facts.cgroup;
    const bool in_pod = facts.pod != nullptr || !cgroup.pod_uid.empty();
    if (choice.unit) writer.add(kUnit, cgroup.unit);
    if (choice.container) writer.add(in_pod ? kPodContainer : kContainer, container_name(facts));
    if (choice.container_id) writer.add(kContainerId, short_container_id(cgroup.container_id));
    if (choice.image && facts.container != nullptr) writer.add(kImage, facts.container->image);
  }
  if (choice.kubernetes && facts.pod != nullptr) {
    writer.add(kNamespace, facts.pod->namespace_name);
    writer.add(kPod, facts.pod->name);
    add_workload(*facts.pod, writer);
    add_pod_labels(*facts.pod, choice, writer);
  }
  for (const Label& label : choice.fixed) writer.add(label.name, label.value);
  return std::move(writer).take();
}

std::vector<Label> container_info_labels(const ContainerFacts& facts, const PodFacts* pod,
                                         Dialect dialect) {
  Writer writer(dialect);
  const std::string_view short_id = short_container_id(facts.id);
  writer.add(pod != nullptr ? kPodContainer : kContainer,
             facts.name.empty() ? short_id : std::string_view(facts.name));
  writer.add(kContainerId, short_id);
  writer.add(kImage, facts.image);
  writer.add(kImageDigest, facts.image_digest);
  if (facts.runtime != Runtime::unknown) writer.add(kRuntime, name_of(facts.runtime));
  if (pod != nullptr) {
    writer.add(kNamespace, pod->namespace_name);
    writer.add(kPod, pod->name);
  }
  return std::move(writer).take();
}

std::vector<Label> node_info_labels(const NodeFacts& node, const LabelChoice& choice) {
  Writer writer(choice.dialect);
  writer.add(kNode, node.name);
  writer.add(kZone, node.zone);
  add_chosen(node.labels, choice.node_labels, kNodeLabel, writer);
  return std::move(writer).take();
}

std::vector<Label> pod_info_labels(const PodFacts& pod, const LabelChoice& choice) {
  Writer writer(choice.dialect);
  writer.add(kNamespace, pod.namespace_name);
  writer.add(kPod, pod.name);
  writer.add(kPodUid, pod.uid);
  writer.add(kNode, pod.node);
  add_workload(pod, writer);
  if (!pod.addresses.empty()) writer.add(kPodAddress, format_address(pod.addresses.front()));
  writer.add(kHostNetwork, pod.host_network ? "true" : "false");
  add_pod_labels(pod, choice, writer);
  return std::move(writer).take();
}

}  // namespace tarsier::enrich
