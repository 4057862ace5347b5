// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "kernel/plan.h"

#include <fmt/format.h>

namespace tarsier::kernel {
namespace {

std::string missing_of(Way way, const KernelFacts& facts) {
  for (const Attachment& attachment : way) {
    std::string missing = facts.missing(attachment);
    if (!missing.empty()) return fmt::format("{}: {}", name_of(attachment.method), missing);
  }
  return {};
}

void append(std::string& reasons, std::string_view reason) {
  if (!reasons.empty()) reasons += "; ";
  reasons += reason;
}

}  // namespace

Plan choose(std::span<const Hook> hooks, const KernelFacts& facts, const Refusals& refusals) {
  Plan plan;
  for (std::size_t h = 0; h < hooks.size(); ++h) {
    HookPlan chosen;
    for (std::size_t w = 0; w < hooks[h].ways.size() && !chosen.way; ++w) {
      const auto refusal = refusals.find({h, w});
      const std::string reason =
          refusal != refusals.end() ? refusal->second : missing_of(hooks[h].ways[w], facts);
      if (reason.empty()) {
        chosen.way = w;
      } else {
        append(chosen.reason, reason);
      }
    }
    if (!chosen.way && hooks[h].required && plan.impossible.empty()) {
      plan.impossible = fmt::format("cannot learn that {}: {}", hooks[h].purpose, chosen.reason);
    }
    plan.hooks.push_back(std::move(chosen));
  }
  return plan;
}

}  // namespace tarsier::kernel
