// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// From messages of the CRI to our words. For src/net/cri*.cpp only.
#pragma once

#include <string>

#include "net/cri.grpc.pb.h"
#include "net/runtime_container.h"
#include "tarsier/result.h"

namespace tarsier::net {

[[nodiscard]] std::string fit_cri_text(const std::string& text);
// The kubelet asks for images by their id; what the user wrote is elsewhere then.
[[nodiscard]] bool is_image_id(std::string_view image);

[[nodiscard]] RuntimePod pod_of(const runtime::v1::PodSandboxMetadata& metadata);
[[nodiscard]] RuntimeContainer from_list(const runtime::v1::Container& one);
[[nodiscard]] RuntimeContainer from_list(const runtime::v1::PodSandbox& one);
// Complete where the status has the resources; containerd before 1.7 has them in `info` alone.
[[nodiscard]] RuntimeContainer from_status(const runtime::v1::ContainerStatus& status);
[[nodiscard]] RuntimeContainer from_status(const runtime::v1::PodSandboxStatus& status);

// What a failed call means; `what` says what was tried.
[[nodiscard]] std::unexpected<Error> cri_error(const grpc::Status& status, const std::string& what);

}  // namespace tarsier::net
