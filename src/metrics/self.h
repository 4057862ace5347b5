// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What tarsier says about itself and belongs to no probe. The daemon adds all of self_metrics() to
// its registry and fills them; three of them the registry fills itself when it is read: kSeries,
// kSeriesRefused, kLabelValuesChanged.
#pragma once

#include <span>
#include <string_view>

#include "tarsier/metric.h"

namespace tarsier::metrics::self {

namespace labels {
inline constexpr std::string_view kBuild[] = {"version", "revision"};
inline constexpr std::string_view kProbe[] = {"probe"};
inline constexpr std::string_view kProbeState[] = {"probe", "state", "reason"};
inline constexpr std::string_view kProbeHook[] = {"probe", "purpose", "method", "target"};
inline constexpr std::string_view kProbeReason[] = {"probe", "reason"};
inline constexpr std::string_view kProbeProgram[] = {"probe", "program"};
inline constexpr std::string_view kProbeMap[] = {"probe", "map"};
inline constexpr std::string_view kMetric[] = {"metric"};
inline constexpr std::string_view kReason[] = {"reason"};
inline constexpr std::string_view kResult[] = {"result"};
inline constexpr std::string_view kTable[] = {"table"};
inline constexpr std::string_view kServer[] = {"server"};
inline constexpr std::string_view kSource[] = {"source"};
inline constexpr std::string_view kServerCode[] = {"server", "code"};
inline constexpr std::string_view kServerReason[] = {"server", "reason"};
}  // namespace labels

// From a small node to 100,000 series for a slow client.
inline constexpr double kScrapeBuckets[] = {.0005, .001, .0025, .005, .01, .025, .05,
                                            .1,    .25,  .5,    1,    2.5, 5,    10};

inline constexpr auto kBuildInfo =
    gauge("tarsier_build_info", "Version and source revision of this tarsier; always 1.",
          Unit::none, labels::kBuild, false);
inline constexpr auto kProbeUp =
    gauge("tarsier_probe_up", "Whether the probe runs, degraded or not (1), or does not (0).",
          Unit::none, labels::kProbe, false);
inline constexpr auto kProbeState =
    gauge("tarsier_probe_state_info",
          "State of the probe (off, starting, running, degraded, failed) and the reason; always 1.",
          Unit::none, labels::kProbeState, false);
inline constexpr auto kProbeHook =
    gauge("tarsier_probe_hook_info",
          "Where the probe is attached, for which purpose and by which method; always 1.",
          Unit::none, labels::kProbeHook, false);
inline constexpr auto kProbeEvents =
    counter("tarsier_probe_events_total", "Records that the probe received from the kernel.",
            Unit::none, labels::kProbe);
inline constexpr auto kProbeEventsLost = counter(
    "tarsier_probe_events_lost_total", "Events that the probe could not deliver, by reason.",
    Unit::none, labels::kProbeReason);
inline constexpr auto kProbeDecodeErrors =
    counter("tarsier_probe_decode_errors_total", "Records that the probe could not decode.",
            Unit::none, labels::kProbe);
inline constexpr auto kProbeHandlerSeconds =
    counter("tarsier_probe_handler_seconds_total",
            "Time that the daemon spent in the probe's callbacks.", Unit::seconds, labels::kProbe);
inline constexpr auto kBpfRunSeconds =
    counter("tarsier_bpf_run_seconds_total",
            "Time that the BPF program ran, where the kernel's BPF statistics are switched on.",
            Unit::seconds, labels::kProbeProgram);
inline constexpr auto kBpfRuns =
    counter("tarsier_bpf_runs_total",
            "How often the BPF program ran, where the kernel's BPF statistics are switched on.",
            Unit::none, labels::kProbeProgram);
inline constexpr auto kBpfMapEntries = gauge("tarsier_bpf_map_entries", "Entries in the BPF map.",
                                             Unit::none, labels::kProbeMap, false);
inline constexpr auto kBpfMapMaxEntries =
    gauge("tarsier_bpf_map_max_entries", "Entries that the BPF map can hold.", Unit::none,
          labels::kProbeMap, false);
inline constexpr auto kSeries =
    gauge("tarsier_series", "Series of the metric in the registry, hidden ones included.",
          Unit::none, labels::kMetric, false);
inline constexpr auto kSeriesRefused = counter(
    "tarsier_series_refused_total",
    "Updates of the metric that the budget, or a value that is no number, kept out of its series.",
    Unit::none, labels::kMetric);
inline constexpr auto kLabelValuesChanged = counter(
    "tarsier_label_values_changed_total",
    "Label names and values that were not valid UTF-8 or names (repaired) or too long (cut).",
    Unit::none, labels::kReason);
inline constexpr auto kScrapeDuration = histogram(
    "tarsier_scrape_duration_seconds",
    "From the request of a scrape to the last byte of its answer.", Unit::seconds, kScrapeBuckets);
inline constexpr auto kConfigReloads =
    counter("tarsier_config_reloads_total",
            "Configurations that were read while running, by result.", Unit::none, labels::kResult);
inline constexpr auto kLogLinesLost =
    counter("tarsier_log_lines_lost_total",
            "Log lines that could not be written (write) or were held back (rate).", Unit::none,
            labels::kReason);
inline constexpr auto kTableEntries =
    gauge("tarsier_table_entries", "What the daemon keeps in one of its tables.", Unit::none,
          labels::kTable, false);
inline constexpr auto kTableMaxEntries =
    gauge("tarsier_table_max_entries", "What the table keeps at most.", Unit::none, labels::kTable,
          false);
inline constexpr auto kTableRefused =
    counter("tarsier_table_refused_total",
            "What found no room in the table, or was pushed out of it before its time.", Unit::none,
            labels::kTable);
inline constexpr auto kUnknownProcesses =
    counter("tarsier_unknown_processes_total",
            "Records about a process that nobody announced; their series have no process name.");
inline constexpr auto kSourceUp =
    gauge("tarsier_source_up",
          "Whether the source of names (a runtime, Kubernetes, connection tracking) answered last "
          "(1) or not (0).",
          Unit::none, labels::kSource, false);
inline constexpr auto kSourceObjects =
    gauge("tarsier_source_objects", "Containers, pods, services and so on that the source told of.",
          Unit::none, labels::kSource, false);
inline constexpr auto kSourceRequests = counter(
    "tarsier_source_requests_total", "Questions to the source.", Unit::none, labels::kSource);
inline constexpr auto kSourceFailures =
    counter("tarsier_source_failures_total",
            "Questions that the source did not answer, and streams of events that broke.",
            Unit::none, labels::kSource);
inline constexpr auto kSourceEvents =
    counter("tarsier_source_events_total", "Changes that the source told by itself.", Unit::none,
            labels::kSource);
inline constexpr auto kSourceEventsLost =
    counter("tarsier_source_events_lost_total",
            "Changes that could not be read or found no room; what they told is asked for again.",
            Unit::none, labels::kSource);
inline constexpr auto kHttpConnections =
    gauge("tarsier_http_connections", "Clients that are connected to a server of the daemon.",
          Unit::none, labels::kServer, false);
inline constexpr auto kHttpRequests =
    counter("tarsier_http_requests_total",
            "Requests that a server of the daemon answered, by class of the status.", Unit::none,
            labels::kServerCode);
inline constexpr auto kHttpUnserved =
    counter("tarsier_http_unserved_total",
            "Clients that a server of the daemon did not serve, or not to the end, by reason.",
            Unit::none, labels::kServerReason);

// The usual process_* of a Prometheus client, about the daemon.
inline constexpr auto kCpuSeconds =
    counter("process_cpu_seconds_total", "User and system CPU time of the daemon.", Unit::seconds);
inline constexpr auto kResidentBytes =
    gauge("process_resident_memory_bytes", "Resident memory of the daemon.", Unit::bytes);
inline constexpr auto kVirtualBytes =
    gauge("process_virtual_memory_bytes", "Virtual memory of the daemon.", Unit::bytes);
inline constexpr auto kOpenFds = gauge("process_open_fds", "Open file descriptors of the daemon.");
inline constexpr auto kMaxFds =
    gauge("process_max_fds", "File descriptors that the daemon may open.");
inline constexpr auto kStartTime =
    gauge("process_start_time_seconds", "Start of the daemon in seconds since the Unix epoch.",
          Unit::seconds, false);

inline constexpr const MetricDef* kAll[] = {&kBuildInfo,
                                            &kProbeUp,
                                            &kProbeState,
                                            &kProbeHook,
                                            &kProbeEvents,
                                            &kProbeEventsLost,
                                            &kProbeDecodeErrors,
                                            &kProbeHandlerSeconds,
                                            &kBpfRunSeconds,
                                            &kBpfRuns,
                                            &kBpfMapEntries,
                                            &kBpfMapMaxEntries,
                                            &kSeries,
                                            &kSeriesRefused,
                                            &kLabelValuesChanged,
                                            &kScrapeDuration,
                                            &kConfigReloads,
                                            &kLogLinesLost,
                                            &kTableEntries,
                                            &kTableMaxEntries,
                                            &kTableRefused,
                                            &kUnknownProcesses,
                                            &kHttpConnections,
                                            &kHttpRequests,
                                            &kHttpUnserved,
                                            &kSourceUp,
                                            &kSourceObjects,
                                            &kSourceRequests,
                                            &kSourceFailures,
                                            &kSourceEvents,
                                            &kSourceEventsLost,
                                            &kCpuSeconds,
                                            &kResidentBytes,
                                            &kVirtualBytes,
                                            &kOpenFds,
                                            &kMaxFds,
                                            &kStartTime};

[[nodiscard]] constexpr std::span<const MetricDef* const> self_metrics() {
  return kAll;
}

}  // namespace tarsier::metrics::self
