// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Listening sockets, ready-made for a Server: TCP over IPv4 and IPv6, and AF_UNIX.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "tarsier/result.h"

namespace tarsier::api {

// Connections that wait in the kernel until the server takes them.
inline constexpr int kListenBacklog = 128;
// What the kernel keeps for one client that does not read, in bytes (it doubles the number for its
// own bookkeeping). It is fixed because automatic sizing would go to several MiB for each of them.
inline constexpr int kSendBufferBytes = 256 * 1024;

// A listening socket (non-blocking, close-on-exec). Of an AF_UNIX one the file is removed at the
// end, if it is still the file that was made here.
class Listener {
 public:
  Listener() = default;
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { close(); }

  [[nodiscard]] int fd() const { return fd_.get(); }
  // "127.0.0.1:9921", "[::]:9920" or the path, with the port that the kernel gave for port 0.
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }  // 0 for AF_UNIX
  [[nodiscard]] bool is_unix() const { return unix_; }
  // Whether only this machine can reach it.
  [[nodiscard]] bool is_loopback() const { return loopback_; }
  void close();

 private:
  friend Result<Listener> listen_tcp(std::string_view address);
  friend Result<Listener> listen_unix(const std::string& path);

  base::UniqueFd fd_;
  std::string address_;
  std::uint16_t port_ = 0;
  bool unix_ = false;
  bool loopback_ = false;
  dev_t device_ = 0;  // AF_UNIX: identity of the file
  ino_t inode_ = 0;
};

// Listens on "ADDRESS:PORT" with a numeric address: "127.0.0.1:9921", "[::]:9920" (both families,
// "dual stack"), port 0 for a free one. errno_value of the error is EADDRINUSE where another
// process has the port and EAFNOSUPPORT where the kernel has no IPv6.
[[nodiscard]] Result<Listener> listen_tcp(std::string_view address);

// Listens on a socket file of mode 0600; a missing last directory is made with mode 0755. The file
// of a process that is gone is replaced; a live one never is: the error then has
// ErrorCode::unavailable and errno_value EADDRINUSE, and names --socket.
[[nodiscard]] Result<Listener> listen_unix(const std::string& path);

}  // namespace tarsier::api
