// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/cri_convert.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include "base/text.h"

namespace tarsier::net {
namespace {

namespace cri = runtime::v1;
constexpr std::size_t kMaxErrorText = 200;

std::string image_of(const cri::ImageSpec& spec, const std::string& reference) {
  if (!spec.user_specified_image().empty()) return fit_cri_text(spec.user_specified_image());
  return fit_cri_text(spec.image().empty() ? reference : spec.image());
}

template <class Labels>
void take_labels(const Labels& labels, RuntimeContainer& container) {
  for (const auto& [key, value] : labels) add_label(container, key, value);
  settle_labels(container);
}

std::int64_t time_of(std::int64_t ns) {
  return ns > 0 ? ns : 0;
}

RuntimeState state_of(cri::ContainerState state) {
  switch (state) {
    case cri::CONTAINER_CREATED: return RuntimeState::created;
    case cri::CONTAINER_EXITED: return RuntimeState::exited;
    default: return RuntimeState::running;
  }
}

// What containers and sandboxes have in common.
template <class Message>
RuntimeContainer base_of(const Message& one) {
  RuntimeContainer container;
  if (is_container_id(one.id())) container.id = one.id();
  container.created_ns = time_of(one.created_at());
  return container;
}

template <class Sandbox>
RuntimeContainer sandbox_of(const Sandbox& one) {
  RuntimeContainer container = base_of(one);
  container.name = kSandboxName;
  container.sandbox_id = container.id;
  container.pod = pod_of(one.metadata());
  container.restart_count = one.metadata().attempt();
  container.state =
      one.state() == cri::SANDBOX_READY ? RuntimeState::running : RuntimeState::exited;
  container.complete = true;  // there is no more to know
  take_labels(one.labels(), container);
  return container;
}

ErrorCode code_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::NOT_FOUND:
    case grpc::UNIMPLEMENTED: return ErrorCode::not_found;
    case grpc::OK:
    case grpc::UNAVAILABLE:
    case grpc::DEADLINE_EXCEEDED: return ErrorCode::unavailable;
    case grpc::PERMISSION_DENIED:
    case grpc::UNAUTHENTICATED: return ErrorCode::refused;
    case grpc::RESOURCE_EXHAUSTED: return ErrorCode::limit_reached;
    default: return ErrorCode::failed;
  }
}

}  // namespace

std::string fit_cri_text(const std::string& text) {
  return base::clean_utf8(text, kMaxRuntimeText).text;
}

bool is_image_id(std::string_view image) {
  return image.starts_with("sha256:") ||
         (image.size() == 64 && image.find_first_not_of("0123456789abcdef") == image.npos);
}

RuntimePod pod_of(const cri::PodSandboxMetadata& metadata) {
  return {fit_cri_text(metadata.uid()), fit_cri_text(metadata.name()),
          fit_cri_text(metadata.namespace_())};
}

RuntimeContainer from_list(const cri::Container& one) {
  RuntimeContainer container = base_of(one);
  container.name = fit_cri_text(one.metadata().name());
  container.restart_count = one.metadata().attempt();
  container.image = image_of(one.image(), one.image_ref());
  container.image_digest = digest_of(one.image_ref());
  if (is_container_id(one.pod_sandbox_id())) container.sandbox_id = one.pod_sandbox_id();
  container.state = state_of(one.state());
  take_labels(one.labels(), container);
  return container;
}

RuntimeContainer from_list(const cri::PodSandbox& one) {
  return sandbox_of(one);
}

RuntimeContainer from_status(const cri::ContainerStatus& status) {
  RuntimeContainer container = base_of(status);
  container.name = fit_cri_text(status.metadata().name());
  container.restart_count = status.metadata().attempt();
  container.image = image_of(status.image(), status.image_ref());
  container.image_digest = digest_of(status.image_ref());
  container.state = state_of(status.state());
  container.started_ns = time_of(status.started_at());
  if (container.state == RuntimeState::exited) {
    container.exit =
        RuntimeExit{status.exit_code(), exit_reason(status.reason(), status.exit_code(), false),
                    time_of(status.finished_at())};
  }
  if (status.has_resources()) {
    const cri::LinuxContainerResources& limits = status.resources().linux();
    container.limits.cpu_cores = cpu_cores(limits.cpu_quota(), limits.cpu_period());
    container.limits.memory_bytes =
        static_cast<std::uint64_t>(time_of(limits.memory_limit_in_bytes()));
    container.complete = true;
  }
  take_labels(status.labels(), container);
  return container;
}

RuntimeContainer from_status(const cri::PodSandboxStatus& status) {
  return sandbox_of(status);
}

std::unexpected<Error> cri_error(const grpc::Status& status, const std::string& what) {
  if (status.error_code() == grpc::UNIMPLEMENTED) {
    return fail(ErrorCode::not_found, fmt::format("{}: the runtime does not have that", what));
  }
  const std::string words =
      status.ok()
          ? "the runtime ended it"
          : base::escape_control(base::clean_utf8(status.error_message(), kMaxErrorText).text);
  return fail(code_of(status.error_code()), fmt::format("{}: {}", what, words));
}

}  // namespace tarsier::net
