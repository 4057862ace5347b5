// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <algorithm>
#include <utility>

#include "net/kubernetes/builders.h"
#include "net/runtime_container.h"

namespace tarsier::net::kubernetes {
namespace {

constexpr std::string_view kConfigHash = "kubernetes.io/config.hash";

// The lists of containers in spec and status, and what they hold.
std::optional<ContainerKind> kind_of(std::string_view list) {
  if (list == "containers" || list == "containerStatuses") return ContainerKind::regular;
  if (list == "initContainers" || list == "initContainerStatuses") return ContainerKind::init;
  if (list == "ephemeralContainers" || list == "ephemeralContainerStatuses") {
    return ContainerKind::ephemeral;
  }
  return std::nullopt;
}

class PodBuilder : public Builder {
 public:
  PodBuilder(const ReadOptions& options, ReadCounters& counters)
      : Builder(counters), options_(options) {}

  void text(const Path& path, const std::string& value) override {
    if (path.size() < 2) return;
    if (path[0] == "metadata") {
      metadata(path, value);
    } else if (path[0] == "spec") {
      spec(path, value);
    } else if (path[0] == "status") {
      status(path, value);
    }
  }
  void number(const Path& path, std::int64_t value) override {
    if (!in_status_) return;
    if (path.size() == 4 && path[3] == "restartCount") {
      container_.restart_count = value;
    } else if (path.size() == 6 && path[3] == "state" && path[5] == "exitCode") {
      container_.exit_code = value;
    }
  }
  void boolean(const Path& path, bool value) override {
    if (path.is({"spec", "hostNetwork"})) pod_.host_network = value;
    if (path.is({"metadata", "ownerReferences", "", "controller"})) controller_ = value;
  }
  void open(const Path& path) override {
    if (path.is({"metadata", "ownerReferences", ""})) owner_ = {}, controller_ = false;
    if (path.size() == 5 && in_status_ && path[3] == "state") state(path[4]);
    if (path.size() != 3 || !path[2].empty()) return;
    in_spec_ = path[0] == "spec" && kind_of(path[1]).has_value();
    in_status_ = path[0] == "status" && kind_of(path[1]).has_value();
    if (!in_spec_ && !in_status_) return;
    container_ = {};
    container_.kind = *kind_of(path[1]);
  }
  void close(const Path& path) override {
    if (path.size() != 3) return;
    if (path.is({"metadata", "ownerReferences", ""}) && controller_) pod_.owner = owner_;
    if (path[0] == "spec" && in_spec_) keep(pod_.containers);
    if (path[0] == "status" && in_status_) keep(statuses_);
    in_spec_ = in_status_ = false;
  }
  Object take() override {
    if (pod_.uid.empty() || pod_.name.empty() || pod_.namespace_name.empty()) return {};
    merge();
    return std::move(pod_);
  }

 private:
  void metadata(const Path& path, const std::string& value) {
    const std::string_view name = path[1];
    if (path.size() == 2) {
      if (name == "uid") pod_.uid = clean(value);
      if (name == "name") pod_.name = clean(value);
      if (name == "namespace") pod_.namespace_name = clean(value);
    } else if (path.size() == 3 && name == "labels") {
      add_label(pod_.labels, path[2], value);
    } else if (path.size() == 3 && name == "annotations") {
      if (path[2] == kConfigHash) pod_.mirror_uid = clean(value);
      if (std::ranges::find(options_.annotations, path[2]) != options_.annotations.end()) {
        add_label(pod_.annotations, path[2], value, kMaxAnnotation);
      }
    } else if (path.size() == 4 && name == "ownerReferences") {
      if (path[3] == "kind") owner_.kind = clean(value);
      if (path[3] == "name") owner_.name = clean(value);
      if (path[3] == "uid") owner_.uid = clean(value);
    }
  }
  void spec(const Path& path, const std::string& value) {
    if (path.is({"spec", "nodeName"})) pod_.node = clean(value);
    if (path.size() != 4 || !in_spec_) return;
    if (path[3] == "name") container_.name = clean(value);
    if (path[3] == "image") container_.image = clean(value);
    if (path[3] == "restartPolicy" && value == "Always" && container_.kind == ContainerKind::init) {
      container_.kind = ContainerKind::sidecar;
    }
  }
  void status(const Path& path, const std::string& value) {
    if (path.size() == 2) {
      if (path[1] == "phase") pod_.phase = clean(value);
      if (path[1] == "startTime") pod_.start_unix_s = parse_time(value);
      if (path[1] == "podIP") add_address(pod_.ips, value);
    } else if (path.is({"status", "podIPs", "", "ip"})) {
      add_address(pod_.ips, value);
    } else if (path.size() == 4 && in_status_) {
      container_text(path[3], value);
    } else if (path.size() == 6 && in_status_ && path[3] == "state") {
      if (path[5] == "reason") container_.reason = clean(value);
      if (path[5] == "startedAt") container_.started_unix_s = parse_time(value);
    }
  }
  void container_text(std::string_view name, const std::string& value) {
    if (name == "name") container_.name = clean(value);
    if (name == "image") container_.image = clean(value);
    if (name == "imageID") container_.image_id = clean(value);
    if (name != "containerID") return;
    const std::size_t scheme = value.find("://");  // "containerd://3b5a…"
    std::string id = scheme == std::string::npos ? value : value.substr(scheme + 3);
    if (is_container_id(id)) container_.id = std::move(id);
  }
  void state(std::string_view name) {
    container_.state = name == "running"      ? ContainerState::running
                       : name == "waiting"    ? ContainerState::waiting
                       : name == "terminated" ? ContainerState::terminated
                                              : ContainerState::unknown;
  }
  void keep(std::vector<Container>& list) {
    if (!container_.name.empty() && room(list, kMaxContainers)) {
      list.push_back(std::move(container_));
    }
    container_ = {};
  }
  // Each container stands in spec (what was asked for) and in status (what became of it).
  void merge() {
    for (Container& status : statuses_) {
      const auto same = std::ranges::find_if(pod_.containers, [&](const Container& container) {
        return container.name == status.name;
      });
      if (same == pod_.containers.end()) {
        if (room(pod_.containers, kMaxContainers)) pod_.containers.push_back(std::move(status));
        continue;
      }
      status.kind = same->kind;
      if (!same->image.empty()) status.image = std::move(same->image);
      *same = std::move(status);
    }
  }

  const ReadOptions& options_;
  Pod pod_;
  std::vector<Container> statuses_;
  Container container_;
  OwnerReference owner_;
  bool controller_ = false;
  bool in_spec_ = false;    // inside a container's object
  bool in_status_ = false;  // inside a container's status
};

}  // namespace

std::unique_ptr<Builder> make_pod_builder(const ReadOptions& options, ReadCounters& counters) {
  return std::make_unique<PodBuilder>(options, counters);
}

}  // namespace tarsier::net::kubernetes
