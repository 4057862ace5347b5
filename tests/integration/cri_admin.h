// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Makes pods and containers through a CRI socket, as a kubelet does.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <string>
#include <vector>

#include "integration/cri_admin.pb.h"

namespace tarsier::test {

struct PodSpec {
  std::string name = "web-0";
  std::string uid = "uid-1";
  std::string namespace_name = "shop";
};

struct ContainerSpec {
  std::string name = "app";
  std::string image{};
  std::vector<std::string> command = {"/bin/sleep", "300"};
  unsigned attempt = 0;
  std::vector<std::pair<std::string, std::string>> labels{};
  long memory_bytes = 0;
  double cpu_cores = 0;
};

// A pod in the node's network, because no network plugin is needed for it. Each failure fails the
// test and gives an empty id.
class CriAdmin {
 public:
  CriAdmin(const std::string& socket, std::string log_directory);

  std::string run_pod(const PodSpec& spec);
  std::string create(const std::string& pod, const ContainerSpec& spec);
  bool start(const std::string& container);
  std::string run(const std::string& pod, const ContainerSpec& spec) {
    const std::string id = create(pod, spec);
    start(id);
    return id;
  }
  bool stop(const std::string& container);  // SIGKILL
  bool remove(const std::string& container);
  bool end_pod(const std::string& pod);  // stops and removes it with its containers
  // The output of a command in the container; its exit status must be 0.
  std::string exec(const std::string& container, const std::vector<std::string>& command);

 private:
  bool call(const std::string& method, const google::protobuf::MessageLite& request,
            google::protobuf::MessageLite& response);
  bool call(const std::string& method, const google::protobuf::MessageLite& request) {
    cri::Empty ignored;
    return call(method, request, ignored);
  }

  grpc::GenericStub stub_;
  std::string log_directory_;
  cri::PodSandboxConfig pod_;  // of the last run_pod()
};

}  // namespace tarsier::test
