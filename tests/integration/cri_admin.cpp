// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "integration/cri_admin.h"

#include <gtest/gtest.h>

#include <chrono>
#include <utility>

namespace tarsier::test {
namespace {

std::shared_ptr<grpc::Channel> channel_to(const std::string& socket) {
  grpc::ChannelArguments arguments;
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  return grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

CriAdmin::CriAdmin(const std::string& socket, std::string log_directory)
    : stub_(channel_to(socket)), log_directory_(std::move(log_directory)) {}

bool CriAdmin::call(const std::string& method, const google::protobuf::MessageLite& request,
                    google::protobuf::MessageLite& response) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request.SerializeAsString());
  const grpc::ByteBuffer buffer(&slice, 1);
  const auto rpc =
      stub_.PrepareUnaryCall(&context, "/runtime.v1.RuntimeService/" + method, buffer, &queue);
  rpc->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  rpc->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  EXPECT_TRUE(status.ok()) << method << ": " << status.error_message();
  grpc::Slice whole;
  return status.ok() && answer.DumpToSingleSlice(&whole).ok() &&
         response.ParseFromArray(whole.begin(), static_cast<int>(whole.size()));
}

std::string CriAdmin::run_pod(const PodSpec& spec) {
  pod_.Clear();
  pod_.mutable_metadata()->set_name(spec.name);
  pod_.mutable_metadata()->set_uid(spec.uid);
  pod_.mutable_metadata()->set_namespace_(spec.namespace_name);
  pod_.set_log_directory(log_directory_);
  pod_.mutable_linux()->mutable_security_context()->mutable_namespace_options()->set_network(
      cri::NODE);
  cri::RunPodSandboxRequest request;
  cri::RunPodSandboxResponse response;
  *request.mutable_config() = pod_;
  call("RunPodSandbox", request, response);
  return response.pod_sandbox_id();
}

std::string CriAdmin::create(const std::string& pod, const ContainerSpec& spec) {
  cri::CreateContainerRequest request;
  cri::CreateContainerResponse response;
  request.set_pod_sandbox_id(pod);
  *request.mutable_sandbox_config() = pod_;
  cri::ContainerConfig& config = *request.mutable_config();
  config.mutable_metadata()->set_name(spec.name);
  config.mutable_metadata()->set_attempt(spec.attempt);
  config.mutable_image()->set_image(spec.image);
  for (const std::string& word : spec.command) config.add_command(word);
  for (const auto& [key, value] : spec.labels) (*config.mutable_labels())[key] = value;
  config.set_log_path(spec.name + "-" + std::to_string(spec.attempt) + ".log");
  auto& linux_config = *config.mutable_linux();
  linux_config.mutable_security_context()->mutable_namespace_options()->set_network(cri::NODE);
  if (spec.memory_bytes > 0) {
    linux_config.mutable_resources()->set_memory_limit_in_bytes(spec.memory_bytes);
  }
  if (spec.cpu_cores > 0) {
    linux_config.mutable_resources()->set_cpu_period(100'000);
    linux_config.mutable_resources()->set_cpu_quota(static_cast<long>(spec.cpu_cores * 100'000));
  }
  call("CreateContainer", request, response);
  return response.container_id();
}

bool CriAdmin::start(const std::string& container) {
  cri::StartContainerRequest request;
  request.set_container_id(container);
  return call("StartContainer", request);
}

bool CriAdmin::stop(const std::string& container) {
  cri::StopContainerRequest request;
  request.set_container_id(container);
  return call("StopContainer", request);
}

bool CriAdmin::remove(const std::string& container) {
  cri::RemoveContainerRequest request;
  request.set_container_id(container);
  return call("RemoveContainer", request);
}

bool CriAdmin::end_pod(const std::string& pod) {
  cri::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id(pod);
  cri::RemovePodSandboxRequest remove;
  remove.set_pod_sandbox_id(pod);
  const bool stopped = call("StopPodSandbox", stop);
  return call("RemovePodSandbox", remove) && stopped;
}

std::string CriAdmin::exec(const std::string& container, const std::vector<std::string>& command) {
  cri::ExecSyncRequest request;
  cri::ExecSyncResponse response;
  request.set_container_id(container);
  request.set_timeout(20);
  for (const std::string& word : command) request.add_cmd(word);
  call("ExecSync", request, response);
  EXPECT_EQ(response.exit_code(), 0) << response.stderr();
  return response.stdout();
}

}  // namespace tarsier::test
