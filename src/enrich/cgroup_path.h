// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the path of a cgroup says about the processes in it. A pure function over text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tarsier::enrich {

enum class CgroupKind : std::uint8_t {
  host,          // nothing better is known: the root, a user's session, a hand-made cgroup
  systemd_unit,  // a service or scope of the node
  pod,           // below a pod, in no container that we can name (gVisor, a monitor process)
  container,     // docker, containerd, CRI-O, podman
  lxc,           // a system container; its id is its name
};

// Whose naming scheme the path follows. Below kubepods a bare id does not tell: unknown.
enum class Runtime : std::uint8_t { unknown, docker, containerd, crio, podman, lxc };
[[nodiscard]] std::string_view name_of(Runtime runtime);

struct CgroupInfo {
  CgroupKind kind = CgroupKind::host;
  Runtime runtime = Runtime::unknown;
  std::string container_id;  // whole; 64 hex digits, or a name where the runtime takes names
  std::string pod_uid;       // Kubernetes pod, with dashes as the API server writes it
  std::string unit;          // systemd unit of the node, unescaped; only where kind is systemd_unit
  friend bool operator==(const CgroupInfo&, const CgroupInfo&) = default;
};

// Reads a path as /proc/PID/cgroup and the cgroup tracepoints write it: "/docker/<id>". Relative
// parts of another cgroup namespace ("/../") and a trailing " (deleted)" are skipped. Where nodes
// run inside containers (kind), the innermost container wins. Any bytes are allowed.
[[nodiscard]] CgroupInfo parse_cgroup_path(std::string_view path);

// The form of a container id that people type: the first 12 digits of a 64-digit id, else all of
// it.
[[nodiscard]] std::string_view short_container_id(std::string_view container_id);

// systemd's escaping undone: "dev-disk\x2dby" becomes "dev-disk-by" (systemd.unit(5)).
[[nodiscard]] std::string unescape_unit(std::string_view unit);

}  // namespace tarsier::enrich
