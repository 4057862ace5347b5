// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/cri_channel.h"

#include <grpc/support/log.h>

#include "base/log.h"

namespace tarsier::net {
namespace {

constexpr int kMaxMessage = 16 << 20;  // what the kubelet takes

// gRPC writes to standard error by itself; its words are for developers.
void log_of_grpc(gpr_log_func_args* line) {
  base::log_debug("grpc: {}", line->message);
}

}  // namespace

std::shared_ptr<grpc::Channel> cri_channel(const std::string& socket) {
  ::gpr_set_log_function(&log_of_grpc);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessage);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  // containerd checks the authority; a path as gRPC would send it is not a valid one.
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  return grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace tarsier::net
