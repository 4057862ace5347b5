// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a Cluster is told and what it tells about itself.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/kubernetes/credentials.h"
#include "net/kubernetes/objects.h"

namespace tarsier::net::kubernetes {

// Objects taken from one list; more are counted and left out. Far above what one node (500 pods)
// and the largest clusters (10,000 services, 5,000 nodes: Kubernetes' own published limits) have.
inline constexpr std::uint64_t kMaxPods = 10'000;
inline constexpr std::uint64_t kMaxObjects = 100'000;

// automatic: the API, and the kubelet while the API does not give the pods of the node.
enum class PodSource : std::uint8_t { automatic, api, kubelet, off };

// How often and how long. The defaults are meant for the field; tests turn them. Milliseconds.
struct ClusterTiming {
  int pods_jitter_ms = 0;  // before the first list of the pods and the node
  int jitter_ms = 5'000;  // before the first list of all else, and before listing again after a 410
  int backoff_min_ms = 800;
  int backoff_max_ms = 30'000;
  int backoff_reset_ms = 120'000;
  int refused_retry_ms = 300'000;
  int token_retry_ms = 60'000;  // after a 401: the next token may stand in the file by then
  int watch_min_s = 300;  // a watch ends by itself after 5 to 10 minutes and goes on where it was
  int watch_max_s = 600;
  int watch_grace_ms = 30'000;  // how much longer than asked for a watch may last
  int short_watch_ms = 1'000;   // a watch that ends sooner without an event is a failure
  int connect_timeout_ms = 10'000;
  int silence_ms = 30'000;         // of a server that owes an answer
  int list_deadline_ms = 600'000;  // for one page, whatever drips in
  int kubelet_after_ms = 10'000;   // how long the API may give no pods before the kubelet is asked
  int kubelet_poll_ms = 10'000;    // stretched by up to a tenth
  int poke_ms = 1'000;
  int owner_gap_ms = 250;          // between two questions for owners
  int nodes_every_ms = 1'800'000;  // stretched by up to a tenth
  int page_limit = 500;
};

struct ClusterOptions {
  PodSource source = PodSource::automatic;
  std::string node_name;
  Credentials credentials;     // no server: the API is never asked
  std::string kubelet_url;     // "https://10.0.0.7:10250"; empty: the kubelet is never asked
  bool verify_kubelet = true;  // its certificate, against the CA of the credentials
  std::vector<std::string> annotations;  // names of those that are kept of pods
  bool services = true;                  // watch services and endpoint slices
  bool nodes = true;                     // list the addresses of all nodes
  std::uint64_t seed = 0;                // of the jitter; 0: a random one
  ClusterTiming timing;
};

enum class TaskState : std::uint8_t { off, waiting, listing, watching, refused, failing };
[[nodiscard]] std::string_view task_state_name(TaskState state);

struct ResourceState {
  std::string_view name;
  TaskState state = TaskState::off;
  std::uint64_t objects = 0;  // handed out and not taken back, by the last list and what followed
  std::uint64_t lists = 0;    // whole ones
  std::uint64_t watches = 0;  // begun
  std::uint64_t events = 0;   // of watches, without bookmarks
  std::uint64_t expired = 0;  // 410 Gone: the server had forgotten our version
  std::uint64_t failures = 0;
  std::uint64_t malformed = 0;   // objects that lack their identity; left out
  std::uint64_t oversized = 0;   // objects longer than kMaxObjectBytes; left out
  std::uint64_t over_limit = 0;  // objects beyond kMaxPods or kMaxObjects; left out
  std::string last_error;        // stays until the next success
  std::int64_t retry_at_ms = 0;  // CLOCK_BOOTTIME; 0: nothing failed
};

struct ClusterState {
  std::array<ResourceState, kResources> resources;  // by Resource; pods: of the API
  ResourceState kubelet;
  std::string_view pods_from;        // "api", "kubelet" or "": whose pods the consumer has
  std::uint64_t cut = 0;             // texts and list entries that a limit of objects.h cut
  std::uint64_t queue_waits = 0;     // how often the consumer was too slow
  std::uint64_t owners_dropped = 0;  // owners beyond kMaxOwners; their pods show them as they are
};

}  // namespace tarsier::net::kubernetes
