// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the client hands out, against a fake cluster that behaves.
#include <gmock/gmock.h>

#include "net/kubernetes/test_consumer.h"

namespace tarsier::net::kubernetes {
namespace {

using fake::FakeCluster;
using fake::FakePod;
using fake::Kind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

FakePod named(const std::string& name, const std::string& node = "node-a") {
  FakePod pod;
  pod.name = name;
  pod.uid = "uid-" + name;
  pod.node = node;
  return pod;
}

// Objects of each kind, of this node and of another.
void fill(FakeCluster& fake) {
  fake.put(Kind::nodes, fake::node_json("node-a", "10.0.0.7", "192.0.2.1", "zone-1"));
  fake.put(Kind::nodes, fake::node_json("node-b", "10.0.0.8", "", "zone-2"));
  fake.put(Kind::pods, fake::pod_json(named("web-5d4f8c-x7x2p")));
  fake.put(Kind::pods, fake::pod_json(named("elsewhere", "node-b")));
  fake.put(Kind::services, fake::service_json("shop", "web", "10.96.0.10"));
  fake.put(Kind::services, fake::service_json("shop", "headless", "None"));
  fake.put(Kind::slices,
           fake::slice_json("shop", "web-abcde", "web", {"10.1.0.1", "10.1.1.2"}, "node-b"));
  fake.put(Kind::replica_sets, fake::owner_json("shop", {"ReplicaSet", "web-5d4f8c", "rs-uid-1"},
                                                {"Deployment", "web", "dep-uid"}));
}

TEST_F(ClusterTest, HandsOutWhatItNeedsAndNoMore) {
  FakeCluster fake;
  fill(fake);
  start(options_for(fake));
  ASSERT_TRUE(wait([&] {
    return cluster_->first_sync_done() && consumer_.count(Resource::owners) == 1 &&
           consumer_.count(Resource::nodes) == 2 && consumer_.count(Resource::endpoint_slices) == 1;
  }));
  EXPECT_EQ(pods(), 1U);
  const Pod* web = pod("shop/web-5d4f8c-x7x2p");
  ASSERT_NE(web, nullptr);
  EXPECT_EQ(web->uid, "uid-web-5d4f8c-x7x2p");
  EXPECT_EQ(web->owner, (OwnerReference{"ReplicaSet", "web-5d4f8c", "rs-uid-1"}));
  const auto* owner = consumer_.find<Owner>(Resource::owners, "rs-uid-1");
  ASSERT_NE(owner, nullptr);
  EXPECT_EQ(owner->workload_kind, "Deployment");
  EXPECT_EQ(owner->workload_name, "web");
  EXPECT_FALSE(owner->deduced);
  const auto* own = consumer_.find<Node>(Resource::own_node, "node-a");
  ASSERT_NE(own, nullptr);
  EXPECT_EQ(own->zone, "zone-1");
  EXPECT_EQ(consumer_.count(Resource::own_node), 1U);
  const auto* other = consumer_.find<Node>(Resource::nodes, "node-b");
  ASSERT_NE(other, nullptr);
  EXPECT_THAT(other->internal_ips, ElementsAre("10.0.0.8"));
  EXPECT_TRUE(other->external_ips.empty());
  EXPECT_THAT(consumer_.find<Node>(Resource::nodes, "node-a")->external_ips,
              ElementsAre("192.0.2.1"));
  EXPECT_TRUE(consumer_.find<Service>(Resource::services, "shop/headless")->cluster_ips.empty());
  EXPECT_EQ(consumer_.find<EndpointSlice>(Resource::endpoint_slices, "shop/web-abcde")->service,
            "web");
  ASSERT_TRUE(wait([&] { return cluster_->state().pods_from == "api"; }));
  for (const Kind kind : {Kind::pods, Kind::nodes, Kind::services, Kind::slices}) {
    ASSERT_TRUE(wait([&] { return fake.counts(kind).watches_now == 1; }));
    EXPECT_EQ(fake.counts(kind).watches_at_most, 1);
    EXPECT_EQ(fake.counts(kind).watches, 1U);
  }
  EXPECT_EQ(fake.counts(Kind::pods).lists, 1U);
  EXPECT_EQ(fake.counts(Kind::replica_sets).gets, 1U);
  EXPECT_EQ(fake.counts(Kind::kubelet).lists, 0U);
  EXPECT_EQ(state(Resource::pods).objects, 1U);
  EXPECT_EQ(state(Resource::services).objects, 2U);
  expect_prompt_stop();
}

TEST_F(ClusterTest, FollowsWhatChanges) {
  FakeCluster fake;
  fill(fake);
  start(options_for(fake));
  ASSERT_TRUE(wait([&] { return watching(Resource::pods) && watching(Resource::services); }));
  fake.put(Kind::pods, fake::pod_json(named("second")));
  ASSERT_TRUE(wait([&] { return pods() == 2; }));
  FakePod second = named("second");
  second.ip = "10.1.0.99";
  fake.put(Kind::pods, fake::pod_json(second));
  ASSERT_TRUE(wait([&] { return pod("shop/second")->ips.front() == "10.1.0.99"; }));
  fake.remove(Kind::pods, "shop", "second");
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
  fake.put(Kind::pods, fake::pod_json(named("foreign", "node-b")));
  fake.put(Kind::services, fake::service_json("shop", "new", "10.96.0.11"));
  ASSERT_TRUE(wait([&] { return consumer_.count(Resource::services) == 3; }));
  EXPECT_EQ(pods(), 1U);
  EXPECT_EQ(fake.counts(Kind::pods).lists, 1U);
  const ResourceState now = state(Resource::pods);
  EXPECT_EQ(now.events, 3U);
  EXPECT_EQ(now.objects, 1U);
  EXPECT_EQ(now.failures, 0U);
}

TEST_F(ClusterTest, ListsInPages) {
  FakeCluster fake;
  fake.page_from_cache(true);
  for (std::size_t i = 0; i < 23; ++i) fake.put(Kind::services, fake::numbered_service(i));
  ClusterOptions options = options_for(fake);
  options.timing.page_limit = 5;
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return consumer_.ended(Resource::services) == 1; }));
  EXPECT_EQ(consumer_.count(Resource::services), 23U);
  EXPECT_EQ(fake.counts(Kind::services).lists, 1U);
  EXPECT_EQ(fake.counts(Kind::services).pages, 4U);
}

