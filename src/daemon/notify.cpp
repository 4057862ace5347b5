// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/fd.h"

namespace tarsier::daemon {
namespace {

std::string take_environment(const char* name) {
  const char* value = std::getenv(name);
  const std::string text = value == nullptr ? "" : value;
  ::unsetenv(name);
  return text;
}

}  // namespace

Notifier::Notifier() : socket_(take_environment("NOTIFY_SOCKET")) {
  const std::string usec = take_environment("WATCHDOG_USEC");
  std::uint64_t value = 0;
  std::from_chars(usec.data(), usec.data() + usec.size(), value);
  watchdog_ns_ = value * 1'000;
}

void Notifier::send(std::string_view state) const {
  sockaddr_un address{};
  if (socket_.empty() || socket_.size() >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';  // abstract
  const base::UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  (void)::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address), length);
}

}  // namespace tarsier::daemon
