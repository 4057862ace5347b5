// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/object_reader.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "net/kubernetes/fake/objects.h"

namespace tarsier::net::kubernetes {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const ReadOptions kNone;

template <class T>
T read(Resource resource, const std::string& json, const ReadOptions& options = kNone) {
  ReadCounters counters;
  auto object = read_object(resource, json, options, counters);
  EXPECT_TRUE(object) << object.error().message;
  EXPECT_EQ(counters.cut, 0U);
  return object && std::holds_alternative<T>(*object) ? std::get<T>(std::move(*object)) : T();
}

TEST(ObjectReader, Pod) {
  fake::FakePod shape;
  shape.annotations = {{"team", "blue"}, {"other", "x"}};
  shape.host_network = true;
  const Pod pod = read<Pod>(Resource::pods, fake::pod_json(shape), {{"team"}});
  EXPECT_EQ(pod.uid, shape.uid);
  EXPECT_EQ(pod.name, shape.name);
  EXPECT_EQ(pod.namespace_name, "shop");
  EXPECT_EQ(pod.node, "node-a");
  EXPECT_EQ(pod.mirror_uid, "");
  EXPECT_EQ(pod.phase, "Running");
  EXPECT_THAT(pod.ips, ElementsAre("10.1.0.1", "fd00::1"));
  EXPECT_EQ(pod.labels, (Labels{{"app", "web"}, {"pod-template-hash", "5d4f8c"}}));
  EXPECT_EQ(pod.annotations, (Labels{{"team", "blue"}}));
  EXPECT_EQ(pod.owner, (OwnerReference{"ReplicaSet", "web-5d4f8c", "rs-uid-1"}));
  EXPECT_EQ(pod.start_unix_s, 1'772'352'000);
  EXPECT_TRUE(pod.host_network);
}

TEST(ObjectReader, ContainersOfAPod) {
  Pod pod = read<Pod>(Resource::pods, fake::pod_json({}));
  ASSERT_EQ(pod.containers.size(), 3U);
  std::ranges::sort(pod.containers, {}, [](const Container& one) { return one.id; });
  std::ranges::rotate(pod.containers, pod.containers.begin() + 1);
  const Container& migrate = pod.containers[0];
  EXPECT_EQ(migrate.name, "migrate");
  EXPECT_EQ(migrate.kind, ContainerKind::init);
  EXPECT_EQ(migrate.state, ContainerState::terminated);
  EXPECT_EQ(migrate.reason, "Completed");
  EXPECT_EQ(migrate.exit_code, 0);
  EXPECT_EQ(migrate.started_unix_s, 1'772'352'000);
  EXPECT_EQ(pod.containers[1].name, "mesh");
  EXPECT_EQ(pod.containers[1].kind, ContainerKind::sidecar);
  EXPECT_EQ(pod.containers[1].id, "bbbb");
  const Container& web = pod.containers[2];
  EXPECT_EQ(web.name, "web");
  EXPECT_EQ(web.kind, ContainerKind::regular);
  EXPECT_EQ(web.id, fake::FakePod().container_id);
  EXPECT_EQ(web.image, "nginx:1.25");  // as asked for, not as the runtime says it
  EXPECT_EQ(web.image_id, "docker.io/library/nginx@sha256:33");
  EXPECT_EQ(web.restart_count, 3);
  EXPECT_EQ(web.state, ContainerState::running);
  EXPECT_EQ(web.started_unix_s, 1'772'352'002);
  EXPECT_EQ(web.reason, "");  // that of the last state is not this one's
  EXPECT_EQ(web.exit_code, 0);
}

TEST(ObjectReader, APodThatOnlyWasAccepted) {
  const Pod pod = read<Pod>(Resource::pods,
                            R"({"metadata":{"name":"a","namespace":"n","uid":"u","ownerReferences":[
        {"kind":"Cat","name":"no","uid":"no","controller":false},
        {"kind":"Job","name":"j","uid":"ju","controller":true}]},
        "spec":{"containers":[{"name":"c","image":"i"}],
                "ephemeralContainers":[{"name":"debug","image":"busybox"}]},
        "status":{"phase":"Pending","containerStatuses":[{"name":"c","restartCount":0,
          "state":{"waiting":{"reason":"ImagePullBackOff"}},"image":"i","imageID":""}]}})");
  EXPECT_EQ(pod.owner, (OwnerReference{"Job", "j", "ju"}));
  EXPECT_THAT(pod.ips, IsEmpty());
  ASSERT_EQ(pod.containers.size(), 2U);
  EXPECT_EQ(pod.containers[0].state, ContainerState::waiting);
  EXPECT_EQ(pod.containers[0].reason, "ImagePullBackOff");
  EXPECT_EQ(pod.containers[0].id, "");
  EXPECT_EQ(pod.containers[1].kind, ContainerKind::ephemeral);
  EXPECT_EQ(pod.containers[1].image, "busybox");
}

TEST(ObjectReader, Service) {
  const Service service =
      read<Service>(Resource::services, fake::service_json("shop", "web", "10.96.0.10"));
  EXPECT_EQ(service.name, "web");
  EXPECT_EQ(service.namespace_name, "shop");
  EXPECT_THAT(service.cluster_ips, ElementsAre("10.96.0.10"));
  EXPECT_THAT(service.external_ips, ElementsAre("192.0.2.9", "192.0.2.7"));
  EXPECT_THAT(service.ports, ElementsAre(ServicePort{"http", "TCP", 80, 30080}));
  EXPECT_THAT(read<Service>(Resource::services, fake::service_json("a", "b", "None")).cluster_ips,
              IsEmpty());
}

TEST(ObjectReader, EndpointSlice) {
  const auto slice = read<EndpointSlice>(
      Resource::endpoint_slices,
      fake::slice_json("shop", "web-abcde", "web", {"10.1.0.1", "10.1.0.2"}, "node-b"));
  EXPECT_EQ(slice.name, "web-abcde");
  EXPECT_EQ(slice.service, "web");
  EXPECT_THAT(slice.ports, ElementsAre(ServicePort{"http", "TCP", 8080, 0}));
  ASSERT_EQ(slice.endpoints.size(), 2U);
  EXPECT_THAT(slice.endpoints[1].addresses, ElementsAre("10.1.0.2"));
  EXPECT_EQ(slice.endpoints[1].pod, "web-1");
  EXPECT_EQ(slice.endpoints[1].pod_namespace, "shop");
  EXPECT_EQ(slice.endpoints[1].node, "node-b");
}

TEST(ObjectReader, EndpointsThatAreNoPodsOrNoAddresses) {
  const auto slice = read<EndpointSlice>(
      Resource::endpoint_slices,
      R"({"metadata":{"name":"s","namespace":"n"},"addressType":"FQDN","endpoints":[
        {"addresses":["db.example.com"]},
        {"addresses":["192.0.2.5"],"targetRef":{"kind":"VirtualMachine","name":"vm","namespace":"n"}}],
        "ports":null})");
  ASSERT_EQ(slice.endpoints.size(), 1U);
  EXPECT_THAT(slice.endpoints[0].addresses, ElementsAre("192.0.2.5"));
  EXPECT_EQ(slice.endpoints[0].pod, "");
}

