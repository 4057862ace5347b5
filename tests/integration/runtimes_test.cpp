// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Real containerd and real podman: from a process on this node to the name of its container.
#include <gtest/gtest.h>

#include "base/text.h"
#include "integration/cri_admin.h"
#include "integration/runtime_fixtures.h"
#include "net/docker.h"

namespace tarsier {
namespace {

using test::Containerd;
using test::Node;
using test::Peer;
using test::run;
using test::Runtimes;
using test::wait_for;

TEST_F(Containerd, ACriContainerHasItsNameAndImage) {
  import_image();
  test::CriAdmin admin(socket_, directory_.path("logs"));
  const std::string sandbox = admin.run_pod({});
  ASSERT_EQ(sandbox.size(), 64U) << test::tail(directory_.path("log"));
  const std::string container = admin.run(sandbox, {.name = "app", .image = std::string(kImage)});
  ASSERT_EQ(container.size(), 64U) << test::tail(directory_.path("log"));

  net::CriClient client(socket_, 5'000);
  const auto version = client.version();
  ASSERT_TRUE(version);
  EXPECT_EQ(version->runtime, "containerd");
  const auto list = client.list();
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->size(), 2U);
  EXPECT_EQ(list->at(0).id, sandbox);
  EXPECT_EQ(list->at(0).name, "POD");
  EXPECT_EQ(list->at(1).id, container);
  EXPECT_EQ(list->at(1).image, kImage);
  const auto one = client.get(container);
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->name, "app");
  EXPECT_EQ(one->sandbox_id, sandbox);
  EXPECT_EQ(client.get(sandbox)->name, "POD");
  EXPECT_EQ(client.get(std::string(64, '0')).error().code, ErrorCode::not_found);

  Node node(daemon::cri_source("containerd", enrich::Runtime::containerd, socket_));
  EXPECT_EQ(node.labels(container), "comm=sleep container=app namespace=shop pod=web-0");
  EXPECT_EQ(node.labels(sandbox), "comm=sleep container=POD namespace=shop pod=web-0");
  expect_daemon_names(container, "app");

