// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A server with routes that the tests of this room share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "api/server.h"
#include "api/test_client.h"

namespace tarsier::api::testing {

inline std::size_t number(const Request& request, std::string_view key) {
  return static_cast<std::size_t>(
      std::atoll(std::string(request.parameter(key).value_or("0")).c_str()));
}

// What the handlers share with the test.
struct Probe {
  std::atomic<std::uint64_t> generated{0};  // bytes that generators gave out
  std::atomic<int> asked{0};                // calls of the /later generator
  std::atomic<bool> ready{false};           // /later may go on
  std::atomic<int> slow{0};                 // calls of the /slow handler
  std::atomic<int> streams{0};              // living generators
};

struct Alive {
  explicit Alive(Probe& p) : probe(p) { ++probe.streams; }
  ~Alive() { --probe.streams; }
  Alive(const Alive&) = delete;
  Alive& operator=(const Alive&) = delete;
  Probe& probe;
};

// The byte at position i tells i, so that loss and disorder show.
inline std::string pattern(std::size_t from, std::size_t size) {
  constexpr std::size_t kPeriod = 23;
  static const std::string kBlock = [] {
    std::string block;
    for (std::size_t i = 0; i < kMaxChunkBytes + kPeriod; ++i) {
      block.push_back(static_cast<char>('a' + i % kPeriod));
    }
    return block;
  }();
  std::string out;
  while (out.size() < size) {
    out.append(kBlock, (from + out.size()) % kPeriod, std::min(size - out.size(), kMaxChunkBytes));
  }
  return out;
}

inline Stream pattern_stream(Probe& probe, std::size_t size) {
  return [&probe, size, at = std::size_t{0},
          alive = std::make_shared<Alive>(probe)](std::string& chunk) mutable {
    const std::size_t n = std::min(size - at, kMaxChunkBytes);
    chunk = pattern(at, n);
    at += n;
    probe.generated += n;
    return at < size;
  };
}

inline bool is_pattern(const std::string& body, std::size_t size) {
  return body.size() == size && body == pattern(0, size);
}

// How much longer things may take in a sanitized build.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr double kPatience = 10;
#else
inline constexpr double kPatience = 1;
#endif

inline Routes test_routes(Probe& probe) {
  Routes routes;
  const auto text = [](std::string body) {
    Response response;
    response.body = std::move(body);
    return response;
  };
  routes.add("GET", "/hello", [text](const Request&) { return text("hello"); });
  routes.add("GET", "/echo/{name}", [text](const Request& request) {
    return text(std::string(request.param("name")) + "|" +
                std::string(request.parameter("q").value_or("-")) + "|" + request.peer.address);
  });
  routes.add("POST", "/body", [text](const Request& request) { return text(request.body); });
  routes.add("GET", "/stream", [&probe](const Request& request) {
    Response response;
    response.stream = pattern_stream(probe, number(request, "bytes"));
    return response;
  });
  routes.add("GET", "/whole",
             [text](const Request& request) { return text(pattern(0, number(request, "bytes"))); });
  routes.add("GET", "/slow", [&probe, text](const Request& request) {
    ++probe.slow;
    std::this_thread::sleep_for(std::chrono::milliseconds(number(request, "ms")));
    return text("slow");
  });
  routes.add("GET", "/throw", [](const Request&) -> Response { throw std::runtime_error("oops"); });
  routes.add("GET", "/cut", [](const Request&) {
    Response response;
    response.stream = [calls = 0](std::string& chunk) mutable -> bool {
      if (++calls > 1) throw std::runtime_error("oops");
      chunk.assign(kMaxChunkBytes, 'x');
      return true;
    };
    return response;
  });
  routes.add("GET", "/later", [&probe](const Request&) {
    Response response;
    response.stream = [&probe, alive = std::make_shared<Alive>(probe)](std::string& chunk) {
      ++probe.asked;
      if (!probe.ready) return true;
      chunk = "now";
      return false;
    };
    return response;
  });
  return routes;
}

// A server on a free loopback port with short time-outs.
class TestServer {
 public:
  static ServerOptions quick() {
    ServerOptions options;
    options.name = "test";
    options.max_per_client = options.max_connections;
    return options;
  }
  explicit TestServer(ServerOptions options = quick(), const std::string& address = "127.0.0.1:0") {
    std::vector<Listener> listeners;
    auto listener = address.starts_with('/') ? listen_unix(address) : listen_tcp(address);
    if (!listener) {
      ADD_FAILURE() << listener.error().message;
      return;
    }
    listeners.push_back(std::move(*listener));
    auto started = Server::start(std::move(listeners), test_routes(probe), std::move(options));
    if (!started) {
      ADD_FAILURE() << started.error().message;
      return;
    }
    server = std::move(*started);
  }
  [[nodiscard]] std::string address() const { return server->addresses()[0]; }
  [[nodiscard]] Client client(int receive_buffer = 0) const {
    return Client(address(), receive_buffer);
  }

  Probe probe;
  std::unique_ptr<Server> server;
};

}  // namespace tarsier::api::testing
