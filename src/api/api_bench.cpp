// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the server costs: small answers per second and streamed bytes per second over loopback. The
// client runs on the same cores.
#include <benchmark/benchmark.h>

#include "api/server.h"
#include "api/test_client.h"

namespace tarsier::api {
namespace {

std::unique_ptr<Server> bench_server() {
  Routes routes;
  routes.add("GET", "/small", [](const Request&) {
    Response response;
    response.body = "ok";
    return response;
  });
  routes.add("GET", "/stream", [](const Request& request) {
    Response response;
    auto left = static_cast<std::size_t>(
        std::atoll(std::string(request.parameter("bytes").value_or("0")).c_str()));
    response.stream = [left](std::string& chunk) mutable {
      const std::size_t n = std::min(left, kMaxChunkBytes);
      chunk.assign(n, 'x');
      left -= n;
      return left > 0;
    };
    return response;
  });
  std::vector<Listener> listeners;
  auto listener = listen_tcp("127.0.0.1:0");
  if (!listener) return nullptr;
  listeners.push_back(std::move(*listener));
  auto server = Server::start(std::move(listeners), std::move(routes), {});
  return server ? std::move(*server) : nullptr;
}

void small_get_kept_alive(benchmark::State& state) {
  const auto server = bench_server();
  testing::Client client(server->addresses()[0]);
  for (auto _ : state) {
    if (client.get("/small").status != 200) state.SkipWithError("no answer");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(small_get_kept_alive)->UseRealTime();

void small_get_new_connection(benchmark::State& state) {
  const auto server = bench_server();
  for (auto _ : state) {
    testing::Client client(server->addresses()[0]);
    if (client.get("/small").status != 200) state.SkipWithError("no answer");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(small_get_new_connection)->UseRealTime();

void stream_20_mb(benchmark::State& state) {
  const auto server = bench_server();
  testing::Client client(server->addresses()[0]);
  constexpr std::int64_t kBytes = 20'000'000;
  constexpr std::size_t kTail = 7;
  const std::string request =
      "GET /stream?bytes=" + std::to_string(kBytes) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  std::string piece(256 * 1024, '\0');
  for (auto _ : state) {
    client.send(request);
    // Only looked at where the end must be, so that the client costs as little as it can.
    std::string tail;
    while (!tail.ends_with("\r\n0\r\n\r\n")) {
      const ssize_t n = ::recv(client.fd(), piece.data(), piece.size(), 0);
      if (n <= 0) {
        state.SkipWithError("cut");
        return;
      }
      const std::string_view got(piece.data(), static_cast<std::size_t>(n));
      tail.append(got.substr(got.size() - std::min(got.size(), kTail)));
      tail.erase(0, tail.size() - std::min(tail.size(), kTail));
    }
  }
  state.SetBytesProcessed(state.iterations() * kBytes);
}
BENCHMARK(stream_20_mb)->UseRealTime();

}  // namespace
}  // namespace tarsier::api