  admin.end_pod(sandbox);
}

TEST_F(Containerd, AContainerOfCtrIsCalledByItsId) {
  const auto started = ctr(
      {"run", "-d", "--rootfs", directory_.path("rootfs"), "tarsier-web1", "/bin/sleep", "300"});
  ASSERT_EQ(started.status, 0) << started.output;
  Node node(daemon::cri_source("containerd", enrich::Runtime::containerd, socket_));
  EXPECT_EQ(node.labels("tarsier-web1"), "comm=sleep container=tarsier-web1");
  EXPECT_EQ(net::CriClient(socket_, 5'000).get("tarsier-web1").error().code, ErrorCode::not_found);
  ctr({"task", "kill", "-s", "KILL", "tarsier-web1"});
  wait_for([&] { return ctr({"task", "delete", "tarsier-web1"}).status == 0; });
  ctr({"container", "delete", "tarsier-web1"});
}

class Podman : public Runtimes {
 protected:
  void SetUp() override {
    Runtimes::SetUp();
    if (!IsSkipped() && !test::find_program("podman")) GTEST_SKIP() << "podman is missing";
  }
  std::vector<std::string> command(std::vector<std::string> arguments) {
    arguments.insert(
        arguments.begin(),
        {"podman", "--root", directory_.path("root"), "--runroot", directory_.path("run"),
         "--tmpdir", directory_.path("tmp"), "--storage-driver", "vfs", "--runtime", "runc",
         "--cgroup-manager", "cgroupfs", "--events-backend", "file"});
    return arguments;
  }
};

TEST_F(Podman, AContainerHasItsName) {
  // Limits are given because podman's default raises them, which needs CAP_SYS_RESOURCE.
  const auto started = run(command({"run", "-d", "--name", "tarsier-web2", "--network", "host",
                                    "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
                                    "--rootfs", directory_.path("rootfs"), "/bin/sleep", "300"}));
  if (started.status != 0) GTEST_SKIP() << "podman cannot run containers here: " << started.output;
  const std::string socket = directory_.path("p.sock");
  const Peer service(command({"system", "service", "--time", "0", "unix://" + socket}),
                     directory_.path("log"));
  net::DockerClient client(socket, 5'000);
  EXPECT_TRUE(wait_for([&] { return client.present() && client.list().has_value(); }))
      << test::tail(directory_.path("log"));
  const auto list = client.list();
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->size(), 1U);
  const std::string id = list->front().id;
  EXPECT_EQ(list->front().name, "tarsier-web2");
  const auto one = client.get(id);
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->name, "tarsier-web2");
  EXPECT_EQ(client.get(std::string(64, '0')).error().code, ErrorCode::not_found);

  Node node(daemon::docker_source("podman", enrich::Runtime::podman, socket));
  EXPECT_EQ(node.labels(id), "comm=sleep container=tarsier-web2");
  run(command({"rm", "-f", "-t", "0", "tarsier-web2"}));
}

TEST_F(Podman, TellsOfRenamesAndExits) {
  const auto podman_run = [&](const std::string& name, const std::vector<std::string>& what) {
    std::vector<std::string> arguments = {
        "run",  "-d",       "--name",           name,       "--network",
        "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"};
    arguments.insert(arguments.end(), what.begin(), what.end());
    const auto done = run(command(arguments));
    return done.status == 0 ? std::string(base::trim(done.output)) : std::string();
  };
  const std::string rootfs = directory_.path("rootfs");
  const std::string web =
      podman_run("before", {"--label", "tier=front", "--memory", "32m", "--cpus", "0.5", "--rootfs",
                            rootfs, "/bin/sleep", "300"});
  if (web.size() != 64) GTEST_SKIP() << "podman cannot run containers here: " << web;
  const std::string socket = directory_.path("p.sock");
  std::optional<Peer> service;
  const auto serve = [&] {
    service.emplace(command({"system", "service", "--time", "0", "unix://" + socket}),
                    directory_.path("log"));
  };
  serve();
  Node node(daemon::docker_source("podman", enrich::Runtime::podman, socket));
  EXPECT_TRUE(wait_for([&] { return node.state().stream == enrich::StreamState::streaming; }))
      << test::tail(directory_.path("log"));
  const auto facts = node.facts(web, enrich::Runtime::podman);
  EXPECT_EQ(facts.name, "before");
  EXPECT_EQ(facts.labels, (std::vector<enrich::Label>{{"tier", "front"}}));
  EXPECT_EQ(facts.limits, (enrich::ContainerLimits{32U << 20U, 0.5}));
  EXPECT_GE(facts.started_ns, facts.created_ns);
  EXPECT_GT(facts.created_ns, 0);

  EXPECT_EQ(run(command({"rename", "before", "after"})).status, 0);
  EXPECT_TRUE(wait_for([&] { return node.facts(web, enrich::Runtime::podman).name == "after"; }));
  EXPECT_GT(node.state().events, 0U);

  const std::string job =
      podman_run("job", {"--rootfs", rootfs, "/bin/busybox", "sh", "-c", "exit 3"});
  ASSERT_EQ(job.size(), 64U) << job;
  const auto exit = node.exit_of(job);
  EXPECT_EQ(exit.facts.name, "job");
  EXPECT_EQ(exit.code, 3);
  EXPECT_EQ(exit.reason, "Error");
  const std::string gone = podman_run("gone", {"--rm", "--rootfs", rootfs, "/bin/busybox", "true"});
  ASSERT_EQ(gone.size(), 64U) << gone;
  EXPECT_EQ(node.exit_of(gone).code, 0);
  EXPECT_EQ(node.exits(), 2U);

  service.reset();
  EXPECT_TRUE(wait_for([&] { return node.state().stream != enrich::StreamState::streaming; }));
  EXPECT_EQ(run(command({"rename", "after", "later"})).status, 0);
  serve();
  EXPECT_TRUE(wait_for([&] { return node.facts(web, enrich::Runtime::podman).name == "later"; }));
  EXPECT_TRUE(wait_for([&] { return node.state().stream == enrich::StreamState::streaming; }));
  run(command({"rm", "-f", "-t", "0", "later", "job"}));
}

}  // namespace
}  // namespace tarsier
