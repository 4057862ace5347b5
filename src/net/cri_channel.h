// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// How a channel to a CRI socket is made. For src/net/cri*.cpp only.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

namespace tarsier::net {

[[nodiscard]] std::shared_ptr<grpc::Channel> cri_channel(const std::string& socket);

}  // namespace tarsier::net
