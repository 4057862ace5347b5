// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The numbers of the real node against its own files, read around the scrape.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <memory>
#include <string>

#include "tarsier/livekit.h"

namespace tarsier {
namespace {

using live::Labels;

// Seconds by mode of all CPUs together.
std::map<std::string, double> cpu_seconds() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  stat >> cpu;
  std::map<std::string, double> all;
  for (const char* mode : {"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}) {
    double ticks = 0;
    stat >> ticks;
    all[mode] = ticks / 100;
  }
  return all;
}

class NodeLive : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (live::unavailable().empty()) {
      daemon_ = std::make_unique<live::Daemon>(
          std::vector<std::string>{"--set", "probes.node.interval=1s"});
    }
  }
  static void TearDownTestSuite() { daemon_.reset(); }
  void SetUp() override {
    if (const std::string why = live::unavailable(); !why.empty()) GTEST_SKIP() << why;
  }
  static std::unique_ptr<live::Daemon> daemon_;
};

std::unique_ptr<live::Daemon> NodeLive::daemon_;

TEST_F(NodeLive, TheFirstScrapeSaysWhoTheNodeIs) {
  utsname name{};
  ASSERT_EQ(::uname(&name), 0);
  const live::Scrape scrape = daemon_->scrape();
  EXPECT_EQ(scrape.sum("tarsier_node_info",
                       {{"node", name.nodename}, {"kernel", name.release}, {"arch", name.machine}}),
            1);
  EXPECT_EQ(scrape.sum("tarsier_node_info"), 1);
}

// The line of all CPUs and the sum of their lines are rounded differently.
constexpr double kRounding = 0.1;

TEST_F(NodeLive, CpuTimeIsTheKernels) {
  const auto before = cpu_seconds();
  // One second of work shows, whatever else runs here.
  EXPECT_TRUE(daemon_->becomes_at_least("tarsier_node_cpu_seconds_total", {{"mode", "user"}},
                                        before.at("user")));
  double burnt = 0;
  while (burnt < 1) {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    burnt = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec);
  }
  for (const auto& [mode, seconds] : before) {
    // idle and iowait waver by what a CPU that sleeps has not told yet (proc(5), stat).
    const double slack = mode == "idle" || mode == "iowait" ? 3 : kRounding;
    EXPECT_TRUE(daemon_->becomes_at_least("tarsier_node_cpu_seconds_total", {{"mode", mode}},
                                          seconds - slack))
        << mode << ": " << seconds;
  }
  const live::Scrape scrape = daemon_->scrape();
  const auto after = cpu_seconds();
  for (const auto& [mode, seconds] : after) {
    EXPECT_LE(scrape.sum("tarsier_node_cpu_seconds_total", {{"mode", mode}}), seconds + kRounding)
        << mode;
  }
}

TEST_F(NodeLive, MemoryAndBootTimeAreTheKernels) {
  struct sysinfo info{};
  ASSERT_EQ(::sysinfo(&info), 0);
  const live::Scrape scrape = daemon_->scrape();
  const auto state = [&](const char* name) {
    return scrape.sum("tarsier_node_memory_bytes", {{"state", name}});
  };
  const double total = static_cast<double>(info.totalram) * info.mem_unit;
  EXPECT_NEAR(state("total"), total, 4096);
  EXPECT_NEAR(state("used") + state("free") + state("buffers") + state("cached") +
                  state("slab_reclaimable"),
              state("total"), 4096);
  EXPECT_LE(state("available"), state("total"));
  const double booted = static_cast<double>(::time(nullptr) - info.uptime);
  EXPECT_NEAR(scrape.sum("tarsier_node_boot_time_seconds"), booted, 3);
}

TEST_F(NodeLive, LoadAndPressureAreThere) {
  const live::Scrape scrape = daemon_->scrape();
  for (const char* minutes : {"1", "5", "15"}) {
    EXPECT_TRUE(scrape.has("tarsier_node_load", {{"minutes", minutes}}));
  }
  std::string line;
  const bool has_pressure =
      static_cast<bool>(std::getline(std::ifstream("/proc/pressure/io"), line));
  EXPECT_EQ(
      scrape.has("tarsier_node_pressure_seconds_total", {{"resource", "io"}, {"kind", "some"}}),
      has_pressure);
  EXPECT_EQ(scrape.sum("tarsier_node_read_errors_total"), 0);
}

}  // namespace
}  // namespace tarsier
