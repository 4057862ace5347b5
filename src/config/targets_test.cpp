// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/targets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tarsier::config {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

bool observed(const Targets& targets, const TargetFacts& facts) {
  const auto rules = TargetRules::make(targets);
  EXPECT_TRUE(rules);
  return rules && rules->observes(facts);
}

TEST(Targets, WithoutRulesEverythingIsObserved) {
  EXPECT_TRUE(observed({}, {.comm = "x"}));
  EXPECT_TRUE(observed({}, {}));
}

TEST(Targets, PatternsMatchTheWholeValue) {
  Targets targets;
  targets.include = {{.comm = "java"}};
  EXPECT_TRUE(observed(targets, {.comm = "java"}));
  EXPECT_FALSE(observed(targets, {.comm = "javac"}));
  EXPECT_FALSE(observed(targets, {.comm = "my-java"}));
  targets.include = {{.comm = "java.*"}};
  EXPECT_TRUE(observed(targets, {.comm = "javac"}));
  targets.include = {{.comm = "a|b"}};
  EXPECT_TRUE(observed(targets, {.comm = "b"}));
  EXPECT_FALSE(observed(targets, {.comm = "bb"}));
  targets.include = {{.cmdline = ".* --port=80"}};
  EXPECT_TRUE(observed(targets, {.cmdline = "server\n--name=x --port=80"}));
}

TEST(Targets, WhatIsUnknownMatchesNothing) {
  Targets targets;
  targets.include = {{.pod = ".*"}};
  EXPECT_FALSE(observed(targets, {.comm = "x"}));
  targets = {};
  targets.exclude = {{.pod = ".*"}};
  EXPECT_TRUE(observed(targets, {.comm = "x"}));
  EXPECT_FALSE(observed(targets, {.comm = "x", .pod = "p"}));
}

TEST(Targets, EveryKeyLooksAtItsOwnFact) {
  const TargetFacts facts{.comm = "comm",
                          .exe = "exe",
                          .cmdline = "cmdline",
                          .unit = "unit",
                          .cgroup = "cgroup",
                          .container = "container",
                          .container_id = "0123456789ab",
                          .image = "image",
                          .pod = "pod",
                          .pod_namespace = "namespace"};
  for (const RuleKey& key : rule_keys()) {
    TargetRule rule;
    rule.*key.pattern = std::string(key.key);
    EXPECT_TRUE(observed({.include = {rule}, .exclude = {}}, facts)) << key.key;
    rule.*key.pattern = "other";
    EXPECT_FALSE(observed({.include = {rule}, .exclude = {}}, facts)) << key.key;
  }
  EXPECT_TRUE(observed({.include = {{.container = "0123456789ab"}}, .exclude = {}}, facts));
}

TEST(Targets, AllOfARuleAnyOfTheRulesAndExcludeWins) {
  const Labels labels = {{"app", "cart"}, {"tier", "front"}};
  Targets targets;
  targets.include = {{.comm = "nginx", .pod_namespace = "shop"},
                     {.labels = {{"app", "cart|pay"}, {"tier", "f.*"}}},
                     {.pids = {7, 9}}};
  EXPECT_TRUE(observed(targets, {.comm = "nginx", .pod_namespace = "shop"}));
  EXPECT_FALSE(observed(targets, {.comm = "nginx", .pod_namespace = "blog"}));
  EXPECT_TRUE(observed(targets, {.comm = "x", .labels = labels}));
  EXPECT_FALSE(observed(targets, {.comm = "x", .labels = std::span(labels).first(1)}));
  EXPECT_TRUE(observed(targets, {.comm = "x", .pid = 9}));
  EXPECT_FALSE(observed(targets, {.comm = "x", .pid = 8}));
  targets.exclude = {{.comm = "bad", .pids = {9}}};
  EXPECT_FALSE(observed(targets, {.comm = "bad", .pid = 9}));
  EXPECT_TRUE(observed(targets, {.comm = "bad", .pid = 7}));
}

TEST(Targets, TarsiersAreLeftOutUnlessAskedFor) {
  const TargetFacts facts{.comm = "tarsier", .tarsier = true};
  EXPECT_FALSE(observed({.include = {{.comm = "tarsier"}}, .exclude = {}}, facts));
  EXPECT_TRUE(observed({.include = {}, .exclude = {}, .self = true}, facts));
}

TEST(Targets, HostileNamesDoNotSlipThrough) {
  Targets targets;
  targets.exclude = {{.comm = "evil.*"}};
  EXPECT_FALSE(observed(targets, {.comm = "evil\xFF\xC3"}));
  EXPECT_FALSE(observed(targets, {.comm = "evil\n"}));
}

TEST(Targets, PatternsAreLinear) {
  // std::regex needs exponential time or the whole stack for these two.
  const std::string hostile(200'000, 'a');
  EXPECT_FALSE(observed({.include = {{.cmdline = "(a*)*b"}}, .exclude = {}}, {.cmdline = hostile}));
  EXPECT_TRUE(observed({.include = {{.cmdline = "(a|b)*"}}, .exclude = {}}, {.cmdline = hostile}));
}

TEST(Targets, BadPatternsAreRefused) {
  const auto made = TargetRules::make({.include = {{.comm = "("}}, .exclude = {}});
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, testing::HasSubstr("missing )"));
  EXPECT_FALSE(pattern_error("(?=x)").empty());  // look-around is not in RE2
  EXPECT_FALSE(pattern_error("").empty());
  EXPECT_TRUE(pattern_error("nginx|java.*").empty());
}

}  // namespace
}  // namespace tarsier::config
