// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/cgroup_path.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ostream>
#include <random>

namespace tarsier::enrich {

void PrintTo(const CgroupInfo& info, std::ostream* out) {
  *out << fmt::format("kind {} runtime {} id '{}' pod '{}' unit '{}'", static_cast<int>(info.kind),
                      name_of(info.runtime), info.container_id, info.pod_uid, info.unit);
}

namespace {

const std::string kId = "3b5a1f0e9c8d7b6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa0099";
const std::string kNode = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const std::string kUid = "5a2c3b1d-0f9e-4d8c-b7a6-123456789abc";
const std::string kUidSlice = "5a2c3b1d_0f9e_4d8c_b7a6_123456789abc";
const std::string kStaticUid = "d1a2b3c4e5f60718293a4b5c6d7e8f90";
const std::string kTask = "0123456789abcdef0123456789abcdef";

struct Case {
  std::string path;
  CgroupInfo expected;
};

CgroupInfo host() {
  return {};
}
CgroupInfo unit(std::string name) {
  return {CgroupKind::systemd_unit, Runtime::unknown, "", "", std::move(name)};
}
CgroupInfo pod(std::string uid) {
  return {CgroupKind::pod, Runtime::unknown, "", std::move(uid), ""};
}
CgroupInfo container(Runtime runtime, std::string id, std::string uid = "") {
  return {CgroupKind::container, runtime, std::move(id), std::move(uid), ""};
}
CgroupInfo lxc_named(std::string name) {
  return {CgroupKind::lxc, Runtime::lxc, std::move(name), "", ""};
}

std::vector<Case> host_cases() {
  return {
      {"", host()},
      {"/", host()},
      {"/init.scope", host()},
      {"/init", host()},
      {"/user.slice/user-1000.slice/session-3.scope", host()},
      {"/user.slice/user-0.slice/user@0.service/app.slice/app-foo.scope", host()},
      {"/system.slice", host()},
      {"/process_api/" + kTask, host()},
      {"/lxc.monitor.web", host()},
      {"/docker/buildkit/h2k0p3zj1v7q5w9x8y6u4t2r1", host()},
      {"/system.slice/nginx.service", unit("nginx.service")},
      {"/system.slice/nginx.service (deleted)", unit("nginx.service")},
      {"/system.slice/nginx.service/worker/1", unit("nginx.service")},
      {"/system.slice/system-getty.slice/getty@tty1.service", unit("getty@tty1.service")},
      {R"(/system.slice/dev-disk\x2dby\x2dlabel-x.swap)", unit("dev-disk-by-label-x.swap")},
      {R"(/system.slice/odd\x2.service)", unit(R"(odd\x2.service)")},
      {"/azure.slice/walinuxagent.service", unit("walinuxagent.service")},
      {"/runtime.slice/containerd.service", unit("containerd.service")},
      {"/podruntime/kubelet", unit("kubelet")},
      {"/system/apid", unit("apid")},
      {"/machine.slice/libpod-conmon-" + kId + ".scope", unit("libpod-conmon-" + kId + ".scope")},
      {"/system.slice/" + kId + ".service", unit(kId + ".service")},  // podman's health check
      {"/kubepods/besteffort", host()},
      {"/kubepods.slice/kubepods-burstable.slice", host()},
  };
}

std::vector<Case> container_cases() {
  using enum Runtime;
  return {
      {"/docker/" + kId, container(docker, kId)},
      {"/docker/" + kId + "/init", container(docker, kId)},
      {"/system.slice/docker-" + kId + ".scope", container(docker, kId)},
      {"/system.slice/docker-" + kId + ".scope/init", container(docker, kId)},
      {"/system.slice/docker-" + kId + ".scope (deleted)", container(docker, kId)},
      {"/system.slice:docker:" + kId, container(docker, kId)},
      {"/../../docker/" + kId, container(docker, kId)},
      {"/../" + kId, container(unknown, kId)},
      {"/../cri-containerd-" + kId + ".scope", container(containerd, kId)},
      {"/actions_job/" + kId, container(unknown, kId)},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + kId + ".scope",
       container(docker, kId)},
      {"/system.slice/nerdctl-" + kId + ".scope", container(containerd, kId)},
      {"/default/" + kId, container(containerd, kId)},
      {"/default/web1", container(containerd, "web1")},
      {"/default/web1/sub/" + std::string(12, 'a'), container(containerd, "web1")},
      {"/k8s.io/" + kId, container(containerd, kId)},
      {"/k8s.io/my.name", container(containerd, "my.name")},
      {"/machine.slice/libpod-" + kId + ".scope", container(podman, kId)},
      {"/machine.slice/libpod-" + kId + ".scope/container", container(podman, kId)},
      {"/libpod_parent/libpod-" + kId, container(podman, kId)},
      {"/libpod_parent/" + kId, container(podman, kId)},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kId + ".scope",
       container(podman, kId)},
      {"/system.slice/web.service/libpod-payload-" + kId, container(podman, kId)},
      {"/machine.slice/machine-libpod_pod_" + kNode + ".slice/libpod-" + kId + ".scope",
       container(podman, kId)},
      {"/ecs/" + kTask + "/" + kTask + "-1234567890", container(unknown, kTask + "-1234567890")},
      {"/ecs/" + kTask + "/" + kId, container(unknown, kId)},
      {"/lxc/web", lxc_named("web")},
      {"/lxc/101/ns/system.slice/cron.service", lxc_named("101")},
      {"/lxc.payload.web", lxc_named("web")},
      {"/lxc.payload/web/init.scope", lxc_named("web")},
      {"/lxc/101/ns/system.slice/docker-" + kId + ".scope", container(docker, kId)},
      {"/docker/" + kNode + "/docker/" + kId, container(docker, kId)},
      {"/docker/" + kNode + "/system.slice/containerd.service", container(docker, kNode)},
      {"/docker/" + kNode + "/default/web1", container(containerd, "web1")},
  };
}

