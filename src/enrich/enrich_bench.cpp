// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <string>

#include "enrich/cgroup_path.h"
#include "enrich/cgroups.h"
#include "enrich/processes.h"
#include "enrich/test_root.h"

namespace tarsier::enrich {
namespace {

// Look-ups of random live processes among `range` of them: what each decoded event pays.
void bench_process_at(benchmark::State& state) {
  ProcessTable table;
  const auto count = static_cast<std::uint32_t>(state.range(0));
  for (std::uint32_t tgid = 1; tgid <= count; ++tgid) {
    table.on(ForkEvent{tgid, tgid, 1000U + tgid, 1, to_comm("bash"), 1});
    table.on(ExecEvent{2'000'000, tgid, 1000U + tgid, to_comm("nginx"), 0});
  }
  std::uint32_t tgid = 1;
  for (auto _ : state) {
    tgid = (tgid * 1664525U + 1013904223U);
    const std::uint32_t wanted = tgid % count + 1;
    benchmark::DoNotOptimize(table.at(wanted, 1000U + wanted, 3'000'000));
  }
}
BENCHMARK(bench_process_at)->Arg(500)->Arg(5'000)->Arg(65'000);

void bench_fork_exec_exit(benchmark::State& state) {
  ProcessTable table;
  std::uint64_t now = 1;
  std::uint32_t tgid = 0;
  for (auto _ : state) {
    now += 100'000;
    tgid = tgid % 4'000'000 + 1;
    table.on(ForkEvent{now, tgid, now, 1, to_comm("bash"), 1});
    table.on(ExecEvent{now + 10, tgid, now, to_comm("ls"), 0});
    table.on(ExitEvent{now + 20, tgid, now, to_comm("ls"), 0});
    if (tgid % 1024 == 0) table.expire(now);
  }
}
BENCHMARK(bench_fork_exec_exit);

void bench_parse_path(benchmark::State& state) {
  const std::string path =
      "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-"
      "pod5a2c3b1d_0f9e_4d8c_b7a6_123456789abc.slice/cri-containerd-"
      "3b5a1f0e9c8d7b6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa0099.scope";
  for (auto _ : state) benchmark::DoNotOptimize(parse_cgroup_path(path));
}
BENCHMARK(bench_parse_path);

// A walk of `range` cgroups named as Kubernetes names them, and what the table of them takes.
void bench_walk(benchmark::State& state) {
  const TestRoot root;
  const auto count = static_cast<std::size_t>(state.range(0));
  for (std::size_t i = 0; i < count / 2; ++i) {
    std::string id = std::to_string(i);
    id.insert(0, 64 - id.size(), '0');
    root.directory("cg/kubepods/pod" + id.substr(28) + "/cri-containerd-" + id + ".scope");
  }
  const base::HostFiles host(root.path());
  for (auto _ : state) {
    const std::size_t before = ::mallinfo2().uordblks;
    CgroupTable table(Hierarchy{2, "/cg", "/", "", 0}, host);
    if (!table.walk(0)) state.SkipWithError("the walk failed");
    state.counters["cgroups"] = static_cast<double>(table.size());
    state.counters["bytes_each"] =
        static_cast<double>(::mallinfo2().uordblks - before) / static_cast<double>(table.size());
  }
}
BENCHMARK(bench_walk)->Arg(1'000)->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tarsier::enrich
