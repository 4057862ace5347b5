// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Tells the service manager how we are: the protocol of sd_notify(3), which its page describes for
// programs that do not want to link libsystemd (docs/decisions/sd-notify.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tarsier::daemon {

class Notifier {
 public:
  // From NOTIFY_SOCKET and WATCHDOG_USEC of the environment, which are then removed from it.
  Notifier();
  // Sends "READY=1" and the like; silent where nobody asked for it.
  void send(std::string_view state) const;
  // How often the service manager wants to hear from us; 0: never.
  [[nodiscard]] std::uint64_t watchdog_ns() const { return watchdog_ns_; }

 private:
  std::string socket_;
  std::uint64_t watchdog_ns_ = 0;
};

}  // namespace tarsier::daemon
