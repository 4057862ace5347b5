// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the client does when the cluster misbehaves, refuses or is not there.
#include <gmock/gmock.h>

#include "net/kubernetes/splitters.h"
#include "net/kubernetes/test_consumer.h"

namespace tarsier::net::kubernetes {
namespace {

using fake::FakeCluster;
using fake::FakePod;
using fake::Kind;
using ::testing::HasSubstr;
using ::testing::Not;

class ClusterTrouble : public ClusterTest {
 protected:
  static std::string pod_text(const std::string& name) {
    FakePod pod;
    pod.name = name;
    pod.uid = "uid-" + name;
    pod.owner = {};
    return fake::pod_json(pod);
  }
  void start_with_pods(FakeCluster& fake, const std::vector<std::string>& names,
                       int backoff_ms = quick_timing().backoff_min_ms) {
    for (const std::string& name : names) fake.put(Kind::pods, pod_text(name));
    ClusterOptions options = options_for(fake);
    options.timing.backoff_min_ms = backoff_ms;
    options.timing.backoff_max_ms = std::max(options.timing.backoff_max_ms, backoff_ms);
    start(std::move(options));
    ASSERT_TRUE(wait([&] { return fake.counts(Kind::pods).watches_now == 1; }));
    ASSERT_EQ(pods(), names.size());
  }
};

TEST_F(ClusterTrouble, ForgottenHistoryIsListedAgain) {
  for (const bool as_event : {false, true}) {
    FakeCluster fake;
    start_with_pods(fake, {"a", "b"});
    // While the history goes, so does a pod: only a list can tell.
    fake.stop();
    fake.remove(Kind::pods, "shop", "a");
    fake.put(Kind::pods, pod_text("c"));
    fake.forget_history(as_event);
    fake.start();
    ASSERT_TRUE(wait([&] { return state(Resource::pods).lists == 2 && watching(Resource::pods); }));
    EXPECT_EQ(pods(), 2U);
    EXPECT_EQ(pod("shop/a"), nullptr);
    EXPECT_NE(pod("shop/c"), nullptr);
    EXPECT_EQ(state(Resource::pods).expired, 1U);
    EXPECT_EQ(state(Resource::pods).objects, 2U);
    fake.put(Kind::pods, pod_text("d"));
    ASSERT_TRUE(wait([&] { return pods() == 3; }));
    EXPECT_EQ(fake.counts(Kind::pods).watches_at_most, 1);
    cluster_.reset();
    consumer_ = Consumer();
  }
}

TEST_F(ClusterTrouble, AnExpiredPageBeginsAnew) {
  FakeCluster fake;
  fake.page_from_cache(true);
  fake.expire_pages(1);
  for (std::size_t i = 0; i < 12; ++i) fake.put(Kind::services, fake::numbered_service(i));
  ClusterOptions options = options_for(fake);
  options.timing.page_limit = 5;
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return consumer_.ended(Resource::services) == 1; }));
  EXPECT_EQ(consumer_.count(Resource::services), 12U);
  EXPECT_EQ(state(Resource::services).expired, 1U);
  EXPECT_EQ(fake.counts(Kind::services).lists, 2U);
}

TEST_F(ClusterTrouble, ADeadServerCostsAStateAndACounter) {
  FakeCluster fake;
  start_with_pods(fake, {"a"});
  fake.stop();
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures >= 3; }));
  EXPECT_EQ(state(Resource::pods).state, TaskState::failing);
  EXPECT_THAT(state(Resource::pods).last_error, HasSubstr("watch /api/v1/pods"));
  EXPECT_GT(state(Resource::pods).retry_at_ms, 0);
  EXPECT_EQ(pods(), 1U);  // what was known stays
  fake.put(Kind::pods, pod_text("b"));
  fake.remove(Kind::pods, "shop", "a");
  fake.start();
  ASSERT_TRUE(wait([&] { return pods() == 1 && pod("shop/b") != nullptr; }));
  ASSERT_TRUE(wait([&] { return watching(Resource::pods); }));
  EXPECT_EQ(state(Resource::pods).last_error, "");
  EXPECT_EQ(state(Resource::pods).retry_at_ms, 0);
  EXPECT_EQ(state(Resource::pods).lists, 1U);  // it went on where it was
}

