// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/files.h"
#include "base/text.h"

namespace tarsier::net::kubernetes {
namespace {

Result<std::string> read_source(const Source& source, std::size_t max_bytes) {
  if (source.file.empty()) return source.text;
  auto text = base::read_file(source.file, max_bytes);
  if (!text) return std::unexpected(std::move(text.error()).in("read the credentials"));
  return text;
}

// It becomes a header: a token with a line end in it could smuggle in another header.
bool fits_a_header(std::string_view token) {
  return std::ranges::all_of(token, [](char c) { return c > 0x20 && c < 0x7f; });
}

bool is_there(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

}  // namespace

Result<Secrets> read_secrets(const Credentials& credentials) {
  Secrets secrets;
  const auto take = [](const Source& source, std::size_t max_bytes, std::string& into) -> Status {
    auto text = read_source(source, max_bytes);
    if (!text) return std::unexpected(std::move(text.error()));
    into = std::move(*text);
    return {};
  };
  if (credentials.server.starts_with("https://")) {
    if (auto done = take(credentials.token, kMaxTokenBytes, secrets.token); !done) {
      return std::unexpected(std::move(done.error()));
    }
    secrets.token = std::string(base::trim(secrets.token));
    if (!fits_a_header(secrets.token)) {
      return fail(
          ErrorCode::invalid,
          fmt::format("read the credentials: the token{}{} holds blanks or control characters",
                      credentials.token.file.empty() ? "" : " in ", credentials.token.file));
    }
  }
  for (const auto& [source, into] : {std::pair{&credentials.ca, &secrets.ca},
                                     {&credentials.client_certificate, &secrets.client_certificate},
                                     {&credentials.client_key, &secrets.client_key}}) {
    if (auto done = take(*source, kMaxPemBytes, *into); !done) {
      return std::unexpected(std::move(done.error()));
    }
  }
  return secrets;
}

Result<std::string> clean_server(std::string_view url) {
  url = base::trim(url);
  while (url.ends_with('/')) url.remove_suffix(1);
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return fail(ErrorCode::invalid,
                "the server's address begins with neither https:// nor http://");
  }
  if (rest.contains('@')) {
    // The address itself is not repeated: what stands before the @ may be a password.
    return fail(ErrorCode::invalid, "the server's address holds a user; give a token instead");
  }
  if (rest.empty() || rest.starts_with('/') || !fits_a_header(rest) ||
      rest.find_first_of("?#") != std::string_view::npos) {
    return fail(ErrorCode::invalid, fmt::format("\"{}\" is not the address of a server",
                                                base::escape_control(base::clean_utf8(url).text)));
  }
  return std::string(url);
}

Result<Credentials> in_cluster_credentials(const Environment& environment,
                                           std::string_view directory) {
  std::string host = environment("KUBERNETES_SERVICE_HOST");
  const std::string port = environment("KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty()) {
    return fail(ErrorCode::not_found,
                "find the API server: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not "
                "set, so this is no pod; name a kubeconfig or a URL");
  }
  if (host.contains(':') && !host.starts_with('[')) host = "[" + host + "]";  // IPv6
  auto server = clean_server(fmt::format("https://{}:{}", host, port));
  if (!server) return std::unexpected(std::move(server.error()).in("find the API server"));
  while (directory.ends_with('/')) directory.remove_suffix(1);
  Credentials credentials;
  credentials.server = std::move(*server);
  credentials.token.file = fmt::format("{}/token", directory);
  credentials.ca.file = fmt::format("{}/ca.crt", directory);
  return credentials;
}

Result<Credentials> url_credentials(std::string_view url, std::string_view directory) {
  auto server = clean_server(url);
  if (!server) return std::unexpected(std::move(server.error()).in("use the API server's URL"));
  Credentials credentials;
  credentials.server = std::move(*server);
  if (!credentials.server.starts_with("https://")) return credentials;
  const std::string token = fmt::format("{}/token", directory);
  const std::string ca = fmt::format("{}/ca.crt", directory);
  if (is_there(token)) credentials.token.file = token;
  if (is_there(ca)) credentials.ca.file = ca;
  return credentials;
}

}  // namespace tarsier::net::kubernetes
