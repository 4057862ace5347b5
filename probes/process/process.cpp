// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The probe `process`: its name plate and how records become numbers.
#include <unistd.h>

#include "accounts.h"
#include "process.h"
#include "process_object.h"
#include "tarsier/probe.h"

namespace tarsier {
namespace {

using process::Accounts;

class ProcessProbe final : public Probe {
 public:
  explicit ProcessProbe(std::uint64_t now_ns)
      : accounts_(now_ns, static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))) {}

  bool on_event(Bytes bytes, Sinks& sinks) override {
    tarsier_header header;
    if (!copy_from(bytes, header)) return false;
    if (header.type == PROCESS_EXEC) {
      Accounts::on_exec(header, sinks);
      return true;
    }
    if (header.type == PROCESS_OOM_KILL) {
      Accounts::on_oom_kill(header, sinks);
      return true;
    }
    if (header.type == PROCESS_THREAD_IO) {
      process_io io;
      if (!copy_from(bytes, io)) return false;
      accounts_.on_thread_io(io, sinks);
      return true;
    }
    process_end end;
    if (!copy_from(bytes, end)) return false;
    if (header.type == PROCESS_EXIT) {
      accounts_.on_exit(end, sinks);
    } else if (header.type == PROCESS_GONE) {
      accounts_.on_gone(end, sinks);
    } else {
      return false;
    }
    return true;
  }

  void on_tick(std::uint64_t now_ns, Maps& maps, Sinks& sinks) override {
    accounts_.begin_look();
    const auto looked = maps.iterate("sample", sizeof(process_sample), [&](Bytes bytes) {
      process_sample record;
      if (copy_from(bytes, record)) accounts_.add_sample(record, now_ns, sinks);
    });
    accounts_.finish_look(looked.has_value(), now_ns, sinks);
  }

 private:
  Accounts accounts_;
};

TARSIER_TRACEPOINT_WAYS(kExec, "sched_process_exec", "exec");

TARSIER_TRACEPOINT_WAYS(kExit, "sched_process_exit", "exit");

TARSIER_TRACEPOINT_WAYS(kGone, "sched_process_free", "free");

constexpr Attachment kOomTask[] = {{Method::tp_btf, "mark_victim", "oom_task_tp_btf"}};
constexpr Attachment kOomNumber[] = {{Method::tp_btf, "mark_victim", "oom_number_tp_btf"}};
constexpr Way kOom[] = {kOomTask, kOomNumber};

constexpr Attachment kSampleIter[] = {{Method::iter, "task", "sample"}};
constexpr Way kSample[] = {kSampleIter};

constexpr Hook kHooks[] = {
    {"a program starts", kExec},
    {"a process ends", kExit},
    {"a process was reaped", kGone, false},
    {"the kernel kills for lack of memory", kOom, false},
    {"processes use CPU, memory and files", kSample, false},
};

constexpr Option kOptions[] = {
    duration_option("interval",
                    "How often all processes are looked at for CPU time, memory, I/O, faults, "
                    "descriptors and threads.",
                    5 * kSecond, 1 * kSecond, 5 * kMinute),
};
constexpr std::string_view kRings[] = {"events"};
constexpr std::string_view kLosses[] = {"fds_over_limit"};

}  // namespace

extern const ProbeSpec process_probe;  // the table of probes, generated, refers to it
constinit const ProbeSpec process_probe{
    .name = "process",
    .summary = "Counts programs started, processes ended and killed, and what processes use.",
    .metrics = process::kMetrics,
    .hooks = kHooks,
    .options = kOptions,
    .rings = kRings,
    .losses = kLosses,
    .tick_option = "interval",
    .object = process_object,
    .make = [](const ProbeContext& context) -> std::unique_ptr<Probe> {
      return std::make_unique<ProcessProbe>(context.now_ns);
    },
};

}  // namespace tarsier
