// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "files.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace tarsier::node {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::size_t kMaxLines = 1 << 20;
constexpr std::size_t kMaxAddresses = 4096;

// Cuts the first line off; without its end.
std::string_view take_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// Cuts the first word off; empty at the end.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  const auto end = std::min(line.find_first_of(kBlanks), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

template <class Number>
std::optional<Number> parse_number(std::string_view word, int base = 10) {
  Number value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  if (error != std::errc{} || end != word.data() + word.size() || word.empty()) return {};
  return value;
}

std::optional<double> parse_load(std::string_view word) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(word.data(), word.data() + word.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != word.data() + word.size()) return {};
  if (!(value >= 0 && value < 1e9)) return {};
  return value;
}

std::optional<CpuTicks> parse_cpu(std::string_view name, std::string_view figures) {
  const auto number = parse_number<std::uint32_t>(name.substr(3));
  if (!number) return {};
  CpuTicks cpu{.cpu = *number};
  for (auto& ticks : cpu.ticks) {
    const auto value = parse_number<std::uint64_t>(take_word(figures));
    if (!value) return {};
    ticks = *value;
  }
  return cpu;
}

struct MemoryField {
  std::string_view name;
  std::optional<std::uint64_t> Memory::* field;
};
constexpr MemoryField kMemoryFields[] = {
    {"MemTotal:", &Memory::total},
    {"MemFree:", &Memory::free},
    {"MemAvailable:", &Memory::available},
    {"Buffers:", &Memory::buffers},
    {"Cached:", &Memory::cached},
    {"Shmem:", &Memory::shared},
    {"SReclaimable:", &Memory::reclaimable},
    {"SUnreclaim:", &Memory::unreclaimable},
    {"Dirty:", &Memory::dirty},
    {"SwapTotal:", &Memory::swap_total},
    {"SwapFree:", &Memory::swap_free},
};

// An IPv4 network of /proc/net/route; addresses are in network byte order, as in_addr has them.
struct Network {
  std::uint32_t address = 0, mask = 0;
  [[nodiscard]] bool contains(std::uint32_t one) const { return (one & mask) == address; }
};

struct Route {
  std::string_view interface;
  Network network;
  std::uint32_t metric = 0;
};

// Iface Destination Gateway Flags RefCnt Use Metric Mask …
std::optional<Route> parse_route(std::string_view line) {
  std::string_view words[8];
  for (auto& word : words) word = take_word(line);
  const auto destination = parse_number<std::uint32_t>(words[1], 16);
  const auto metric = parse_number<std::uint32_t>(words[6]);
  const auto mask = parse_number<std::uint32_t>(words[7], 16);
  if (!destination || !metric || !mask) return {};
  return Route{words[0], {*destination, *mask}, *metric};
}

// The networks on the interface of the default route with the lowest metric.
std::vector<Network> home_networks(std::string_view text) {
  std::vector<Route> routes;
  std::optional<Route> way_out;
  while (!text.empty() && routes.size() < kMaxAddresses) {
    const auto route = parse_route(take_line(text));
    if (!route) continue;
    const bool is_default = route->network.address == 0 && route->network.mask == 0;
    if (!is_default) {
      routes.push_back(*route);
    } else if (!way_out || route->metric < way_out->metric) {
      way_out = route;
    }
  }
  std::vector<Network> networks;
  for (const Route& route : routes) {
    if (way_out && route.interface == way_out->interface) networks.push_back(route.network);
  }
  return networks;
}

bool is_loopback(std::uint32_t address) {
  return (ntohl(address) >> 24U) == 127;
}

// The addresses of this node: leaves "|-- ADDRESS" of the trie with an entry "/32 host LOCAL".
std::vector<std::uint32_t> local_addresses(std::string_view text) {
  std::vector<std::uint32_t> addresses;
  std::uint32_t leaf = 0;  // 0.0.0.0 is nobody's
  while (!text.empty() && addresses.size() < kMaxAddresses) {
    std::string_view line = take_line(text);
    const std::string_view first = take_word(line);
    if (first == "|--") {
      in_addr parsed{};
      leaf = 0;
      if (::inet_pton(AF_INET, std::string(take_word(line)).c_str(), &parsed) == 1) {
        leaf = parsed.s_addr;
      }
    } else if (leaf != 0 && first == "/32" && take_word(line) == "host" &&
               take_word(line) == "LOCAL") {
      // The tables "local" and "main" may both list it.
      if (!is_loopback(leaf) && std::ranges::find(addresses, leaf) == addresses.end()) {
        addresses.push_back(leaf);
      }
    }
  }
  return addresses;
}

