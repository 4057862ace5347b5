// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/cri.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

#include "net/cri.grpc.pb.h"
#include "net/test_server.h"

namespace tarsier::net {
namespace {

namespace cri = runtime::v1;
using Clock = std::chrono::steady_clock;
const std::string kId = "3b5a1f0e9c8d7b6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa0099";

// A runtime with one pod: its sandbox, and a container whose image the list gives as an id.
class FakeRuntime final : public cri::RuntimeService::Service {
 public:
  std::atomic<bool> hangs{false};
  std::atomic<int> garbage{0};

  grpc::Status Version(grpc::ServerContext*, const cri::VersionRequest*,
                       cri::VersionResponse* response) override {
    response->set_runtime_name("fake");
    response->set_runtime_version("1.2");
    return grpc::Status::OK;
  }
  grpc::Status ListPodSandbox(grpc::ServerContext* context,
                              const cri::ListPodSandboxRequest* request,
                              cri::ListPodSandboxResponse* response) override {
    if (hangs) return hang(context);
    EXPECT_EQ(request->filter().state().state(), cri::SANDBOX_READY);
    auto* one = response->add_items();
    one->set_id("sandbox1");
    name(*one->mutable_metadata());
    return grpc::Status::OK;
  }
  grpc::Status ListContainers(grpc::ServerContext* context,
                              const cri::ListContainersRequest* request,
                              cri::ListContainersResponse* response) override {
    if (hangs) return hang(context);
    EXPECT_EQ(request->filter().state().state(), cri::CONTAINER_RUNNING);
    auto* one = response->add_containers();
    one->set_id(kId);
    one->mutable_metadata()->set_name("app");
    one->mutable_image()->set_image("sha256:" + kId);
    if (garbage > 0) {
      response->add_containers()->set_id("../../evil");
      for (int i = 0; i < garbage; ++i) {
        auto* other = response->add_containers();
        other->set_id("g" + std::to_string(i));
        other->mutable_metadata()->set_name(std::string(2000, 'x'));
      }
    }
    return grpc::Status::OK;
  }
  grpc::Status ContainerStatus(grpc::ServerContext* context,
                               const cri::ContainerStatusRequest* request,
                               cri::ContainerStatusResponse* response) override {
    if (hangs) return hang(context);
    if (request->container_id() != kId) return {grpc::NOT_FOUND, "no\nsuch container"};
    ++statuses;
    EXPECT_TRUE(request->verbose());
    describe(*response->mutable_status());
    (*response->mutable_info())["info"] =
        R"({"sandboxID":"sandbox1","pid":7,"runtimeSpec":{"linux":{"resources":{
           "memory":{"limit":67108864},"cpu":{"shares":2,"quota":25000,"period":100000}}}}})";
    return grpc::Status::OK;
  }
  grpc::Status PodSandboxStatus(grpc::ServerContext*, const cri::PodSandboxStatusRequest* request,
                                cri::PodSandboxStatusResponse* response) override {
    if (request->pod_sandbox_id() != "sandbox1") return {grpc::NOT_FOUND, "no such sandbox"};
    response->mutable_status()->set_id("sandbox1");
    name(*response->mutable_status()->mutable_metadata());
    return grpc::Status::OK;
  }
  // Tells of the start and the end of the container, of garbage, and then no more.
  grpc::Status GetContainerEvents(
      grpc::ServerContext* context, const cri::GetEventsRequest*,
      grpc::ServerWriter<cri::ContainerEventResponse>* writer) override {
    cri::ContainerEventResponse event;
    event.set_container_id(kId);
    event.set_created_at(25);
    event.set_container_event_type(cri::CONTAINER_STARTED_EVENT);
    event.mutable_pod_sandbox_status()->set_id("sandbox1");
    name(*event.mutable_pod_sandbox_status()->mutable_metadata());
    describe(*event.add_containers_statuses());
    writer->Write(event);
    event.set_container_id("../../evil");
    writer->Write(event);
    event.set_container_id(kId);
    event.set_container_event_type(cri::CONTAINER_STOPPED_EVENT);
    exited = true;
    describe(*event.mutable_containers_statuses(0));
    writer->Write(event);
    return ends ? grpc::Status::OK : hang(context);
  }
  std::atomic<bool> exited{false}, ends{false};
  std::atomic<int> statuses{0};

 private:
  static void name(cri::PodSandboxMetadata& metadata) {
    metadata.set_name("web-0");
    metadata.set_namespace_("shop");
    metadata.set_uid("uid-1");
  }
  void describe(cri::ContainerStatus& status) const {
    status.set_id(kId);
    status.mutable_metadata()->set_name("app");
    status.mutable_metadata()->set_attempt(1);
    status.mutable_image()->set_image("docker.io/library/app:2");
    status.set_image_ref("docker.io/library/app@sha256:" + kId);
    status.set_state(exited ? cri::CONTAINER_EXITED : cri::CONTAINER_RUNNING);
    status.set_created_at(10);
    status.set_started_at(20);
    if (exited) {
      status.set_finished_at(30);
      status.set_exit_code(137);
      status.set_reason("OOMKilled");
    }
    (*status.mutable_labels())["tier"] = "web";
    (*status.mutable_labels())["io.cri-containerd.kind"] = "container";
  }
  static grpc::Status hang(grpc::ServerContext* context) {
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return grpc::Status::CANCELLED;
  }
};

