// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Pods as a kubelet makes them, in a real containerd.
#include <gtest/gtest.h>

#include <thread>

#include "integration/cri_admin.h"
#include "integration/runtime_fixtures.h"

namespace tarsier {
namespace {

using enrich::ContainerFacts;
using enrich::Runtime;
using test::ContainerSpec;
using test::CriAdmin;
using test::Node;
using test::wait_for;

class Pods : public test::Containerd {
 protected:
  void SetUp() override {
    test::Containerd::SetUp();
    if (IsSkipped()) return;
    import_image();
    admin_.emplace(socket_, directory_.path("logs"));
    pod_ = admin_->run_pod({});
    ASSERT_EQ(pod_.size(), 64U) << test::tail(directory_.path("log"));
    node_.emplace(daemon::cri_source("containerd", Runtime::containerd, socket_));
  }
  void TearDown() override {
    if (pod_.empty()) return;
    EXPECT_TRUE(admin_->end_pod(pod_));
  }
  std::string start(const std::string& name,
                    std::vector<std::string> command = {"/bin/sleep", "300"}) {
    return admin_->run(pod_, {.name = name, .image = std::string(kImage), .command = command});
  }
  ContainerFacts facts(const std::string& id) { return node_->facts(id, Runtime::containerd); }
  // A container that ends by itself; its end is told by the cgroup.
  enrich::ContainerExit end_of(const std::string& id) {
    node_->want(id, Runtime::containerd);
    wait_for([&] {
      node_->poll();
      return facts_are_over(id);
    });
    return node_->exit_of(id);
  }
  bool facts_are_over(const std::string& id) {
    const auto said = net::CriClient(socket_, 5'000).get(id);
    return !said || said->state == net::RuntimeState::exited;
  }
  std::optional<CriAdmin> admin_;
  std::string pod_;
  std::optional<Node> node_;
};

TEST_F(Pods, TwoContainersHaveAllTheirFacts) {
  ContainerSpec spec{.name = "app", .image = std::string(kImage)};
  spec.labels = {{"tier", "front"}, {"io.kubernetes.container.name", "app"}};
  spec.memory_bytes = 64 << 20;
  spec.cpu_cores = 0.5;
  const std::string app = admin_->run(pod_, spec);
  const std::string sidecar = start("sidecar");
  const ContainerFacts one = facts(app);
  EXPECT_EQ(one.name, "app");
  EXPECT_EQ(one.image, kImage);
  EXPECT_EQ(one.image_digest.size(), 71U) << one.image_digest;
  EXPECT_EQ(one.labels, (std::vector<enrich::Label>{{"io.kubernetes.container.name", "app"},
                                                    {"tier", "front"}}));
  EXPECT_EQ(one.sandbox_id, pod_);
  EXPECT_EQ(one.pod, (enrich::PodName{"uid-1", "web-0", "shop"}));
  EXPECT_EQ(one.limits.memory_bytes, 64U << 20U);
  EXPECT_EQ(one.limits.cpu_cores, 0.5);
  EXPECT_EQ(one.state, ContainerFacts::State::running);
  const std::int64_t now = static_cast<std::int64_t>(base::SystemClock().real_ns());
  EXPECT_GT(one.created_ns, now - 60'000'000'000);
  EXPECT_GE(one.started_ns, one.created_ns);
  EXPECT_LE(one.started_ns, now);
  const ContainerFacts two = facts(sidecar);
  EXPECT_EQ(two.name, "sidecar");
  EXPECT_EQ(two.pod, one.pod);
  EXPECT_EQ(two.limits, enrich::ContainerLimits{});
  const ContainerFacts sandbox = facts(pod_);
  EXPECT_TRUE(sandbox.is_sandbox());
  EXPECT_FALSE(one.is_sandbox());
  EXPECT_EQ(node_->labels(app), "comm=sleep container=app namespace=shop pod=web-0");
  EXPECT_EQ(node_->labels(sidecar), "comm=sleep container=sidecar namespace=shop pod=web-0");
  EXPECT_EQ(node_->labels(pod_), "comm=sleep container=POD namespace=shop pod=web-0");
}

TEST_F(Pods, AnInitContainerEndsAndTheMainOneStarts) {
  const std::string init = start("init", {"/bin/busybox", "true"});
  const auto exit = end_of(init);
  EXPECT_EQ(exit.facts.name, "init");
  EXPECT_EQ(exit.code, 0);
  EXPECT_EQ(exit.reason, "Completed");
  EXPECT_GT(exit.finished_ns, exit.facts.created_ns);
  const std::string main = start("main");
  EXPECT_EQ(node_->labels(main), "comm=sleep container=main namespace=shop pod=web-0");
  EXPECT_EQ(node_->exits(), 1U);
}

TEST_F(Pods, ARestartHasANewIdAndTheSameName) {
  const std::string first = start("app");
  EXPECT_EQ(facts(first).restart_count, 0U);
  ASSERT_TRUE(admin_->stop(first));
  const auto exit = node_->exit_of(first);
  EXPECT_EQ(exit.code, 137);
  EXPECT_EQ(exit.reason, "Error");
  const std::string second =
      admin_->run(pod_, {.name = "app", .image = std::string(kImage), .attempt = 1});
  ASSERT_NE(second, first);
  EXPECT_EQ(facts(second).restart_count, 1U);
  EXPECT_EQ(node_->labels(second), "comm=sleep container=app namespace=shop pod=web-0");
  ASSERT_TRUE(admin_->remove(first));
  node_->poll();
  EXPECT_EQ(node_->exits(), 1U);
}

TEST_F(Pods, ACommandInAContainerIsTheContainers) {
  const std::string app = start("app");
  const std::string cgroup = admin_->exec(app, {"/bin/busybox", "cat", "/proc/self/cgroup"});
  EXPECT_FALSE(cgroup.empty());
  std::thread exec([&] { admin_->exec(app, {"/bin/busybox", "sleep", "3"}); });
  EXPECT_EQ(node_->labels(app, "busybox"), "comm=busybox container=app namespace=shop pod=web-0");
  exec.join();
}

TEST_F(Pods, AShortLifeIsKnownAndCounted) {
  const std::string id = start("blink", {"/bin/busybox", "usleep", "50000"});
  node_->want(id, Runtime::containerd);  // the kernel's word for it
  EXPECT_EQ(end_of(id).reason, "Completed");
  EXPECT_EQ(node_->exit_of(id).facts.name, "blink");
  EXPECT_EQ(node_->exits(), 1U);
}

TEST_F(Pods, AnExitHasItsCode) {
  const auto exit = end_of(start("job", {"/bin/busybox", "sh", "-c", "exit 3"}));
  EXPECT_EQ(exit.code, 3);
  EXPECT_EQ(exit.reason, "Error");
}

TEST_F(Pods, AnOutOfMemoryKillIsTold) {
  const std::string id = admin_->run(
      pod_, {.name = "hog",
             .image = std::string(kImage),
             .command = {"/bin/busybox", "sh", "-c", "x=a; while true; do x=$x$x; done"},
             .memory_bytes = 16 << 20});
  const auto exit = end_of(id);
  EXPECT_EQ(exit.code, 137);
  EXPECT_EQ(exit.reason, "OOMKilled");
}

TEST_F(Pods, ContainerdGoesAndComesBack) {
  const std::string before = start("before");
  EXPECT_EQ(facts(before).name, "before");
  const auto stream = node_->state().stream;
  EXPECT_TRUE(stream == enrich::StreamState::unsupported ||
              stream == enrich::StreamState::streaming);
  containerd_.reset();  // SIGTERM; the containers live on
  node_->want("nobody", Runtime::containerd);
  EXPECT_TRUE(wait_for([&] {
    node_->poll();
    node_->want("nobody", Runtime::containerd);
    return !node_->state().present || !node_->state().healthy;
  }));
  EXPECT_EQ(node_->labels(before),
            "comm=sleep container=before namespace=shop pod=web-0");  // what is known stays
  const std::uint64_t lists = node_->state().lists;
  ASSERT_TRUE(start_containerd());
  EXPECT_TRUE(wait_for([&] { return node_->state().lists > lists; }));
  EXPECT_TRUE(node_->state().healthy);
  admin_.emplace(socket_, directory_.path("logs"));
  const std::string pod = admin_->run_pod({.name = "web-1", .uid = "uid-2"});
  const std::string after = admin_->run(pod, {.name = "after", .image = std::string(kImage)});
  EXPECT_EQ(node_->labels(after), "comm=sleep container=after namespace=shop pod=web-1");
  EXPECT_EQ(facts(after).pod.name, "web-1");
  EXPECT_EQ(node_->exits(), 0U);
  EXPECT_TRUE(admin_->end_pod(pod));
}

}  // namespace
}  // namespace tarsier
