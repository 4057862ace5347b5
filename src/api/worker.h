// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One thread with its own event loop of libmicrohttpd, and everything that talks to that library.
// Internal to src/api; only worker.cpp includes the library.
#pragma once

#include <sys/socket.h>

#include <cstdarg>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "api/gate.h"
#include "api/routes.h"
#include "api/server.h"
#include "base/log.h"

struct MHD_Daemon;

namespace tarsier::api {

// What all threads of one server share.
struct Core {
  Core(Routes r, ServerOptions o) : routes(std::move(r)), options(std::move(o)), gate(options) {}
  const Routes routes;
  const ServerOptions options;
  Gate gate;
  std::unique_ptr<PasswordCheck> passwords;  // Auth::Kind::basic
  std::function<void()> wake;                // a stream waits: look at the clock again
  base::RateLimit log_limit;
};

class Worker {
 public:
  static Result<std::unique_ptr<Worker>> start(Core& core, const Tls* tls);
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Takes the descriptor in every case.
  bool add(int fd, const sockaddr* address, socklen_t length);
  // Joins the thread. Gate::stop() came before, so that no connection is suspended.
  void stop();
  // Lets the library look again at a connection that Gate::wait() parked.
  static void wake(void* handle);

 private:
  explicit Worker(Core& core) : core_(core) {}
  static void log(void* self, const char* format, va_list arguments);
  [[nodiscard]] std::string last_message();

  Core& core_;
  MHD_Daemon* daemon_ = nullptr;
  std::mutex mutex_;
  std::string message_;  // what the library said last
};

}  // namespace tarsier::api