std::string ipv4_text(std::uint32_t address) {
  char text[INET_ADDRSTRLEN] = {};
  const in_addr in{address};
  return ::inet_ntop(AF_INET, &in, text, sizeof text) == nullptr ? std::string() : text;
}

// ADDRESS(32 hex digits) index prefix-length scope flags name; scope 00 is global.
std::string first_global_ipv6(std::string_view text) {
  while (!text.empty()) {
    std::string_view line = take_line(text);
    const std::string_view address = take_word(line);
    (void)take_word(line), (void)take_word(line);
    if (address.size() != 32 || take_word(line) != "00") continue;
    in6_addr in{};
    bool good = true;
    for (std::size_t i = 0; i < sizeof in.s6_addr; ++i) {
      const auto byte = parse_number<std::uint8_t>(address.substr(2 * i, 2), 16);
      good = good && byte.has_value();
      in.s6_addr[i] = byte.value_or(0);
    }
    char buffer[INET6_ADDRSTRLEN] = {};
    if (good && ::inet_ntop(AF_INET6, &in, buffer, sizeof buffer) != nullptr) return buffer;
  }
  return {};
}

// The value of KEY=value or KEY="value" with the shell's backslashes taken out.
std::string unquote(std::string_view value) {
  value.remove_suffix(value.size() - std::min(value.find_last_not_of(kBlanks) + 1, value.size()));
  if (value.size() >= 2 && (value[0] == '"' || value[0] == '\'') && value.back() == value[0]) {
    value = value.substr(1, value.size() - 2);
  }
  std::string plain;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\\' && i + 1 < value.size()) ++i;
    plain += value[i];
  }
  return plain;
}

}  // namespace

StatFile parse_stat(std::string_view text) {
  StatFile stat;
  for (std::size_t lines = 0; !text.empty() && lines < kMaxLines; ++lines) {
    std::string_view line = take_line(text);
    const std::string_view name = take_word(line);
    if (name == "btime") {
      stat.boot_time_s = parse_number<std::uint64_t>(take_word(line));
    } else if (name.starts_with("cpu") && stat.cpus.size() < kMaxCpus) {
      if (const auto cpu = parse_cpu(name, line)) stat.cpus.push_back(*cpu);
    }
  }
  return stat;
}

std::optional<Load> parse_loadavg(std::string_view text) {
  std::string_view line = take_line(text);
  const auto one = parse_load(take_word(line));
  const auto five = parse_load(take_word(line));
  const auto fifteen = parse_load(take_word(line));
  if (!one || !five || !fifteen) return {};
  return Load{*one, *five, *fifteen};
}

Memory parse_meminfo(std::string_view text) {
  Memory memory;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    const std::string_view name = take_word(line);
    const auto known = std::ranges::find(kMemoryFields, name, &MemoryField::name);
    if (known == std::end(kMemoryFields)) continue;
    const auto kib = parse_number<std::uint64_t>(take_word(line));
    if (kib && *kib < (1ULL << 53U) && take_word(line) == "kB") memory.*known->field = *kib * 1024;
  }
  return memory;
}

Pressure parse_pressure(std::string_view text) {
  Pressure pressure;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    const std::string_view kind = take_word(line);
    if (kind != "some" && kind != "full") continue;
    auto& total = kind == "some" ? pressure.some_us : pressure.full_us;
    for (std::string_view word = take_word(line); !word.empty(); word = take_word(line)) {
      if (word.starts_with("total=")) total = parse_number<std::uint64_t>(word.substr(6));
    }
  }
  return pressure;
}

std::string parse_os_release(std::string_view text) {
  std::string name;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (line.starts_with("PRETTY_NAME=")) return unquote(line.substr(12));
    if (line.starts_with("NAME=")) name = unquote(line.substr(5));
  }
  return name;
}

std::string find_address(std::string_view route, std::string_view fib_trie,
                         std::string_view if_inet6) {
  const auto addresses = local_addresses(fib_trie);
  for (const Network& network : home_networks(route)) {
    for (const std::uint32_t address : addresses) {
      if (network.contains(address)) return ipv4_text(address);
    }
  }
  return addresses.empty() ? first_global_ipv6(if_inet6) : ipv4_text(addresses.front());
}

}  // namespace tarsier::node
