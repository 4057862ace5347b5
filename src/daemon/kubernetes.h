// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Feeds what src/net/kubernetes tells into the tables of src/enrich.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "config/config.h"
#include "daemon/subjects.h"
#include "net/kubernetes/cluster.h"

namespace tarsier::daemon {

// How to ask Kubernetes, from the configuration and the environment. Nothing: there is nobody to
// ask, or it is switched off. An error says which file or key is wrong.
[[nodiscard]] Result<std::optional<net::kubernetes::ClusterOptions>> cluster_options(
    const config::Config& config, const net::kubernetes::Environment& environment);

// A pod as labels show it. `owner`: what stands behind the object that made it, if that is known.
[[nodiscard]] enrich::PodFacts pod_facts(const net::kubernetes::Pod& pod,
                                         const net::kubernetes::Owner* owner);

class KubernetesFeed {
 public:
  KubernetesFeed(Subjects& subjects, const base::Clock& clock)
      : subjects_(subjects), clock_(clock) {}

  // Control thread, before the collector's: begins to ask. Without options it stays idle.
  Status start(std::optional<net::kubernetes::ClusterOptions> options);
  void stop();

  // Collector thread, each round: takes what is new.
  void poll(std::uint64_t now_ns);

  // Any thread after start().
  [[nodiscard]] bool first_sync_done() const;
  [[nodiscard]] std::optional<net::kubernetes::ClusterState> state() const;

 private:
  void take(net::kubernetes::Change& change, std::uint64_t now_ns);
  void take_list_mark(const net::kubernetes::Change& change, std::uint64_t now_ns);
  void put(const net::kubernetes::Pod& pod);
  void put(const net::kubernetes::Service& service);
  void put(const net::kubernetes::EndpointSlice& slice);
  void put(const net::kubernetes::Node& node, bool own);
  void put(const net::kubernetes::Owner& owner);
  void remove(const net::kubernetes::Object& object, std::uint64_t now_ns);
  void look_at_state();

  Subjects& subjects_;
  const base::Clock& clock_;
  std::unique_ptr<net::kubernetes::Cluster> cluster_;
  std::vector<net::kubernetes::Change> changes_;
  // Who made the pods that somebody stands behind: uid of the pod to uid of its owner, so that the
  // pod can be told anew when more is known of the owner.
  std::unordered_map<std::string, std::string> owned_pods_;
  std::unordered_map<std::string, net::kubernetes::Owner> owners_;  // by uid
  std::uint64_t next_look_ns_ = 0;
  std::uint64_t missed_pods_ = 0;
};

}  // namespace tarsier::daemon
