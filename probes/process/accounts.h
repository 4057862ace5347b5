// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What each process has used so far, and what of it is new. No kernel in here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "process.h"
#include "tarsier/probe.h"

namespace tarsier::process {

inline constexpr std::string_view kCodeSignal[] = {"code", "signal"};
inline constexpr std::string_view kMode[] = {"mode"};
inline constexpr std::string_view kDirection[] = {"direction"};
inline constexpr std::string_view kType[] = {"type"};

inline constexpr auto kExecs = counter("tarsier_process_execs_total",
                                       "Programs started, each under the name it brought along.");
inline constexpr auto kExits =
    counter("tarsier_process_exits_total",
            "Processes that ended, by exit code or by the signal that killed them.", Unit::none,
            kCodeSignal);
inline constexpr auto kOomKills = counter("tarsier_process_oom_kills_total",
                                          "Processes that the kernel killed for lack of memory.");
inline constexpr auto kCpu =
    counter("tarsier_process_cpu_seconds_total",
            "CPU time of processes in user and system mode, ended threads and processes included.",
            Unit::seconds, kMode);
inline constexpr auto kResident = gauge(
    "tarsier_process_resident_bytes",
    "Resident memory of processes: anonymous, file and shared pages. Pages that several share are "
    "counted for each.",
    Unit::bytes);
inline constexpr auto kIo =
    counter("tarsier_process_io_bytes_total",
            "Bytes that processes read from storage or dirtied to be written to it; what the page "
            "cache served is not in it.",
            Unit::bytes, kDirection);
inline constexpr auto kFaults =
    counter("tarsier_process_faults_total",
            "Page faults of processes; major ones had to wait for storage.", Unit::none, kType);
inline constexpr auto kFds =
    gauge("tarsier_process_open_fds", "Open file descriptors of processes.");
inline constexpr auto kThreads = gauge("tarsier_process_threads", "Threads of processes.");
inline constexpr auto kSwitches =
    counter("tarsier_process_context_switches_total",
            "Context switches of processes: voluntary to wait for something, involuntary because "
            "another task was to run.",
            Unit::none, kType);
inline constexpr auto kProcesses =
    gauge("tarsier_processes", "Processes that run, without kernel threads and without zombies.");
inline constexpr auto kUnfollowed =
    counter("tarsier_process_unfollowed_total",
            "Looks at processes whose use was not counted because too many are followed already.");

inline constexpr const MetricDef* kMetrics[] = {&kExecs,    &kExits,    &kOomKills,  &kCpu,
                                                &kResident, &kIo,       &kFaults,    &kFds,
                                                &kThreads,  &kSwitches, &kProcesses, &kUnfollowed};

// Processes that are followed at a time, zombies included; as many as the lifecycle service knows.
inline constexpr std::size_t kMaxProcesses = 65'536;
// A process younger than this is left to the next look: the record of its fork may still be on its
// way, and without it nobody knows its name.
inline constexpr std::uint64_t kBirthNs = 10'000'000;
// The framework knows an ended process for 10 s; later words about it have no name to go to.
inline constexpr std::uint64_t kGraceNs = 9'000'000'000;
// A process whose end was lost is forgotten when this long no look has seen it, and two at least.
// Not earlier: a late record of its end would be taken for that of a new process.
inline constexpr std::uint64_t kForgetNs = 60'000'000'000;
inline constexpr std::uint32_t kForgetLooks = 2;

// "SIGKILL"; real-time signals as kill -l calls them: "SIGRTMIN", "SIGRTMIN+3".
[[nodiscard]] std::string signal_name(unsigned number);

// How a wait status reads; exactly one of the two is not empty.
struct ExitReason {
  std::string code;    // decimal
  std::string signal;  // by name
};
[[nodiscard]] ExitReason exit_reason(std::uint32_t wait_status);

// User and system time as /proc/PID/stat shows them: the tick's shares of the scheduler's exact
// sum, neither ever going back (cputime_adjust() in kernel/sched/cputime.c).
struct CpuTime {
  std::uint64_t user_ns = 0, system_ns = 0;
  friend bool operator==(const CpuTime&, const CpuTime&) = default;
};
[[nodiscard]] CpuTime scale(const CpuTime& before, const process_usage& usage);

// Follows processes by absolute figures, so that a record that was lost is made up for by the next
// one. Each figure only grows: one that is behind was an incomplete look and adds nothing.
//
// What processes that started before `began_ns` used until the first look at them is not counted: a
// counter that began with the past would look like a burst after each restart of the daemon. What
// started later is counted from its start.
class Accounts {
 public:
  Accounts(std::uint64_t began_ns, std::uint64_t page_bytes,
           std::size_t max_processes = kMaxProcesses)
      : began_ns_(began_ns), page_bytes_(page_bytes), max_processes_(max_processes) {}

  static void on_exec(const tarsier_header& header, Sinks& sinks);
  static void on_oom_kill(const tarsier_header& header, Sinks& sinks);
  void on_thread_io(const process_io& record, Sinks& sinks);
  void on_exit(const process_end& record, Sinks& sinks);
  void on_gone(const process_end& record, Sinks& sinks);

  // One look at all threads: begin, each of them, finish. `complete` is false where the kernel did
  // not show all of them; then nobody is missed.
  void begin_look() { ++look_; }
  void add_sample(const process_sample& record, std::uint64_t now_ns, Sinks& sinks);
  void finish_look(bool complete, std::uint64_t now_ns, Sinks& sinks);

  [[nodiscard]] std::size_t size() const { return processes_.size(); }

 private:
  struct Id {
    std::uint64_t start_ns = 0;
    std::uint32_t tgid = 0;
    friend bool operator==(const Id&, const Id&) = default;
  };
  struct IdHash {
    std::size_t operator()(const Id& id) const {
      return static_cast<std::size_t>(id.start_ns * 0x9E3779B97F4A7C15ULL ^ id.tgid);
    }
  };
  struct Process {
    process_usage counted = {};  // what the counters have
    CpuTime cpu = {};
    process_bytes counted_io = {};
    process_bytes ended_io = {};  // of threads that have gone
    // The look that goes on.
    process_usage seen = {};
    process_bytes seen_io = {};
    std::uint64_t resident_pages = 0;
    std::uint32_t open_fds = 0, threads = 0;
    std::uint32_t look = 0;
    bool has_gauges = false, has_gone = false;
    bool counts_from_start = false;  // else the first complete figures are where counting begins
    std::uint32_t missed_looks = 0;
    std::uint64_t last_seen_ns = 0;
    std::uint64_t ended_ns = 0;  // 0: runs
  };

  Process* follow(const tarsier_header& header, Sinks& sinks);
  void show(const Id& id, Process& process, std::uint64_t now_ns, Sinks& sinks);
  static void count(Process& process, const process_usage& usage, bool with_zeros, Sink& sink);
  static void count_io(Process& process, const process_bytes& io, bool with_zeros, Sink& sink);
  static void skip(Process& process, const process_usage& usage, const process_bytes& io);

  std::uint64_t began_ns_;
  std::uint64_t page_bytes_;
  std::size_t max_processes_;
  std::uint32_t look_ = 0;
  std::unordered_map<Id, Process, IdHash> processes_;
};

}  // namespace tarsier::process
