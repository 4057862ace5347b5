// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The client of a Kubernetes cluster: one thread keeps one watch per resource and hands out what
// changes, trimmed, through a bounded queue. It keeps no objects itself. docs/kubernetes.md says
// what it asks of the API server.
#pragma once

#include <memory>
#include <vector>

#include "base/clock.h"
#include "net/kubernetes/objects.h"
#include "net/kubernetes/state.h"
#include "tarsier/result.h"

namespace tarsier::net::kubernetes {

class Cluster {
 public:
  // Starts the thread; asks nobody before it returns. A server that is not there is no error but a
  // state. `clock` outlives the cluster. Errors: invalid (no node name, no server and no kubelet
  // for a source that needs one).
  [[nodiscard]] static Result<std::unique_ptr<Cluster>> start(ClusterOptions options,
                                                              const base::Clock& clock);
  ~Cluster();  // stops
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // Ends the thread, whatever it waits for, within 1 s. Any thread, more than once.
  void stop();
  // Appends what has changed since the last call, in order. One thread, the consumer. It has to be
  // called again and again: while nobody takes the changes the cluster waits.
  void drain(std::vector<Change>& out);
  // A container appeared whose pod is not known: a polled kubelet is asked soon, at most once a
  // second. Any thread.
  void poke();
  // Any thread.
  [[nodiscard]] ClusterState state() const;
  // Each resource was listed once or failed once: waiting longer need not bring more names. Any
  // thread.
  [[nodiscard]] bool first_sync_done() const;

 private:
  struct Impl;
  explicit Cluster(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tarsier::net::kubernetes
