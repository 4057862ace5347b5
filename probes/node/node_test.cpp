// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Files in, numbers out; no kernel.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>

#include "files.h"
#include "tarsier/testkit.h"

namespace tarsier {

extern const ProbeSpec node_probe;

namespace {

constexpr std::string_view kStat =
    "cpu  30 3 15 200 8 0 2 1 5 0\n"
    "cpu0 10 1 5 100 4 0 1 1 5 0\n"
    "cpu1 20 2 10 100 4 0 1 0 0 0\n"
    "intr 114930548 113199788 3 0 5\n"
    "ctxt 1990473\n"
    "btime 1062191376\n"
    "processes 2915\n";

constexpr std::string_view kMeminfo =
    "MemTotal:       24684092 kB\n"
    "MemFree:        18357668 kB\n"
    "MemAvailable:   21744780 kB\n"
    "Buffers:           52852 kB\n"
    "Cached:          3332500 kB\n"
    "SwapCached:            7 kB\n"
    "Dirty:             51272 kB\n"
    "Shmem:              8968 kB\n"
    "SReclaimable:     348112 kB\n"
    "SUnreclaim:        50200 kB\n"
    "SwapTotal:          1024 kB\n"
    "SwapFree:            512 kB\n"
    "HugePages_Total:       3\n";

constexpr std::string_view kPressure =
    "some avg10=0.02 avg60=0.09 avg300=0.05 total=43398046\n"
    "full avg10=0.00 avg60=0.01 avg300=0.00 total=7937239\n";

constexpr std::string_view kRouteHead =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
// docker0 172.17.0.0/16, eth0 10.0.2.0/24, default over eth0 and, at a higher price, over wlan0.
constexpr std::string_view kRoutes =
    "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
    "eth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    "eth0\t0002000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
constexpr std::string_view kTrie =
    "Main:\n"
    "  +-- 0.0.0.0/0 3 0 5\n"
    "     |-- 0.0.0.0\n"
    "        /0 universe UNICAST\n"
    "Local:\n"
    "     +-- 127.0.0.0/8 2 0 2\n"
    "           |-- 127.0.0.1\n"
    "              /32 host LOCAL\n"
    "     |-- 172.17.0.1\n"
    "        /32 host LOCAL\n"
    "     |-- 10.0.2.0\n"
    "        /24 link UNICAST\n"
    "     |-- 10.0.2.15\n"
    "        /32 host LOCAL\n"
    "     |-- 10.0.2.255\n"
    "        /32 link BROADCAST\n";
constexpr std::string_view kInet6 =
    "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n"
    "00000000000000000000000000000001 01 80 10 80       lo\n"
    "fd000000000000000000000000000002 04 40 00 82     eth0\n";

TEST(NodeStat, ReadsCpusAndBootTime) {
  const node::StatFile stat = node::parse_stat(kStat);
  ASSERT_EQ(stat.cpus.size(), 2U) << "the line of all CPUs is none of them";
  EXPECT_EQ(stat.cpus[1].cpu, 1U);
  const std::uint64_t expected[] = {20, 2, 10, 100, 4, 0, 1, 0};
  EXPECT_TRUE(std::ranges::equal(stat.cpus[1].ticks, expected));
  EXPECT_EQ(stat.boot_time_s, 1062191376U);
}

TEST(NodeStat, LeavesOutWhatIsMalformed) {
  EXPECT_TRUE(node::parse_stat("").cpus.empty());
  const node::StatFile stat = node::parse_stat(
      "cpu0 1 2 3\ncpux 1 2 3 4 5 6 7 8\ncpu 1 2 3 4 5 6 7 8\ncpu2 1 2 3 4 5 6 7 -8\n"
      "cpu3 1 2 3 4 5 6 7 99999999999999999999\ncpu4 1 2 3 4 5 6 7 8\nbtime soon\n");
  ASSERT_EQ(stat.cpus.size(), 1U);
  EXPECT_EQ(stat.cpus[0].cpu, 4U);
  EXPECT_FALSE(stat.boot_time_s);
  for (std::size_t length = 0; length < kStat.size(); ++length) {
    EXPECT_LE(node::parse_stat(kStat.substr(0, length)).cpus.size(), 2U);
  }
}

TEST(NodeLoad, ReadsThreeFigures) {
  const auto load = node::parse_loadavg("10.22 11.18 0.05 23/231 4835\n");
  ASSERT_TRUE(load);
  EXPECT_EQ(load->minutes1, 10.22);
  EXPECT_EQ(load->minutes5, 11.18);
  EXPECT_EQ(load->minutes15, 0.05);
  for (const char* bad : {"", "1.0 2.0", "1.0 2.0 x", "1.0 nan 2.0", "1.0 2.0 -3.0", "1e9 inf 1"}) {
    EXPECT_FALSE(node::parse_loadavg(bad)) << bad;
  }
}

TEST(NodeMemory, ReadsBytes) {
  const node::Memory memory = node::parse_meminfo(kMeminfo);
  EXPECT_EQ(memory.total, 24684092ULL * 1024);
  EXPECT_EQ(memory.cached, 3332500ULL * 1024) << "not SwapCached";
  EXPECT_EQ(memory.swap_free, 512ULL * 1024);
  const node::Memory bad =
      node::parse_meminfo("MemTotal: many kB\nMemFree: 12\nBuffers: 99999999999999999 kB\n");
  EXPECT_FALSE(bad.total || bad.free || bad.buffers || bad.cached);
}

TEST(NodePressure, ReadsTotals) {
  const node::Pressure pressure = node::parse_pressure(kPressure);
  EXPECT_EQ(pressure.some_us, 43398046U);
  EXPECT_EQ(pressure.full_us, 7937239U);
  EXPECT_FALSE(node::parse_pressure(kPressure.substr(0, 54)).full_us) << "before 5.13 for cpu";
  EXPECT_FALSE(node::parse_pressure("some avg10=0 total=x\nmost total=3\n").some_us);
}

TEST(NodeOs, ReadsThePrettyName) {
  const auto name = [](std::string_view text) { return node::parse_os_release(text); };
  EXPECT_EQ(name("NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)");
  EXPECT_EQ(name("ID=x\nNAME='Tiny \\$Linux'"), "Tiny $Linux");
  EXPECT_EQ(name("NAME=plain  \r\n"), "plain");
  EXPECT_EQ(name("PRETTY_NAME=\n"), "");
  EXPECT_EQ(name("PRETTY_NAME=\""), "\"");
  EXPECT_EQ(name("garbage"), "");
}

TEST(NodeAddress, PrefersTheNetworkOfTheDefaultRoute) {
  const std::string route = std::string(kRouteHead) + std::string(kRoutes);
  EXPECT_EQ(node::find_address(route, kTrie, kInet6), "10.0.2.15");
  EXPECT_EQ(node::find_address("", kTrie, kInet6), "172.17.0.1") << "the first one";
  EXPECT_EQ(node::find_address(kRouteHead, "", kInet6), "fd00::2");
  EXPECT_EQ(node::find_address("", "|-- 127.0.0.1\n/32 host LOCAL\n", ""), "");
  EXPECT_EQ(node::find_address("eth0\tx", "|-- 1.2.3\n/32 host LOCAL\n", "zz 1 1 00 1 lo\n"), "");
  EXPECT_EQ(node::find_address("", "", std::string(32, 'z') + " 04 40 00 82 eth0\n"), "");
}

class NodeTest : public testing::Test {
 protected:
  NodeTest() {
    auto& files = host_.files;
    files["proc/sys/kernel/hostname"] = "n1\n";
    files["etc/machine-id"] = "3d1219c7\n";
    files["proc/sys/kernel/osrelease"] = "6.18.44\n";
    files["etc/os-release"] = "PRETTY_NAME=\"Debian 12\"\n";
    files["proc/sys/kernel/arch"] = "s390x\n";
    files["proc/1/net/route"] = std::string(kRouteHead) + std::string(kRoutes);
    files["proc/1/net/fib_trie"] = kTrie;
    files["proc/stat"] = kStat;
    files["proc/loadavg"] = "0.5 0.25 0.125 1/2 3\n";
    files["proc/meminfo"] = kMeminfo;
    files["proc/pressure/io"] = kPressure;
  }
  void tick() { probe_->on_tick(0, maps_, sinks_); }
  double value(const std::string& metric) { return sinks_.value("tarsier_node_" + metric, "node"); }
  double cpu1(const std::string& mode) {
    return value("cpu_seconds_total{cpu=\"1\",mode=\"" + mode + "\"}");
  }
  void set_cpu1(const std::string& figures) {
    host_.files["proc/stat"] = "cpu1 " + figures + "\nbtime 1\n";
  }

  testkit::DefaultOptions options_{node_probe.options};
  testkit::FakeHost host_;
  testkit::FakeMaps maps_;
  testkit::CaptureSinks sinks_;
  std::unique_ptr<Probe> probe_ = node_probe.make({options_, host_, 0});
};

TEST_F(NodeTest, ShowsTheKernelsTotals) {
  tick();
  EXPECT_EQ(cpu1("user"), 0.2);
  EXPECT_EQ(cpu1("idle"), 1);
  EXPECT_EQ(cpu1("steal"), 0);
  EXPECT_EQ(value("cpu_seconds_total{cpu=\"0\",mode=\"softirq\"}"), 0.01);
  EXPECT_EQ(value("load{minutes=\"1\"}"), 0.5);
  EXPECT_EQ(value("load{minutes=\"15\"}"), 0.125);
  EXPECT_EQ(value("memory_bytes{state=\"total\"}"), 24684092.0 * 1024);
  EXPECT_EQ(value("memory_bytes{state=\"used\"}"),
            (24684092.0 - 18357668 - 52852 - 3332500 - 348112) * 1024);
  EXPECT_EQ(value("pressure_seconds_total{resource=\"io\",kind=\"some\"}"), 43.398046);
  EXPECT_EQ(value("pressure_seconds_total{resource=\"io\",kind=\"full\"}"), 7.937239);
  EXPECT_TRUE(std::isnan(value("pressure_seconds_total{resource=\"cpu\",kind=\"some\"}")));
  EXPECT_EQ(value("boot_time_seconds"), 1062191376);
  EXPECT_EQ(value("info{node=\"n1\",machine_id=\"3d1219c7\",kernel=\"6.18.44\",os=\"Debian "
                  "12\",arch=\"s390x\",ip=\"10.0.2.15\"}"),
            1);
  EXPECT_EQ(sinks_.text().find("read_errors"), std::string::npos);
}

TEST_F(NodeTest, FollowsTheKernelToTheLastDigit) {
  std::uint64_t ticks = 20;
  for (int i = 0; i < 1009; ++i) {
    ticks += 3;
    set_cpu1(std::to_string(ticks) + " 0 0 0 0 0 0 0");
    tick();
  }
  EXPECT_EQ(cpu1("user"), static_cast<double>(ticks) / 100);
}

TEST_F(NodeTest, CountersNeverGoBack) {
  set_cpu1("1000 0 0 5000 700 0 0 0");
  tick();
  set_cpu1("1000 0 0 4900 650 0 0 0");  // wavers
  tick();
  EXPECT_EQ(cpu1("idle"), 50);
  EXPECT_EQ(cpu1("iowait"), 7);
  set_cpu1("1000 0 0 5100 710 0 0 0");
  tick();
  EXPECT_EQ(cpu1("idle"), 51);
  EXPECT_DOUBLE_EQ(cpu1("iowait"), 7.1);
  set_cpu1("1 0 0 200 0 0 0 0");  // began anew
  tick();
  EXPECT_EQ(cpu1("idle"), 51);
  set_cpu1("2 0 0 300 0 0 0 0");
  tick();
  EXPECT_EQ(cpu1("idle"), 52);
  EXPECT_DOUBLE_EQ(cpu1("user"), 10.01);
}

TEST_F(NodeTest, ACpuThatIsGoneKeepsWhatItCounted) {
  tick();
  host_.files["proc/stat"] = "cpu0 10 1 5 100 4 0 1 1\nbtime 1\n";
  tick();
  host_.files["proc/stat"] = kStat;
  tick();
  EXPECT_EQ(cpu1("user"), 0.2);
}

TEST_F(NodeTest, AnotherIdentityTakesThePlaceOfTheOld) {
  tick();
  host_.files["proc/sys/kernel/hostname"] = "n2\n";
  tick();
  const std::string rest =
      ",machine_id=\"3d1219c7\",kernel=\"6.18.44\",os=\"Debian "
      "12\",arch=\"s390x\",ip=\"10.0.2.15\"}";
  EXPECT_EQ(value("info{node=\"n1\"" + rest), 0);
  EXPECT_EQ(value("info{node=\"n2\"" + rest), 1);
}

TEST_F(NodeTest, WhatIsMissingIsSaid) {
  host_.files = {{"proc/sys/kernel/arch", "s390x"}};
  tick();
  EXPECT_EQ(sinks_.text(),
            "tarsier_node_info{arch=\"s390x\"} 1 @node\n"
            "tarsier_node_read_errors_total{file=\"proc/loadavg\"} 1 @node\n"
            "tarsier_node_read_errors_total{file=\"proc/meminfo\"} 1 @node\n"
            "tarsier_node_read_errors_total{file=\"proc/stat\"} 1 @node");
}

TEST_F(NodeTest, GarbageIsAnErrorAndNoNumber) {
  for (auto& [path, content] : host_.files) content = std::string("\0\xff garbage\n\n = 1", 17);
  tick();
  EXPECT_EQ(value("read_errors_total{file=\"proc/stat\"}"), 1);
  EXPECT_EQ(value("read_errors_total{file=\"proc/meminfo\"}"), 1);
  EXPECT_EQ(value("read_errors_total{file=\"proc/pressure\"}"), 1);
  EXPECT_TRUE(std::isnan(value("boot_time_seconds")));
  EXPECT_TRUE(std::isnan(value("load{minutes=\"1\"}")));
}

}  // namespace
}  // namespace tarsier
