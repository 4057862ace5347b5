// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/cgroup_path.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/text.h"

namespace tarsier::enrich {
namespace {

constexpr std::size_t kIdLength = 64;      // SHA-256 in hex: docker, containerd, CRI-O, podman
constexpr std::size_t kTaskLength = 32;    // an ECS task on Fargate: 32 hex digits, "-", a number
constexpr std::size_t kMinUidLength = 32;  // a static pod's uid is a hash without dashes
constexpr std::size_t kMaxUidLength = 36;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f');
}
bool all_hex(std::string_view text) {
  return std::ranges::all_of(text, is_hex);
}
bool is_full_id(std::string_view text) {
  return text.size() == kIdLength && all_hex(text);
}

bool is_fargate_id(std::string_view text) {
  return text.size() > kTaskLength + 1 && text.size() <= kTaskLength + 20 &&
         all_hex(text.substr(0, kTaskLength)) && text[kTaskLength] == '-' &&
         std::ranges::all_of(text.substr(kTaskLength + 1), is_digit);
}

std::string_view without_suffix(std::string_view text, std::string_view suffix) {
  if (text.ends_with(suffix)) text.remove_suffix(suffix.size());
  return text;
}

struct Prefix {
  std::string_view text;
  Runtime runtime;
};
constexpr std::array kPrefixes = {
    Prefix{"docker", Runtime::docker},      Prefix{"cri-containerd", Runtime::containerd},
    Prefix{"nerdctl", Runtime::containerd}, Prefix{"crio", Runtime::crio},
    Prefix{"libpod", Runtime::podman},      Prefix{"libpod-payload", Runtime::podman},
};

Runtime runtime_of_prefix(std::string_view prefix) {
  const auto* found = std::ranges::find(kPrefixes, prefix, &Prefix::text);
  return found == kPrefixes.end() ? Runtime::unknown : found->runtime;
}

Runtime runtime_of_parent(std::string_view parent) {
  if (parent == "docker") return Runtime::docker;
  if (parent == "libpod_parent") return Runtime::podman;
  return Runtime::unknown;
}

// A namespace of containerd that ctr and the CRI plugin put at the top; ids in it may be names.
bool is_containerd_namespace(std::string_view name) {
  return name == "k8s.io" || name == "default";
}

std::optional<std::string> pod_uid_of(std::string_view component) {
  component = without_suffix(component, ".slice");
  std::string_view uid;
  if (component.starts_with("pod")) {
    uid = component.substr(3);
  } else if (const auto at = component.rfind("-pod"); at != std::string_view::npos) {
    uid = component.substr(at + 4);
  }
  const bool fits =
      uid.size() >= kMinUidLength && uid.size() <= kMaxUidLength &&
      std::ranges::all_of(uid, [](char c) { return is_hex(c) || c == '-' || c == '_'; });
  if (!fits) return std::nullopt;
  std::string text(uid);
  std::ranges::replace(text, '_', '-');  // a systemd slice cannot have dashes in a name
  return text;
}

// A unit that holds processes; slices hold units.
bool is_unit(std::string_view component) {
  constexpr std::string_view kSuffixes[] = {".service", ".scope", ".socket", ".mount", ".swap"};
  return std::ranges::any_of(kSuffixes,
                             [&](std::string_view suffix) { return component.ends_with(suffix); });
}

// Reads the components from the root inwards; what is further in overrides what is further out.
class Reader {
 public:
  void take(std::string_view component) {
    if (!take_inner(component)) take_host(component);
    if (first_.empty()) first_ = component;
    parent_ = component;
  }
  [[nodiscard]] CgroupInfo finish() && { return std::move(info_); }

 private:
  // Something of a container runtime or Kubernetes.
  bool take_inner(std::string_view component) {
    if (const Expect expected = std::exchange(expect_, Expect::nothing);
        expected != Expect::nothing) {
      if (expected == Expect::lxc_name) return set(CgroupKind::lxc, Runtime::lxc, component);
      return set(CgroupKind::container, Runtime::containerd, component);
    }
    if (at_top_ && take_top(component)) return true;
    at_top_ = false;
    // runc without its systemd driver, given a systemd path: "<slice>:<prefix>:<id>".
    if (const auto parts = base::split(component, ':'); parts.size() == 3) {
      if (auto uid = pod_uid_of(parts[0])) set_pod(std::move(*uid));
      if (is_full_id(parts[2])) {
        return set(CgroupKind::container, runtime_of_prefix(parts[1]), parts[2]);
      }
    }
    if (auto uid = pod_uid_of(component)) return set_pod(std::move(*uid));
    return take_container(component);
  }

