// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The probe `node`: its name plate, and the files of /proc that become numbers. No kernel programs.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include "files.h"
#include "tarsier/probe.h"

namespace tarsier {
namespace {

constexpr std::string_view kInfoLabels[] = {"node", "machine_id", "kernel", "os", "arch", "ip"};
constexpr std::string_view kCpuMode[] = {"cpu", "mode"};
constexpr std::string_view kMinutes[] = {"minutes"};
constexpr std::string_view kState[] = {"state"};
constexpr std::string_view kResourceKind[] = {"resource", "kind"};
constexpr std::string_view kFile[] = {"file"};

constexpr auto kInfo = gauge("tarsier_node_info",
                             "The node: its name, machine id, kernel release, distribution, "
                             "architecture and address; always 1.",
                             Unit::none, kInfoLabels, false);
constexpr auto kCpu = counter("tarsier_node_cpu_seconds_total",
                              "What each CPU did since boot; guests are inside user and nice.",
                              Unit::seconds, kCpuMode);
constexpr auto kLoad = gauge("tarsier_node_load",
                             "Tasks that ran, wanted to run or waited for storage, averaged over "
                             "1, 5 and 15 minutes.",
                             Unit::none, kMinutes, false);
constexpr auto kMemory =
    gauge("tarsier_node_memory_bytes",
          "Memory of the node by state; used, free, buffers, cached and slab_reclaimable add up to "
          "total, the others overlap with them.",
          Unit::bytes, kState, false);
constexpr auto kPressure = counter("tarsier_node_pressure_seconds_total",
                                   "Time in which some or all tasks waited for a resource, since "
                                   "boot (pressure stall information).",
                                   Unit::seconds, kResourceKind);
constexpr auto kBootTime =
    gauge("tarsier_node_boot_time_seconds", "When the node was booted, in seconds since 1970.",
          Unit::seconds, false);
constexpr auto kReadErrors =
    counter("tarsier_node_read_errors_total",
            "Files of the node that could not be read or made no sense.", Unit::none, kFile);

constexpr const MetricDef* kMetrics[] = {&kInfo,     &kCpu,      &kLoad,      &kMemory,
                                         &kPressure, &kBootTime, &kReadErrors};

// Without proc/sys/kernel/arch (before Linux 6.1); as uname -m says it.
#if defined(__x86_64__)
constexpr std::string_view kBuiltFor = "x86_64";
#elif defined(__aarch64__)
constexpr std::string_view kBuiltFor = "aarch64";
#elif defined(__riscv) && __riscv_xlen == 64
constexpr std::string_view kBuiltFor = "riscv64";
#else
constexpr std::string_view kBuiltFor = "";
#endif

// A kernel counter that falls by more than this began anew (a CPU came back); one that falls by
// less only wavered, as iowait and idle do, and is waited for.
constexpr double kRestartSeconds = 3;

std::string first_line(const Host& host, std::string_view path) {
  std::string text = host.read(path).value_or("");
  text.resize(std::min(text.find_first_of("\r\n"), text.size()));
  return text;
}

class NodeProbe final : public Probe {
 public:
  explicit NodeProbe(const Host& host) : host_(host) {}

  void on_tick(std::uint64_t, Maps&, Sinks& sinks) override {
    Sink& sink = sinks.node();
    read_info(sink);
    read_stat(sink);
    read_load(sink);
    read_memory(sink);
    for (const std::string_view resource : {"cpu", "memory", "io", "irq"}) {
      read_pressure(resource, sink);
    }
  }

 private:
  using Info = std::array<std::string, std::size(kInfoLabels)>;

  // The kernel's own total, shown as it is: counters of the node go on over a restart of the
  // daemon. A difference of two such figures is exact in a double, so the sum of them stays the
  // figure.
  template <std::size_t N>
  void follow(double& before, double now, const Metric<N>& metric,
              const std::array<std::string_view, N>& labels, Sink& sink) {
    double delta = 0;
    if (now >= before) {
      delta = now - std::exchange(before, now);
    } else if (before - now > kRestartSeconds) {
      before = now;
    }
    sink.record(metric, delta, labels);
  }

  void read_info(Sink& sink) {
    Info info{first_line(host_, "proc/sys/kernel/hostname"),  first_line(host_, "etc/machine-id"),
              first_line(host_, "proc/sys/kernel/osrelease"), os_name(),
              first_line(host_, "proc/sys/kernel/arch"),      address()};
    if (info[0].empty()) info[0] = first_line(host_, "etc/hostname");
    if (info[4].empty()) info[4] = kBuiltFor;
    if (info != info_ && info_ != Info{}) record_info(0, sink);  // and is forgotten after a while
    info_ = std::move(info);
    record_info(1, sink);
  }

  void record_info(double value, Sink& sink) {
    std::array<std::string_view, std::size(kInfoLabels)> labels;
    std::ranges::copy(info_, labels.begin());
    sink.record(kInfo, value, labels);
  }