TEST_F(ClusterTrouble, AServerThatComesLateIsFound) {
  FakeCluster fake;
  fake.put(Kind::pods, pod_text("a"));
  fake.stop();
  start(options_for(fake));
  ASSERT_TRUE(wait([&] { return cluster_->first_sync_done(); }));  // nothing more is to be had
  EXPECT_EQ(state(Resource::pods).state, TaskState::failing);
  fake.start();
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
}

TEST_F(ClusterTrouble, AStreamCutInsideAnEventGoesOn) {
  FakeCluster fake;
  start_with_pods(fake, {"a"});
  fake.break_watches();
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures == 1; }));
  fake.put(Kind::pods, pod_text("b"));
  ASSERT_TRUE(wait([&] { return pods() == 2; }));
  EXPECT_EQ(fake.counts(Kind::pods).lists, 1U);
  EXPECT_EQ(state(Resource::pods).malformed, 0U);
}

TEST_F(ClusterTrouble, AnErrorEventIsListedAfter) {
  FakeCluster fake;
  start_with_pods(fake, {"a"});
  fake.send_to_watches(Kind::pods,
                       "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":500,"
                       "\"message\":\"etcd is\\ntired\"}}\n");
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures == 1; }));
  ASSERT_TRUE(wait([&] { return state(Resource::pods).lists == 2 && watching(Resource::pods); }));
}

TEST_F(ClusterTrouble, GarbageInAWatchIsNamedAndListedAfter) {
  FakeCluster fake;
  start_with_pods(fake, {"a"}, 2'000);  // the words stay to be read for a while
  fake.send_to_watches(Kind::pods, "{\"type\":\"ADDED\",\"object\":{]}}\n");
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures == 1; }));
  EXPECT_THAT(state(Resource::pods).last_error,
              HasSubstr("watch /api/v1/pods: event 1: it is not JSON from byte 27"));
  EXPECT_EQ(pods(), 1U);
  ASSERT_TRUE(wait([&] { return state(Resource::pods).lists == 2 && watching(Resource::pods); }));
}

TEST_F(ClusterTrouble, ANamelessObjectAndAHugeLineAreSkippedAndCounted) {
  FakeCluster fake;
  start_with_pods(fake, {"a"});
  fake.send_to_watches(Kind::pods, "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\"}}\n");
  fake.send_to_watches(Kind::pods, std::string(kMaxObjectBytes + 1, 'x') + "\n");
  fake.put(Kind::pods, pod_text("b"));
  ASSERT_TRUE(wait([&] { return pods() == 2; }));
  EXPECT_EQ(state(Resource::pods).malformed, 1U);
  fake.end_watches();
  ASSERT_TRUE(wait([&] { return state(Resource::pods).oversized == 1; }));
  EXPECT_EQ(state(Resource::pods).lists, 1U);
}

