// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/http_client.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "net/curl_options.h"

namespace tarsier::net {
namespace {

// What a transfer has brought so far. libcurl calls back with it.
struct Transfer {
  std::string body;
  std::size_t max_body = 0;
  std::size_t header_bytes = 0;
  bool body_too_long = false;
  bool header_too_long = false;
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) noexcept {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::size_t bytes = size * count;
  transfer.body_too_long = bytes > transfer.max_body - transfer.body.size();
  if (transfer.body_too_long) return CURL_WRITEFUNC_ERROR;
  transfer.body.append(data, bytes);
  return bytes;
}

std::size_t on_header(char*, std::size_t size, std::size_t count, void* user) noexcept {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.header_bytes += size * count;
  transfer.header_too_long = transfer.header_bytes > kMaxHeader;
  return transfer.header_too_long ? CURL_WRITEFUNC_ERROR : size * count;
}

ErrorCode code_of(CURLcode result) {
  switch (result) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_OPERATION_TIMEDOUT: return ErrorCode::unavailable;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return ErrorCode::invalid;
    default: return ErrorCode::failed;
  }
}

}  // namespace

struct HttpClient::Impl {
  std::unique_ptr<CURL, CurlHandleDeleter> handle{::curl_easy_init()};
  char error[CURL_ERROR_SIZE] = {};

  template <class Value>
  void set(CURLoption option, Value value) {
    ::curl_easy_setopt(handle.get(), option, value);
  }
  void prepare(const HttpRequest& request, curl_slist* headers, Transfer& transfer);
  std::unexpected<Error> explain(const HttpRequest& request, const Transfer& transfer,
                                 CURLcode result);
};

void HttpClient::Impl::prepare(const HttpRequest& request, curl_slist* headers,
                               Transfer& transfer) {
  reset_options(handle.get());
  set(CURLOPT_ERRORBUFFER, error);
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout_ms));
  set(CURLOPT_URL, request.url.c_str());
  if (!request.unix_socket.empty()) set(CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  if (!request.body.empty()) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.c_str());
  }
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  set(CURLOPT_HTTPHEADER, headers);
  set(CURLOPT_WRITEFUNCTION, &on_body);
  set(CURLOPT_WRITEDATA, &transfer);
  set(CURLOPT_HEADERFUNCTION, &on_header);
  set(CURLOPT_HEADERDATA, &transfer);
}

std::unexpected<Error> HttpClient::Impl::explain(const HttpRequest& request,
                                                 const Transfer& transfer, CURLcode result) {
  const std::string what =
      fmt::format("{} {}{}{}", request.method, request.url,
                  request.unix_socket.empty() ? "" : " on ", request.unix_socket);
  if (transfer.body_too_long) {
    return fail(ErrorCode::limit_reached,
                fmt::format("{}: the answer is longer than {} bytes", what, request.max_body));
  }
  if (transfer.header_too_long) {
    return fail(ErrorCode::limit_reached,
                fmt::format("{}: the header is longer than {} bytes", what, kMaxHeader));
  }
  long os_error = 0;
  ::curl_easy_getinfo(handle.get(), CURLINFO_OS_ERRNO, &os_error);
  if (result == CURLE_COULDNT_CONNECT && os_error != 0) {
    auto failed = fail_errno(what, static_cast<int>(os_error));
    failed.error().code = ErrorCode::unavailable;
    return failed;
  }
  const char* words = error[0] != '\0' ? error : ::curl_easy_strerror(result);
  return fail(code_of(result), fmt::format("{}: {}", what, words));
}

HttpClient::HttpClient() : impl_(std::make_unique<Impl>()) {}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

Result<HttpResponse> HttpClient::send(const HttpRequest& request) {
  if (impl_->handle == nullptr) return fail(ErrorCode::failed, "start libcurl: out of memory");
  std::unique_ptr<curl_slist, CurlListDeleter> headers;
  for (const std::string& header : request.headers) {
    curl_slist* longer = ::curl_slist_append(headers.get(), header.c_str());
    if (longer == nullptr) return fail(ErrorCode::failed, "prepare a request: out of memory");
    (void)headers.release();
    headers.reset(longer);
  }
  Transfer transfer;
  transfer.max_body = request.max_body;
  impl_->error[0] = '\0';
  impl_->prepare(request, headers.get(), transfer);
  const CURLcode result = ::curl_easy_perform(impl_->handle.get());
  if (result != CURLE_OK) return impl_->explain(request, transfer, result);
  HttpResponse response;
  long status = 0;
  const char* type = nullptr;
  ::curl_easy_getinfo(impl_->handle.get(), CURLINFO_RESPONSE_CODE, &status);
  ::curl_easy_getinfo(impl_->handle.get(), CURLINFO_CONTENT_TYPE, &type);
  response.status = static_cast<int>(status);
  if (type != nullptr) response.content_type = type;
  response.body = std::move(transfer.body);
  return response;
}

Result<HttpResponse> HttpClient::get_unix(const std::string& socket, std::string_view target,
                                          int timeout_ms) {
  HttpRequest request;
  request.unix_socket = socket;
  request.url = fmt::format("http://localhost{}", target);
  request.timeout_ms = timeout_ms;
  return send(request);
}

}  // namespace tarsier::net
