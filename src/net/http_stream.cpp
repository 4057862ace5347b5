// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/http_stream.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <utility>

namespace tarsier::net {
namespace {

struct EasyDeleter {
  void operator()(CURL* handle) const { ::curl_easy_cleanup(handle); }
};
struct MultiDeleter {
  void operator()(CURLM* handle) const { ::curl_multi_cleanup(handle); }
};

}  // namespace

struct HttpLineStream::Impl {
  std::string socket;
  std::string url;
  std::unique_ptr<CURLM, MultiDeleter> multi{::curl_multi_init()};
  std::unique_ptr<CURL, EasyDeleter> easy{::curl_easy_init()};
  char error[CURL_ERROR_SIZE] = {};
  std::string line;       // the one that is not complete yet
  bool skipping = false;  // the line was too long; until its end
  bool got_bytes = false;
  std::size_t losses = 0;
  const std::function<void(std::string_view)>* on_line = nullptr;

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (multi != nullptr && easy != nullptr) ::curl_multi_remove_handle(multi.get(), easy.get());
  }
  template <class Value>
  void set(CURLoption option, Value value) {
    ::curl_easy_setopt(easy.get(), option, value);
  }
  [[nodiscard]] long status() const {
    long status = 0;
    ::curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
    return status;
  }
  // The question mark and what follows is no news to the reader.
  [[nodiscard]] std::string name() const {
    return fmt::format("GET {} on {}", std::string_view(url).substr(0, url.find('?')), socket);
  }
  void prepare();
  void take(std::string_view bytes);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) noexcept {
    auto& self = *static_cast<Impl*>(user);
    if (self.status() == 200) self.take({data, size * count});
    return size * count;
  }
  [[nodiscard]] std::unexpected<Error> explain(CURLcode result) const;
};

void HttpLineStream::Impl::prepare() {
  set(CURLOPT_ERRORBUFFER, error);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http");
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_PROXY, "");  // empty, not unset: else the environment decides
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(kStreamConnectMs));
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
  set(CURLOPT_WRITEFUNCTION, &on_body);
  set(CURLOPT_WRITEDATA, this);
}

void HttpLineStream::Impl::take(std::string_view bytes) {
  got_bytes = true;
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    if (!skipping && line.size() + piece.size() > kMaxLine) {
      skipping = true;
      ++losses;
      line.clear();
    }
    if (!skipping) line.append(piece);
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    if (!skipping && !line.empty()) (*on_line)(line);
    line.clear();
    skipping = false;
  }
}

std::unexpected<Error> HttpLineStream::Impl::explain(CURLcode result) const {
  const std::string what = name();
  const long status = this->status();
  if (result == CURLE_OK && status == 200) {
    return fail(ErrorCode::unavailable, fmt::format("{}: the runtime closed the stream", what));
  }
  if (result == CURLE_OK) {
    return fail(status == 404 || status == 501 ? ErrorCode::not_found : ErrorCode::failed,
                fmt::format("{}: the runtime answered {}", what, status));
  }
  const char* words = error[0] != '\0' ? error : ::curl_easy_strerror(result);
  return fail(ErrorCode::unavailable, fmt::format("{}: {}", what, words));
}

HttpLineStream::HttpLineStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpLineStream::~HttpLineStream() = default;
HttpLineStream::HttpLineStream(HttpLineStream&&) noexcept = default;
HttpLineStream& HttpLineStream::operator=(HttpLineStream&&) noexcept = default;

Result<HttpLineStream> HttpLineStream::open(const std::string& socket, std::string_view target) {
  auto impl = std::make_unique<Impl>();
  if (impl->multi == nullptr || impl->easy == nullptr) {
    return fail(ErrorCode::failed, "start libcurl: out of memory");
  }
  impl->socket = socket;
  impl->url = fmt::format("http://localhost{}", target);
  impl->prepare();
  if (const CURLMcode added = ::curl_multi_add_handle(impl->multi.get(), impl->easy.get());
      added != CURLM_OK) {
    return fail(ErrorCode::failed,
                fmt::format("{}: {}", impl->name(), ::curl_multi_strerror(added)));
  }
  return HttpLineStream(std::move(impl));
}

Status HttpLineStream::read(int timeout_ms, const std::function<void(std::string_view)>& on_line) {
  impl_->on_line = &on_line;
  impl_->got_bytes = false;
  int running = 0;
  CURLMcode done = ::curl_multi_perform(impl_->multi.get(), &running);
  if (done == CURLM_OK && running > 0 && !impl_->got_bytes) {
    ::curl_multi_poll(impl_->multi.get(), nullptr, 0, timeout_ms, nullptr);
    done = ::curl_multi_perform(impl_->multi.get(), &running);
  }
  if (done != CURLM_OK) {
    return fail(ErrorCode::failed,
                fmt::format("{}: {}", impl_->name(), ::curl_multi_strerror(done)));
  }
  if (running > 0) return {};
  int left = 0;
  while (const CURLMsg* message = ::curl_multi_info_read(impl_->multi.get(), &left)) {
    if (message->msg == CURLMSG_DONE) return impl_->explain(message->data.result);
  }
  return fail(ErrorCode::unavailable, fmt::format("{}: the stream is over", impl_->name()));
}

bool HttpLineStream::answered() const {
  return impl_->status() == 200;
}

std::size_t HttpLineStream::take_losses() {
  return std::exchange(impl_->losses, 0);
}

}  // namespace tarsier::net
