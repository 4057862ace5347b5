// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// [targets]: which processes are observed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tarsier/result.h"

namespace re2 {
class RE2;
}

namespace tarsier::config {

inline constexpr std::size_t kMaxRules = 128;                 // in include and in exclude, each
inline constexpr std::size_t kMaxPatternBytes = 1024;         // of one regular expression
inline constexpr std::int64_t kMaxPatternMemory = 256 << 10;  // that RE2 may take to compile one
inline constexpr std::size_t kMaxRuleLabels = 16;             // pod labels asked for by one rule
inline constexpr std::size_t kMaxRulePids = 1024;

// One rule: all that it names must match. Patterns are RE2 syntax and match the whole value, so
// "java" is not "javac"; "java.*" is both. An empty member is a key that the rule does not use.
struct TargetRule {
  std::string comm = {}, exe = {}, cmdline = {}, unit = {}, cgroup = {};
  std::string container = {}, image = {}, pod = {}, pod_namespace = {};
  std::map<std::string, std::string> labels = {};  // pod labels: exact name to pattern
  std::vector<std::int64_t> pids = {};             // any of them
};

struct Targets {
  std::vector<TargetRule> include = {};  // empty: everything
  std::vector<TargetRule> exclude = {};  // wins over include
  bool self = false;
  bool payload = true;
};

// What is known of a process; empty is "unknown or not so" and matches no pattern.
struct TargetFacts {
  std::string_view comm = {};     // of the group leader
  std::string_view exe = {};      // path of the executable
  std::string_view cmdline = {};  // arguments with single spaces between them
  std::string_view unit = {};     // systemd unit: "nginx.service"
  std::string_view cgroup = {};   // path below the cgroup root: "/system.slice/nginx.service"
  std::string_view container = {}, container_id = {};  // the pattern `container` may match either
  std::string_view image = {}, pod = {}, pod_namespace = {};
  std::span<const std::pair<std::string, std::string>> labels = {};  // of the pod
  std::int64_t pid = 0;
  bool tarsier = false;  // this daemon or another tarsier
};

// The rules, compiled. Any thread may ask; callers remember the answer per process, because it can
// change only when a fact does.
class TargetRules {
 public:
  // Fails on a pattern that RE2 refuses; never after config::parse accepted the same rules.
  [[nodiscard]] static Result<TargetRules> make(const Targets& targets);
  [[nodiscard]] bool observes(const TargetFacts& facts) const;

 private:
  using Pattern = std::shared_ptr<const re2::RE2>;
  struct Rule {
    std::vector<std::pair<std::size_t, Pattern>> patterns;  // index into rule_keys()
    std::vector<std::pair<std::string, Pattern>> labels;
    std::vector<std::int64_t> pids;
  };
  static Result<std::vector<Rule>> compile(std::span<const TargetRule> rules);
  static bool matches(const Rule& rule, const TargetFacts& facts);

  std::vector<Rule> include_, exclude_;
  bool self_ = false;
};

// The keys of a rule that take a pattern: where it stands and which facts it looks at.
struct RuleKey {
  std::string_view key, help;
  std::string TargetRule::* pattern;
  std::string_view TargetFacts::* fact;
  std::string_view TargetFacts::* other_fact = nullptr;
};
[[nodiscard]] std::span<const RuleKey> rule_keys();

// Empty if RE2 accepts the pattern within our limits, else why not.
[[nodiscard]] std::string pattern_error(const std::string& pattern);

}  // namespace tarsier::config