class Cri : public testing::Test {
 protected:
  ~Cri() override { stop(); }
  // What FakeRuntime says of its container.
  static RuntimeContainer app() {
    RuntimeContainer container;
    container.id = kId;
    container.name = "app";
    container.image = "docker.io/library/app:2";
    container.image_digest = "sha256:" + kId;
    container.labels = {{"tier", "web"}};
    container.sandbox_id = "sandbox1";
    container.pod = {"uid-1", "web-0", "shop"};
    container.created_ns = 10;
    container.complete = true;
    container.started_ns = 20;
    container.restart_count = 1;
    container.limits = {64 << 20, 0.25};
    return container;
  }
  void start(grpc::Service& service) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + path_, grpc::InsecureServerCredentials());
    builder.RegisterService(&service);
    builder.SetMaxSendMessageSize(-1);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }
  TestDirectory directory_;
  std::string path_ = directory_.path("cri.sock");
  FakeRuntime runtime_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(Cri, SaysItsVersion) {
  start(runtime_);
  CriClient client(path_);
  EXPECT_TRUE(client.present());
  const auto version = client.version();
  ASSERT_TRUE(version) << version.error().message;
  EXPECT_EQ(version->runtime, "fake");
  EXPECT_EQ(version->version, "1.2");
}

TEST_F(Cri, ListsContainersAndSandboxes) {
  start(runtime_);
  CriClient client(path_);
  const auto list = client.list();
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->size(), 2U);
  RuntimeContainer sandbox;
  sandbox.id = sandbox.sandbox_id = "sandbox1";
  sandbox.name = "POD";
  sandbox.pod = {"uid-1", "web-0", "shop"};
  sandbox.complete = true;
  EXPECT_EQ(list->at(0), sandbox);
  EXPECT_EQ(list->at(1), app());
  EXPECT_EQ(runtime_.statuses, 1);
  ASSERT_TRUE(client.list());
  EXPECT_EQ(runtime_.statuses, 1);  // the name of an image is asked for once
}

TEST_F(Cri, GetsAllFacts) {
  start(runtime_);
  CriClient client(path_);
  const auto one = client.get(kId);
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(*one, app());
  runtime_.exited = true;
  const auto ended = client.get(kId);
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->state, RuntimeState::exited);
  EXPECT_EQ(ended->exit, (RuntimeExit{137, "OOMKilled", 30}));
}

TEST_F(Cri, GetsOne) {
  start(runtime_);
  CriClient client(path_);
  EXPECT_EQ(client.get(kId)->name, "app");
  EXPECT_EQ(client.get("sandbox1")->name, "POD");
  const auto nobody = client.get("nobody");
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, ErrorCode::not_found);
  EXPECT_EQ(client.get("bad/id").error().code, ErrorCode::not_found);
}

TEST_F(Cri, NobodyThereIsSaid) {
  CriClient client(path_, 300);
  EXPECT_FALSE(client.present());
  const auto list = client.list();
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::unavailable);
  EXPECT_NE(list.error().message.find(path_), std::string::npos);
}

TEST_F(Cri, AHangingRuntimeCostsTheTimeoutAndNoMore) {
  runtime_.hangs = true;
  start(runtime_);
  CriClient client(path_, 200);
  const auto begin = Clock::now();
  const auto list = client.list();
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(800));
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::unavailable) << list.error().message;
}

TEST_F(Cri, ASocketThatSaysNothingCostsTheTimeoutAndNoMore) {
  const TestServer mute(path_, [](Connection& connection) { connection.hang(); });
  CriClient client(path_, 200);
  const auto begin = Clock::now();
  EXPECT_EQ(client.get(kId).error().code, ErrorCode::unavailable);
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(800));
}

TEST_F(Cri, GarbageIsAnError) {
  const TestServer liar(path_, [](Connection& connection) { connection.answer(200, "[]"); });
  CriClient client(path_, 300);
  const auto list = client.list();
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().message.find('\n'), std::string::npos);
}

// containerd with its CRI plugin switched off, as beside Docker.
class WithoutCri final : public cri::RuntimeService::Service {
 public:
  std::atomic<int> asked{0};
  grpc::Status ListPodSandbox(grpc::ServerContext*, const cri::ListPodSandboxRequest*,
                              cri::ListPodSandboxResponse*) override {
    ++asked;
    return {grpc::UNIMPLEMENTED, "unknown service runtime.v1.RuntimeService"};
  }
};