TEST(ObjectReader, NodeAndOwner) {
  const Node node =
      read<Node>(Resource::own_node, fake::node_json("node-a", "10.0.0.7", "192.0.2.1", "zone-1"));
  EXPECT_EQ(node.name, "node-a");
  EXPECT_EQ(node.zone, "zone-1");
  EXPECT_THAT(node.internal_ips, ElementsAre("10.0.0.7"));
  EXPECT_THAT(node.external_ips, ElementsAre("192.0.2.1"));
  EXPECT_EQ(node.labels.size(), 3U);
  const Owner owner =
      read<Owner>(Resource::owners,
                  fake::owner_json("n", {"ReplicaSet", "a-1", "u"}, {"Deployment", "a", "d"}));
  EXPECT_EQ(owner.uid, "u");
  EXPECT_EQ(owner.workload_kind, "Deployment");
  EXPECT_EQ(owner.workload_name, "a");
}

TEST(ObjectReader, TableOfNodes) {
  const std::string head =
      R"({"kind":"Table","columnDefinitions":[{"name":"Name"},{"name":"Age"},{"name":"Internal-IP"},
        {"name":"External-IP"}],"rows":[]})";
  const auto columns = read_node_columns(head);
  ASSERT_TRUE(columns) << columns.error().message;
  const auto node = read_node_row(R"({"cells":["node-b",null,"10.0.0.8","<none>"]})", *columns);
  ASSERT_TRUE(node) << node.error().message;
  EXPECT_EQ(node->name, "node-b");
  EXPECT_THAT(node->internal_ips, ElementsAre("10.0.0.8"));
  EXPECT_THAT(node->external_ips, IsEmpty());
  EXPECT_FALSE(read_node_row(R"({"cells":[1,2,3]})", *columns));
  EXPECT_FALSE(read_node_row(R"({"cells":["a",["x"],"10.0.0.8"]})", *columns));
  EXPECT_THAT(read_node_columns(R"({"columnDefinitions":[{"name":"Name"}]})").error().message,
              HasSubstr("Internal-IP"));
}

TEST(ObjectReader, Events) {
  ReadCounters counters;
  auto event = read_event(Resource::pods,
                          R"({"object":{"metadata":{"name":"a","namespace":"n","uid":"u",
                             "resourceVersion":"42"}},"type":"DELETED"})",
                          kNone, counters);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ(event->type, EventType::deleted);
  EXPECT_EQ(event->version, "42");
  EXPECT_EQ(std::get<Pod>(event->object).name, "a");
  event = read_event(Resource::pods,
                     R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"43"}}})", kNone,
                     counters);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->type, EventType::bookmark);
  EXPECT_EQ(event->version, "43");
  event = read_event(Resource::pods, R"({"type":"ERROR","object":{"code":410,"message":"old"}})",
                     kNone, counters);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->code, 410);
  EXPECT_EQ(event->message, "old");
}

