// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Something that is asked of the API server or the kubelet again and again: what is due when, what
// the answers mean, how often to try after a failure. Knows no socket. Cluster's thread alone.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <string_view>

#include "net/kubernetes/object_reader.h"
#include "net/kubernetes/objects.h"
#include "net/kubernetes/state.h"
#include "net/kubernetes/transfer.h"

namespace tarsier::net::kubernetes {

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// What the tasks of a cluster share.
struct TaskContext {
  const ClusterOptions* options = nullptr;
  std::function<bool(Change)> push;  // false: the cluster stops
  std::mt19937_64 random;
  ReadOptions read_options;
  ReadCounters read_counters;

  // A random time in [0, bound_ms).
  [[nodiscard]] std::int64_t jitter(std::int64_t bound_ms) {
    if (bound_ms <= 0) return 0;
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(bound_ms));
  }
};

class Task {
 public:
  Task(Resource resource, TaskContext& context);
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;

  // When the next request is due; kNever: nothing to ask.
  [[nodiscard]] virtual std::int64_t due_ms() const { return due_ms_; }
  [[nodiscard]] virtual Request begin(std::int64_t now_ms) = 0;
  // A piece of the answer; false ends the transfer.
  virtual bool receive(std::string_view bytes) = 0;
  virtual void finish(const Outcome& outcome, std::int64_t now_ms) = 0;

  [[nodiscard]] const ResourceState& state() const { return state_; }
  // It was listed once or failed once.
  [[nodiscard]] bool settled() const { return settled_; }
  // A request could not even be made.
  void fail_before(const std::string& problem, std::int64_t now_ms);

 protected:
  // client-go's reflector: 0.8 s, doubled up to 30 s, each stretched by up to 1; forgotten after
  // 2 min without a failure.
  void fail(std::string problem, std::int64_t now_ms, std::int64_t at_least_ms = 0);
  // The server does not allow it. Asking again soon only makes load.
  void refuse(std::string problem, std::int64_t now_ms, int delay_ms);
  // fail() or refuse() by the status; false: it was 200 and complete.
  bool refused_or_failed(const std::string& what, const Outcome& outcome, std::int64_t now_ms);
  void settle() { settled_ = true; }

  TaskContext& context_;
  ResourceState state_;
  std::int64_t due_ms_ = 0;

 private:
  int failures_in_row_ = 0;
  std::int64_t last_failure_ms_ = 0;
  bool settled_ = false;
};

}  // namespace tarsier::net::kubernetes
