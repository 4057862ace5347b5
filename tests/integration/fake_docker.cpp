// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "integration/fake_docker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

namespace tarsier::test {
namespace {

constexpr std::string_view kBegan = "2024-01-01T00:00:00Z";
constexpr std::string_view kEnded = "2024-01-01T00:00:01Z";

}  // namespace

FakeDocker::FakeDocker(const std::string& socket) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int fds[2] = {};
  if (socket.size() >= sizeof address.sun_path || ::pipe2(fds, O_CLOEXEC) != 0) std::abort();
  std::memcpy(address.sun_path, socket.data(), socket.size());
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_.get(), 16) != 0) {
    std::perror(socket.c_str());
    std::abort();
  }
  stop_read_.reset(fds[0]);
  stop_write_.reset(fds[1]);
  thread_ = std::thread([this] { accept_all(); });
}

FakeDocker::~FakeDocker() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  told_.notify_all();
  stop_write_.reset();
  thread_.join();
}

void FakeDocker::accept_all() {
  while (true) {
    pollfd fds[] = {{listener_.get(), POLLIN, 0}, {stop_read_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 || fds[1].revents != 0) break;
    const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    connections_.emplace_back([this, fd] {
      const base::UniqueFd owned(fd);
      net::Connection connection(fd, stop_read_.get());
      serve(connection);
    });
  }
  for (std::thread& connection : connections_) connection.join();
}

void FakeDocker::serve(net::Connection& connection) {
  constexpr std::string_view kOne = "GET /containers/";
  while (true) {
    const std::string head = connection.request();
    if (head.empty()) return;
    if (head.starts_with("GET /events")) return stream(connection);
    if (head.starts_with("GET /containers/json")) {
      if (!connection.answer(200, list())) return;
      continue;
    }
    std::string body;
    if (head.starts_with(kOne)) {
      body = one(head.substr(kOne.size(), head.find('/', kOne.size()) - kOne.size()));
    }
    const bool sent = body.empty() ? connection.answer(404, R"({"message":"No such container"})")
                                   : connection.answer(200, body);
    if (!sent) return;
  }
}

void FakeDocker::stream(net::Connection& connection) {
  std::unique_lock lock(mutex_);
  std::size_t next = events_.size();
  lock.unlock();
  if (!connection.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")) return;
  lock.lock();
  while (true) {
    told_.wait(lock, [&] { return stopping_ || next < events_.size(); });
    if (stopping_) return;
    std::string lines;
    for (; next < events_.size(); ++next) lines += events_[next];
    lock.unlock();
    if (!connection.send(lines)) return;
    lock.lock();
  }
}

void FakeDocker::tell(const std::string& id, std::string_view action) {
  events_.push_back(fmt::format(
      R"({{"Type":"container","Action":"{}","Actor":{{"ID":"{}","Attributes":{{{}"name":"{}"}}}}}})"
      "\n",
      action, id, action == "die" ? R"("exitCode":"0",)" : "", containers_.at(id).name));
  told_.notify_all();
}

void FakeDocker::create(const std::string& id, const std::string& name) {
  const std::scoped_lock lock(mutex_);
  containers_[id].name = name;
  tell(id, "create");
}

void FakeDocker::start(const std::string& id) {
  const std::scoped_lock lock(mutex_);
  containers_.at(id).state = "running";
  tell(id, "start");
}

void FakeDocker::die(const std::string& id) {
  const std::scoped_lock lock(mutex_);
  containers_.at(id).state = "exited";
  tell(id, "die");
}

void FakeDocker::destroy(const std::string& id) {
  const std::scoped_lock lock(mutex_);
  tell(id, "destroy");
  containers_.erase(id);
}

std::string FakeDocker::list() {
  const std::scoped_lock lock(mutex_);
  std::string text;
  for (const auto& [id, container] : containers_) {
    if (container.state != "running") continue;
    fmt::format_to(std::back_inserter(text),
                   R"({}{{"Id":"{}","Names":["/{}"],"Image":"job:1","State":"running"}})",
                   text.empty() ? "" : ",", id, container.name);
  }
  return "[" + text + "]";
}

std::string FakeDocker::one(const std::string& id) {
  const std::scoped_lock lock(mutex_);
  const auto found = containers_.find(id);
  if (found == containers_.end()) return {};
  const auto& [name, state] = found->second;
  return fmt::format(
      R"({{"Id":"{}","Name":"/{}","Created":"{}","State":{{"Status":"{}","StartedAt":"{}",)"
      R"("FinishedAt":"{}","ExitCode":0}},"Config":{{"Image":"job:1"}},"HostConfig":{{}}}})",
      id, name, kBegan, state, kBegan, state == "exited" ? kEnded : "0001-01-01T00:00:00Z");
}

}  // namespace tarsier::test
