// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "net/cri.h"
#include "net/cri_channel.h"
#include "net/cri_convert.h"

namespace tarsier::net {
namespace {

namespace cri = runtime::v1;

RuntimeEvent::Kind kind_of(cri::ContainerEventType type) {
  switch (type) {
    case cri::CONTAINER_CREATED_EVENT: return RuntimeEvent::Kind::created;
    case cri::CONTAINER_STARTED_EVENT: return RuntimeEvent::Kind::started;
    case cri::CONTAINER_STOPPED_EVENT: return RuntimeEvent::Kind::ended;
    case cri::CONTAINER_DELETED_EVENT: return RuntimeEvent::Kind::removed;
    default: return RuntimeEvent::Kind::changed;
  }
}

// The event comes with the statuses of the pod's containers; ours is one of them, or the sandbox.
RuntimeEvent event_of(const cri::ContainerEventResponse& response) {
  RuntimeEvent event;
  event.kind = kind_of(response.container_event_type());
  event.id = response.container_id();
  event.time_ns = std::max<std::int64_t>(response.created_at(), 0);
  const cri::PodSandboxStatus& sandbox = response.pod_sandbox_status();
  if (sandbox.id() == event.id) event.container = from_status(sandbox);
  for (const cri::ContainerStatus& status : response.containers_statuses()) {
    if (status.id() != event.id) continue;
    event.container = from_status(status);
    if (is_container_id(sandbox.id())) event.container->sandbox_id = sandbox.id();
    if (response.has_pod_sandbox_status()) event.container->pod = pod_of(sandbox.metadata());
  }
  if (event.container && event.container->exit) event.exit_code = event.container->exit->code;
  return event;
}

// One operation is under way at any time: start, then reads, then finish.
class CriEvents final : public RuntimeEvents {
 public:
  explicit CriEvents(std::string socket)
      : socket_(std::move(socket)), stub_(cri::RuntimeService::NewStub(cri_channel(socket_))) {
    reader_ = stub_->AsyncGetContainerEvents(&context_, {}, &queue_, this);
  }
  ~CriEvents() override {
    // Cancelled, what is under way comes back at once.
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  CriEvents(const CriEvents&) = delete;
  CriEvents& operator=(const CriEvents&) = delete;

  Status wait(int timeout_ms, std::vector<RuntimeEvent>& events) override {
    auto until = std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms);
    for (std::size_t taken = 0; taken < kMaxEventsAtOnce;) {
      void* tag = nullptr;
      bool ok = false;
      const auto next = queue_.AsyncNext(&tag, &ok, until);
      if (next != grpc::CompletionQueue::GOT_EVENT) return {};
      if (phase_ == Phase::finish) {
        return cri_error(status_, fmt::format("watch the containers of {}", socket_));
      }
      if (ok && phase_ == Phase::read) {
        take(events);
        ++taken;
        until = std::chrono::system_clock::now();  // what else is there already
      }
      proceed(ok);
    }
    return {};
  }
  [[nodiscard]] bool answered() const override { return phase_ == Phase::read; }
  std::size_t take_losses() override { return std::exchange(losses_, 0); }

 private:
  enum class Phase : std::uint8_t { start, read, finish };

  void take(std::vector<RuntimeEvent>& events) {
    if (is_container_id(response_.container_id())) {
      events.push_back(event_of(response_));
    } else {
      ++losses_;
    }
  }
  void proceed(bool ok) {
    phase_ = ok ? Phase::read : Phase::finish;
    if (ok) {
      reader_->Read(&response_, this);
    } else {
      reader_->Finish(&status_, this);
    }
  }

  std::string socket_;
  std::unique_ptr<cri::RuntimeService::Stub> stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReader<cri::ContainerEventResponse>> reader_;
  cri::ContainerEventResponse response_;
  grpc::Status status_;
  Phase phase_ = Phase::start;
  std::size_t losses_ = 0;
};

}  // namespace

Result<std::unique_ptr<RuntimeEvents>> CriClient::watch() const {
  return std::make_unique<CriEvents>(socket());
}

}  // namespace tarsier::net
