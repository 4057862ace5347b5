// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/resolver.h"

#include <gtest/gtest.h>

#include "enrich/containers.h"
#include "enrich/enricher.h"
#include "enrich/test_root.h"
#include "enrich/test_runtime.h"

namespace tarsier::enrich {
namespace {

TEST_F(ResolverTest, ListsEachRuntimeAtTheStart) {
  docker_->containers[kId] = {kId, "web", "nginx", Runtime::docker};
  cri_->containers["other"] = {"other", "db", "postgres", Runtime::containerd};
  start();
  EXPECT_TRUE(wait([&] { return resolver_->first_lists_done(); }));
  ContainerTable table(*resolver_);
  EXPECT_TRUE(wait([&] {
    table.poll(0);
    return table.size() == 2;
  }));
  EXPECT_EQ(docker_->count(&Script::gets), 0);
  EXPECT_EQ(table.want(kId, Runtime::docker, 0)->facts.name, "web");
}

TEST_F(ResolverTest, AsksWhoeverServesTheRuntime) {
  cri_->containers["one"] = {"one", "db", "postgres", Runtime::containerd};
  start();
  ASSERT_TRUE(wait([&] { return resolver_->first_lists_done(); }));
  ASSERT_TRUE(resolver_->ask("one", Runtime::containerd));
  const Answer answer = next();
  EXPECT_EQ(answer.outcome, Answer::Outcome::known);
  EXPECT_EQ(answer.containers.at(0).name, "db");
  EXPECT_EQ(docker_->count(&Script::gets), 0);
}

TEST_F(ResolverTest, AsksAllAboutAnUnknownRuntime) {
  cri_->containers["one"] = {"one", "db", "postgres", Runtime::containerd};
  start();
  ASSERT_TRUE(wait([&] { return resolver_->first_lists_done(); }));
  ASSERT_TRUE(resolver_->ask("one", Runtime::unknown));
  EXPECT_EQ(next().outcome, Answer::Outcome::known);
  EXPECT_EQ(docker_->count(&Script::gets), 1);
  ASSERT_TRUE(resolver_->ask("two", Runtime::unknown));
  const Answer answer = next();
  EXPECT_EQ(answer.outcome, Answer::Outcome::absent);
  EXPECT_EQ(answer.id, "two");
}

TEST_F(ResolverTest, NobodyToAskIsAnAnswer) {
  docker_->present = cri_->present = false;
  start();
  EXPECT_TRUE(resolver_->first_lists_done());
  ASSERT_TRUE(resolver_->ask("one", Runtime::docker));
  EXPECT_EQ(next().outcome, Answer::Outcome::absent);
  EXPECT_EQ(resolver_->sources().at(0).failures, 0U);
  EXPECT_FALSE(resolver_->sources().at(0).present);
}

TEST_F(ResolverTest, ARuntimeThatComesUpLaterIsListed) {
  docker_->present = false;
  start();
  docker_->set([](Script& it) { it.present = true; });
  ASSERT_TRUE(resolver_->ask("one", Runtime::docker));
  EXPECT_EQ(next().outcome, Answer::Outcome::absent);
  EXPECT_TRUE(wait([&] { return docker_->count(&Script::lists) == 1; }));
}

TEST_F(ResolverTest, AHangingRuntimeBlocksNobody) {
  docker_->hangs = true;
  cri_->containers["one"] = {"one", "db", "postgres", Runtime::containerd};
  start();
  ASSERT_TRUE(wait([&] {
    return docker_->count(&Script::inside) == 1 && resolver_->sources().at(1).lists == 1;
  }));
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(resolver_->ask("d" + std::to_string(i), Runtime::docker));
    ASSERT_TRUE(resolver_->ask("one", Runtime::containerd));
    EXPECT_EQ(next().id, "one");
  }
  EXPECT_FALSE(resolver_->first_lists_done());
  EXPECT_EQ(resolver_->queued(), 50U);
  docker_->set([](Script& it) { it.hangs = false; });
  EXPECT_TRUE(wait([&] { return resolver_->first_lists_done(); }));
  EXPECT_EQ(docker_->count(&Script::most_inside), 1);  // never two threads in one source
}

TEST_F(ResolverTest, AFailureIsCountedAndTheSourceLeftAlone) {
  docker_->failure = ErrorCode::unavailable;
  start();
  ASSERT_TRUE(wait([&] { return resolver_->first_lists_done(); }));
  ASSERT_TRUE(resolver_->ask("one", Runtime::docker));
  EXPECT_EQ(next().outcome, Answer::Outcome::failed);
  SourceState state = resolver_->sources().at(0);
  EXPECT_FALSE(state.healthy);
  EXPECT_EQ(state.failures, 1U);
  EXPECT_EQ(state.last_error, "ask the fake: it fails");
  EXPECT_EQ(docker_->count(&Script::gets), 0);  // resting since the list failed

  docker_->set([](Script& it) { it.failure = ErrorCode::not_found; });
  clock_.now += kBackoffMinNs;
  ASSERT_TRUE(resolver_->ask("one", Runtime::docker));
  EXPECT_EQ(next().outcome, Answer::Outcome::absent);
  EXPECT_TRUE(resolver_->sources().at(0).healthy);
  EXPECT_EQ(docker_->count(&Script::lists), 2);  // what started meanwhile is caught up with
}

TEST_F(ResolverTest, AfterAFailedQuestionAllAreListedAgain) {
  start();
  ASSERT_TRUE(wait([&] { return resolver_->first_lists_done(); }));
  docker_->set([](Script& it) { it.failure = ErrorCode::unavailable; });
  ASSERT_TRUE(resolver_->ask("one", Runtime::docker));
  EXPECT_EQ(next().outcome, Answer::Outcome::failed);
  docker_->set([](Script& it) { it.failure = ErrorCode::not_found; });
  clock_.now += kBackoffMinNs;
  ASSERT_TRUE(resolver_->ask("two", Runtime::docker));
  EXPECT_TRUE(wait([&] { return docker_->count(&Script::lists) == 2; }));
}

TEST_F(ResolverTest, TheRestGrowsToItsLimit) {
  docker_->failure = ErrorCode::unavailable;
  start();
  ASSERT_TRUE(wait([&] { return resolver_->first_lists_done(); }));
  std::vector<std::uint64_t> rests;
  for (int i = 0; i < 7; ++i) {
    const std::uint64_t rest = resolver_->sources().at(0).retry_at_ns - clock_.now;
    rests.push_back(rest / kSecond);
    clock_.now += rest;
    ASSERT_TRUE(resolver_->ask("one", Runtime::docker));
    EXPECT_EQ(next().outcome, Answer::Outcome::failed);
  }
  EXPECT_EQ(rests, (std::vector<std::uint64_t>{1, 2, 4, 8, 16, 30, 30}));
}

TEST_F(ResolverTest, AFullQueueRefusesAndCounts) {
  docker_->hangs = true;
  start();
  ASSERT_TRUE(wait([&] { return docker_->count(&Script::inside) == 1; }));
  for (std::size_t i = 0; i < kMaxQueue; ++i) {
    ASSERT_TRUE(resolver_->ask(std::to_string(i), Runtime::docker));
  }
  EXPECT_FALSE(resolver_->ask("one more", Runtime::docker));
  EXPECT_EQ(resolver_->refused(), 1U);
}

TEST_F(ResolverTest, AnswersWaitForACollectorThatIsLate) {
  docker_->hangs = true;
  start();
  const std::size_t asked = kMaxResults + 100;
  for (std::size_t i = 0; i < asked; ++i) {
    ASSERT_TRUE(resolver_->ask(std::to_string(i), Runtime::docker));
  }
  docker_->set([](Script& it) { it.hangs = false; });
  ASSERT_TRUE(
      wait([&] { return docker_->count(&Script::gets) >= static_cast<int>(kMaxResults - 4); }));
  std::size_t got = 0;
  EXPECT_TRUE(wait([&] {
    std::vector<Answer> answers;
    resolver_->drain(answers);
    got += static_cast<std::size_t>(
        std::ranges::count(answers, Answer::Outcome::absent, &Answer::outcome));
    return got == asked;
  }));
}

TEST_F(ResolverTest, StopsWithAnswersThatNobodyTook) {
  docker_->hangs = true;
  start();
  for (std::size_t i = 0; i < kMaxResults + 100; ++i) {
    ASSERT_TRUE(resolver_->ask(std::to_string(i), Runtime::docker));
  }
  docker_->set([](Script& it) { it.hangs = false; });
  ASSERT_TRUE(
      wait([&] { return docker_->count(&Script::gets) >= static_cast<int>(kMaxResults - 4); }));
  resolver_->stop();
  EXPECT_FALSE(resolver_->ask("late", Runtime::docker));
}

TEST_F(Containers, AreAskedForOnce) {
  docker_->set([](Script& it) { it.containers["a"] = {"a", "web", "nginx", Runtime::docker}; });
  EXPECT_EQ(table_->want("a", Runtime::docker, 0)->state, ContainerState::asked);
  ASSERT_TRUE(becomes("a", ContainerState::known, 0));
  const Container* container = table_->want("a", Runtime::docker, 100 * kSecond);
  EXPECT_EQ(container->facts.image, "nginx");
  EXPECT_EQ(docker_->count(&Script::gets), 1);
}

TEST_F(Containers, AnAbsentOneIsAskedForThriceAndThenAfterHalfAMinute) {
  std::uint64_t now = kSecond;
  for (int round = 1; round <= 3; ++round) {
    table_->want("a", Runtime::docker, now);
    const ContainerState last = round == 3 ? ContainerState::absent : ContainerState::unknown;
    ASSERT_TRUE(becomes("a", last, now)) << round;
    table_->want("a", Runtime::docker, now + kQuickRetryNs - 1);  // too early
    EXPECT_EQ(state_of("a"), last);
    now += kQuickRetryNs;
  }
  now += kNegativeNs - 2 * kQuickRetryNs;
  EXPECT_EQ(table_->want("a", Runtime::docker, now)->state, ContainerState::absent);
  EXPECT_EQ(docker_->count(&Script::gets), 3);
  now += 2 * kQuickRetryNs;
  EXPECT_EQ(table_->want("a", Runtime::docker, now)->state, ContainerState::asked);
}

TEST_F(Containers, AFailedQuestionIsRepeated) {
  docker_->set([](Script& it) { it.failure = ErrorCode::unavailable; });
  table_->want("a", Runtime::docker, kSecond);
  ASSERT_TRUE(becomes("a", ContainerState::unknown, kSecond));
  EXPECT_EQ(table_->want("a", Runtime::docker, 2 * kSecond - 1)->state, ContainerState::unknown);
  docker_->set([](Script& it) {
    it.failure = ErrorCode::not_found;
    it.containers["a"] = {"a", "web", "nginx", Runtime::docker};
  });
  clock_.now += kBackoffMinNs;
  table_->want("a", Runtime::docker, 2 * kSecond);
  EXPECT_TRUE(becomes("a", ContainerState::known, 2 * kSecond));
}

TEST_F(Containers, SayWhoChanged) {
  docker_->set([](Script& it) { it.containers["a"] = {"a", "web", "nginx", Runtime::docker}; });
  table_->want("a", Runtime::docker, 0);
  std::vector<std::string> changed;
  ASSERT_TRUE(wait([&] {
    changed = table_->poll(0);
    return !changed.empty();
  }));
  EXPECT_EQ(changed, std::vector<std::string>{"a"});
  EXPECT_TRUE(table_->poll(0).empty());
  table_->forget("a", 0);
  EXPECT_EQ(table_->size(), 0U);
}

TEST_F(Containers, ARepeatedListTellsNothingNew) {
  docker_->set([](Script& it) { it.containers["a"] = {"a", "web", "nginx", Runtime::docker}; });
  table_->want("a", Runtime::docker, kSecond);
  ASSERT_TRUE(becomes("a", ContainerState::known, kSecond));
  docker_->set([](Script& it) { it.failure = ErrorCode::unavailable; });
  table_->want("b", Runtime::docker, kSecond);
  ASSERT_TRUE(becomes("b", ContainerState::unknown, kSecond));
  docker_->set([](Script& it) {
    it.failure = ErrorCode::not_found;
    it.containers["b"] = {"b", "db", "postgres", Runtime::docker};
  });
  clock_.now += kBackoffMinNs;
  std::vector<std::string> changed;
  ASSERT_TRUE(wait([&] {
    for (std::string& id : table_->poll(2 * kSecond)) changed.push_back(std::move(id));
    return docker_->count(&Script::lists) == 2 && !changed.empty();
  }));
  EXPECT_EQ(changed, std::vector<std::string>{"b"});
}

TEST_F(Containers, TheLimitBitesAndIsCounted) {
  docker_->set([](Script& it) { it.hangs = true; });
  for (std::size_t i = 0; i < kMaxContainers; ++i) {
    ASSERT_NE(table_->want(std::to_string(i), Runtime::docker, 0), nullptr);
  }
  EXPECT_EQ(table_->want("one more", Runtime::docker, 0), nullptr);
  EXPECT_EQ(table_->stats().refused, 1U);
}

class EnricherTest : public Containers {
 protected:
  void SetUp() override {
    Containers::SetUp();
    enricher_.emplace(host_, cgroups_, *table_, pods_, LabelChoice{});
    cgroups_.made(7, "/docker/" + kId, 0);
    processes_.on(ForkEvent{kSecond, 100, kSecond, 1, to_comm("nginx"), 7});
  }
  Identity identify(std::uint64_t now_ns) {
    Process* process = processes_.find(100, kSecond);
    return enricher_->identify(*process, process->last(), now_ns);
  }
  static std::string container_of(const Identity& identity) {
    for (const Label& label : identity.labels) {
      if (label.name == "container") return label.value;
    }
    return "";
  }
  TestRoot root_;
  base::HostFiles host_{root_.path()};
  CgroupTable cgroups_{Hierarchy{2, "/none", "/", "", 0}, host_};
  ProcessTable processes_;
  PodTable pods_;
  std::optional<Enricher> enricher_;
};

TEST_F(EnricherTest, IsCompleteOnceTheRuntimeAnswered) {
  docker_->set([](Script& it) { it.containers[kId] = {kId, "web", "nginx", Runtime::docker}; });
  const Identity before = identify(kSecond);
  EXPECT_FALSE(before.complete);
  EXPECT_EQ(container_of(before), "3b5a1f0e9c8d");
  EXPECT_EQ(processes_.find(100, kSecond)->last().state, LabelState::pending);
  ASSERT_TRUE(becomes(kId, ContainerState::known, kSecond));
  const Identity after = identify(kSecond + 1);
  EXPECT_TRUE(after.complete);
  EXPECT_EQ(container_of(after), "web");
  EXPECT_EQ(processes_.find(100, kSecond)->last().state, LabelState::resolved);
}

TEST_F(EnricherTest, WaitsOneSecondAndNoLonger) {
  docker_->set([](Script& it) { it.hangs = true; });
  EXPECT_FALSE(identify(kSecond).complete);
  EXPECT_FALSE(identify(2 * kSecond - 1).complete);
  const Identity late = identify(2 * kSecond);
  EXPECT_TRUE(late.complete);
  EXPECT_EQ(container_of(late), "3b5a1f0e9c8d");
}

TEST_F(EnricherTest, WaitsForAnUnknownCgroup) {
  processes_.on(CgroupMoveEvent{kSecond, 100, kSecond, 8});
  EXPECT_FALSE(identify(kSecond).complete);
  cgroups_.made(8, "/system.slice/nginx.service", kSecond);
  EXPECT_TRUE(identify(kSecond + 1).complete);
}

TEST_F(EnricherTest, ACgroupAloneHasItsContainer) {
  docker_->set([](Script& it) { it.containers[kId] = {kId, "web", "nginx", Runtime::docker}; });
  EXPECT_FALSE(enricher_->identify_cgroup(7, kSecond, kSecond).complete);
  ASSERT_TRUE(becomes(kId, ContainerState::known, kSecond));
  const Identity identity = enricher_->identify_cgroup(7, kSecond, kSecond);
  EXPECT_TRUE(identity.complete);
  EXPECT_EQ(identity.labels, (std::vector<Label>{{"container", "web"}}));
}

TEST_F(EnricherTest, APodSourceAloneNamesPodAndContainer) {
  docker_->set([](Script& it) { it.failure = ErrorCode::unavailable; });
  enricher_->expect_pods(true);
  cgroups_.made(8, "/kubepods/pod5a2c3b1d-0f9e-4d8c-b7a6-123456789abc/" + kId, kSecond);
  processes_.on(CgroupMoveEvent{kSecond, 100, kSecond, 8});
  EXPECT_FALSE(identify(kSecond).complete);
  PodFacts pod;
  pod.uid = "5a2c3b1d-0f9e-4d8c-b7a6-123456789abc";
  pod.name = "web-0";
  pod.namespace_name = "shop";
  pods_.put(pod);
  EXPECT_FALSE(identify(kSecond + 1).complete) << "the container has no name yet";
  pod.containers = {{kId, "nginx", "nginx:1.25", 0}};
  pods_.put(pod);
  const Identity identity = identify(kSecond + 2);
  EXPECT_TRUE(identity.complete && identity.named);
  EXPECT_EQ(
      identity.labels,
      (std::vector<Label>{
          {"comm", "nginx"}, {"container", "nginx"}, {"namespace", "shop"}, {"pod", "web-0"}}));
}

TEST_F(EnricherTest, WhatIsNamelessAfterTheWaitSaysSo) {
  docker_->set([](Script& it) { it.hangs = true; });
  EXPECT_FALSE(identify(kSecond).named);
  const Identity late = identify(2 * kSecond);
  EXPECT_TRUE(late.complete);
  EXPECT_FALSE(late.named);
  EXPECT_FALSE(processes_.find(100, kSecond)->last().named);
}

TEST_F(EnricherTest, PeersCallAProcessByItsWorkloadThenItsPodThenItsContainerThenItself) {
  const auto peer_name = [&] {
    const Process* process = processes_.find(100, kSecond);
    return enricher_->peer_name(*process, process->last(), kSecond);
  };
  docker_->set([](Script& it) { it.containers[kId] = {kId, "web", "nginx", Runtime::docker}; });
  EXPECT_EQ(peer_name(), (PeerName{"3b5a1f0e9c8d", "", false}));
  ASSERT_TRUE(becomes(kId, ContainerState::known, kSecond));
  EXPECT_EQ(peer_name(), (PeerName{"web", "", true}));
  PodFacts pod;
  pod.uid = "u";
  pod.name = "web-0";
  pod.namespace_name = "shop";
  pod.containers = {{kId, "nginx", "", 0}};
  pods_.put(pod);
  EXPECT_EQ(peer_name(), (PeerName{"web-0", "shop", true}));
  pod.workload = "web";
  pods_.put(pod);
  EXPECT_EQ(peer_name(), (PeerName{"web", "shop", true}));
  processes_.on(CgroupMoveEvent{kSecond, 100, kSecond, 8});
  cgroups_.made(8, "/system.slice/nginx.service", kSecond);
  EXPECT_EQ(peer_name(), (PeerName{"nginx", "", true}));
}

TEST_F(EnricherTest, AsksNobodyWhereNoNameIsWanted) {
  enricher_->set_choice({.container = false, .container_id = true, .kubernetes = false});
  EXPECT_TRUE(identify(kSecond).complete);
  EXPECT_EQ(table_->size(), 0U);
}

TEST_F(EnricherTest, ForgetsTheContainerWithItsCgroupOnly) {
  identify(kSecond);
  cgroups_.made(9, "/docker/" + kId + "/init", kSecond);
  cgroups_.removed(9, kSecond);
  enricher_->expire(20 * kSecond);
  EXPECT_EQ(table_->size(), 1U);
  cgroups_.removed(7, 20 * kSecond);
  enricher_->expire(30 * kSecond);
  EXPECT_EQ(table_->size(), 0U);
}

}  // namespace
}  // namespace tarsier::enrich