TEST_F(ClusterTrouble, MalformedListsNameThePlaceAndTakeNothingAway) {
  FakeCluster fake;
  start_with_pods(fake, {"a", "b"});
  const std::pair<std::string, std::string> bad[] = {
      {"hello", "list /api/v1/pods: byte 0: it is not a JSON object"},
      {R"({"items":[7]})", "byte 10: \"items\" is not a list of objects"},
      {R"({"items":[{"metadata":{}},{"metadata":{"name":]}]})", "a ']' that closes nothing"},
      {R"({"items":[{"metadata":{}},{"metadata":nil}]})", "item 2: it is not JSON from byte 14"},
      {R"({"items":[{"metadata":{)", "it ends early, after 23 bytes"},
      {R"({"items":[{"a":)" + std::string(100'000, '['), "nested deeper than 64"},
      {R"({"metadata":")" + std::string(100'000, 'x'), "bytes around the objects"},
      {R"({"items":[]})", "no resourceVersion"},
      {R"({"kind":"Status"})", "it has no \"items\""},
  };
  for (const auto& [body, words] : bad) {
    fake.answer_lists(Kind::pods, body);
    fake.forget_history(false);
    const std::uint64_t before = state(Resource::pods).failures;
    ASSERT_TRUE(wait([&] { return state(Resource::pods).failures > before; })) << words;
    EXPECT_THAT(state(Resource::pods).last_error, HasSubstr(words));
    EXPECT_EQ(pods(), 2U) << words;
    fake.answer_lists(Kind::pods, "");
    ASSERT_TRUE(wait([&] { return watching(Resource::pods) && pods() == 2; })) << words;
  }
}

TEST_F(ClusterTrouble, AnEndlessListIsBounded) {
  FakeCluster fake;
  fake.endless_lists(Kind::pods,
                     "{\"metadata\":{\"name\":\"n\",\"namespace\":\"s\",\"uid\":\"u\"}},");
  ClusterOptions options = options_for(fake);
  options.timing.list_deadline_ms = 400;
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures >= 1; }));
  EXPECT_THAT(state(Resource::pods).last_error, HasSubstr("did not end within"));
  fake.endless_lists(Kind::pods, "");
  fake.put(Kind::pods, pod_text("a"));
  ASSERT_TRUE(wait([&] { return pods() == 1 && watching(Resource::pods); }));
  expect_prompt_stop();
}

TEST_F(ClusterTrouble, ASilentServerIsLeft) {
  FakeCluster fake;
  fake.put(Kind::pods, pod_text("a"));
  fake.stall(true);
  ClusterOptions options = options_for(fake);
  options.timing.silence_ms = 100;
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures >= 2; }));
  EXPECT_THAT(state(Resource::pods).last_error, HasSubstr("the server said nothing for 1"));
  fake.stall(false);
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
}

TEST_F(ClusterTrouble, StopsPromptlyWhateverItWaitsFor) {
  FakeCluster fake;
  fake.stall(true);
  start(options_for(fake));  // no answer
  ASSERT_TRUE(wait([&] { return !fake.requests().empty(); }));
  expect_prompt_stop();
  fake.stall(false);
  fake.stop();
  start(options_for(fake));  // backing off
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures > 0; }));
  expect_prompt_stop();
  ClusterOptions options = options_for(fake);  // an address that swallows what is sent to it
  options.credentials.server = "http://192.0.2.1:6443";
  start(std::move(options));
  std::this_thread::sleep_for(20ms);
  expect_prompt_stop();
}

TEST_F(ClusterTrouble, EachResourceIsRefusedAlone) {
  FakeCluster fake;
  fake.put(Kind::pods, pod_text("a"));
  fake.put(Kind::services, fake::service_json("shop", "web", "10.96.0.1"));
  fake.put(Kind::slices, fake::slice_json("shop", "web-1", "web", {"10.1.0.1"}, "node-b"));
  fake.forbid(Kind::nodes, 403);
  fake.forbid(Kind::services, 403);
  start(options_for(fake));
  ASSERT_TRUE(
      wait([&] { return cluster_->first_sync_done() && watching(Resource::endpoint_slices); }));
  EXPECT_EQ(pods(), 1U);
  EXPECT_EQ(state(Resource::services).state, TaskState::refused);
  EXPECT_EQ(state(Resource::own_node).state, TaskState::refused);
  EXPECT_EQ(state(Resource::nodes).state, TaskState::refused);
  EXPECT_THAT(state(Resource::services).last_error,
              HasSubstr("list /api/v1/services: the server answered 403: not for you"));
  EXPECT_EQ(consumer_.count(Resource::services), 0U);
  fake.forbid(Kind::services, 0);
  ASSERT_TRUE(wait([&] { return consumer_.count(Resource::services) == 1; }));
}

