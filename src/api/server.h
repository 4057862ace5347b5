// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The HTTP server of all our endpoints: metrics, API, control socket.
//
// Built so that one slow or hostile client cannot starve the others: workers never wait for a
// client, every phase of a connection has a time-out, and when all places are taken a new client
// gets the place of the one that has kept us waiting longest (gate.h).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/auth.h"
#include "api/http.h"
#include "api/listen.h"
#include "api/routes.h"
#include "tarsier/result.h"

namespace tarsier::api {

// How often a stream that had nothing to say is asked again.
inline constexpr int kStreamPollMs = 20;

// PEM texts. With `client_ca` every client must show a certificate that it signed.
struct Tls {
  std::string certificate, key, client_ca;
};
// Reads the files; an empty `client_ca` path means none.
[[nodiscard]] Result<Tls> read_tls(const std::string& certificate, const std::string& key,
                                   const std::string& client_ca = {});

struct ServerOptions {
  std::string name = "http";  // in log lines
  unsigned workers = 2;       // threads that run handlers
  std::size_t max_connections = 64;
  std::size_t max_per_client = 32;           // of them for one TCP address
  std::uint32_t request_timeout_ms = 5'000;  // from its first byte a request is whole within this
  std::uint32_t idle_timeout_ms = 75'000;    // between two requests on one connection
  std::uint32_t write_stall_ms = 10'000;     // a client takes the next piece of a body within this
  Auth auth;
  std::optional<Tls> tls;               // for the TCP listeners
  bool check_host = false;              // Host and Origin of TCP requests, against DNS rebinding
  std::vector<std::string> host_names;  // further allowed hosts
};

// Numbers since the start. Each way in which a client is not served has its own.
struct ServerStats {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;          // no place could be made
  std::uint64_t evicted = 0;          // lost their place to a newer client
  std::uint64_t accept_failures = 0;  // out of descriptors or memory
  std::uint64_t request_timeouts = 0, idle_timeouts = 0, write_timeouts = 0;
  std::uint64_t requests[6] = {};     // by class of the status: [2] is 2xx; [0] is unused
  std::uint64_t auth_failures = 0;    // 401, 403 of peers and certificates, 429
  std::uint64_t host_refused = 0;     // foreign Host or Origin
  std::uint64_t aborted_streams = 0;  // a generator failed, the client saw a cut body
  std::uint64_t connections = 0;      // now
};

class Server {
 public:
  // Takes the listeners and starts the threads: one that accepts and watches the clock, and the
  // workers. Refuses options that do not fit together: Auth::Kind::loopback on another address,
  // ::certificate without client_ca, a weak password hash, a key that does not fit its certificate.
  static Result<std::unique_ptr<Server>> start(std::vector<Listener> listeners, Routes routes,
                                               ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Closes everything and joins the threads; waits for no client, only for handlers that run.
  void stop();
  // Stops, and gives the listeners back so that a server with other options can go on with them.
  [[nodiscard]] std::vector<Listener> stop_and_release();

  // Any thread.
  [[nodiscard]] ServerStats stats() const;
  [[nodiscard]] const std::string& name() const;  // ServerOptions::name
  // As in Listener::address(), in the order of the listeners.
  [[nodiscard]] std::vector<std::string> addresses() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tarsier::api
