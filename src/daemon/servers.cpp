// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/servers.h"

#include <fmt/format.h>

#include <cerrno>

#include "base/log.h"
#include "config/listen.h"

namespace tarsier::daemon {
namespace {

constexpr std::string_view kTokenFile = "/run/tarsier/token";

Result<std::optional<api::Listener>> open_http(const config::Config& config) {
  const auto address = config::parse_listen(config.http.listen);
  if (!address) return std::unexpected(address.error());
  if (address->mode == config::ListenAddress::Mode::off) return std::nullopt;
  const bool automatic = address->mode == config::ListenAddress::Mode::automatic;
  const std::string text =
      automatic ? fmt::format("[::]:{}", config::kDefaultHttpPort) : config.http.listen;
  auto listener = api::listen_tcp(text);
  if (!listener && automatic && listener.error().errno_value == EAFNOSUPPORT) {
    listener = api::listen_tcp(fmt::format("0.0.0.0:{}", config::kDefaultHttpPort));
  }
  if (!listener) return std::unexpected(std::move(listener.error()).in("http.listen"));
  return std::optional<api::Listener>(std::move(*listener));
}

std::optional<api::Listener> open_api(const config::Config& config) {
  const auto address = config::parse_listen(config.api.listen);
  if (!address || address->mode == config::ListenAddress::Mode::off) return std::nullopt;
  auto listener = api::listen_tcp(config.api.listen);
  if (listener) return std::move(*listener);
  base::log_warning("api.listen: {}; running without the API on TCP", listener.error().message);
  return std::nullopt;
}

std::optional<api::Listener> open_control(const config::Config& config) {
  if (config.api.socket == "off" || config.api.socket.empty()) return std::nullopt;
  auto listener = api::listen_unix(config.api.socket);
  if (listener) return std::move(*listener);
  base::log_warning("api.socket: {}; running without a control socket", listener.error().message);
  return std::nullopt;
}

Result<api::Auth> api_auth(const config::Config& config) {
  api::Auth auth;
  switch (config.api.auth) {
    case config::ApiAuth::none: auth.kind = api::Auth::Kind::loopback; return auth;
    case config::ApiAuth::mtls: auth.kind = api::Auth::Kind::certificate; return auth;
    case config::ApiAuth::token: break;
  }
  auth.kind = api::Auth::Kind::token;
  auto token = config.api.token_file.empty() ? api::shared_token(std::string(kTokenFile))
                                             : api::token_from_file(config.api.token_file);
  if (!token) return std::unexpected(std::move(token.error()).in("api token"));
  auth.token = std::move(*token);
  return auth;
}

Status add_tls(api::ServerOptions& options, const std::string& certificate, const std::string& key,
               const std::string& client_ca) {
  if (certificate.empty()) return {};
  auto tls = api::read_tls(certificate, key, client_ca);
  if (!tls) return std::unexpected(tls.error());
  options.tls = std::move(*tls);
  return {};
}

Result<api::ServerOptions> http_options(const config::Config& config) {
  api::ServerOptions options;
  options.name = "http";
  if (!config.http.users.empty()) {
    options.auth.kind = api::Auth::Kind::basic;
    options.auth.users = config.http.users;
  }
  if (auto status = add_tls(options, config.http.tls_cert, config.http.tls_key, {}); !status) {
    return std::unexpected(status.error());
  }
  return options;
}

Result<api::ServerOptions> api_options(const config::Config& config) {
  api::ServerOptions options;
  options.name = "api";
  options.check_host = true;
  auto auth = api_auth(config);
  if (!auth) return std::unexpected(auth.error());
  options.auth = std::move(*auth);
  if (auto status = add_tls(options, config.api.tls_cert, config.api.tls_key, config.api.client_ca);
      !status) {
    return std::unexpected(status.error());
  }
  return options;
}

void start_one(std::optional<api::Listener> listener, const api::Routes& routes,
               Result<api::ServerOptions> options,
               std::vector<std::unique_ptr<api::Server>>& servers,
               std::vector<std::string>& listening) {
  if (!listener) return;
  const std::string address = listener->address();
  if (!options) {
    base::log_error("{}: {}; running without it", address, options.error().message);
    return;
  }
  std::vector<api::Listener> listeners;
  listeners.push_back(std::move(*listener));
  auto server = api::Server::start(std::move(listeners), routes, std::move(*options));
  if (!server) {
    base::log_error("{}: {}; running without it", address, server.error().message);
    return;
  }
  servers.push_back(std::move(*server));
  listening.push_back(address);
}

}  // namespace

Result<Sockets> open_sockets(const config::Config& config) {
  Sockets sockets;
  auto http = open_http(config);
  if (!http) return std::unexpected(http.error());
  sockets.http = std::move(*http);
  sockets.api = open_api(config);
  sockets.control = open_control(config);
  return sockets;
}

std::vector<std::unique_ptr<api::Server>> start_all_servers(Sockets sockets,
                                                            const config::Config& config,
                                                            const api::Routes& metrics_routes,
                                                            const api::Routes& api_routes,
                                                            std::vector<std::string>& listening) {
  std::vector<std::unique_ptr<api::Server>> servers;
  start_one(std::move(sockets.http), metrics_routes, http_options(config), servers, listening);
  if (sockets.api) {
    start_one(std::move(sockets.api), api_routes, api_options(config), servers, listening);
  }
  api::ServerOptions control;
  control.name = "control";
  control.workers = 1;
  start_one(std::move(sockets.control), api_routes, control, servers, listening);
  return servers;
}

}  // namespace tarsier::daemon
