// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/docker.h"

#include <fmt/format.h>

#include <utility>

#include "base/text.h"
#include "net/http_stream.h"

namespace tarsier::net {
namespace {

constexpr std::size_t kMaxErrorText = 200;  // of a runtime's own words in our messages

// {"type":["container"],"event":[…]}: without it each health check of a container is an event. The
// words are Docker's and podman's own.
constexpr std::string_view kEvents =
    "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22create%22%2C"
    "%22start%22%2C%22restart%22%2C%22die%22%2C%22died%22%2C%22oom%22%2C%22rename%22%2C%22update%22"
    "%2C%22destroy%22%2C%22remove%22%5D%7D";

// The answer of a runtime that did not do what was asked, made fit for one line of log.
std::unexpected<Error> refused(const HttpResponse& response, std::string_view what) {
  // While podman removes a container it answers 500, not 404 (seen with 4.3).
  const bool unknown =
      response.status == 404 || response.body.contains(R"("cause":"no such container")");
  const ErrorCode code = unknown ? ErrorCode::not_found : ErrorCode::unavailable;
  return fail(code,
              fmt::format("{}: the runtime answered {} {}", what, response.status,
                          base::escape_control(
                              base::clean_utf8(base::trim(response.body), kMaxErrorText).text)));
}

class DockerEvents final : public RuntimeEvents {
 public:
  explicit DockerEvents(HttpLineStream stream) : stream_(std::move(stream)) {}

  Status wait(int timeout_ms, std::vector<RuntimeEvent>& events) override {
    const std::size_t limit = events.size() + kMaxEventsAtOnce;
    return stream_.read(timeout_ms, [&](std::string_view line) {
      auto event = parse_docker_event(line);
      if (!event || (*event && events.size() >= limit)) {
        ++losses_;
      } else if (*event) {
        events.push_back(std::move(**event));
      }
    });
  }
  [[nodiscard]] bool answered() const override { return stream_.answered(); }
  std::size_t take_losses() override { return std::exchange(losses_, 0) + stream_.take_losses(); }

 private:
  HttpLineStream stream_;
  std::size_t losses_ = 0;
};

}  // namespace

Result<std::vector<RuntimeContainer>> DockerClient::list() {
  const std::string what = fmt::format("list the containers of {}", socket_);
  auto response = http_.get_unix(socket_, "/containers/json", timeout_ms_);
  if (!response) return std::unexpected(std::move(response.error()).in(what));
  if (response->status != 200) {
    auto error = refused(*response, what);
    error.error().code = ErrorCode::unavailable;  // 404: something else listens there
    return error;
  }
  auto containers = parse_docker_list(response->body);
  if (!containers) return std::unexpected(std::move(containers.error()).in(what));
  return containers;
}

Result<RuntimeContainer> DockerClient::get(std::string_view id) {
  if (!is_container_id(id)) return fail(ErrorCode::not_found, "ask for a container: not an id");
  const std::string what = fmt::format("ask {} for container {}", socket_, id);
  auto response = http_.get_unix(socket_, fmt::format("/containers/{}/json", id), timeout_ms_);
  if (!response) return std::unexpected(std::move(response.error()).in(what));
  if (response->status != 200) return refused(*response, what);
  auto container = parse_docker_container(response->body);
  if (!container) return std::unexpected(std::move(container.error()).in(what));
  return container;
}

Result<std::unique_ptr<RuntimeEvents>> DockerClient::watch() const {
  auto stream = HttpLineStream::open(socket_, kEvents);
  if (!stream) return std::unexpected(std::move(stream.error()));
  return std::make_unique<DockerEvents>(std::move(*stream));
}

}  // namespace tarsier::net
