// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/cri.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>

#include <chrono>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "net/cri_channel.h"
#include "net/cri_convert.h"
#include "net/docker_json.h"

namespace tarsier::net {
namespace {

namespace cri = runtime::v1;
using Deadline = std::chrono::system_clock::time_point;

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
  // The image of each listed container that is listed by an image's id, with its digest.
  std::unordered_map<std::string, std::pair<std::string, std::string>> images;

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
  // Where the list has ids of images only, the status may have the name.
  void name_images(std::vector<RuntimeContainer>& all, Deadline until);
};

cri::RuntimeService::Stub& CriClient::Impl::connected() {
  if (stub == nullptr) stub = cri::RuntimeService::NewStub(cri_channel(socket));
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
  return cri_error(status, fmt::format("{} on {}", what, socket));
}

// A verbose answer: the status alone names neither the sandbox nor, before containerd 1.7, the
// limits.
Result<RuntimeContainer> CriClient::Impl::container(std::string_view id, Deadline until) {
  cri::ContainerStatusRequest request;
  cri::ContainerStatusResponse response;
  request.set_container_id(std::string(id));
  request.set_verbose(true);
  if (auto done = call(&cri::RuntimeService::Stub::ContainerStatus, request, response, until,
                       fmt::format("ask for container {}", id));
      !done) {
    return std::unexpected(std::move(done.error()));
  }
  RuntimeContainer container = from_status(response.status());
  container.id = id;
  if (const auto text = response.info().find("info"); text != response.info().end()) {
    if (auto info = parse_cri_info(text->second)) {
      container.sandbox_id = std::move(info->sandbox_id);
      if (!container.complete) container.limits = info->limits;
    }
  }
  container.complete = true;
  if (container.pod == RuntimePod{} && !container.sandbox_id.empty()) {
    // Whoever is not the kubelet writes no labels; the sandbox knows.
    if (auto pod = sandbox(container.sandbox_id, until)) container.pod = std::move(pod->pod);
  }
  return container;
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
  RuntimeContainer container = from_status(response.status());
  container.id = container.sandbox_id = id;
  return container;
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
    all.push_back(from_list(one));
  }
  return {};
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
  std::unordered_map<std::string, RuntimePod> pods;
  for (const RuntimeContainer& sandbox : all) pods.emplace(sandbox.id, sandbox.pod);
  for (const cri::Container& one : response.containers()) {
    if (!is_container_id(one.id()) || all.size() >= kMaxListed) continue;
    RuntimeContainer container = from_list(one);
    if (const auto pod = pods.find(container.sandbox_id); pod != pods.end()) {
      container.pod = pod->second;
    }
    all.push_back(std::move(container));
  }
  name_images(all, until);
  return {};
}

void CriClient::Impl::name_images(std::vector<RuntimeContainer>& all, Deadline until) {
  auto before = std::exchange(images, {});
  bool in_time = true;
  for (RuntimeContainer& one : all) {
    if (!is_image_id(one.image)) continue;
    auto known = before.find(one.id);
    if (known == before.end() && in_time) {
      if (auto detail = container(one.id, until)) {
        known = before.emplace(one.id, std::pair(detail->image, detail->image_digest)).first;
        one = std::move(*detail);
      } else {
        // Gone meanwhile is no reason to stop; slowness is: the rest keep their ids for now.
        in_time = detail.error().code == ErrorCode::not_found;
      }
    }
    if (known == before.end()) continue;
    std::tie(one.image, one.image_digest) = known->second;
    images.insert(before.extract(known));
  }
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
  return CriVersion{fit_cri_text(response.runtime_name()),
                    fit_cri_text(response.runtime_version())};
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
