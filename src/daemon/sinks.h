// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The sinks that probes write to: subject to entity to series. Collector thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/subjects.h"
#include "metrics/registry.h"
#include "store/store.h"
#include "tarsier/probe.h"

namespace tarsier::daemon {

class SubjectSinks final : public Sinks, public Subjects::Observer {
 public:
  SubjectSinks(Subjects& subjects, metrics::Registry& registry, store::Stores& stores);
  ~SubjectSinks() override;

  // Before each callback of a probe: sinks given out before are gone, and subjects are taken as
  // they were at time_ns.
  void begin(std::string_view probe, std::uint64_t time_ns, std::uint64_t now_ns);
  Sink& at(const Subject& subject) override;
  Peer peer(const Subject& subject, const Flow& flow) override;
  void disconnected(const Flow& flow) override;

  // What the process contributed to gauges is taken back.
  void on_process_end(std::uint32_t tgid, std::uint64_t start_ns) override;
  void on_entity_named(std::uint32_t tgid, std::uint64_t start_ns, metrics::EntityId before,
                       metrics::EntityId after) override;
  void on_edge_named(metrics::EntityId before, metrics::EntityId after) override;
  // The probe stopped: its contributions are forgotten together with its families.
  void forget_metrics(std::span<const MetricDef* const> metrics);

  [[nodiscard]] std::size_t contributions() const;

 private:
  struct ProcessKey {
    std::uint32_t tgid;
    std::uint64_t start_ns;
    friend bool operator==(const ProcessKey&, const ProcessKey&) = default;
  };
  struct ProcessKeyHash {
    std::size_t operator()(const ProcessKey& key) const {
      return static_cast<std::size_t>(key.start_ns * 0x9E3779B97F4A7C15U ^ key.tgid);
    }
  };
  // What one process adds to one gauge that it shares with its like.
  struct Contribution {
    const MetricDef* metric;
    metrics::EntityId entity;
    std::uint32_t peer;
    std::vector<std::string> labels;
    Series series;
    double value = 0;
  };
  class SubjectSink;

  void contribute(const Subject& subject, const SubjectEntity& target, const MetricDef& metric,
                  double value, std::span<const std::string_view> labels);
  void add_to(Contribution& contribution, double delta);

  Subjects& subjects_;
  metrics::Registry& registry_;
  store::Stores& stores_;
  std::string probe_;
  std::uint64_t time_ns_ = 0, now_ns_ = 0;
  std::deque<SubjectSink> sinks_;  // a deque: references stay valid while it grows
  std::size_t used_ = 0;
  // Where updates about subjects that are not observed go: a cell that nobody reads.
  std::atomic<std::uint64_t> discarded_counts_[1] = {};
  Cell discarded_;
  std::unordered_map<ProcessKey, std::vector<Contribution>, ProcessKeyHash> contributions_;
  bool peers_contribute_ = false;  // some contribution was made towards a peer
};

}  // namespace tarsier::daemon
