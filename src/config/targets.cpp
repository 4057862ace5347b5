// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/targets.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>

#include "base/text.h"

namespace tarsier::config {
namespace {

constexpr RuleKey kRuleKeys[] = {
    {"comm", "Name of the process (of its group leader), at most 15 bytes.", &TargetRule::comm,
     &TargetFacts::comm},
    {"exe", "Path of the executable, as in /usr/bin/java.", &TargetRule::exe, &TargetFacts::exe},
    {"cmdline", "Command line, with one space between arguments.", &TargetRule::cmdline,
     &TargetFacts::cmdline},
    {"unit", "systemd unit, as in nginx.service.", &TargetRule::unit, &TargetFacts::unit},
    {"cgroup", "Path of the cgroup, as in /system.slice/nginx.service.", &TargetRule::cgroup,
     &TargetFacts::cgroup},
    {"container", "Name of the container, or the first 12 digits of its id.",
     &TargetRule::container, &TargetFacts::container, &TargetFacts::container_id},
    {"image", "Image of the container.", &TargetRule::image, &TargetFacts::image},
    {"pod", "Name of the pod.", &TargetRule::pod, &TargetFacts::pod},
    {"namespace", "Kubernetes namespace of the pod.", &TargetRule::pod_namespace,
     &TargetFacts::pod_namespace},
};

std::shared_ptr<const re2::RE2> compile_pattern(const std::string& pattern) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);  // an argument may hold a newline
  options.set_max_mem(kMaxPatternMemory);
  return std::make_shared<const re2::RE2>(pattern, options);
}

bool matches_text(const re2::RE2& pattern, std::string_view text) {
  if (text.empty()) return false;
  // RE2 reads UTF-8; a hostile name with other bytes must not slip through ".*".
  if (!base::is_clean_utf8(text, text.size())) {
    const std::string clean = base::clean_utf8(text, text.size() * 3).text;
    return re2::RE2::FullMatch(clean, pattern);
  }
  return re2::RE2::FullMatch({text.data(), text.size()}, pattern);
}

}  // namespace

std::span<const RuleKey> rule_keys() {
  return kRuleKeys;
}

std::string pattern_error(const std::string& pattern) {
  if (pattern.empty()) return "it is empty and would match nothing";
  if (pattern.size() > kMaxPatternBytes) {
    return fmt::format("it is longer than {} bytes", kMaxPatternBytes);
  }
  const auto compiled = compile_pattern(pattern);
  return compiled->ok() ? std::string() : compiled->error();
}

Result<std::vector<TargetRules::Rule>> TargetRules::compile(std::span<const TargetRule> rules) {
  std::vector<Rule> compiled;
  std::string problem;
  const auto add = [&problem](const std::string& pattern) {
    if (problem.empty()) problem = pattern_error(pattern);
    return compile_pattern(pattern);
  };
  for (const TargetRule& rule : rules) {
    Rule& out = compiled.emplace_back();
    out.pids = rule.pids;
    for (std::size_t i = 0; i < std::size(kRuleKeys); ++i) {
      const std::string& pattern = rule.*kRuleKeys[i].pattern;
      if (!pattern.empty()) out.patterns.emplace_back(i, add(pattern));
    }
    for (const auto& [name, pattern] : rule.labels) out.labels.emplace_back(name, add(pattern));
  }
  if (!problem.empty()) {
    return fail(ErrorCode::invalid, fmt::format("a pattern in [targets] is refused: {}", problem));
  }
  return compiled;
}

Result<TargetRules> TargetRules::make(const Targets& targets) {
  TargetRules made;
  made.self_ = targets.self;
  auto include = compile(targets.include);
  if (!include) return std::unexpected(std::move(include.error()));
  auto exclude = compile(targets.exclude);
  if (!exclude) return std::unexpected(std::move(exclude.error()));
  made.include_ = std::move(*include);
  made.exclude_ = std::move(*exclude);
  return made;
}

bool TargetRules::matches(const Rule& rule, const TargetFacts& facts) {
  if (!rule.pids.empty() && std::ranges::find(rule.pids, facts.pid) == rule.pids.end()) {
    return false;
  }
  const bool patterns = std::ranges::all_of(rule.patterns, [&](const auto& entry) {
    const RuleKey& key = kRuleKeys[entry.first];
    return matches_text(*entry.second, facts.*key.fact) ||
           (key.other_fact != nullptr && matches_text(*entry.second, facts.*key.other_fact));
  });
  return patterns && std::ranges::all_of(rule.labels, [&](const auto& wanted) {
           return std::ranges::any_of(facts.labels, [&](const auto& label) {
             return label.first == wanted.first && matches_text(*wanted.second, label.second);
           });
         });
}

bool TargetRules::observes(const TargetFacts& facts) const {
  if (facts.tarsier && !self_) return false;
  const auto match = [&facts](const Rule& rule) { return matches(rule, facts); };
  if (std::ranges::any_of(exclude_, match)) return false;
  return include_.empty() || std::ranges::any_of(include_, match);
}

}  // namespace tarsier::config