std::vector<Case> pod_cases() {
  using enum Runtime;
  const std::string burst = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod";
  return {
      {"/kubepods/burstable/pod" + kUid + "/" + kId, container(unknown, kId, kUid)},
      {"/kubepods/burstable/pod" + kUid + "/" + kId + "/leaf", container(unknown, kId, kUid)},
      {"/kubepods/pod" + kUid + "/" + kId, container(unknown, kId, kUid)},
      {"/kubepods/besteffort/pod" + kUid, pod(kUid)},
      {"/kubepods/burstable/pod" + kStaticUid + "/" + kId, container(unknown, kId, kStaticUid)},
      {"/../../pod" + kUid + "/" + kId, container(unknown, kId, kUid)},
      {burst + kUidSlice + ".slice", pod(kUid)},
      {burst + kUidSlice + ".slice/cri-containerd-" + kId + ".scope",
       container(containerd, kId, kUid)},
      {burst + kUidSlice + ".slice/cri-containerd-" + kId, container(containerd, kId, kUid)},
      {burst + kStaticUid + ".slice/cri-containerd-" + kId + ".scope",
       container(containerd, kId, kStaticUid)},
      {"/kubepods.slice/kubepods-pod" + kUidSlice + ".slice/docker-" + kId + ".scope",
       container(docker, kId, kUid)},
      {"/system.slice/containerd.service/kubepods-besteffort-pod" + kUidSlice +
           ".slice:cri-containerd:" + kId,
       container(containerd, kId, kUid)},
      {burst + kUidSlice + ".slice/crio-" + kId + ".scope", container(crio, kId, kUid)},
      {burst + kUidSlice + ".slice/crio-" + kId + ".scope/container", container(crio, kId, kUid)},
      {"/kubepods/burstable/pod" + kUid + "/crio-" + kId, container(crio, kId, kUid)},
      {burst + kUidSlice + ".slice/crio-conmon-" + kId + ".scope", pod(kUid)},
      {"/docker/" + kNode +
           "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
           "kubelet-kubepods-besteffort-pod" +
           kUidSlice + ".slice/cri-containerd-" + kId + ".scope",
       container(containerd, kId, kUid)},
      {"/docker/" + kNode + "/kubelet/kubepods/pod" + kUid + "/" + kId,
       container(unknown, kId, kUid)},
      {"/docker/" + kNode + "/kubelet/kubepods/pod" + kUid, pod(kUid)},
      {"/kubepods/pod" + kUid + "/" + kNode + "/docker/" + kId, container(docker, kId, kUid)},
  };
}

void check(const std::vector<Case>& cases) {
  for (const Case& one : cases) EXPECT_EQ(parse_cgroup_path(one.path), one.expected) << one.path;
}

TEST(CgroupPath, ReadsTheNode) {
  check(host_cases());
}
TEST(CgroupPath, ReadsContainers) {
  check(container_cases());
}
TEST(CgroupPath, ReadsPods) {
  check(pod_cases());
}

TEST(CgroupPath, AlmostIdsAreNoIds) {
  EXPECT_EQ(parse_cgroup_path("/docker/" + kId.substr(1)), host());
  EXPECT_EQ(parse_cgroup_path("/docker/" + kId + "0"), host());
  std::string capital = kId;
  capital[1] = 'B';
  EXPECT_EQ(parse_cgroup_path("/docker/" + capital), host());
  EXPECT_EQ(parse_cgroup_path("/kubepods/podman"), host());
  EXPECT_EQ(parse_cgroup_path("/ecs/" + kTask + "-"), host());
}

TEST(CgroupPath, ShortensOnlyLongIds) {
  EXPECT_EQ(short_container_id(kId), "3b5a1f0e9c8d");
  EXPECT_EQ(short_container_id("web-in-default"), "web-in-default");
  EXPECT_EQ(short_container_id(""), "");
}

TEST(CgroupPath, TakesAnyBytes) {
  std::mt19937 random(7);
  const std::vector<Case> seeds = pod_cases();
  for (int i = 0; i < 20'000; ++i) {
    std::string path = seeds[random() % seeds.size()].path;
    for (auto edits = random() % 4; edits > 0; --edits) {
      path[random() % path.size()] = static_cast<char>(random() % 256);
    }
    const CgroupInfo info = parse_cgroup_path(path);
    EXPECT_LE(info.container_id.size(), path.size());
    EXPECT_EQ(info.kind == CgroupKind::container, !info.container_id.empty());
  }
}

}  // namespace
}  // namespace tarsier::enrich