TEST_F(ClusterTrouble, TheKubeletStandsInForAServerThatRefuses) {
  FakeCluster fake;
  fake.put(Kind::pods, pod_text("a"));
  fake.forbid(Kind::pods, 403);
  ClusterOptions options = options_for(fake);
  options.kubelet_url = fake.url();
  options.timing.kubelet_poll_ms = 60'000;
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
  ASSERT_TRUE(wait([&] { return cluster_->state().pods_from == "kubelet"; }));
  EXPECT_EQ(state(Resource::pods).state, TaskState::refused);
  const std::uint64_t polls = fake.counts(Kind::kubelet).lists;
  fake.put(Kind::pods, pod_text("b"));
  cluster_->poke();  // else the next poll comes in a minute
  ASSERT_TRUE(wait([&] { return pods() == 2; }));
  EXPECT_EQ(fake.counts(Kind::kubelet).lists, polls + 1);
  // When the API may be asked again the kubelet rests.
  fake.forbid(Kind::pods, 0);
  ASSERT_TRUE(
      wait([&] { return cluster_->state().pods_from == "api" && watching(Resource::pods); }));
  const std::uint64_t then = fake.counts(Kind::kubelet).lists;
  cluster_->poke();
  fake.put(Kind::pods, pod_text("c"));
  ASSERT_TRUE(wait([&] { return pods() == 3; }));
  EXPECT_EQ(fake.counts(Kind::kubelet).lists, then);
  EXPECT_EQ(cluster_->state().kubelet.state, TaskState::off);
}

TEST_F(ClusterTrouble, TheKubeletStandsInForAServerThatIsNotThere) {
  FakeCluster fake, kubelet;
  kubelet.put(Kind::pods, pod_text("a"));
  fake.stop();
  ClusterOptions options = options_for(fake);
  options.kubelet_url = kubelet.url();
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
  ASSERT_TRUE(wait([&] { return cluster_->first_sync_done(); }));
  fake.put(Kind::pods, pod_text("b"));
  fake.start();
  ASSERT_TRUE(wait([&] { return pod("shop/b") != nullptr && pods() == 1; }));
  ASSERT_TRUE(wait([&] { return cluster_->state().pods_from == "api"; }));
}

TEST_F(ClusterTrouble, TheKubeletAloneDeducesOwners) {
  FakeCluster fake;
  fake.put(Kind::pods, fake::pod_json(FakePod()));
  ClusterOptions options = options_for(fake);
  options.credentials.server.clear();
  options.source = PodSource::kubelet;
  options.kubelet_url = fake.url();
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return pods() == 1 && consumer_.count(Resource::owners) == 1; }));
  EXPECT_EQ(consumer_.find<Owner>(Resource::owners, "rs-uid-1")->workload_name, "web");
  fake.remove(Kind::pods, "shop", "web-5d4f8c-x7x2p");
  ASSERT_TRUE(wait([&] { return pods() == 0 && consumer_.count(Resource::owners) == 0; }));
  EXPECT_EQ(fake.counts(Kind::pods).lists, 0U);
}

TEST_F(ClusterTrouble, ASlowConsumerMakesTheClusterWait) {
  FakeCluster fake;
  for (std::size_t i = 0; i < 2'000; ++i) fake.put(Kind::services, fake::numbered_service(i));
  start(options_for(fake));
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (cluster_->state().queue_waits == 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(1ms);
  }
  ASSERT_GT(cluster_->state().queue_waits, 0U);
  ASSERT_TRUE(wait([&] { return consumer_.ended(Resource::services) == 1; }));
  EXPECT_EQ(consumer_.count(Resource::services), 2'000U);  // nothing was lost
  EXPECT_EQ(state(Resource::services).failures, 0U);
}

TEST_F(ClusterTrouble, StopsPromptlyWithAFullQueue) {
  FakeCluster fake;
  for (std::size_t i = 0; i < 2'000; ++i) fake.put(Kind::services, fake::numbered_service(i));
  start(options_for(fake));
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (cluster_->state().queue_waits == 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(1ms);
  }
  ASSERT_GT(cluster_->state().queue_waits, 0U);
  expect_prompt_stop();
}

}  // namespace
}  // namespace tarsier::net::kubernetes
