// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A server on a UNIX socket that does with each connection what a test says. For tests only.
#pragma once

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "base/fd.h"

namespace tarsier::net {

class TestDirectory {
 public:
  TestDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tarsier-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TestDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  [[nodiscard]] std::string path(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// One accepted connection, on the server's thread. Waits end when the server stops.
class Connection {
 public:
  Connection(int fd, int stop_fd) : fd_(fd), stop_fd_(stop_fd) {}

  // The head of the next request; empty: the client is gone or the server stops.
  std::string request() {
    std::string head;
    char c = 0;
    while (!head.ends_with("\r\n\r\n")) {
      if (!wait(POLLIN) || ::recv(fd_, &c, 1, 0) != 1) return {};
      head.push_back(c);
    }
    return head;
  }
  // false: the client is gone or the server stops.
  bool send(std::string_view text) {
    while (!text.empty()) {
      if (!wait(POLLOUT)) return false;
      const ssize_t n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  bool answer(int status, std::string_view body) {
    return send("HTTP/1.1 " + std::to_string(status) +
                " X\r\nContent-Type: application/json\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
  }
  // Says nothing until the client is gone or the server stops.
  void hang() {
    char c = 0;
    while (wait(POLLIN) && ::recv(fd_, &c, 1, 0) == 1) {
    }
  }

 private:
  bool wait(short event) {
    pollfd fds[] = {{fd_, event, 0}, {stop_fd_, POLLIN, 0}};
    return ::poll(fds, 2, -1) > 0 && fds[1].revents == 0;
  }
  int fd_;
  int stop_fd_;
};

class TestServer {
 public:
  TestServer(const std::string& path, std::function<void(Connection&)> serve)
      : serve_(std::move(serve)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    int fds[2] = {};
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 16) != 0 || ::pipe(fds) != 0) {
      std::abort();
    }
    stop_read_.reset(fds[0]);
    stop_write_.reset(fds[1]);
    thread_ = std::thread([this] { run(); });
  }
  ~TestServer() {
    stop_write_.reset();
    thread_.join();
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  [[nodiscard]] int connections() const { return connections_; }

 private:
  void run() {
    while (true) {
      pollfd fds[] = {{listener_.get(), POLLIN, 0}, {stop_read_.get(), POLLIN, 0}};
      if (::poll(fds, 2, -1) < 0 || fds[1].revents != 0) return;
      const base::UniqueFd fd(::accept(listener_.get(), nullptr, nullptr));
      ++connections_;
      Connection connection(fd.get(), stop_read_.get());
      serve_(connection);
    }
  }
  std::function<void(Connection&)> serve_;
  base::UniqueFd listener_, stop_read_, stop_write_;
  std::atomic<int> connections_{0};
  std::thread thread_;
};

}  // namespace tarsier::net
