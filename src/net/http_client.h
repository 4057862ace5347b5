// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The one HTTP/1.1 client, over libcurl: to a UNIX socket or a URL, with hard bounds.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tarsier/result.h"

namespace tarsier::net {

inline constexpr std::size_t kMaxBody = 16U << 20U;  // longest answer that is taken

struct HttpRequest {
  std::string method = "GET";
  std::string unix_socket;  // path of the socket; empty: a TCP connection to the URL's host
  std::string url;  // "http://localhost/containers/json"; the host is a mere name on a socket
  std::vector<std::string> headers;  // "Name: value"
  std::string body;                  // sent where it is not empty
  int timeout_ms = 800;              // for all of it, connecting to last byte
  std::size_t max_body = kMaxBody;
};

struct HttpResponse {
  int status = 0;
  std::string content_type;
  std::string body;
};

// Follows no redirect, reads no proxy from the environment, raises no signal, speaks http and https
// alone. Keeps its connection for the next request. One thread at a time.
class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;

  // Any status is an answer. Errors: unavailable (nobody there, time-out), limit_reached (the body
  // is longer than max_body), failed (not HTTP, closed early).
  [[nodiscard]] Result<HttpResponse> send(const HttpRequest& request);
  // GET of `target` ("/version") over a UNIX socket.
  [[nodiscard]] Result<HttpResponse> get_unix(const std::string& socket, std::string_view target,
                                              int timeout_ms);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tarsier::net
