// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Choosing how to attach, as a pure function of what the probe wants and what the kernel has.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel/facts.h"
#include "tarsier/attach.h"

namespace tarsier::kernel {

// Ways that the kernel refused when they were tried: (hook, way) and its words.
using Refusals = std::map<std::pair<std::size_t, std::size_t>, std::string>;

struct HookPlan {
  std::optional<std::size_t> way;  // nothing: the hook cannot be served
  std::string reason;              // why the ways before it, or all ways, are not possible
};

struct Plan {
  std::vector<HookPlan> hooks;  // one for each hook, in order
  // The first required hook without a way, in words; empty: the probe can run.
  std::string impossible;
};

// The first way of each hook that looks possible and was not refused.
[[nodiscard]] Plan choose(std::span<const Hook> hooks, const KernelFacts& facts,
                          const Refusals& refusals);

}  // namespace tarsier::kernel
