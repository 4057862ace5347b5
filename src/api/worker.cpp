// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/worker.h"

#include <fmt/format.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>

#include "api/exchange.h"
#include "base/text.h"

namespace tarsier::api {
namespace {

// Memory that the library keeps for one connection: headers of a request, then a piece of the
// answer. It bounds the header section (431 above it).
constexpr std::size_t kConnectionMemory = 32U * 1024U;
// Bodies up to this are handed over whole; longer ones are given piece by piece, so that each
// piece that the client takes is seen as progress.
constexpr std::size_t kWholeBodyBytes = 16U * 1024U;
constexpr std::size_t kPieceBytes = 32U * 1024U;
// A generator is asked this often at most for one piece, so that one that says little at a time
// still leaves the worker to others.
constexpr int kMaxPulls = 4;
constexpr const char* kPriorities = "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:%SERVER_PRECEDENCE";

Instant now() {
  return std::chrono::steady_clock::now();
}

Connection* connection_of(MHD_Connection* mhd) {
  const auto* info = ::MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info == nullptr ? nullptr : static_cast<Connection*>(info->socket_context);
}

// A body on its way to one client.
struct Body {
  Core& core;
  Connection& connection;
  MHD_Connection* mhd;
  std::string text;
  std::size_t offset = 0;
  Stream stream;
  bool ended = false;

