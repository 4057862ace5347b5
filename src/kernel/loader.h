// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Loads a probe's BPF object by the best way that this kernel accepts, and owns what came of it.
//
// Control thread for load and destruction; maps(), rings() and the figures are the collector's once
// the probe is handed over.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "event.h"
#include "kernel/facts.h"
#include "kernel/plan.h"
#include "kernel/ring.h"
#include "tarsier/probe.h"

namespace tarsier::kernel {

// The maps called shared_*, by name; their descriptors belong to the service that made them.
class SharedMaps {
 public:
  void add(std::string name, int fd) { fds_[std::move(name)] = fd; }
  void remove(int fd);
  [[nodiscard]] int find(std::string_view name) const;  // -1: no service made it

 private:
  std::map<std::string, int, std::less<>> fds_;
};

// What became of a hook, for doctor, `tarsier probes` and tarsier_probe_hook_info.
struct HookState {
  std::string purpose;
  bool required = true;
  bool available = false;
  std::string method = {};  // "tp_btf" or, for a way of several programs, that of the first
  std::string target = {};
  std::string reason = {};  // why not, or why not by a better way; empty: by the best way
};

struct ProgramFigures {
  std::string name;
  std::uint64_t runs = 0;
  std::uint64_t run_ns = 0;  // 0 unless the kernel's BPF statistics are on
};

struct MapFigures {
  std::string name;
  std::uint64_t entries = 0;
  std::uint64_t max_entries = 0;
  std::uint64_t memory_bytes = 0;
};

struct LoadInput {
  const ProbeSpec& spec;
  const Options* options = nullptr;  // services have none
  tarsier_env environment{};
  std::string btf_path;  // [kernel] btf; empty: the kernel's own
};

class LoadedProbe {
 public:
  virtual ~LoadedProbe() = default;
  [[nodiscard]] virtual const std::vector<HookState>& hooks() const = 0;
  // Some optional hook is missing.
  [[nodiscard]] virtual bool degraded() const = 0;
  [[nodiscard]] virtual Maps& maps() = 0;
  [[nodiscard]] virtual std::vector<Ring>& rings() = 0;
  [[nodiscard]] virtual Attacher& attacher() = 0;
  // Losses that the kernel side counted since the load, summed over CPUs, by reason's name.
  [[nodiscard]] virtual std::vector<std::pair<std::string, std::uint64_t>> losses() = 0;
  [[nodiscard]] virtual std::vector<ProgramFigures> programs() const = 0;
  // Of the maps that can fill up. Walks them: costs about a microsecond per entry.
  [[nodiscard]] virtual std::vector<MapFigures> map_figures() const = 0;
};

// Loads, attaches, and on a refusal tries again with the next way, at most as often as there are
// ways. A probe without an object loads as an empty one. The error says what could not be had.
[[nodiscard]] Result<std::unique_ptr<LoadedProbe>> load_probe(const LoadInput& input,
                                                              const KernelFacts& facts,
                                                              SharedMaps& shared);

// What load_probe would have to say about the hooks, without loading: for doctor where nothing
// runs.
[[nodiscard]] std::vector<HookState> describe(std::span<const Hook> hooks, const Plan& plan);

// libbpf's own words go to our log at debug.
void quiet_libbpf();

}  // namespace tarsier::kernel
