// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the kernel writes about the node, read from text. Pure: text in, numbers out. What is
// missing or malformed is left out, never guessed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tarsier::node {

// The kernel counts CPU time for user space in these, whatever CONFIG_HZ is (USER_HZ, proc(5)).
inline constexpr double kTicksPerSecond = 100;
// CPUs that are shown; NR_CPUS of the largest distribution kernels.
inline constexpr std::size_t kMaxCpus = 8192;

inline constexpr std::string_view kCpuModes[] = {"user",   "nice", "system",  "idle",
                                                 "iowait", "irq",  "softirq", "steal"};
inline constexpr std::size_t kCpuModeCount = std::size(kCpuModes);

struct CpuTicks {
  std::uint32_t cpu = 0;
  std::uint64_t ticks[kCpuModeCount] = {};  // guest time is inside user and nice
};
struct StatFile {
  std::vector<CpuTicks> cpus;
  std::optional<std::uint64_t> boot_time_s;
};
[[nodiscard]] StatFile parse_stat(std::string_view text);

struct Load {
  double minutes1 = 0, minutes5 = 0, minutes15 = 0;
};
[[nodiscard]] std::optional<Load> parse_loadavg(std::string_view text);

// /proc/meminfo, in bytes; what the kernel does not say is absent.
struct Memory {
  std::optional<std::uint64_t> total, free, available, buffers, cached, shared, reclaimable,
      unreclaimable, dirty, swap_total, swap_free;
};
[[nodiscard]] Memory parse_meminfo(std::string_view text);

// One file of /proc/pressure: how long some, or all, tasks have waited since boot.
struct Pressure {
  std::optional<std::uint64_t> some_us, full_us;
};
[[nodiscard]] Pressure parse_pressure(std::string_view text);

// PRETTY_NAME of os-release(5), else NAME; empty where neither is there.
[[nodiscard]] std::string parse_os_release(std::string_view text);

// The node's address: the local IPv4 address on the network of the default route, else the first
// one that is not loopback, else the first global IPv6 address; empty where there is none.
// From /proc/net/route, /proc/net/fib_trie and /proc/net/if_inet6.
[[nodiscard]] std::string find_address(std::string_view route, std::string_view fib_trie,
                                       std::string_view if_inet6);

}  // namespace tarsier::node