TEST(ObjectReader, RefusesWhatTheApiDoesNotPromise) {
  ReadCounters counters;
  for (const char* text : {"", "x", "[]", "7", "null", "{", R"({"metadata":})"}) {
    const auto object = read_object(Resource::pods, text, kNone, counters);
    ASSERT_FALSE(object) << text;
    EXPECT_EQ(object.error().code, ErrorCode::invalid) << text;
  }
  for (const char* text :
       {"{}", R"({"metadata":{"name":"a"}})", R"({"metadata":{"name":{"a":"b"}}})",
        R"({"metadata":[{"name":"a","namespace":"b","uid":"c"}]})"}) {
    const auto object = read_object(Resource::pods, text, kNone, counters);
    ASSERT_FALSE(object) << text;
    EXPECT_EQ(object.error().code, ErrorCode::not_found) << text;
  }
}

TEST(ObjectReader, OddTypesAndIdsAreLeftOut) {
  const Pod pod =
      read<Pod>(Resource::pods,
                R"({"metadata":{"name":"a","namespace":"n","uid":"u","labels":{"n":7,"l":["x"]}},
        "spec":{"containers":"no","hostNetwork":"yes"},
        "status":{"podIP":"not an address","startTime":"yesterday","containerStatuses":[
          {"name":"c","containerID":"containerd://../../etc"}, 7, {"containerID":"x://1"}]}})");
  EXPECT_THAT(pod.labels, IsEmpty());
  EXPECT_THAT(pod.ips, IsEmpty());
  EXPECT_FALSE(pod.host_network);
  EXPECT_EQ(pod.start_unix_s, 0);
  ASSERT_EQ(pod.containers.size(), 1U);
  EXPECT_EQ(pod.containers[0].id, "");
}

TEST(ObjectReader, LimitsCutAndCount) {
  std::string labels, addresses;
  for (int i = 0; i < 200; ++i) {
    labels += (i == 0 ? "" : ",") + ("\"l" + std::to_string(i)) + "\":\"v\"";
    addresses += (i == 0 ? "" : ",") + ("{\"ip\":\"10.0.0." + std::to_string(i)) + "\"}";
  }
  ReadCounters counters;
  const auto object = read_object(Resource::pods,
                                  R"({"metadata":{"name":")" + std::string(5'000, 'n') +
                                      R"(","namespace":"n","uid":"u","labels":{)" + labels +
                                      R"(}},"status":{"podIPs":[)" + addresses + "]}}",
                                  kNone, counters);
  ASSERT_TRUE(object) << object.error().message;
  const Pod& pod = std::get<Pod>(*object);
  EXPECT_EQ(pod.name.size(), kMaxText);
  EXPECT_EQ(pod.labels.size(), kMaxLabels);
  EXPECT_EQ(pod.ips.size(), kMaxAddresses);
  EXPECT_EQ(counters.cut, 1 + (200 - kMaxLabels) + (200 - kMaxAddresses));
}

TEST(ObjectReader, DepthIsBounded) {
  ReadCounters counters;
  const auto deep =
      read_object(Resource::pods, "{\"a\":" + std::string(1'000'000, '['), kNone, counters);
  ASSERT_FALSE(deep);
  EXPECT_THAT(deep.error().message, HasSubstr("64"));
}

TEST(ObjectReader, MutatedObjectsNeverCrash) {
  std::mt19937 random(3);
  const std::string whole[] = {fake::pod_json({}), fake::numbered_service(1),
                               fake::numbered_slice(1, 3),
                               fake::node_json("a", "10.0.0.1", "", "z")};
  const Resource resources[] = {Resource::pods, Resource::services, Resource::endpoint_slices,
                                Resource::own_node};
  ReadCounters counters;
  for (int i = 0; i < 8'000; ++i) {
    std::string text = whole[i % 4];
    for (auto edits = 1 + random() % 4; edits > 0; --edits) {
      text[random() % text.size()] = static_cast<char>(random() % 256);
    }
    (void)read_object(resources[i % 4], text, kNone, counters);
    (void)read_event(resources[i % 4], R"({"type":"ADDED","object":)" + text + "}", kNone,
                     counters);
  }
}

TEST(Time, Rfc3339) {
  EXPECT_EQ(parse_time("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(parse_time("2026-03-01T08:00:02Z"), 1'772'352'002);
  EXPECT_EQ(parse_time("2026-03-01T08:00:02.123456Z"), 1'772'352'002);
  EXPECT_EQ(parse_time("2026-03-01T10:30:02+02:30"), 1'772'352'002);
  EXPECT_EQ(parse_time("2024-02-29T00:00:00Z"), 1'709'164'800);
  for (const char* text : {"", "2026-02-30T00:00:00Z", "2026-03-01", "2026-03-01T08:00:02", "now",
                           "2026-03-01T25:00:00Z", "2026-03-01T08:00:02Zx", "20260301T080002Z"}) {
    EXPECT_EQ(parse_time(text), 0) << text;
  }
}

}  // namespace
}  // namespace tarsier::net::kubernetes
