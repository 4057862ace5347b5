// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Fills what tarsier says about itself (metrics/self.h). Collector thread, except where said.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "api/server.h"
#include "base/files.h"
#include "daemon/running_probe.h"
#include "daemon/sources.h"
#include "daemon/subjects.h"
#include "metrics/registry.h"

namespace tarsier::daemon {

struct ProbeStatus;

class SelfMetrics {
 public:
  // `own_files` is rooted where the daemon's own /proc is, whatever [node] root says;
  // `start_time_s` is in seconds since the Unix epoch.
  SelfMetrics(metrics::Registry& registry, const base::HostFiles& own_files, double start_time_s);

  // Once a second.
  void refresh(std::span<RunningProbe* const> services, std::span<RunningProbe* const> probes,
               const SubjectFigures& subjects, std::uint64_t now_ns);
  void refresh_sources(std::span<const SourceFigures> sources);
  // Whose figures to show; until the next call they stay where they are.
  void set_servers(std::vector<const api::Server*> servers) { servers_ = std::move(servers); }
  void refresh_probe(RunningProbe& probe);
  // A probe changed its state: tarsier_probe_up, _state_info and _hook_info.
  void show(const ProbeStatus& status);
  void count_reload(bool ok);

  // Any thread: a scrape took this long.
  void scraped(double seconds);

 private:
  // The info series of one probe: definition and label values.
  struct Shown {
    const MetricDef* metric;
    std::vector<std::string> values;
  };
  void refresh_process();
  void refresh_maps(RunningProbe& probe);
  void refresh_table(const TableFigures& table);
  void refresh_server(const api::Server& server);
  void take_scrapes();
  void count(const MetricDef& metric, std::span<const std::string_view> labels, std::uint64_t total,
             std::uint64_t& said, double scale = 1);

  metrics::Registry& registry_;
  const base::HostFiles& own_files_;
  std::map<std::string, std::vector<Shown>> shown_;  // by probe
  double start_time_s_;
  double said_cpu_ = 0;
  std::uint64_t said_unknown_processes_ = 0, said_lost_lines_ = 0, said_suppressed_lines_ = 0;
  std::uint64_t next_maps_ns_ = 0;
  std::map<std::string, std::uint64_t, std::less<>> said_refused_;  // by table
  std::map<std::string, std::uint64_t, std::less<>> said_sources_;  // by source and what
  std::vector<const api::Server*> servers_;
  std::map<std::string, std::uint64_t, std::less<>> said_http_;  // by server and what
  std::mutex scrapes_mutex_;
  std::vector<double> scrapes_;  // kMaxWaitingScrapes at most
};

}  // namespace tarsier::daemon
