// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/transfer.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "net/curl_options.h"
#include "net/kubernetes/object_reader.h"

namespace tarsier::net::kubernetes {
namespace {

constexpr std::size_t kMaxRefusalText = 300;  // of a server's own words in our messages
constexpr int kKeepAliveS = 15;
constexpr int kDeadPeerMs = 45'000;

// A watch is silent for minutes; a server whose machine is gone must be noticed all the same.
int on_socket(void*, curl_socket_t socket, curlsocktype) noexcept {
  const int on = 1;
  const int seconds = kKeepAliveS;
  const int dead_ms = kDeadPeerMs;
  // A kernel that refuses one of these only notices later.
  (void)::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
  return CURL_SOCKOPT_OK;
}

// A server might repeat what we sent. Also a piece of the token is taken out, for texts are cut.
std::string without(std::string text, const std::string& token) {
  constexpr std::size_t kTelling = 12;
  constexpr std::string_view kInstead = "(secret)";
  if (token.empty()) return text;
  const std::string_view begin = std::string_view(token).substr(0, kTelling);
  for (std::size_t at = 0; (at = text.find(begin, at)) != std::string::npos;) {
    std::size_t same = 0;
    while (same < token.size() && at + same < text.size() && text[at + same] == token[same]) ++same;
    text.replace(at, same, kInstead);
    at += kInstead.size();
  }
  return text;
}

// What a server says about a refusal, made fit for one line of log.
std::string words_of(const std::string& body, const std::string& token) {
  const std::string harmless = without(body, token);
  std::string text = read_status_message(harmless);
  if (text.empty()) text = std::string(base::trim(harmless));
  return base::escape_control(base::clean_utf8(text, kMaxRefusalText).text);
}

}  // namespace

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      out.append(fmt::format("%{:02X}", static_cast<unsigned char>(c)));
    }
  }
  return out;
}

struct Transfer::Impl {
  explicit Impl(CURLM* multi_handle) : multi(multi_handle) {}
  ~Impl() { leave(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  CURLM* multi;
  std::unique_ptr<CURL, CurlHandleDeleter> handle{::curl_easy_init()};
  std::unique_ptr<curl_slist, CurlListDeleter> headers;
  Request request;
  Receive receive;
  std::string token, refusal;
  std::size_t header_bytes = 0;
  std::uint64_t bytes = 0;
  std::int64_t started_ms = 0, last_ms = 0;
  bool in_body = false, heard = false, cut = false, running = false;
  char error[CURL_ERROR_SIZE] = {};

  template <class Value>
  void set(CURLoption option, Value value) {
    ::curl_easy_setopt(handle.get(), option, value);
  }
  void set_pem(CURLoption option, const std::string& pem) {
    if (pem.empty()) return;
    curl_blob blob{const_cast<char*>(pem.data()), pem.size(), CURL_BLOB_COPY};
    ::curl_easy_setopt(handle.get(), option, &blob);
  }
  bool add_header(const std::string& header) {
    curl_slist* longer = ::curl_slist_append(headers.get(), header.c_str());
    if (longer == nullptr) return false;
    (void)headers.release();
    headers.reset(longer);
    return true;
  }
  void leave() {
    if (std::exchange(running, false)) ::curl_multi_remove_handle(multi, handle.get());
  }
  [[nodiscard]] long status() const {
    long status = 0;
    ::curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
    return status;
  }
  void prepare(const Secrets& secrets);
  [[nodiscard]] std::string explain(CURLcode code) const;
  [[nodiscard]] Outcome outcome(const std::string& problem, std::int64_t now_ms);

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) noexcept;
  static std::size_t on_header(char* data, std::size_t size, std::size_t count,
                               void* user) noexcept;
};

std::size_t Transfer::Impl::on_body(char* data, std::size_t size, std::size_t count,
                                    void* user) noexcept {
  auto& self = *static_cast<Impl*>(user);
  const std::string_view piece(data, size * count);
  self.heard = self.in_body = true;
  self.bytes += piece.size();
  if (self.status() != 200) {
    self.refusal.append(piece.substr(0, kMaxRefusal - self.refusal.size()));
    // More than a sentence is not read: nobody refuses in megabytes but to harm.
    self.cut = self.refusal.size() >= kMaxRefusal;
  } else {
    self.cut = !self.receive(piece);
  }
  return self.cut ? CURL_WRITEFUNC_ERROR : piece.size();
}

std::size_t Transfer::Impl::on_header(char*, std::size_t size, std::size_t count,
                                      void* user) noexcept {
  auto& self = *static_cast<Impl*>(user);
  self.heard = true;
  self.header_bytes += size * count;
  if (self.header_bytes > kMaxHeader) return CURL_WRITEFUNC_ERROR;
  // The empty line behind the header of a watch comes at once, its first event perhaps in an hour.
  if (size * count <= 2 && self.status() >= 200) {
    self.in_body = true;
    self.cut = self.status() == 200 && !self.receive({});
  }
  return self.cut ? CURL_WRITEFUNC_ERROR : size * count;
}

void Transfer::Impl::prepare(const Secrets& secrets) {
  reset_options(handle.get());
  set(CURLOPT_ERRORBUFFER, error);
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout_ms));
  set(CURLOPT_QUICK_EXIT, 1L);  // else stopping would wait for a name server that is silent
  set(CURLOPT_SOCKOPTFUNCTION, &on_socket);
  if (request.compressed) set(CURLOPT_ACCEPT_ENCODING, "gzip");
  set(CURLOPT_WRITEFUNCTION, &Impl::on_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_HEADERFUNCTION, &Impl::on_header);
  set(CURLOPT_HEADERDATA, this);
  set_pem(CURLOPT_CAINFO_BLOB, secrets.ca);
  set_pem(CURLOPT_SSLCERT_BLOB, secrets.client_certificate);
  set_pem(CURLOPT_SSLKEY_BLOB, secrets.client_key);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!request.verify) {
    set(CURLOPT_SSL_VERIFYPEER, 0L);
    set(CURLOPT_SSL_VERIFYHOST, 0L);
  }
}

