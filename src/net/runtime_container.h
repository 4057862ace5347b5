// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the clients of container runtimes return, whatever the runtime.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tarsier::net {

inline constexpr int kRuntimeTimeoutMs = 800;
inline constexpr std::size_t kMaxListed = 20'000;    // containers taken from one list
inline constexpr std::size_t kMaxRuntimeText = 512;  // of a name or an image, in bytes
inline constexpr std::size_t kMaxLabels = 64;        // of one container
inline constexpr std::size_t kMaxLabelText = 256;    // of a label's key or value, in bytes
inline constexpr std::size_t kMaxReason = 40;        // of an exit's reason, in bytes
// What the process that holds a pod's namespaces is called; the kubelet's own metrics do the same.
inline constexpr std::string_view kSandboxName = "POD";

using RuntimeLabels = std::vector<std::pair<std::string, std::string>>;

struct RuntimePod {
  std::string uid{};
  std::string name{};
  std::string namespace_name{};
  friend bool operator==(const RuntimePod&, const RuntimePod&) = default;
};

struct RuntimeLimits {
  std::uint64_t memory_bytes = 0;  // 0: none
  double cpu_cores = 0;            // 0: none
  friend bool operator==(const RuntimeLimits&, const RuntimeLimits&) = default;
};

struct RuntimeExit {
  std::int32_t code = 0;
  std::string reason{};          // one word: "Completed", "Error", "OOMKilled", …
  std::int64_t finished_ns = 0;  // unix time; 0: unknown
  friend bool operator==(const RuntimeExit&, const RuntimeExit&) = default;
};

enum class RuntimeState : std::uint8_t { created, running, exited };

// Times are unix time in nanoseconds by the runtime's clock; 0: unknown.
struct RuntimeContainer {
  std::string id{};     // whole
  std::string name{};   // as people know it: without docker's leading "/"
  std::string image{};  // as it was asked for, "nginx:1.25"; an id where the runtime knows no name
  // "sha256:…": the registry's where the runtime tells it, else the image's id.
  std::string image_digest{};
  RuntimeLabels labels{};            // by key; bookkeeping of the runtimes is left out
  std::uint32_t labels_refused = 0;  // not kept because of kMaxLabels
  std::string sandbox_id{};          // of the pod; its own id: it is the sandbox
  RuntimePod pod{};
  std::int64_t created_ns = 0;
  RuntimeState state = RuntimeState::running;
  // The rest is only there where one container was asked for: complete says so.
  bool complete = false;
  std::int64_t started_ns = 0;
  std::uint32_t restart_count = 0;
  RuntimeLimits limits{};
  std::optional<RuntimeExit> exit{};  // where state is exited
  friend bool operator==(const RuntimeContainer&, const RuntimeContainer&) = default;
};

// Whether there is a socket at the path; asks nobody.
[[nodiscard]] bool is_socket(const std::string& path);
// Whether an id may go into a request: 1 to 128 of [A-Za-z0-9_.-], the first a letter or digit.
[[nodiscard]] bool is_container_id(std::string_view id);

// The helpers of the clients.
// Adds a label if it is worth keeping: within the limits, and no bookkeeping of a runtime.
void add_label(RuntimeContainer& container, std::string_view key, std::string_view value);
// Reads pod and sandbox from the labels that the kubelet writes, where they are not known yet.
// Sorts the labels.
void settle_labels(RuntimeContainer& container);
// "sha256:…" out of "name@sha256:…" or "sha256:…"; empty: there is none.
[[nodiscard]] std::string digest_of(std::string_view reference);
// What the runtime wrote if it is one word of letters, else what the code means.
[[nodiscard]] std::string exit_reason(std::string_view word, std::int32_t code, bool oom_killed);
// CPU cores; no quota or no period: 0.
[[nodiscard]] double cpu_cores(std::int64_t quota, std::int64_t period);
// RFC 3339 with a fraction and an offset, to unix time in nanoseconds. nullopt: it is none, or it
// is before 1970 (Go writes year 1 for "never") or after 2200.
[[nodiscard]] std::optional<std::int64_t> parse_time(std::string_view text);

}  // namespace tarsier::net
