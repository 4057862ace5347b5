// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A DNS server of a test's own, in a network namespace of its own, so that port 53 is free.
#pragma once

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace tarsier::test {

inline constexpr std::uint16_t kTypeA = 1, kTypeAaaa = 28;
inline constexpr std::size_t kHeaderBytes = 12;

inline void put16(std::string& to, unsigned value) {
  to.push_back(static_cast<char>(value >> 8U));
  to.push_back(static_cast<char>(value & 0xffU));
}

// One question, recursion desired (RFC 1035, 4.1).
inline std::string dns_query(std::uint16_t id, std::string_view name, std::uint16_t type = kTypeA) {
  std::string message;
  for (const unsigned field : {unsigned{id}, 0x0100U, 1U, 0U, 0U, 0U}) put16(message, field);
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    message.push_back(static_cast<char>(label.size()));
    message.append(label);
    name.remove_prefix(std::min(label.size() + 1, name.size()));
  }
  message.push_back('\0');
  put16(message, type);
  put16(message, 1);  // IN
  return message;
}

// One address; "big." makes 80 of them, "empty." none; "none." makes an error and "query."
// no answer at all, which have one nevertheless.
inline std::string dns_answer(std::string_view query) {
  const std::string_view question =
      query.substr(kHeaderBytes, query.find('\0', kHeaderBytes) + 5 - kHeaderBytes);
  const bool six = question[question.size() - 3] == static_cast<char>(kTypeAaaa);
  const auto asked_for = [&](std::string_view label) {
    return question.substr(1).starts_with(label);
  };
  unsigned count = 1;
  if (asked_for("big")) count = 80;
  if (asked_for("empty")) count = 0;
  std::string message(query.substr(0, 2));
  put16(message, asked_for("none") ? 0x8183U : asked_for("query") ? 0x0180U : 0x8180U);
  for (const unsigned field : {1U, count, 0U, 0U}) put16(message, field);
  message.append(question);
  for (unsigned i = 0; i < count; ++i) {
    put16(message, 0xc000U + kHeaderBytes);  // the name stands there
    put16(message, six ? kTypeAaaa : kTypeA);
    put16(message, 1);
    put16(message, 0);
    put16(message, 300);  // seconds
    put16(message, six ? 16 : 4);
    message.append(six ? std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0')
                       : std::string("\xc0\x00\x02", 3));
    message.push_back(static_cast<char>(i + 1));
  }
  return message;
}

// A loopback address of one family as the socket calls want it.
class Endpoint {
 public:
  Endpoint(int family, std::uint16_t port) {
    storage_.sin6_family = static_cast<sa_family_t>(family);
    storage_.sin6_port = htons(port);
    if (family == AF_INET6) {
      storage_.sin6_addr = in6addr_loopback;
    } else {
      auto* v4 = reinterpret_cast<sockaddr_in*>(&storage_);
      v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      size_ = sizeof *v4;
    }
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t size() const { return size_; }
  [[nodiscard]] int family() const { return storage_.sin6_family; }

 private:
  sockaddr_in6 storage_{};
  socklen_t size_ = sizeof storage_;
};

// Moves this process into a network namespace of its own with a working loopback; false: may not.
inline bool enter_own_network() {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP;
  const bool up = ::ioctl(control, SIOCSIFFLAGS, &request) == 0;
  ::close(control);
  return up;
}

inline std::uint32_t own_netns() {
  struct stat status{};
  return ::stat("/proc/self/ns/net", &status) == 0 ? static_cast<std::uint32_t>(status.st_ino) : 0;
}

// Sockets bound to the ports of both families; empty where one could not be had.
inline std::vector<pollfd> dns_sockets(const std::vector<std::uint16_t>& ports) {
  std::vector<pollfd> sockets;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const std::uint16_t port : ports) {
      const Endpoint local(family, port);
      const int fd = ::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      if (::bind(fd, local.get(), local.size()) != 0) return {};
      sockets.push_back({fd, POLLIN, 0});
    }
  }
  return sockets;
}

// Answers one query after the other until the process is killed.
[[noreturn]] inline void serve_dns(std::vector<pollfd> sockets) {
  while (true) {
    ::poll(sockets.data(), sockets.size(), -1);
    for (const pollfd& one : sockets) {
      if ((one.revents & POLLIN) == 0) continue;
      char query[1024];
      sockaddr_in6 from{};
      socklen_t size = sizeof from;
      const ssize_t length =
          ::recvfrom(one.fd, query, sizeof query, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (length < static_cast<ssize_t>(kHeaderBytes)) continue;
      const std::string answer = dns_answer({query, static_cast<std::size_t>(length)});
      ::sendto(one.fd, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }
}

}  // namespace tarsier::test
