// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#include <vector>

#include "assembly.h"

namespace tarsier {

extern const ProbeSpec stacks_room;

namespace {

using rooms::Assembly;

constexpr int kBurnMs = 1'511;
// The end of burn() is not known; its code is far shorter.
constexpr std::uint64_t kBurnBytes = 1'024;

std::int64_t cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

// A fifth of its loop is spent in the kernel; returns the CPU time used in milliseconds.
[[gnu::noinline]] int burn(int milliseconds) {
  const std::int64_t began = cpu_ns();
  volatile std::uint64_t sum = 0;
  while (cpu_ns() - began < milliseconds * kMillisecond) {
    for (unsigned i = 0; i < 20'000; ++i) sum = sum + i;
    for (int i = 0; i < 40; ++i) ::syscall(SYS_getppid);
  }
  return static_cast<int>((cpu_ns() - began) / kMillisecond);
}

std::vector<StackSample> samples_of(const Assembly& assembly, pid_t pid, std::uint64_t since_ns) {
  std::vector<StackSample> all;
  for (const auto& stored : assembly.stores().stacks().all()) {
    if (stored.probe == "stacks" && stored.record.tid == static_cast<std::uint32_t>(pid) &&
        stored.record.time_ns >= since_ns) {
      all.push_back(stored.record);
    }
  }
  return all;
}

TEST(StacksRoom, SamplesAfterRestartsUnderLoad) {
  if (const auto why = rooms::unavailable(); !why.empty()) GTEST_SKIP() << why;
  if (const auto why = rooms::unavailable(stacks_room); !why.empty()) GTEST_SKIP() << why;
  const live::Child load("stacks-load", [] {
    while (true) burn(1'000);
    return 0;
  });
  rooms::Worker worker("stacks-burner", burn);
  Assembly assembly;
  restart_under_load(assembly, config::ProbeConfig(stacks_room), *stacks_room.metrics[0],
                     {{"comm", "stacks-load"}}, "room_sample");
  if (testing::Test::HasFatalFailure()) return;

  const std::uint64_t since = base::SystemClock().boot_ns();
  const int used_ms = worker.run(kBurnMs);
  ASSERT_GE(used_ms, kBurnMs);
  // Everything up to here is in the store as soon as the collector has been round after it.
  const std::uint64_t until = base::SystemClock().boot_ns();
  ASSERT_TRUE(assembly.eventually([&](const live::Scrape&) {
    const auto stored = assembly.stores().stacks().all();
    return !stored.empty() && stored.back().record.time_ns > until;
  }));
  const auto samples = samples_of(assembly, worker.pid(), since);

  std::uint64_t weight_ns = 0;
  std::size_t with_kernel = 0, in_burn = 0;
  const auto code = reinterpret_cast<std::uint64_t>(&burn);
  for (const StackSample& sample : samples) {
    weight_ns += sample.weight;
    ASSERT_FALSE(sample.kernel_frames.empty() && sample.user_frames.empty());
    if (!sample.kernel_frames.empty()) {
      ++with_kernel;
      EXPECT_GT(sample.kernel_frames[0], std::uint64_t{1} << 63U);
    }
    ASSERT_FALSE(sample.user_frames.empty());
    const std::uint64_t at = sample.user_frames[0];
    if (at >= code && at < code + kBurnBytes) ++in_burn;
  }
  const double seconds = static_cast<double>(weight_ns) / 1e9, used = used_ms / 1e3;
  EXPECT_GT(seconds, used * 0.75);
  EXPECT_LT(seconds, used * 1.25);
  EXPECT_GT(with_kernel, 0U);
  EXPECT_GT(in_burn, samples.size() / 3);
  EXPECT_TRUE(assembly.becomes("tarsier_room_stack_samples_total", {{"comm", "stacks-burner"}},
                               static_cast<double>(samples.size())));
  RecordProperty("samples", static_cast<int>(samples.size()));
  assembly.stop(stacks_room);
  EXPECT_EQ(rooms::loaded_programs("room_sample"), 0);
}

}  // namespace
}  // namespace tarsier
