// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/identity.h"

#include <utility>

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
constexpr Names kRuntime{"runtime", "container_runtime"};

class Writer {
 public:
  explicit Writer(Dialect dialect) : dialect_(dialect) {}
  void add(const Names& names, std::string_view value) {
    if (!value.empty()) labels_.push_back({std::string(names.in(dialect_)), std::string(value)});
  }
  [[nodiscard]] std::vector<Label> take() && { return std::move(labels_); }

 private:
  Dialect dialect_;
  std::vector<Label> labels_;
};

const Names& container_names(const CgroupInfo& cgroup) {
  return cgroup.pod_uid.empty() ? kContainer : kPodContainer;
}

std::string_view container_name(const CgroupInfo& cgroup, const ContainerFacts* facts) {
  if (facts != nullptr && !facts->name.empty()) return facts->name;
  return short_container_id(cgroup.container_id);
}

}  // namespace

std::vector<Label> labels_of(const SubjectFacts& facts, const LabelChoice& choice) {
  Writer writer(choice.dialect);
  if (choice.comm) writer.add(kComm, facts.comm);
  if (choice.pid && facts.pid != 0) writer.add(kPid, std::to_string(facts.pid));
  if (choice.exe) writer.add(kExe, facts.exe);
  if (facts.cgroup != nullptr) {
    const CgroupInfo& cgroup = *facts.cgroup;
    if (choice.unit) writer.add(kUnit, cgroup.unit);
    if (choice.container) {
      writer.add(container_names(cgroup), container_name(cgroup, facts.container));
    }
    if (choice.container_id) writer.add(kContainerId, short_container_id(cgroup.container_id));
    if (choice.image && facts.container != nullptr) writer.add(kImage, facts.container->image);
  }
  std::vector<Label> labels = std::move(writer).take();
  if (choice.kubernetes) labels.insert(labels.end(), facts.pod.begin(), facts.pod.end());
  return labels;
}

std::vector<Label> container_info_labels(const ContainerFacts& facts, const CgroupInfo& cgroup,
                                         Dialect dialect) {
  Writer writer(dialect);
  writer.add(container_names(cgroup), container_name(cgroup, &facts));
  writer.add(kContainerId, short_container_id(cgroup.container_id));
  writer.add(kImage, facts.image);
  const Runtime runtime = facts.runtime != Runtime::unknown ? facts.runtime : cgroup.runtime;
  if (runtime != Runtime::unknown) writer.add(kRuntime, name_of(runtime));
  return std::move(writer).take();
}

}  // namespace tarsier::enrich
