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
    response->add_items()->set_id("sandbox1");
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
    auto* status = response->mutable_status();
    status->set_id(kId);
    status->mutable_metadata()->set_name("app");
    status->mutable_image()->set_image("docker.io/library/app:2");
    return grpc::Status::OK;
  }
  grpc::Status PodSandboxStatus(grpc::ServerContext*, const cri::PodSandboxStatusRequest* request,
                                cri::PodSandboxStatusResponse* response) override {
    if (request->pod_sandbox_id() != "sandbox1") return {grpc::NOT_FOUND, "no such sandbox"};
    response->mutable_status()->set_id("sandbox1");
    return grpc::Status::OK;
  }

 private:
  static grpc::Status hang(grpc::ServerContext* context) {
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return grpc::Status::CANCELLED;
  }
};

class Cri : public testing::Test {
 protected:
  ~Cri() override { stop(); }
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
  EXPECT_EQ(*list, (std::vector<RuntimeContainer>{{"sandbox1", "POD", ""},
                                                  {kId, "app", "docker.io/library/app:2"}}));
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

}  // namespace
}  // namespace tarsier::net