  // Names that mean something at the root of the hierarchy or of a nested node's only.
  bool take_top(std::string_view component) {
    if (is_containerd_namespace(component)) {
      expect_ = Expect::containerd_name;
    } else if (component == "lxc" || component == "lxc.payload") {
      expect_ = Expect::lxc_name;
    } else if (component.starts_with("lxc.payload.")) {
      return set(CgroupKind::lxc, Runtime::lxc, component.substr(12));
    } else {
      return false;
    }
    at_top_ = false;
    return true;
  }

  bool take_container(std::string_view component) {
    const std::string_view name = without_suffix(component, ".scope");
    if (is_full_id(name)) return set(CgroupKind::container, runtime_of_parent(parent_), name);
    if (is_fargate_id(name)) return set(CgroupKind::container, Runtime::unknown, name);
    if (name.size() < kIdLength + 2 || name[name.size() - kIdLength - 1] != '-') return false;
    const std::string_view id = name.substr(name.size() - kIdLength);
    const std::string_view prefix = name.substr(0, name.size() - kIdLength - 1);
    // conmon watches a container from outside: it is a process of the node or of the pod.
    if (!all_hex(id) || prefix.ends_with("conmon")) return false;
    return set(CgroupKind::container, runtime_of_prefix(prefix), id);
  }

  void take_host(std::string_view component) {
    if (info_.kind != CgroupKind::host) return;
    const bool talos = parent_ == first_ && (parent_ == "system" || parent_ == "podruntime");
    const bool systemd = first_.ends_with(".slice") && first_ != "user.slice" && is_unit(component);
    if (!talos && !systemd) return;
    info_.kind = CgroupKind::systemd_unit;
    info_.unit = unescape_unit(component);
  }

  bool set(CgroupKind kind, Runtime runtime, std::string_view id) {
    info_.kind = kind;
    info_.runtime = runtime;
    info_.container_id = id;
    info_.unit.clear();
    at_top_ = true;
    return true;
  }

  bool set_pod(std::string uid) {
    info_ = CgroupInfo{CgroupKind::pod, Runtime::unknown, {}, std::move(uid), {}};
    at_top_ = false;
    return true;
  }

  enum class Expect : std::uint8_t { nothing, containerd_name, lxc_name };

  CgroupInfo info_;
  std::string_view first_;
  std::string_view parent_;
  bool at_top_ = true;  // at the root of the hierarchy, or directly inside a container
  Expect expect_ = Expect::nothing;
};

}  // namespace

std::string_view name_of(Runtime runtime) {
  switch (runtime) {
    case Runtime::unknown: return "unknown";
    case Runtime::docker: return "docker";
    case Runtime::containerd: return "containerd";
    case Runtime::crio: return "cri-o";
    case Runtime::podman: return "podman";
    case Runtime::lxc: return "lxc";
  }
  return "unknown";
}

CgroupInfo parse_cgroup_path(std::string_view path) {
  path = without_suffix(path, " (deleted)");
  Reader reader;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view component = path.substr(0, end);
    if (!component.empty() && component != "." && component != "..") reader.take(component);
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return std::move(reader).finish();
}

std::string_view short_container_id(std::string_view container_id) {
  return is_full_id(container_id) ? container_id.substr(0, 12) : container_id;
}

std::string unescape_unit(std::string_view unit) {
  const auto value = [](char c) { return is_digit(c) ? c - '0' : c - 'a' + 10; };
  std::string text;
  text.reserve(unit.size());
  for (std::size_t i = 0; i < unit.size(); ++i) {
    if (unit.substr(i).starts_with("\\x") && unit.size() - i >= 4 &&
        all_hex(unit.substr(i + 2, 2))) {
      text.push_back(static_cast<char>(value(unit[i + 2]) * 16 + value(unit[i + 3])));
      i += 3;
    } else {
      text.push_back(unit[i]);
    }
  }
  return text;
}

}  // namespace tarsier::enrich
