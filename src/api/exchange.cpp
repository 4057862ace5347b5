// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/exchange.h"

#include <fmt/format.h>
#include <gnutls/gnutls.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <exception>

#include "base/text.h"

namespace tarsier::api {
namespace {

Response unauthorized(std::string_view challenge, std::string_view detail) {
  Response response = problem(401, "", detail);
  response.headers.emplace_back("WWW-Authenticate", challenge);
  return response;
}

// What follows "Bearer " or "Basic " in the Authorization header.
std::optional<std::string_view> credentials(const Request& request, std::string_view scheme) {
  const auto header = request.header("Authorization");
  if (!header || header->size() <= scheme.size() || (*header)[scheme.size()] != ' ' ||
      !equal_caseless(header->substr(0, scheme.size()), scheme)) {
    return std::nullopt;
  }
  return base::trim(header->substr(scheme.size()));
}

std::optional<std::string> decode_base64(std::string_view text) {
  std::string copy(text);
  const gnutls_datum_t in{reinterpret_cast<unsigned char*>(copy.data()),
                          static_cast<unsigned>(copy.size())};
  gnutls_datum_t out{};
  if (::gnutls_base64_decode2(&in, &out) != GNUTLS_E_SUCCESS) return std::nullopt;
  std::string decoded(reinterpret_cast<char*>(out.data), out.size);
  ::gnutls_free(out.data);
  return decoded;
}

std::ptrdiff_t count_headers(const Request& request, std::string_view name) {
  return std::ranges::count_if(request.headers,
                               [&](const auto& h) { return equal_caseless(h.first, name); });
}

bool is_token(std::string_view name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";  // RFC 9110 section 5.6.2
  return !name.empty() && std::ranges::all_of(name, [&](unsigned char c) {
    return std::isalnum(c) != 0 || kMarks.find(static_cast<char>(c)) != kMarks.npos;
  });
}

// A message whose end two readers could see in different places is how a request is smuggled past
// a proxy in front of us (RFC 9112 section 6.3); the library takes the first reading.
bool is_unframed(const Request& request) {
  const auto lengths = count_headers(request, "Content-Length");
  const auto encodings = count_headers(request, "Transfer-Encoding");
  if (lengths + encodings > 1) return true;
  if (encodings == 1 && !equal_caseless(*request.header("Transfer-Encoding"), "chunked")) {
    return true;
  }
  return !std::ranges::all_of(request.headers, [](const auto& h) { return is_token(h.first); });
}

std::optional<Response> check_peer(const Peer& peer) {
  if (peer.uid == 0 || peer.uid == ::geteuid()) return std::nullopt;
  return problem(403, "", fmt::format("the control socket is for root; you are uid {}", peer.uid));
}

std::optional<Response> check_token(const Core& core, const Request& request) {
  const auto token = credentials(request, "Bearer");
  if (token && equal_secrets(*token, core.options.auth.token)) return std::nullopt;
  return unauthorized("Bearer realm=\"tarsier\"",
                      token ? "this is not the token of this tarsier"
                            : "send the header `Authorization: Bearer TOKEN`; root finds the token "
                              "in the token file");
}

std::optional<Response> check_password(Core& core, const Request& request) {
  constexpr std::string_view kChallenge = "Basic realm=\"tarsier\", charset=\"UTF-8\"";
  const auto encoded = credentials(request, "Basic");
  if (!encoded) return unauthorized(kChallenge, "a user name and a password are needed");
  const auto pair = decode_base64(*encoded);
  const std::size_t colon = pair ? pair->find(':') : std::string::npos;
  if (colon == std::string::npos || pair->find('\0') != std::string::npos) {
    return unauthorized(kChallenge, "the Authorization header is not base64 of user:password");
  }
  const std::string_view both(*pair);
  switch (core.passwords->check(both.substr(0, colon), both.substr(colon + 1),
                                std::chrono::steady_clock::now())) {
    case PasswordCheck::Verdict::right: return std::nullopt;
    case PasswordCheck::Verdict::wrong: break;
    case PasswordCheck::Verdict::not_now: {
      Response later = problem(429, "", "too many unknown passwords; try again in a second");
      later.headers.emplace_back("Retry-After", "1");
      return later;
    }
  }
  return unauthorized(kChallenge, "the user name or the password is wrong");
}

std::optional<Response> check_credentials(Core& core, const Connection& connection,
                                          const Request& request) {
  if (request.peer.local) return check_peer(request.peer);
  if (connection.tls && !core.options.tls->client_ca.empty() && !connection.certificate_good) {
    return problem(403, "", "a client certificate of the configured authority is needed");
  }
  switch (core.options.auth.kind) {
    case Auth::Kind::open:
    case Auth::Kind::certificate: return std::nullopt;
    case Auth::Kind::loopback:
      if (request.peer.loopback) return std::nullopt;
      return problem(403, "", "this API answers to this machine only");
    case Auth::Kind::token: return check_token(core, request);
    case Auth::Kind::basic: return check_password(core, request);
  }
  return problem(500, "", "");
}

std::optional<Response> check_origin(const Core& core, const Connection& connection,
                                     const Request& request) {
  // A browser cannot open a UNIX socket, and clients of one write what they like into Host.
  if (!core.options.check_host || request.peer.local) return std::nullopt;
  const std::string_view host = request.header("Host").value_or("");
  if (count_headers(request, "Host") != 1 ||
      !host_allowed(host, connection.local_address, core.options.host_names)) {
    return problem(403, "",
                   fmt::format("the Host header \"{}\" is not a name of this server; ask by its "
                               "address, or add the name to the configuration",
                               host));
  }
  const auto origin = request.header("Origin");
  if (count_headers(request, "Origin") > 1 ||
      (origin && !origin_allowed(*origin, host, connection.tls))) {
    return problem(403, "", "requests of web pages from elsewhere are refused");
  }
  return std::nullopt;
}

std::optional<Response> find_route(const Core& core, Exchange& exchange) {
  auto target = parse_target(exchange.raw_target);
  if (!target) {
    const bool too_long = target.error().code == ErrorCode::limit_reached;
    return problem(too_long ? 414 : 400, "", target.error().message);
  }
  exchange.request.query = std::move(target->query);
  exchange.match = core.routes.match(exchange.request.method, target->segments);
  exchange.request.params = std::move(exchange.match.params);
  if (exchange.match.handler != nullptr) return std::nullopt;
  if (exchange.match.allow.empty()) {
    return problem(404, "", fmt::format("there is nothing at {}", exchange.request.path));
  }
  Response response = problem(
      405, "", fmt::format("{} answers to {}", exchange.request.path, exchange.match.allow));
  response.headers.emplace_back("Allow", exchange.match.allow);
  return response;
}

}  // namespace

void examine(Core& core, const Connection& connection, Exchange& exchange) {
  Request& request = exchange.request;
  request.peer = connection.peer;
  request.path = exchange.raw_target.substr(0, exchange.raw_target.find('?'));
  if (is_unframed(request)) {
    exchange.unframed = true;
    exchange.early = problem(400, "", "the headers do not tell where this request ends");
    return;
  }
  // The order matters: a foreign page learns nothing about tokens, an unknown caller nothing about
  // routes.
  exchange.early = check_origin(core, connection, request);
  if (exchange.early) {
    core.gate.count([](ServerStats& stats) { ++stats.host_refused; });
    return;
  }
  exchange.early = check_credentials(core, connection, request);
  if (exchange.early) {
    core.gate.count([](ServerStats& stats) { ++stats.auth_failures; });
    return;
  }
  exchange.early = find_route(core, exchange);
}

void take_body(Exchange& exchange, std::string_view piece) {
  if (exchange.early || exchange.too_large) return;
  if (exchange.request.body.size() + piece.size() > kMaxBodyBytes) {
    exchange.too_large = true;
    exchange.request.body = std::string();
    return;
  }
  exchange.request.body.append(piece);
}

Response answer(Core& core, Exchange& exchange) {
  if (exchange.early) return std::move(*exchange.early);
  if (exchange.too_large) {
    return problem(413, "", fmt::format("a request body has at most {} bytes", kMaxBodyBytes));
  }
  std::string what = "an unknown exception";
  try {
    return (*exchange.match.handler)(exchange.request);
  } catch (const std::exception& exception) {
    what = exception.what();
  } catch (...) {
  }
  if (core.log_limit.allow()) {
    base::log_error("{}: the handler of {} {} failed: {} ({} more of these); please report it",
                    core.options.name, exchange.request.method,
                    base::escape_control(exchange.request.path), base::escape_control(what),
                    core.log_limit.held_back());
  }
  return problem(500, "", "the request met a bug; the log says more");
}

}  // namespace tarsier::api
