// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/files.h"

namespace tarsier::api {
namespace {

struct TcpAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  bool v6 = false;
  bool loopback = false;
};

std::unexpected<Error> bad_address(std::string_view address) {
  return fail(ErrorCode::invalid,
              fmt::format("listen on \"{}\": an address is a numeric host and a port, such as "
                          "127.0.0.1:9921 or [::]:9920 (port 0 takes a free one)",
                          address));
}

Result<TcpAddress> parse_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) return bad_address(text);
  std::string host(text.substr(0, colon));
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size()) return bad_address(text);

  TcpAddress address;
  if (host.starts_with('[') && host.ends_with(']')) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    host = host.substr(1, host.size() - 2);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) != 1) return bad_address(text);
    address.length = sizeof(sockaddr_in6);
    address.v6 = true;
    address.loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    return address;
  }
  if (host == "localhost") host = "127.0.0.1";
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  v4->sin_family = AF_INET;
  v4->sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) != 1) return bad_address(text);
  address.length = sizeof(sockaddr_in);
  address.loopback = (ntohl(v4->sin_addr.s_addr) >> 24U) == 127;
  return address;
}

// "[::]:9920" with the port that the socket really has.
Result<std::uint16_t> bound_port(int fd, std::string_view asked) {
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    return fail_errno(fmt::format("ask for the address of the socket for {}", asked));
  }
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

Status bind_tcp(int fd, const TcpAddress& address, std::string_view text) {
  constexpr int kOn = 1;
  constexpr int kOff = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &kOn, sizeof kOn);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
  if (address.v6 && ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &kOff, sizeof kOff) != 0) {
    return fail_errno(fmt::format("make the socket for {} dual stack", text));
  }
  // Two sockets may bind one port with SO_REUSEADDR as long as none listens, so listen() can be
  // the call that finds the port in use.
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.length) == 0 &&
      ::listen(fd, kListenBacklog) == 0) {
    return {};
  }
  const int error = errno;
  auto failure = fail_errno(fmt::format("listen on {}", text), error);
  if (error == EADDRINUSE) {
    failure.error().message.append(
        ": another process has this port (`ss -ltnp` shows which); stop it or take another port, "
        "0 for a free one");
  } else if (error == EADDRNOTAVAIL) {
    failure.error().message.append(": no interface of this machine has this address");
  } else if (error == EACCES) {
    failure.error().message.append(": ports below 1024 need CAP_NET_BIND_SERVICE");
  }
  return failure;
}

std::unexpected<Error> alive(const std::string& path) {
  return std::unexpected(
      Error{ErrorCode::unavailable,
            fmt::format("listen on {}: a running tarsier answers on this socket; "
                        "stop it, or give this one another with --socket PATH",
                        path),
            EADDRINUSE});
}

// Whether somebody accepts on the socket file; an error where that cannot be known.
Result<bool> somebody_answers(const sockaddr_un& address, const std::string& path) {
  const base::UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail_errno("create a UNIX socket");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return true;
  }
  // A full queue is the sign of a busy process, not of a dead one.
  if (errno == EAGAIN) return true;
  if (errno == ECONNREFUSED || errno == ENOENT) return false;
  return fail_errno(fmt::format("ask whether {} is in use", path));
}

// Makes way for the bind: removes the file of a process that is gone.
Status clear_stale(const sockaddr_un& address, const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(fmt::format("look at {}", path));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail(ErrorCode::refused,
                fmt::format("listen on {}: there is something that is not a socket; move it away, "
                            "or give another path with --socket PATH",
                            path));
  }
  auto answers = somebody_answers(address, path);
  if (!answers) return std::unexpected(std::move(answers.error()));
  if (*answers) return alive(path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail_errno(fmt::format("remove the stale socket {}", path));
  }
  return {};
}

// Two daemons that start together must not remove each other's fresh socket; the lock on the
// directory is held from the look to the listen and vanishes with the descriptor.
Result<base::UniqueFd> lock_directory(const std::string& directory) {
  base::UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(fmt::format("open the directory {}", directory));
  constexpr int kTries = 100;
  constexpr timespec kPause{0, 20'000'000};
  for (int i = 0; i < kTries; ++i) {
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return fail_errno(fmt::format("lock the directory {}", directory));
    }
    ::nanosleep(&kPause, nullptr);
  }
  return fail(ErrorCode::unavailable,
              fmt::format("another process has held the lock on {} for 2 s; find it with `lsof {}`",
                          directory, directory));
}

}  // namespace

Listener::Listener(Listener&& other) noexcept {
  *this = std::move(other);
}

Listener& Listener::operator=(Listener&& other) noexcept {
  if (this == &other) return *this;
  close();
  fd_ = std::move(other.fd_);
  address_ = std::move(other.address_);
  port_ = other.port_;
  unix_ = other.unix_;
  loopback_ = other.loopback_;
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

void Listener::close() {
  if (!fd_) return;
  if (unix_) {
    struct stat info{};
    const bool ours = ::lstat(address_.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) &&
                      info.st_dev == device_ && info.st_ino == inode_;
    if (ours) ::unlink(address_.c_str());
  }
  fd_.reset();
}

Result<Listener> listen_tcp(std::string_view text) {
  const auto address = parse_address(text);
  if (!address) return std::unexpected(address.error());
  Listener listener;
  listener.fd_.reset(
      ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.fd_) return fail_errno(fmt::format("create a socket for {}", text));
  if (auto status = bind_tcp(listener.fd(), *address, text); !status) {
    return std::unexpected(std::move(status.error()));
  }
  auto port = bound_port(listener.fd(), text);
  if (!port) return std::unexpected(std::move(port.error()));
  listener.port_ = *port;
  listener.loopback_ = address->loopback;
  listener.address_ = fmt::format("{}:{}", text.substr(0, text.rfind(':')), *port);
  return listener;
}

Result<Listener> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::invalid,
                fmt::format("listen on \"{}\": the path of a UNIX socket has 1 to {} bytes", path,
                            sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());

  std::string directory = std::filesystem::path(path).parent_path().string();
  if (directory.empty()) directory = ".";
  if (auto status = base::make_parent(path); !status) return std::unexpected(status.error());
  const auto lock = lock_directory(directory);
  if (!lock) return std::unexpected(lock.error());
  if (auto status = clear_stale(address, path); !status) {
    return std::unexpected(std::move(status.error()));
  }

  Listener listener;
  listener.unix_ = true;
  listener.loopback_ = true;
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("create a UNIX socket");
  // The mode of the descriptor becomes the mode of the file, so there is no moment in which
  // somebody else could connect.
  if (::fchmod(fd.get(), 0600) != 0) return fail_errno("set the mode of a UNIX socket");
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(fmt::format("listen on {}", path));
  }
  struct stat info{};
  if (::listen(fd.get(), kListenBacklog) != 0 || ::lstat(path.c_str(), &info) != 0) {
    const int error = errno;
    ::unlink(path.c_str());
    return fail_errno(fmt::format("listen on {}", path), error);
  }
  listener.fd_ = std::move(fd);
  listener.address_ = path;
  listener.device_ = info.st_dev;
  listener.inode_ = info.st_ino;
  return listener;
}

}  // namespace tarsier::api