TEST_F(Cri, ARuntimeWithoutCriIsAskedOnce) {
  WithoutCri runtime;
  start(runtime);
  CriClient client(path_);
  for (int i = 0; i < 3; ++i) {
    const auto list = client.list();
    ASSERT_TRUE(list) << list.error().message;
    EXPECT_TRUE(list->empty());
    EXPECT_EQ(client.get(kId).error().code, ErrorCode::not_found);
  }
  EXPECT_EQ(runtime.asked, 1);
  stop();
  start(runtime);  // a new socket is a new runtime
  EXPECT_TRUE(client.list());
  EXPECT_EQ(runtime.asked, 2);
  stop();
}

TEST_F(Cri, ARuntimeThatCameBackIsAskedAgain) {
  start(runtime_);
  CriClient client(path_, 3'000);
  ASSERT_TRUE(client.list());
  stop();
  EXPECT_FALSE(client.get(kId));
  FakeRuntime again;
  start(again);
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  while (!client.get(kId) && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(client.get(kId));
  stop();
}

TEST_F(Cri, WhatItSaysIsBounded) {
  runtime_.garbage = 3'000;
  start(runtime_);
  CriClient client(path_, 5'000);
  const auto list = client.list();
  ASSERT_TRUE(list) << list.error().message;
  EXPECT_EQ(list->size(), 3'002U);
  EXPECT_EQ(list->back().name.size(), 512U);
  runtime_.garbage = 10'000;  // 20 MB
  const auto huge = client.list();
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, ErrorCode::limit_reached) << huge.error().message;
}

// Waits until as many events are there, or the stream is over; at most 5 s.
Status wait_for_events(RuntimeEvents& stream, std::vector<RuntimeEvent>& events,
                       std::size_t count) {
  const auto deadline = Clock::now() + std::chrono::seconds(5);
  Status status;
  while (status && events.size() < count && Clock::now() < deadline) {
    status = stream.wait(100, events);
  }
  return status;
}

TEST_F(Cri, TellsWhatHappens) {
  start(runtime_);
  auto stream = CriClient(path_).watch();
  ASSERT_TRUE(stream);
  std::vector<RuntimeEvent> events;
  const auto status = wait_for_events(**stream, events, 2);
  ASSERT_TRUE(status) << status.error().message;
  ASSERT_EQ(events.size(), 2U);
  EXPECT_TRUE((*stream)->answered());
  EXPECT_EQ(events[0].kind, RuntimeEvent::Kind::started);
  EXPECT_EQ(events[0].time_ns, 25);
  ASSERT_TRUE(events[0].container);
  RuntimeContainer started = app();
  started.limits = {};
  started.complete = false;  // no resources in the status: get() is needed for them
  EXPECT_EQ(*events[0].container, started);
  EXPECT_EQ(events[1].kind, RuntimeEvent::Kind::ended);
  EXPECT_EQ(events[1].exit_code, 137);
  EXPECT_EQ(events[1].container->exit, (RuntimeExit{137, "OOMKilled", 30}));
  EXPECT_EQ((*stream)->take_losses(), 1U);  // the event of "../../evil"
  EXPECT_EQ((*stream)->take_losses(), 0U);
  const auto begin = Clock::now();
  stream->reset();  // while the runtime hangs
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(500));
}

TEST_F(Cri, AStreamThatEndsIsAnError) {
  runtime_.ends = true;
  start(runtime_);
  auto stream = CriClient(path_).watch();
  std::vector<RuntimeEvent> events;
  const auto status = wait_for_events(**stream, events, 3);
  EXPECT_EQ(events.size(), 2U);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::unavailable) << status.error().message;
}

TEST_F(Cri, ARuntimeWithoutEventsSaysSo) {
  WithoutCri runtime;
  start(runtime);
  auto stream = CriClient(path_).watch();
  std::vector<RuntimeEvent> events;
  const auto status = wait_for_events(**stream, events, 1);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::not_found) << status.error().message;
  stream->reset();
  stop();
}

TEST_F(Cri, NobodyToListenTo) {
  std::vector<RuntimeEvent> events;
  auto stream = CriClient(path_).watch();
  const auto status = wait_for_events(**stream, events, 1);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::unavailable) << status.error().message;
  const TestServer mute(path_, [](Connection& connection) { connection.hang(); });
  auto silent = CriClient(path_).watch();
  EXPECT_TRUE((*silent)->wait(50, events));
  EXPECT_FALSE((*silent)->answered());
  const auto begin = Clock::now();
  silent->reset();
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(500));
}

}  // namespace
}  // namespace tarsier::net
