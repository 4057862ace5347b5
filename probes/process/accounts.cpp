// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "accounts.h"

#include <algorithm>

namespace tarsier::process {
namespace {

// Linux numbers on x86, arm64, riscv and most others; alpha, mips, parisc and sparc differ.
constexpr std::string_view kSignals[] = {
    "",          "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",   "SIGTRAP", "SIGABRT", "SIGBUS",
    "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2",  "SIGPIPE", "SIGALRM", "SIGTERM",
    "SIGSTKFLT", "SIGCHLD", "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",
    "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   "SIGPWR",  "SIGSYS"};
constexpr unsigned kFirstRealTime = 34;  // the C library keeps 32 and 33 for itself
constexpr unsigned kLastRealTime = 64;

double seconds(std::uint64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

void add(process_usage& sum, const process_usage& part) {
  sum.user_ns += part.user_ns;
  sum.system_ns += part.system_ns;
  sum.runtime_ns += part.runtime_ns;
  sum.minor_faults += part.minor_faults;
  sum.major_faults += part.major_faults;
  sum.voluntary_switches += part.voluntary_switches;
  sum.involuntary_switches += part.involuntary_switches;
}

void add(process_bytes& sum, const process_bytes& part) {
  sum.read += part.read;
  sum.written += part.written;
}

void record_if(bool wanted, const Metric<1>& metric, double delta, std::string_view label,
               Sink& sink) {
  if (wanted || delta > 0) sink.record(metric, delta, {label});
}

// Moves a counted figure up to where it is now; what that was.
double advance(__u64& counted, std::uint64_t now) {
  if (now <= counted) return 0;
  return static_cast<double>(now - std::exchange(counted, now));
}

}  // namespace

std::string signal_name(unsigned number) {
  if (number == 0) return {};
  if (number < std::size(kSignals)) return std::string(kSignals[number]);
  if (number == kFirstRealTime) return "SIGRTMIN";
  if (number > kFirstRealTime && number <= kLastRealTime) {
    return "SIGRTMIN+" + std::to_string(number - kFirstRealTime);
  }
  return "SIG" + std::to_string(number);
}

ExitReason exit_reason(std::uint32_t wait_status) {
  const unsigned signal = wait_status & 0x7fU;  // 0x80 says that there is a core dump
  if (signal != 0) return {{}, signal_name(signal)};
  return {std::to_string((wait_status >> 8U) & 0xffU), {}};
}

CpuTime scale(const CpuTime& before, const process_usage& usage) {
  const std::uint64_t runtime = usage.runtime_ns;
  if (before.user_ns + before.system_ns >= runtime) return before;
  const double ticked = static_cast<double>(usage.user_ns) + static_cast<double>(usage.system_ns);
  std::uint64_t system = 0;
  if (usage.system_ns != 0) {
    system = static_cast<std::uint64_t>(static_cast<double>(runtime) *
                                        (static_cast<double>(usage.system_ns) / ticked));
  }
  // Neither may go back, and together they are the runtime.
  system = std::clamp(system, before.system_ns, runtime - before.user_ns);
  return {runtime - system, system};
}

void Accounts::on_exec(const tarsier_header& header, Sinks& sinks) {
  sinks.at(Subject::process(header.tgid, header.start_ns)).record(kExecs, 1);
}

void Accounts::on_oom_kill(const tarsier_header& header, Sinks& sinks) {
  sinks.at(Subject::process(header.tgid, header.start_ns)).record(kOomKills, 1);
}

// The process of the record, new or known; nullptr where there is no room.
Accounts::Process* Accounts::follow(const tarsier_header& header, Sinks& sinks) {
  const Id id{header.start_ns, header.tgid};
  if (const auto found = processes_.find(id); found != processes_.end()) return &found->second;
  if (processes_.size() >= max_processes_) {
    sinks.node().record(kUnfollowed, 1);
    return nullptr;
  }
  Process& process = processes_[id];
  process.counts_from_start = header.start_ns >= began_ns_;
  return &process;
}

void Accounts::skip(Process& process, const process_usage& usage, const process_bytes& io) {
  process.counted = usage;
  process.counted_io = io;
  process.cpu = scale({}, usage);
  process.counts_from_start = true;  // from here on all that is new is ours
}

void Accounts::count(Process& process, const process_usage& usage, bool with_zeros, Sink& sink) {
  const CpuTime cpu = scale(process.cpu, usage);
  record_if(with_zeros, kCpu, seconds(cpu.user_ns - process.cpu.user_ns), "user", sink);
  record_if(with_zeros, kCpu, seconds(cpu.system_ns - process.cpu.system_ns), "system", sink);
  process.cpu = cpu;
  process_usage& counted = process.counted;
  record_if(with_zeros, kFaults, advance(counted.minor_faults, usage.minor_faults), "minor", sink);
  record_if(with_zeros, kFaults, advance(counted.major_faults, usage.major_faults), "major", sink);
  record_if(with_zeros, kSwitches, advance(counted.voluntary_switches, usage.voluntary_switches),
            "voluntary", sink);
  record_if(with_zeros, kSwitches,
            advance(counted.involuntary_switches, usage.involuntary_switches), "involuntary", sink);
}

void Accounts::count_io(Process& process, const process_bytes& io, bool with_zeros, Sink& sink) {
  record_if(with_zeros, kIo, advance(process.counted_io.read, io.read), "read", sink);
  record_if(with_zeros, kIo, advance(process.counted_io.written, io.written), "write", sink);
}

// The bytes may have been counted in a look; the next look, or the end, tells what is new.
void Accounts::on_thread_io(const process_io& record, Sinks& sinks) {
  Process* process = follow(record.header, sinks);
  if (process == nullptr) return;
  add(process->ended_io, record.io);
  if (process->ended_ns == 0) return;
  // A thread that was on its way out when the last one went.
  count_io(*process, process->ended_io, false,
           sinks.at(Subject::process(record.header.tgid, record.header.start_ns)));
}

void Accounts::on_exit(const process_end& record, Sinks& sinks) {
  Process* process = follow(record.header, sinks);
  if (process != nullptr && process->ended_ns != 0) return;  // the same end, told twice
  Sink& sink = sinks.at(Subject::process(record.header.tgid, record.header.start_ns));
  const ExitReason reason = exit_reason(record.exit_code);
  sink.record(kExits, 1, {reason.code, reason.signal});
  if (process == nullptr) return;
  process->ended_ns = process->last_seen_ns = std::max<std::uint64_t>(record.header.time_ns, 1);
  if (!process->counts_from_start) skip(*process, record.usage, process->ended_io);
  count(*process, record.usage, true, sink);
  count_io(*process, process->ended_io, true, sink);
}

void Accounts::on_gone(const process_end& record, Sinks& sinks) {
  const auto found = processes_.find({record.header.start_ns, record.header.tgid});
  if (found == processes_.end()) return;
  Process& process = found->second;
  const bool named = process.ended_ns == 0 || record.header.time_ns < process.ended_ns + kGraceNs;
  if (named && process.counts_from_start) {
    count(process, record.usage, false,
          sinks.at(Subject::process(record.header.tgid, record.header.start_ns)));
  }
  processes_.erase(found);
}

void Accounts::add_sample(const process_sample& record, std::uint64_t now_ns, Sinks& sinks) {
  const tarsier_header& header = record.header;
  const Id id{header.start_ns, header.tgid};
  const bool unknown = !processes_.contains(id);
  if (unknown && (record.flags & PROCESS_ENDED) != 0) return;
  if (header.start_ns >= began_ns_ && header.start_ns + kBirthNs > now_ns) return;
  Process* process = follow(header, sinks);
  if (process == nullptr) return;
  if (process->look != look_) {
    process->look = look_;
    process->seen = {};
    process->seen_io = process->ended_io;
    process->resident_pages = 0;
    process->has_gauges = process->has_gone = false;
    process->missed_looks = 0;
    process->last_seen_ns = now_ns;
  }
  if ((record.flags & PROCESS_HAS_GONE) != 0 && !process->has_gone) {
    process->has_gone = true;
    add(process->seen, record.gone);
  }
  add(process->seen, record.thread);
  add(process->seen_io, record.io);
  if ((record.flags & PROCESS_HAS_GAUGES) != 0 && (record.flags & PROCESS_ENDED) == 0) {
    process->has_gauges = true;
    process->resident_pages =
        std::max<std::uint64_t>(process->resident_pages, record.resident_pages);
    process->open_fds = record.open_fds;
    process->threads = record.threads;
  }
}

void Accounts::show(const Id& id, Process& process, std::uint64_t now_ns, Sinks& sinks) {
  if (!process.has_gone) return;  // its leader was not met: there is more than was seen
  if (process.ended_ns != 0 && now_ns >= process.ended_ns + kGraceNs) return;
  Sink& sink = sinks.at(Subject::process(id.tgid, id.start_ns));
  if (!process.counts_from_start) skip(process, process.seen, process.seen_io);
  // Zeros too: the series of a process that idles must not be taken for one that is gone.
  const bool runs = process.ended_ns == 0 && process.has_gauges;
  count(process, process.seen, runs, sink);
  count_io(process, process.seen_io, runs, sink);
  if (!runs) return;
  sink.record(kOomKills, 0);
  sink.record(kResident, static_cast<double>(process.resident_pages * page_bytes_));
  sink.record(kFds, process.open_fds);
  sink.record(kThreads, process.threads);
  sink.record(kProcesses, 1);
}

void Accounts::finish_look(bool complete, std::uint64_t now_ns, Sinks& sinks) {
  for (auto entry = processes_.begin(); entry != processes_.end();) {
    Process& process = entry->second;
    if (process.look == look_) {
      show(entry->first, process, now_ns, sinks);
    } else if (complete && ++process.missed_looks >= kForgetLooks &&
               now_ns >= process.last_seen_ns + kForgetNs) {
      entry = processes_.erase(entry);
      continue;
    }
    ++entry;
  }
}

}  // namespace tarsier::process
