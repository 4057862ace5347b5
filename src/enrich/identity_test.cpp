// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/identity.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "enrich/address.h"

namespace tarsier::enrich {
namespace {

const std::string kId = "3b5a1f0e9c8d7b6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa0099";

std::string text(const std::vector<Label>& labels) {
  std::string out;
  for (const Label& label : labels) out += fmt::format("{}={} ", label.name, label.value);
  return out;
}

struct World {
  CgroupInfo cgroup{CgroupKind::container, Runtime::docker, kId, "", ""};
  ContainerFacts container{kId, "web", "nginx:1.25", Runtime::docker};
  SubjectFacts facts{"nginx", 42, "/usr/sbin/nginx", &cgroup, &container, {}};
};

TEST(Identity, DefaultIsCommAndContainerName) {
  const World world;
  EXPECT_EQ(text(labels_of(world.facts, {})), "comm=nginx container=web ");
}

TEST(Identity, AllOfThemInOrder) {
  World world;
  PodFacts pod;
  pod.namespace_name = "shop";
  pod.name = "web-0";
  world.facts.pod = &pod;
  LabelChoice all{.pid = true, .exe = true, .unit = true, .container_id = true, .image = true};
  EXPECT_EQ(text(labels_of(world.facts, all)),
            "comm=nginx pid=42 exe=/usr/sbin/nginx container=web container_id=3b5a1f0e9c8d "
            "image=nginx:1.25 namespace=shop pod=web-0 ");
  all.kubernetes = false;
  EXPECT_EQ(labels_of(world.facts, all).size(), 6U);
}

TEST(Identity, OtelNames) {
  World world;
  const LabelChoice all{
      .pid = true, .exe = true, .container_id = true, .image = true, .dialect = Dialect::otel};
  EXPECT_EQ(text(labels_of(world.facts, all)),
            "process_executable_name=nginx process_pid=42 process_executable_path=/usr/sbin/nginx "
            "container_name=web container_id=3b5a1f0e9c8d container_image_name=nginx:1.25 ");
  world.cgroup.pod_uid = "5a2c3b1d-0f9e-4d8c-b7a6-123456789abc";
  EXPECT_EQ(text(labels_of(world.facts, {.dialect = Dialect::otel})),
            "process_executable_name=nginx k8s_container_name=web ");
}

TEST(Identity, AnUnknownContainerIsCalledByItsId) {
  World world;
  world.facts.container = nullptr;
  EXPECT_EQ(text(labels_of(world.facts, {.image = true})), "comm=nginx container=3b5a1f0e9c8d ");
  world.cgroup = {CgroupKind::lxc, Runtime::lxc, "web", "", ""};
  EXPECT_EQ(text(labels_of(world.facts, {})), "comm=nginx container=web ");
}

TEST(Identity, AUnitOfTheNode) {
  World world;
  world.cgroup = {CgroupKind::systemd_unit, Runtime::unknown, "", "", "nginx.service"};
  world.facts.container = nullptr;
  EXPECT_EQ(text(labels_of(world.facts, {})), "comm=nginx ");
  EXPECT_EQ(text(labels_of(world.facts, {.unit = true})), "comm=nginx unit=nginx.service ");
}

TEST(Identity, NothingChosenIsNothing) {
  const World world;
  EXPECT_TRUE(labels_of(world.facts, {.comm = false, .container = false}).empty());
  EXPECT_TRUE(labels_of({}, {.pid = true, .exe = true, .unit = true, .image = true}).empty());
}

PodFacts web_pod() {
  PodFacts pod;
  pod.uid = "5a2c3b1d-0f9e-4d8c-b7a6-123456789abc";
  pod.name = "web-5d4f8c-x2x9z";
  pod.namespace_name = "shop";
  pod.node = "node-1";
  pod.workload = "web";
  pod.workload_kind = "Deployment";
  pod.labels = {{"app.kubernetes.io/name", "shop-web"}, {"tier", "front"}};
  pod.addresses = {parse_address("10.244.1.5").value()};
  pod.containers = {{kId, "nginx", "nginx:1.25", 2}};
  return pod;
}

TEST(Identity, PodWorkloadChosenLabelsAndFixedOnes) {
  World world;
  const PodFacts pod = web_pod();
  world.facts.pod = &pod;
  LabelChoice choice;
  choice.pod_labels = {"app.kubernetes.io/name", "not-there"};
  choice.fixed = {{"team", "shop"}};
  EXPECT_EQ(text(labels_of(world.facts, choice)),
            "comm=nginx container=web namespace=shop pod=web-5d4f8c-x2x9z workload=web "
            "workload_kind=Deployment label_app.kubernetes.io/name=shop-web team=shop ");
  choice.dialect = Dialect::otel;
  EXPECT_EQ(text(labels_of(world.facts, choice)),
            "process_executable_name=nginx k8s_container_name=web k8s_namespace_name=shop "
            "k8s_pod_name=web-5d4f8c-x2x9z k8s_deployment_name=web "
            "k8s_pod_label_app.kubernetes.io/name=shop-web team=shop ");
}

TEST(Identity, AWorkloadOfAnotherKindKeepsItsKind) {
  World world;
  PodFacts pod = web_pod();
  pod.workload_kind = "Rollout";
  world.facts.pod = &pod;
  const std::string labels = text(labels_of(world.facts, {.dialect = Dialect::otel}));
  EXPECT_NE(labels.find("k8s_workload_name=web k8s_workload_kind=Rollout"), labels.npos) << labels;
}

TEST(Identity, ThePodsOwnListNamesAContainerThatNoRuntimeNamed) {
  World world;
  const PodFacts pod = web_pod();
  world.facts.pod = &pod;
  world.facts.container = nullptr;
  EXPECT_EQ(container_name(world.facts), "nginx");
}

TEST(PodInfo, HasTheDetail) {
  LabelChoice choice;
  choice.pod_labels = {"tier"};
  EXPECT_EQ(text(pod_info_labels(web_pod(), choice)),
            "namespace=shop pod=web-5d4f8c-x2x9z uid=5a2c3b1d-0f9e-4d8c-b7a6-123456789abc "
            "node=node-1 workload=web workload_kind=Deployment pod_ip=10.244.1.5 "
            "host_network=false label_tier=front ");
}

TEST(ContainerInfo, HasTheDetail) {
  const World world;
  EXPECT_EQ(text(container_info_labels(world.container, nullptr, Dialect::short_names)),
            "container=web container_id=3b5a1f0e9c8d image=nginx:1.25 runtime=docker ");
}

}  // namespace
}  // namespace tarsier::enrich
