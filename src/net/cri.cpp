// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/cri.h"

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>

#include <chrono>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "net/cri.grpc.pb.h"

namespace tarsier::net {
namespace {

namespace cri = runtime::v1;
using Deadline = std::chrono::system_clock::time_point;

constexpr int kMaxMessage = 16 << 20;  // what the kubelet takes
constexpr std::size_t kMaxText = 512;
constexpr std::size_t kMaxErrorText = 200;

// gRPC writes to standard error by itself; its words are for developers.
void log_of_grpc(gpr_log_func_args* line) {
  base::log_debug("grpc: {}", line->message);
}

ErrorCode code_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::NOT_FOUND: return ErrorCode::not_found;
    case grpc::UNAVAILABLE:
    case grpc::DEADLINE_EXCEEDED: return ErrorCode::unavailable;
    case grpc::PERMISSION_DENIED:
    case grpc::UNAUTHENTICATED: return ErrorCode::refused;
    case grpc::RESOURCE_EXHAUSTED: return ErrorCode::limit_reached;
    default: return ErrorCode::failed;
  }
}

std::string fit(const std::string& text) {
  return base::clean_utf8(text, kMaxText).text;
}

// The kubelet asks for images by their id; what the user wrote is elsewhere then.
bool is_image_id(std::string_view image) {
  return image.starts_with("sha256:") ||
         (image.size() == 64 && image.find_first_not_of("0123456789abcdef") == image.npos);
}

std::string image_of(const cri::ImageSpec& spec, const std::string& reference) {
  if (!spec.user_specified_image().empty()) return fit(spec.user_specified_image());
  return fit(spec.image().empty() ? reference : spec.image());
}

// Which file a path names, so that a restarted runtime is recognised; 0: none.
std::uint64_t identity_of(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) return 0;
  const auto stamp = static_cast<std::uint64_t>(status.st_ctim.tv_sec) * 1'000'000'000U +
                     static_cast<std::uint64_t>(status.st_ctim.tv_nsec);
  return (stamp ^ (status.st_ino << 1U)) | 1U;
}

}  // namespace

struct CriClient::Impl {
  std::string socket;
  int timeout_ms = 0;
  std::unique_ptr<cri::RuntimeService::Stub> stub;
  // A containerd that serves Docker alone has no CRI: it is not asked again until it restarts.
  std::uint64_t without_cri = 0;

  [[nodiscard]] Deadline deadline() const {
    return std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms);
  }
  bool has_cri() {
    if (without_cri != 0 && without_cri == identity_of(socket)) return false;
    without_cri = 0;
    return true;
  }
  cri::RuntimeService::Stub& connected();
  // Calls one method; an error says what was tried.
  template <class Request, class Response>
  Status call(grpc::Status (cri::RuntimeService::Stub::*method)(grpc::ClientContext*,
                                                                const Request&, Response*),
              const Request& request, Response& response, Deadline until, std::string_view what);
  Result<RuntimeContainer> container(std::string_view id, Deadline until);
  Result<RuntimeContainer> sandbox(std::string_view id, Deadline until);
  Status add_containers(std::vector<RuntimeContainer>& all, Deadline until);
  Status add_sandboxes(std::vector<RuntimeContainer>& all, Deadline until);
};

cri::RuntimeService::Stub& CriClient::Impl::connected() {
  if (stub == nullptr) {
    ::gpr_set_log_function(&log_of_grpc);
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMaxMessage);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
    // containerd checks the authority; a path as gRPC would send it is not a valid one.
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    stub = cri::RuntimeService::NewStub(
        grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments));
  }
  return *stub;
}

template <class Request, class Response>
Status CriClient::Impl::call(grpc::Status (cri::RuntimeService::Stub::*method)(grpc::ClientContext*,
                                                                               const Request&,
                                                                               Response*),
                             const Request& request, Response& response, Deadline until,
                             std::string_view what) {
  grpc::ClientContext context;
  context.set_deadline(until);
  const grpc::Status status = (connected().*method)(&context, request, &response);
  if (status.ok()) return {};
  if (status.error_code() == grpc::UNIMPLEMENTED) {
    without_cri = identity_of(socket);
    stub.reset();
    return fail(ErrorCode::not_found, fmt::format("{} on {}: there is no CRI v1", what, socket));
  }
  const std::string words =
      base::escape_control(base::clean_utf8(status.error_message(), kMaxErrorText).text);
  return fail(code_of(status.error_code()), fmt::format("{} on {}: {}", what, socket, words));
}

