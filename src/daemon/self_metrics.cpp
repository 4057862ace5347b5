// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/self_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "base/log.h"
#include "base/text.h"
#include "daemon/probes.h"
#include "metrics/self.h"
#include "version.h"

namespace tarsier::daemon {
namespace {

namespace self = metrics::self;
using metrics::EntityId;

// Walking the keys of a large map costs milliseconds, hence rarely.
constexpr std::uint64_t kMapPeriodNs = 30'000'000'000;
constexpr std::size_t kMaxWaitingScrapes = 1'024;

double number(std::string_view text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

SelfMetrics::SelfMetrics(metrics::Registry& registry, const base::HostFiles& own_files,
                         double start_time_s)
    : registry_(registry), own_files_(own_files), start_time_s_(start_time_s) {
  for (const MetricDef* metric : self::self_metrics()) (void)registry_.add_family(*metric);
  registry_.record(self::kBuildInfo, EntityId::node, 1, std::array{kVersion, kRevision});
  for (const std::string_view result : {"ok", "refused"}) {
    registry_.add(self::kConfigReloads, EntityId::node, 0, std::array{result});
  }
  for (const std::string_view reason : {"write", "rate"}) {
    registry_.add(self::kLogLinesLost, EntityId::node, 0, std::array{reason});
  }
}

void SelfMetrics::count(const MetricDef& metric, std::span<const std::string_view> labels,
                        std::uint64_t total, std::uint64_t& said, double scale) {
  registry_.add(metric, EntityId::node, static_cast<double>(total - said) * scale, labels);
  said = total;
}

void SelfMetrics::refresh(std::span<RunningProbe* const> services,
                          std::span<RunningProbe* const> probes, const SubjectFigures& subjects,
                          std::uint64_t now_ns) {
  refresh_process();
  take_scrapes();
  const bool maps = now_ns >= next_maps_ns_;
  if (maps) next_maps_ns_ = now_ns + kMapPeriodNs;
  for (const auto& group : {services, probes}) {
    for (RunningProbe* probe : group) {
      refresh_probe(*probe);
      if (maps) refresh_maps(*probe);
    }
  }
  for (const TableFigures& table : subjects.tables) refresh_table(table);
  count(self::kUnknownProcesses, {}, subjects.unknown_processes, said_unknown_processes_);
  for (const api::Server* server : servers_) refresh_server(*server);
  count(self::kLogLinesLost, std::array<std::string_view, 1>{"write"}, base::log_lines_lost(),
        said_lost_lines_);
  count(self::kLogLinesLost, std::array<std::string_view, 1>{"rate"}, base::log_lines_suppressed(),
        said_suppressed_lines_);
}

void SelfMetrics::refresh_probe(RunningProbe& probe) {
  const std::array<std::string_view, 1> label{probe.spec->name};
  count(self::kProbeEvents, label, probe.events, probe.said_events);
  count(self::kProbeDecodeErrors, label, probe.decode_errors, probe.said_decode_errors);
  count(self::kProbeHandlerSeconds, label, probe.handler_ns, probe.said_handler_ns, 1e-9);
  for (const auto& [reason, total] : probe.loaded->losses()) {
    count(self::kProbeEventsLost, std::array<std::string_view, 2>{probe.spec->name, reason}, total,
          probe.said_losses[reason]);
  }
  for (const kernel::ProgramFigures& program : probe.loaded->programs()) {
    if (program.runs == 0) continue;  // the kernel's statistics are off
    const std::array<std::string_view, 2> labels{probe.spec->name, program.name};
    count(self::kBpfRuns, labels, program.runs, probe.said_runs[program.name]);
    count(self::kBpfRunSeconds, labels, program.run_ns, probe.said_run_ns[program.name], 1e-9);
  }
}

void SelfMetrics::refresh_maps(RunningProbe& probe) {
  for (const kernel::MapFigures& map : probe.loaded->map_figures()) {
    const std::array<std::string_view, 2> labels{probe.spec->name, map.name};
    registry_.record(self::kBpfMapEntries, EntityId::node, static_cast<double>(map.entries),
                     labels);
    registry_.record(self::kBpfMapMaxEntries, EntityId::node, static_cast<double>(map.max_entries),
                     labels);
  }
}

void SelfMetrics::refresh_table(const TableFigures& table) {
  const std::array<std::string_view, 1> label{table.name};
  registry_.record(self::kTableEntries, EntityId::node, static_cast<double>(table.entries), label);
  registry_.record(self::kTableMaxEntries, EntityId::node, static_cast<double>(table.max_entries),
                   label);
  count(self::kTableRefused, label, table.refused, said_refused_[std::string(table.name)]);
}

void SelfMetrics::refresh_sources(std::span<const SourceFigures> sources) {
  for (const SourceFigures& source : sources) {
    const std::array<std::string_view, 1> label{source.name};
    const auto say = [&](const MetricDef& metric, std::string_view what, std::uint64_t total) {
      count(metric, label, total, said_sources_[source.name + ' ' + std::string(what)]);
    };
    registry_.record(self::kSourceUp, EntityId::node, source.up ? 1 : 0, label);
    registry_.record(self::kSourceObjects, EntityId::node, static_cast<double>(source.objects),
                     label);
    say(self::kSourceRequests, "requests", source.requests);
    say(self::kSourceFailures, "failures", source.failures);
    say(self::kSourceEvents, "events", source.events);
    say(self::kSourceEventsLost, "lost", source.events_lost);
  }
}

void SelfMetrics::refresh_server(const api::Server& server) {
  const api::ServerStats stats = server.stats();
  const std::string& name = server.name();
  registry_.record(self::kHttpConnections, EntityId::node, static_cast<double>(stats.connections),
                   std::array<std::string_view, 1>{name});
  const auto say = [&](const MetricDef& metric, std::string_view what, std::uint64_t total) {
    count(metric, std::array<std::string_view, 2>{name, what}, total,
          said_http_[name + ' ' + std::string(what)]);
  };
  constexpr std::string_view kCodes[] = {"", "1xx", "2xx", "3xx", "4xx", "5xx"};
  for (std::size_t i = 2; i < std::size(kCodes); ++i) {
    say(self::kHttpRequests, kCodes[i], stats.requests[i]);
  }
  say(self::kHttpUnserved, "full", stats.refused);
  say(self::kHttpUnserved, "evicted", stats.evicted);
  say(self::kHttpUnserved, "accept", stats.accept_failures);
  say(self::kHttpUnserved, "request_timeout", stats.request_timeouts);
  say(self::kHttpUnserved, "write_timeout", stats.write_timeouts);
  say(self::kHttpUnserved, "auth", stats.auth_failures);
  say(self::kHttpUnserved, "host", stats.host_refused);
  say(self::kHttpUnserved, "aborted", stats.aborted_streams);
}

void SelfMetrics::show(const ProbeStatus& status) {
  registry_.record(self::kProbeUp, EntityId::node, status.up() ? 1 : 0,
                   std::array<std::string_view, 1>{status.name});
  std::vector<Shown> now;
  now.push_back(
      {&self::kProbeState, {status.name, std::string(name_of(status.state)), status.reason}});
  for (const kernel::HookState& hook : status.hooks) {
    if (hook.available) {
      now.push_back({&self::kProbeHook, {status.name, hook.purpose, hook.method, hook.target}});
    }
  }
  std::vector<Shown>& before = shown_[status.name];
  for (const Shown& shown : before) {
    const std::vector<std::string_view> values(shown.values.begin(), shown.values.end());
    registry_.drop(*shown.metric, EntityId::node, values);
  }
  for (const Shown& shown : now) {
    const std::vector<std::string_view> values(shown.values.begin(), shown.values.end());
    registry_.record(*shown.metric, EntityId::node, 1, values);
  }
  before = std::move(now);
}

void SelfMetrics::refresh_process() {
  const double ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const double page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  // Fields by their number in proc(5), counted behind the name, which may hold spaces.
  if (const auto stat = own_files_.read("proc/self/stat")) {
    const auto fields = base::split(std::string_view(*stat).substr(stat->rfind(')') + 2), ' ');
    if (fields.size() > 22) {
      const double cpu = (number(fields[11]) + number(fields[12])) / ticks;
      registry_.add(self::kCpuSeconds, EntityId::node, std::max(0.0, cpu - said_cpu_), {});
      said_cpu_ = std::max(cpu, said_cpu_);
      registry_.record(self::kVirtualBytes, EntityId::node, number(fields[20]), {});
      registry_.record(self::kResidentBytes, EntityId::node, number(fields[21]) * page, {});
    }
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    registry_.record(self::kMaxFds, EntityId::node, static_cast<double>(limit.rlim_cur), {});
  }
  if (DIR* directory = ::opendir("/proc/self/fd")) {
    int open = -3;  // ".", ".." and the directory itself
    while (::readdir(directory) != nullptr) ++open;
    ::closedir(directory);
    registry_.record(self::kOpenFds, EntityId::node, open, {});
  }
  registry_.record(self::kStartTime, EntityId::node, start_time_s_, {});
}

void SelfMetrics::count_reload(bool ok) {
  registry_.add(self::kConfigReloads, EntityId::node, 1,
                std::array<std::string_view, 1>{ok ? "ok" : "refused"});
}

void SelfMetrics::scraped(double seconds) {
  const std::lock_guard lock(scrapes_mutex_);
  if (scrapes_.size() < kMaxWaitingScrapes) scrapes_.push_back(seconds);
}

void SelfMetrics::take_scrapes() {
  std::vector<double> scrapes;
  {
    const std::lock_guard lock(scrapes_mutex_);
    scrapes.swap(scrapes_);
  }
  for (const double seconds : scrapes) {
    registry_.record(self::kScrapeDuration, EntityId::node, seconds, {});
  }
}

}  // namespace tarsier::daemon