TEST_F(ClusterTest, ReadsCompressedLists) {
  FakeCluster fake;
  fake.gzip_lists(true);
  for (std::size_t i = 0; i < 300; ++i) fake.put(Kind::services, fake::numbered_service(i));
  start(options_for(fake));
  ASSERT_TRUE(wait([&] { return consumer_.ended(Resource::services) == 1; }));
  EXPECT_EQ(consumer_.count(Resource::services), 300U);
}

TEST_F(ClusterTest, GoesOnWhereABookmarkSaid) {
  FakeCluster fake;
  fill(fake);
  start(options_for(fake));
  ASSERT_TRUE(wait([&] { return fake.counts(Kind::pods).watches_now == 1; }));
  // Nothing of ours happens, but the cluster's version moves on.
  for (int i = 0; i < 5; ++i) fake.put(Kind::pods, fake::pod_json(named("foreign", "node-b")));
  fake.send_bookmarks();
  fake.end_watches();
  ASSERT_TRUE(wait([&] { return fake.counts(Kind::pods).watches == 2; }));
  const std::string version = std::to_string(1000 + 8 + 5);
  bool resumed = false;
  for (const std::string& request : fake.requests()) {
    resumed = resumed ||
              (request.contains("/pods?") && request.contains("resourceVersion=" + version + "&"));
  }
  EXPECT_TRUE(resumed);
  EXPECT_EQ(fake.counts(Kind::pods).lists, 1U);
  EXPECT_EQ(state(Resource::pods).failures, 0U);
}

TEST_F(ClusterTest, AStaticPodIsKnownByItsHash) {
  FakeCluster fake;
  fake.put(Kind::pods,
           fake::static_pod_json("kube-apiserver-node-a", "node-a", "mirror-uid", "0123abcd"));
  start(options_for(fake));
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
  const Pod* mirror = pod("kube-system/kube-apiserver-node-a");
  ASSERT_NE(mirror, nullptr);
  EXPECT_EQ(mirror->uid, "mirror-uid");
  EXPECT_EQ(mirror->mirror_uid, "0123abcd");
  EXPECT_TRUE(mirror->host_network);
  EXPECT_EQ(mirror->owner.kind, "Node");
}