std::string Transfer::Impl::explain(CURLcode code) const {
  if (header_bytes > kMaxHeader) {
    return fmt::format("the header is longer than {} bytes", kMaxHeader);
  }
  const char* words = error[0] != '\0' ? error : ::curl_easy_strerror(code);
  // The CAs of all clusters have the same name, so a wrong one shows as a wrong signature, for
  // which libcurl has no code of its own.
  long verified = 0;
  ::curl_easy_getinfo(handle.get(), CURLINFO_SSL_VERIFYRESULT, &verified);
  if (code == CURLE_PEER_FAILED_VERIFICATION ||
      (code == CURLE_SSL_CONNECT_ERROR && verified != 0)) {
    return fmt::format(
        "the server's certificate is not signed by our CA or names another host ({}); check the CA",
        words);
  }
  switch (code) {
    case CURLE_SSL_CACERT_BADFILE: return fmt::format("the CA cannot be read ({})", words);
    case CURLE_SSL_CERTPROBLEM:
      return fmt::format("the client certificate or its key cannot be used ({})", words);
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING: return fmt::format("the connection broke off ({})", words);
    default: return words;
  }
}

Outcome Transfer::Impl::outcome(const std::string& problem, std::int64_t now_ms) {
  Outcome outcome;
  outcome.status = static_cast<int>(status());
  outcome.problem = base::escape_control(base::clean_utf8(problem, kMaxText).text);
  outcome.duration_ms = now_ms - started_ms;
  outcome.bytes = bytes;
  curl_off_t retry = 0;
  ::curl_easy_getinfo(handle.get(), CURLINFO_RETRY_AFTER, &retry);
  outcome.retry_after_s = std::max<std::int64_t>(0, retry);
  if (!refusal.empty()) outcome.refusal = words_of(refusal, token);
  leave();
  receive = nullptr;
  return outcome;
}

Transfer::Transfer(void* multi) : impl_(std::make_unique<Impl>(multi)) {}
Transfer::~Transfer() = default;

Status Transfer::start(const Request& request, const Secrets& secrets, Receive receive,
                       std::int64_t now_ms) {
  Impl& self = *impl_;
  if (self.handle == nullptr) return fail(ErrorCode::failed, "start libcurl: out of memory");
  self.request = request;
  self.receive = std::move(receive);
  self.token = secrets.token;
  self.refusal.clear();
  self.header_bytes = 0;
  self.bytes = 0;
  self.started_ms = self.last_ms = now_ms;
  self.in_body = self.heard = self.cut = false;
  self.error[0] = '\0';
  self.headers.reset();
  if (!self.add_header("Accept: " + request.accept) ||
      (!secrets.token.empty() && !self.add_header("Authorization: Bearer " + secrets.token))) {
    return fail(ErrorCode::failed, "prepare a request: out of memory");
  }
  self.prepare(secrets);
  if (::curl_multi_add_handle(self.multi, self.handle.get()) != CURLM_OK) {
    return fail(ErrorCode::failed, "start a request: libcurl refuses it");
  }
  self.running = true;
  return {};
}

bool Transfer::running() const {
  return impl_->running;
}
bool Transfer::owns(void* handle) const {
  return impl_->handle.get() == handle;
}

Outcome Transfer::finish(int curl_code, std::int64_t now_ms) {
  const auto code = static_cast<CURLcode>(curl_code);
  // Where receive() wanted no more it knows why, and where a refusal was cut the status says it.
  return impl_->outcome(code == CURLE_OK || impl_->cut ? "" : impl_->explain(code), now_ms);
}

std::int64_t Transfer::due_ms() const {
  const Impl& self = *impl_;
  const int silence = self.in_body ? self.request.stream_silence_ms : self.request.silence_ms;
  return std::min(self.last_ms + silence, self.started_ms + self.request.deadline_ms);
}

std::string Transfer::overdue(std::int64_t now_ms) const {
  Impl& self = *impl_;
  if (std::exchange(self.heard, false)) self.last_ms = now_ms;
  if (now_ms >= self.started_ms + self.request.deadline_ms) {
    return fmt::format("the answer did not end within {} s", self.request.deadline_ms / 1000);
  }
  if (now_ms < due_ms()) return {};
  return fmt::format("the server said nothing for {} ms", now_ms - self.last_ms);
}

Outcome Transfer::abort(const std::string& problem, std::int64_t now_ms) {
  return impl_->outcome(problem, now_ms);
}

}  // namespace tarsier::net::kubernetes