  std::size_t take(char* buffer, std::size_t size) {
    const std::size_t n = std::min(size, text.size() - offset);
    std::memcpy(buffer, text.data() + offset, n);
    offset += n;
    return n;
  }
  std::size_t fill(char* buffer, std::size_t size) {
    std::size_t filled = take(buffer, size);
    for (int pull = 0; pull < kMaxPulls && !ended && filled < size / 2; ++pull) {
      text.clear();
      offset = 0;
      ended = !stream || !stream(text);
      if (text.empty()) break;
      filled += take(buffer + filled, size - filled);
    }
    return filled;
  }
  void failed(std::string_view what) {
    core.gate.count([](ServerStats& stats) { ++stats.aborted_streams; });
    if (!core.log_limit.allow()) return;
    base::log_error(
        "{}: a response was cut because its generator failed: {} ({} more of these); "
        "please report it",
        core.options.name, base::escape_control(what), core.log_limit.held_back());
  }
};

// Called by the library whenever the socket took what came before.
ssize_t read_body(void* self, std::uint64_t /*position*/, char* buffer, std::size_t size) {
  auto& body = *static_cast<Body*>(self);
  Gate& gate = body.core.gate;
  if (!gate.begin_work(body.connection, now())) {
    gate.end_work(body.connection, now());
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
  std::size_t filled = 0;
  bool failed = false;
  try {
    filled = body.fill(buffer, size);
  } catch (const std::exception& exception) {
    failed = true;
    body.failed(exception.what());
  } catch (...) {
    failed = true;
    body.failed("an unknown exception");
  }
  if (!failed && filled == 0 && !body.ended) {
    if (!gate.wait(body.connection, body.mhd, now(), [&] { ::MHD_suspend_connection(body.mhd); })) {
      return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    body.core.wake();
    return 0;
  }
  gate.end_work(body.connection, now());
  if (failed) return MHD_CONTENT_READER_END_WITH_ERROR;
  return filled > 0 ? static_cast<ssize_t>(filled) : MHD_CONTENT_READER_END_OF_STREAM;
}

void free_body(void* self) {
  delete static_cast<Body*>(self);
}

MHD_Response* make_response(Core& core, Connection& connection, MHD_Connection* mhd,
                            Response& response) {
  if (!response.stream && response.body.size() <= kWholeBodyBytes) {
    return ::MHD_create_response_from_buffer(response.body.size(), response.body.data(),
                                             MHD_RESPMEM_MUST_COPY);
  }
  const std::uint64_t size = response.stream ? MHD_SIZE_UNKNOWN : response.body.size();
  auto body = std::make_unique<Body>(core, connection, mhd,
                                     response.stream ? std::string() : std::move(response.body));
  body->stream = std::move(response.stream);
  MHD_Response* made =
      ::MHD_create_response_from_callback(size, kPieceBytes, &read_body, body.get(), &free_body);
  if (made != nullptr) (void)body.release();
  return made;
}

MHD_Result send(Core& core, Connection& connection, MHD_Connection* mhd, Response response,
                bool head) {
  if (response.status < 200 || response.status > 599) {
    response = problem(500, "", "the request met a bug: an impossible status");
  }
  const auto status = static_cast<unsigned>(response.status);
  const bool streamed = static_cast<bool>(response.stream);
  MHD_Response* made = make_response(core, connection, mhd, response);
  if (made == nullptr) return MHD_NO;
  // libmicrohttpd 0.9.75 ends the answer to a HEAD with an empty chunk where a GET would be
  // chunked, and the client would take that for the next answer. Without chunks it ends by closing.
  if (head && streamed) {
    ::MHD_set_response_options(made, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
  }
  ::MHD_add_response_header(made, "Content-Type", response.content_type.c_str());
  ::MHD_add_response_header(made, "X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : response.headers) {
    ::MHD_add_response_header(made, name.c_str(), value.c_str());
  }
  core.gate.count([&](ServerStats& stats) { ++stats.requests[status / 100]; });
  const MHD_Result queued = ::MHD_queue_response(mhd, status, made);
  ::MHD_destroy_response(made);
  return queued;
}

MHD_Result keep_header(void* self, MHD_ValueKind /*kind*/, const char* name, const char* value) {
  static_cast<Request*>(self)->headers.emplace_back(name, value == nullptr ? "" : value);
  return MHD_YES;
}

// Whether the client's certificate is signed by the configured authority and made for clients.
bool certificate_is_good(MHD_Connection* mhd) {
  const auto* info = ::MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
  if (info == nullptr || info->tls_session == nullptr) return false;
  std::string purpose = GNUTLS_KP_TLS_WWW_CLIENT;
  gnutls_typed_vdata_st data{GNUTLS_DT_KEY_PURPOSE_OID,
                             reinterpret_cast<unsigned char*>(purpose.data()),
                             static_cast<unsigned>(purpose.size())};
  unsigned status = ~0U;
  const int result = ::gnutls_certificate_verify_peers(
      static_cast<gnutls_session_t>(info->tls_session), &data, 1, &status);
  return result == GNUTLS_E_SUCCESS && status == 0;
}

bool announces_body(const Request& request) {
  return request.header("Transfer-Encoding") ||
         request.header("Content-Length").value_or("0") != "0";
}

// The headers are there. What is wrong with them is said at once where a body would follow or where
// it is not clear whether one does, which ends the connection; else after the request, so that the
// connection can be used again.
MHD_Result on_headers(Core& core, Connection& connection, MHD_Connection* mhd, const char* method,
                      Exchange& exchange) {
  exchange.request.method = method;
  ::MHD_get_connection_values(mhd, MHD_HEADER_KIND, &keep_header, &exchange.request);
  if (connection.tls && !core.options.tls->client_ca.empty() && !connection.certificate_good) {
    connection.certificate_good = certificate_is_good(mhd);
  }
  examine(core, connection, exchange);
  const auto* length = ::MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Content-Length");
  if (length != nullptr && std::strtoull(length, nullptr, 10) > kMaxBodyBytes) {
    exchange.too_large = true;
  }
  const bool at_once = exchange.unframed ||
                       (announces_body(exchange.request) && (exchange.early || exchange.too_large));
  if (!at_once) return MHD_YES;
  core.gate.begin_work(connection, now());
  Response response = answer(core, exchange);
  core.gate.end_work(connection, now());
  return send(core, connection, mhd, std::move(response), exchange.request.method == "HEAD");
}

MHD_Result on_whole_request(Core& core, Connection& connection, MHD_Connection* mhd,
                            Exchange& exchange) {
  if (!core.gate.begin_work(connection, now())) {
    core.gate.end_work(connection, now());
    return MHD_NO;
  }
  Response response = answer(core, exchange);
  core.gate.end_work(connection, now());
  return send(core, connection, mhd, std::move(response), exchange.request.method == "HEAD");
}

// The target line is there: the first sign of a request, and its state until on_completed().
void* on_target(void* self, const char* target, MHD_Connection* mhd) {
  Connection* connection = connection_of(mhd);
  if (connection == nullptr) return nullptr;
  static_cast<Core*>(self)->gate.begin_request(*connection, now());
  auto exchange = std::make_unique<Exchange>();
  exchange->raw_target = target == nullptr ? "" : target;
  return exchange.release();
}

// Called once with the headers, then for each piece of the body, then once at the end.
MHD_Result on_request(void* self, MHD_Connection* mhd, const char* /*url*/, const char* method,
                      const char* /*version*/, const char* data, std::size_t* size, void** state) {
  auto& core = *static_cast<Core*>(self);
  auto* exchange = static_cast<Exchange*>(*state);
  Connection* connection = connection_of(mhd);
  if (exchange == nullptr || connection == nullptr) return MHD_NO;
  // No exception may pass through the library, which is C; only memory can be short here.
  try {
    if (exchange->request.method.empty()) {
      return on_headers(core, *connection, mhd, method, *exchange);
    }
    if (*size == 0) return on_whole_request(core, *connection, mhd, *exchange);
    take_body(*exchange, {data, *size});
    *size = 0;
    return MHD_YES;
  } catch (const std::exception& exception) {
    if (core.log_limit.allow()) {
      base::log_error("{}: a request was dropped: {}", core.options.name, exception.what());
    }
    return MHD_NO;
  }
}

void on_completed(void* self, MHD_Connection* mhd, void** state,
                  MHD_RequestTerminationCode /*code*/) {
  delete static_cast<Exchange*>(std::exchange(*state, nullptr));
  Connection* connection = connection_of(mhd);
  if (connection != nullptr) static_cast<Core*>(self)->gate.end_request(*connection, now());
}

void on_connection(void* self, MHD_Connection* mhd, void** context,
                   MHD_ConnectionNotificationCode code) {
  auto& core = *static_cast<Core*>(self);
  const int fd = ::MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    *context = core.gate.start(fd);
  } else if (*context != nullptr) {
    *context = nullptr;
    core.gate.closed(fd);
  }
}

// The raw target is decoded by parse_target(), once and after splitting.
std::size_t leave_escaped(void* /*self*/, MHD_Connection* /*mhd*/, char* text) {
  return std::strlen(text);
}

template <class T>
MHD_OptionItem option(MHD_OPTION which, T value, void* pointer = nullptr) {
  if constexpr (std::is_pointer_v<T>) {
    return {which, reinterpret_cast<std::intptr_t>(value), pointer};
  } else {
    return {which, static_cast<std::intptr_t>(value), pointer};
  }
}

std::vector<MHD_OptionItem> options_for(Core& core, const Tls* tls) {
  const auto text = [](MHD_OPTION which, const std::string& value) {
    return option(which, 0, const_cast<char*>(value.c_str()));
  };
  std::vector<MHD_OptionItem> options{
      option(MHD_OPTION_CONNECTION_LIMIT, core.options.max_connections + Gate::kMaxDoomed + 1),
      option(MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionMemory),
      option(MHD_OPTION_STRICT_FOR_CLIENT, 1),
      option(MHD_OPTION_URI_LOG_CALLBACK, &on_target, &core),
      option(MHD_OPTION_UNESCAPE_CALLBACK, &leave_escaped, nullptr),
      option(MHD_OPTION_NOTIFY_COMPLETED, &on_completed, &core),
      option(MHD_OPTION_NOTIFY_CONNECTION, &on_connection, &core),
  };
  if (tls != nullptr) {
    options.push_back(text(MHD_OPTION_HTTPS_MEM_CERT, tls->certificate));
    options.push_back(text(MHD_OPTION_HTTPS_MEM_KEY, tls->key));
    options.push_back(option(MHD_OPTION_HTTPS_PRIORITIES, 0, const_cast<char*>(kPriorities)));
    if (!tls->client_ca.empty()) {
      options.push_back(text(MHD_OPTION_HTTPS_MEM_TRUST, tls->client_ca));
    }
  }
  options.push_back(option(MHD_OPTION_END, 0));
  return options;
}

}  // namespace

void Worker::log(void* self, const char* format, va_list arguments) {
  char line[256];
  if (std::vsnprintf(line, sizeof line, format, arguments) < 0) return;
  auto& worker = *static_cast<Worker*>(self);
  const std::lock_guard lock(worker.mutex_);
  worker.message_ = base::trim(line);
  base::log_debug("{}: {}", worker.core_.options.name, base::escape_control(worker.message_));
}

std::string Worker::last_message() {
  const std::lock_guard lock(mutex_);
  return message_.empty() ? "no reason was given" : message_;
}

Result<std::unique_ptr<Worker>> Worker::start(Core& core, const Tls* tls) {
  std::unique_ptr<Worker> worker(new Worker(core));
  unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
                   MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
  if (tls != nullptr) flags |= MHD_USE_TLS;
  auto options = options_for(core, tls);
  worker->daemon_ = ::MHD_start_daemon(flags, 0, nullptr, nullptr, &on_request, &core,  //
                                       MHD_OPTION_EXTERNAL_LOGGER, &Worker::log, worker.get(),
                                       MHD_OPTION_ARRAY, options.data(), MHD_OPTION_END);
  if (worker->daemon_ == nullptr) {
    return fail(
        ErrorCode::failed,
        fmt::format("start the HTTP server \"{}\"{}: {}", core.options.name,
                    tls != nullptr ? " with TLS (do key and certificate belong together?)" : "",
                    worker->last_message()));
  }
  return worker;
}

bool Worker::add(int fd, const sockaddr* address, socklen_t length) {
  return ::MHD_add_connection(daemon_, fd, address, length) == MHD_YES;
}

void Worker::stop() {
  if (daemon_ != nullptr) ::MHD_stop_daemon(std::exchange(daemon_, nullptr));
}

void Worker::wake(void* handle) {
  ::MHD_resume_connection(static_cast<MHD_Connection*>(handle));
}

}  // namespace tarsier::api