Result<RuntimeContainer> CriClient::Impl::container(std::string_view id, Deadline until) {
  cri::ContainerStatusRequest request;
  cri::ContainerStatusResponse response;
  request.set_container_id(std::string(id));
  if (auto done = call(&cri::RuntimeService::Stub::ContainerStatus, request, response, until,
                       fmt::format("ask for container {}", id));
      !done) {
    return std::unexpected(std::move(done.error()));
  }
  const cri::ContainerStatus& status = response.status();
  return RuntimeContainer{std::string(id), fit(status.metadata().name()),
                          image_of(status.image(), status.image_ref())};
}

Result<RuntimeContainer> CriClient::Impl::sandbox(std::string_view id, Deadline until) {
  cri::PodSandboxStatusRequest request;
  cri::PodSandboxStatusResponse response;
  request.set_pod_sandbox_id(std::string(id));
  if (auto done = call(&cri::RuntimeService::Stub::PodSandboxStatus, request, response, until,
                       fmt::format("ask for pod sandbox {}", id));
      !done) {
    return std::unexpected(std::move(done.error()));
  }
  return RuntimeContainer{std::string(id), std::string(kSandboxName), ""};
}

Status CriClient::Impl::add_containers(std::vector<RuntimeContainer>& all, Deadline until) {
  cri::ListContainersRequest request;
  cri::ListContainersResponse response;
  request.mutable_filter()->mutable_state()->set_state(cri::CONTAINER_RUNNING);
  if (auto done = call(&cri::RuntimeService::Stub::ListContainers, request, response, until,
                       "list the containers");
      !done) {
    return done;
  }
  for (const cri::Container& one : response.containers()) {
    if (!is_container_id(one.id()) || all.size() >= kMaxListed) continue;
    all.push_back({one.id(), fit(one.metadata().name()), image_of(one.image(), one.image_ref())});
    if (!is_image_id(all.back().image)) continue;
    // Where the list has ids only, the status may have the name. As far as the time reaches.
    if (auto detail = container(one.id(), until)) all.back().image = std::move(detail->image);
  }
  return {};
}

Status CriClient::Impl::add_sandboxes(std::vector<RuntimeContainer>& all, Deadline until) {
  cri::ListPodSandboxRequest request;
  cri::ListPodSandboxResponse response;
  request.mutable_filter()->mutable_state()->set_state(cri::SANDBOX_READY);
  if (auto done = call(&cri::RuntimeService::Stub::ListPodSandbox, request, response, until,
                       "list the pod sandboxes");
      !done) {
    return done;
  }
  for (const cri::PodSandbox& one : response.items()) {
    if (!is_container_id(one.id()) || all.size() >= kMaxListed) continue;
    all.push_back({one.id(), std::string(kSandboxName), ""});
  }
  return {};
}

CriClient::CriClient(std::string socket, int timeout_ms) : impl_(std::make_unique<Impl>()) {
  impl_->socket = std::move(socket);
  impl_->timeout_ms = timeout_ms;
}
CriClient::~CriClient() = default;
CriClient::CriClient(CriClient&&) noexcept = default;
CriClient& CriClient::operator=(CriClient&&) noexcept = default;

const std::string& CriClient::socket() const {
  return impl_->socket;
}
bool CriClient::present() const {
  return is_socket(impl_->socket);
}

Result<CriVersion> CriClient::version() {
  cri::VersionRequest request;
  cri::VersionResponse response;
  if (auto done = impl_->call(&cri::RuntimeService::Stub::Version, request, response,
                              impl_->deadline(), "ask for the version");
      !done) {
    return std::unexpected(std::move(done.error()));
  }
  return CriVersion{fit(response.runtime_name()), fit(response.runtime_version())};
}

Result<std::vector<RuntimeContainer>> CriClient::list() {
  std::vector<RuntimeContainer> all;
  if (!impl_->has_cri()) return all;
  const Deadline until = impl_->deadline();
  for (auto add : {&Impl::add_sandboxes, &Impl::add_containers}) {
    auto done = ((*impl_).*add)(all, until);
    if (done) continue;
    if (done.error().code == ErrorCode::not_found) return all;  // no CRI here
    return std::unexpected(std::move(done.error()));
  }
  return all;
}

Result<RuntimeContainer> CriClient::get(std::string_view id) {
  if (!impl_->has_cri() || !is_container_id(id)) {
    return fail(ErrorCode::not_found, fmt::format("ask {}: no such container", impl_->socket));
  }
  const Deadline until = impl_->deadline();
  auto found = impl_->container(id, until);
  if (found || found.error().code != ErrorCode::not_found || !impl_->has_cri()) return found;
  return impl_->sandbox(id, until);
}

}  // namespace tarsier::net