TEST_F(ClusterTest, OwnersAreAskedForOnceEach) {
  FakeCluster fake;
  for (std::size_t i = 0; i < 30; ++i) {
    const FakePod one = fake::numbered_pod(i, "node-a");
    FakePod same = one;
    same.namespace_name = "shop";
    fake.put(Kind::pods, fake::pod_json(same));
    fake.put(Kind::replica_sets, fake::owner_json("shop", same.owner, {"Deployment", "web", "d"}));
  }
  FakePod job = named("backup-123-abc");
  job.owner = {"Job", "backup-123", "job-uid"};
  fake.put(Kind::pods, fake::pod_json(job));
  fake.put(Kind::jobs, fake::owner_json("shop", job.owner, {"CronJob", "backup", "c"}));
  FakePod alone = named("hand-made-rs-abc");
  alone.owner = {"ReplicaSet", "hand-made-rs", "rs-alone"};
  fake.put(Kind::pods, fake::pod_json(alone));
  fake.put(Kind::replica_sets, fake::owner_json("shop", alone.owner, {}));
  start(options_for(fake));
  ASSERT_TRUE(wait([&] { return consumer_.count(Resource::owners) == 5; }));
  EXPECT_EQ(fake.counts(Kind::replica_sets).gets, 4U);
  EXPECT_EQ(fake.counts(Kind::jobs).gets, 1U);
  EXPECT_EQ(consumer_.find<Owner>(Resource::owners, "job-uid")->workload_kind, "CronJob");
  EXPECT_EQ(consumer_.find<Owner>(Resource::owners, "job-uid")->workload_name, "backup");
  EXPECT_EQ(consumer_.find<Owner>(Resource::owners, "rs-alone")->workload_kind, "ReplicaSet");
  // A pod that changes asks nothing; the questions stand in line, so a later answer proves it.
  alone.ip = "10.1.0.77";
  fake.put(Kind::pods, fake::pod_json(alone));
  FakePod late = named("late-rs-abc");
  late.owner = {"ReplicaSet", "late-rs", "rs-late"};
  fake.put(Kind::replica_sets, fake::owner_json("shop", late.owner, {}));
  fake.put(Kind::pods, fake::pod_json(late));
  ASSERT_TRUE(wait([&] { return consumer_.find<Owner>(Resource::owners, "rs-late") != nullptr; }));
  EXPECT_EQ(pod("shop/hand-made-rs-abc")->ips.front(), "10.1.0.77");
  EXPECT_EQ(fake.counts(Kind::replica_sets).gets, 5U);
  fake.remove(Kind::pods, "shop", "late-rs-abc");
  fake.remove(Kind::pods, "shop", "backup-123-abc");
  ASSERT_TRUE(wait([&] { return consumer_.count(Resource::owners) == 4; }));
}

TEST_F(ClusterTest, OwnersWithoutPermissionAreDeduced) {
  FakeCluster fake;
  fill(fake);
  fake.forbid(Kind::replica_sets, 403);
  FakePod job = named("backup-123-abc");
  job.owner = {"Job", "backup-123", "job-uid"};
  fake.put(Kind::pods, fake::pod_json(job));
  fake.put(Kind::jobs, fake::owner_json("shop", job.owner, {"CronJob", "backup", "c"}));
  FakePod odd = named("odd");
  odd.owner = {"ReplicaSet", "odd", "rs-odd"};  // its name does not end in the hash
  fake.put(Kind::pods, fake::pod_json(odd));
  start(options_for(fake));
  ASSERT_TRUE(wait([&] { return consumer_.count(Resource::owners) == 3; }));
  const auto* web = consumer_.find<Owner>(Resource::owners, "rs-uid-1");
  EXPECT_EQ(web->workload_kind, "Deployment");
  EXPECT_EQ(web->workload_name, "web");
  EXPECT_TRUE(web->deduced);
  EXPECT_EQ(consumer_.find<Owner>(Resource::owners, "rs-odd")->workload_name, "odd");
  // The right to read jobs is another one.
  EXPECT_EQ(consumer_.find<Owner>(Resource::owners, "job-uid")->workload_kind, "CronJob");
  EXPECT_EQ(state(Resource::owners).state, TaskState::refused);
  EXPECT_THAT(state(Resource::owners).last_error, HasSubstr("403"));
  fake.forbid(Kind::replica_sets, 0);
  ASSERT_TRUE(wait([&] { return !consumer_.find<Owner>(Resource::owners, "rs-uid-1")->deduced; }));
}

TEST_F(ClusterTest, KeepsTheAnnotationsAskedFor) {
  FakeCluster fake;
  FakePod one = named("one");
  one.annotations = {{"team", "blue"}, {"secret-note", "no"}};
  fake.put(Kind::pods, fake::pod_json(one));
  ClusterOptions options = options_for(fake);
  options.annotations = {"team"};
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
  EXPECT_EQ(pod("shop/one")->annotations, (Labels{{"team", "blue"}}));
}

TEST_F(ClusterTest, OffAsksNobody) {
  FakeCluster fake;
  ClusterOptions options = options_for(fake);
  options.source = PodSource::off;
  start(std::move(options));
  EXPECT_TRUE(cluster_->first_sync_done());
  EXPECT_EQ(state(Resource::pods).state, TaskState::off);
  EXPECT_TRUE(fake.requests().empty());
  expect_prompt_stop();
}

TEST_F(ClusterTest, SaysWhatItLacks) {
  ClusterOptions options;
  EXPECT_THAT(Cluster::start(options, clock_).error().message, HasSubstr("node has no name"));
  options.node_name = "a";
  EXPECT_THAT(Cluster::start(options, clock_).error().message, HasSubstr("neither"));
  options.source = PodSource::api;
  EXPECT_THAT(Cluster::start(options, clock_).error().message, HasSubstr("API server"));
  options.source = PodSource::kubelet;
  EXPECT_THAT(Cluster::start(options, clock_).error().message, HasSubstr("kubelet"));
}

}  // namespace
}  // namespace tarsier::net::kubernetes
