// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A raw HTTP client for the tests: sends exactly the bytes it is told and reads with a deadline.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "api/listen.h"
#include "base/fd.h"

namespace tarsier::api::testing {

using namespace std::chrono_literals;
using TestClock = std::chrono::steady_clock;

// Waits for a condition, at most until the deadline.
inline bool eventually(const std::function<bool()>& condition,
                       std::chrono::milliseconds limit = 10s) {
  const auto end = TestClock::now() + limit;
  while (!condition()) {
    if (TestClock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

inline double seconds_since(TestClock::time_point start) {
  return std::chrono::duration<double>(TestClock::now() - start).count();
}

struct Reply {
  int status = 0;         // 0: no reply, the connection ended or the deadline passed
  std::string head;       // status line and headers
  std::string body;       // decoded from chunks
  bool complete = false;  // the body ended as announced
  [[nodiscard]] bool has(std::string_view text) const { return head.find(text) != head.npos; }
};

class Client {
 public:
  explicit Client(const Listener& listener, int receive_buffer = 0) {
    connect_to(listener.is_unix(), listener.address(), listener.port(), receive_buffer);
  }
  explicit Client(const std::string& address, int receive_buffer = 0) {
    const bool is_unix = address.starts_with('/');
    const auto colon = address.rfind(':');
    connect_to(is_unix, address,
               is_unix ? std::uint16_t{0}
                       : static_cast<std::uint16_t>(std::atoi(address.c_str() + colon + 1)),
               receive_buffer);
  }

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }

  // Reads one reply; what follows it stays for the next call.
  Reply receive(std::chrono::milliseconds limit = 10s, bool head_only = false) {
    end_ = TestClock::now() + limit;
    Reply reply;
    if (!read_until("\r\n\r\n")) return reply;
    const auto split = buffer_.find("\r\n\r\n");
    reply.head = buffer_.substr(0, split + 2);
    buffer_.erase(0, split + 4);
    const auto blank = reply.head.find(' ');
    if (!reply.head.starts_with("HTTP/") || blank == std::string::npos) return reply;
    reply.status = std::atoi(reply.head.c_str() + blank);
    if (head_only || reply.status < 200 || reply.status == 204 || reply.status == 304) {
      reply.complete = true;
    } else if (reply.has("Transfer-Encoding: chunked")) {
      read_chunks(reply);
    } else if (const auto at = reply.head.find("Content-Length: "); at != std::string::npos) {
      const auto size = static_cast<std::size_t>(std::atoll(reply.head.c_str() + at + 16));
      reply.complete = read_bytes(size);
      reply.body = buffer_.substr(0, size);
      buffer_.erase(0, size);
    } else {
      while (read_more()) {
      }
      reply.complete = ended_;
      reply.body = std::move(buffer_);
      buffer_.clear();
    }
    return reply;
  }
  Reply ask(std::string_view request, std::chrono::milliseconds limit = 10s) {
    if (!send(request)) return {};
    return receive(limit, request.starts_with("HEAD"));
  }
  Reply get(std::string_view path, std::string_view headers = "") {
    return ask(std::string("GET ")
                   .append(path)
                   .append(" HTTP/1.1\r\nHost: localhost\r\n")
                   .append(headers)
                   .append("\r\n"));
  }

  // Whether the server ended the connection within the limit; reads and forgets what comes.
  bool ended_within(std::chrono::milliseconds limit) {
    end_ = TestClock::now() + limit;
    while (read_more()) buffer_.clear();
    return ended_;
  }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  void connect_to(bool is_unix, const std::string& address, std::uint16_t port, int buffer) {
    sockaddr_storage storage{};
    socklen_t length = 0;
    if (is_unix) {
      auto* to = reinterpret_cast<sockaddr_un*>(&storage);
      to->sun_family = AF_UNIX;
      std::strncpy(to->sun_path, address.c_str(), sizeof to->sun_path - 1);
      length = sizeof *to;
    } else if (address.starts_with("[")) {
      auto* to = reinterpret_cast<sockaddr_in6*>(&storage);
      to->sin6_family = AF_INET6;
      to->sin6_port = htons(port);
      to->sin6_addr = in6addr_loopback;
      length = sizeof *to;
    } else {
      auto* to = reinterpret_cast<sockaddr_in*>(&storage);
      to->sin_family = AF_INET;
      to->sin_port = htons(port);
      to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      length = sizeof *to;
    }
    fd_.reset(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (buffer != 0) ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0;
  }
  bool read_more() {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end_ - TestClock::now());
    if (left.count() < 0) return false;
    pollfd poll{fd_.get(), POLLIN, 0};
    if (::poll(&poll, 1, static_cast<int>(left.count())) <= 0) return false;
    char piece[64 * 1024];
    const ssize_t n = ::recv(fd_.get(), piece, sizeof piece, 0);
    if (n <= 0) {
      ended_ = true;
      return false;
    }
    buffer_.append(piece, static_cast<std::size_t>(n));
    return true;
  }
  bool read_until(std::string_view mark) {
    while (buffer_.find(mark) == std::string::npos) {
      if (!read_more()) return false;
    }
    return true;
  }
  bool read_bytes(std::size_t count) {
    while (buffer_.size() < count) {
      if (!read_more()) return false;
    }
    return true;
  }
  void read_chunks(Reply& reply) {
    while (read_until("\r\n")) {
      const std::size_t size = std::strtoul(buffer_.c_str(), nullptr, 16);
      buffer_.erase(0, buffer_.find("\r\n") + 2);
      if (!read_bytes(size + 2)) return;
      reply.body.append(buffer_, 0, size);
      buffer_.erase(0, size + 2);
      if (size == 0) {
        reply.complete = true;
        return;
      }
    }
  }

  base::UniqueFd fd_;
  std::string buffer_;
  TestClock::time_point end_;
  bool connected_ = false;
  bool ended_ = false;
};

// A directory of the test's own, removed at its end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tarsier-api-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] std::string operator/(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }

 private:
  std::string path_;
};

}  // namespace tarsier::api::testing
