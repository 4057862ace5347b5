// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// From what is known about a subject to its labels, under the user's choice. A pure function.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "enrich/cgroup_path.h"

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
  bool kubernetes = true;  // lets the labels of a pod source through
  Dialect dialect = Dialect::short_names;
};

// What a container runtime says about one container.
struct ContainerFacts {
  std::string id;  // whole
  std::string name;
  std::string image;
  Runtime runtime = Runtime::unknown;
  friend bool operator==(const ContainerFacts&, const ContainerFacts&) = default;
};

// All that is known about a subject. Empty fields are unknown or not asked for.
struct SubjectFacts {
  std::string_view comm;
  std::uint32_t pid = 0;
  std::string_view exe;
  const CgroupInfo* cgroup = nullptr;
  const ContainerFacts* container = nullptr;
  // Labels of a pod source, in the wanted dialect already; they come after the container's.
  std::span<const Label> pod = {};
};

// Labels in a fixed order (comm, pid, exe, unit, container, container_id, image, pod), empty ones
// left out. A container whose name is not known is called by its short id. Values are as the source
// wrote them; the registry makes them valid UTF-8 of bounded length and counts that.
[[nodiscard]] std::vector<Label> labels_of(const SubjectFacts& facts, const LabelChoice& choice);

// The labels of tarsier_container_info: container, container_id, image, runtime.
[[nodiscard]] std::vector<Label> container_info_labels(const ContainerFacts& facts,
                                                       const CgroupInfo& cgroup, Dialect dialect);

}  // namespace tarsier::enrich