  std::string os_name() {
    const auto text = host_.read("etc/os-release");
    return node::parse_os_release(text ? *text : host_.read("usr/lib/os-release").value_or(""));
  }

  // Of the network namespace of PID 1, which is the node's even where ours is not.
  std::string address() {
    const auto read = [&](std::string_view file) {
      const auto of_init = host_.read("proc/1/net/" + std::string(file));
      return of_init ? *of_init : host_.read("proc/net/" + std::string(file)).value_or("");
    };
    return node::find_address(read("route"), read("fib_trie"), read("if_inet6"));
  }

  void read_stat(Sink& sink) {
    const auto text = host_.read("proc/stat");
    const node::StatFile stat = node::parse_stat(text.value_or(""));
    count_error("proc/stat", stat.cpus.empty() || !stat.boot_time_s, sink);
    for (const node::CpuTicks& cpu : stat.cpus) {
      const std::string number = std::to_string(cpu.cpu);
      CpuSeconds& before = cpus_[cpu.cpu];
      for (std::size_t mode = 0; mode < node::kCpuModeCount; ++mode) {
        follow(before[mode], static_cast<double>(cpu.ticks[mode]) / node::kTicksPerSecond, kCpu,
               {number, node::kCpuModes[mode]}, sink);
      }
    }
    if (stat.boot_time_s) sink.record(kBootTime, static_cast<double>(*stat.boot_time_s));
  }

  void read_load(Sink& sink) {
    const auto text = host_.read("proc/loadavg");
    const auto load = node::parse_loadavg(text.value_or(""));
    count_error("proc/loadavg", !load, sink);
    if (!load) return;
    sink.record(kLoad, load->minutes1, {"1"});
    sink.record(kLoad, load->minutes5, {"5"});
    sink.record(kLoad, load->minutes15, {"15"});
  }

  void read_memory(Sink& sink) {
    const auto text = host_.read("proc/meminfo");
    const node::Memory memory = node::parse_meminfo(text.value_or(""));
    count_error("proc/meminfo", !memory.total, sink);
    const auto record = [&](std::string_view state, std::optional<std::uint64_t> bytes) {
      if (bytes) sink.record(kMemory, static_cast<double>(*bytes), {state});
    };
    record("total", memory.total);
    record("free", memory.free);
    record("available", memory.available);
    record("buffers", memory.buffers);
    record("cached", memory.cached);
    record("shared", memory.shared);
    record("slab_reclaimable", memory.reclaimable);
    record("slab_unreclaimable", memory.unreclaimable);
    record("dirty", memory.dirty);
    record("swap_total", memory.swap_total);
    record("swap_free", memory.swap_free);
    if (!memory.total || !memory.free) return;
    const std::uint64_t rest = *memory.free + memory.buffers.value_or(0) +
                               memory.cached.value_or(0) + memory.reclaimable.value_or(0);
    record("used", *memory.total - std::min(rest, *memory.total));
  }

  // Absent without CONFIG_PSI, unreadable with psi=0: then there is no such series.
  void read_pressure(std::string_view resource, Sink& sink) {
    const auto text = host_.read("proc/pressure/" + std::string(resource));
    if (!text) return;
    const node::Pressure pressure = node::parse_pressure(*text);
    count_error("proc/pressure", !pressure.some_us && !pressure.full_us, sink);
    const auto record = [&](std::string_view kind, std::optional<std::uint64_t> us) {
      if (!us) return;
      follow(pressure_[{std::string(resource), std::string(kind)}], static_cast<double>(*us) / 1e6,
             kPressure, {resource, kind}, sink);
    };
    record("some", pressure.some_us);
    record("full", pressure.full_us);
  }

  static void count_error(std::string_view file, bool failed, Sink& sink) {
    if (failed) sink.record(kReadErrors, 1, {file});
  }

  using CpuSeconds = std::array<double, node::kCpuModeCount>;

  const Host& host_;
  Info info_;
  std::map<std::uint32_t, CpuSeconds> cpus_;  // by CPU number: at most kMaxCpus at a time exist
  std::map<std::pair<std::string, std::string>, double> pressure_;
};

constexpr Option kOptions[] = {
    duration_option("interval", "How often the files of the node are read.", 5 * kSecond,
                    1 * kSecond, 5 * kMinute),
};

}  // namespace

extern const ProbeSpec node_probe;  // the table of probes, generated, refers to it
constinit const ProbeSpec node_probe{
    .name = "node",
    .summary = "Shows the node's CPUs, load, memory, pressure and identity.",
    .metrics = kMetrics,
    .options = kOptions,
    .tick_option = "interval",
    .make = [](const ProbeContext& context) -> std::unique_ptr<Probe> {
      return std::make_unique<NodeProbe>(context.host);
    },
};

}  // namespace tarsier
