// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/fake/stream.h"

#include <fmt/format.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "base/fd.h"
#include "net/kubernetes/fake/fake_cluster.h"

namespace tarsier::net::kubernetes::fake {
namespace {

gnutls_datum_t datum(const std::string& text) {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())),
          static_cast<unsigned>(text.size())};
}
std::string text_of(const gnutls_datum_t& out) {
  std::string text(reinterpret_cast<char*>(out.data), out.size);
  ::gnutls_free(out.data);
  return text;
}
void must(int code) {
  if (code < 0) std::abort();  // a test machine without working TLS
}

// A certificate and its key; signed by `issuer` or by itself.
struct Certificate {
  Certificate(const char* name, unsigned char serial, const Certificate* issuer) {
    must(::gnutls_x509_privkey_init(&key));
    must(::gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                        GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    must(::gnutls_x509_crt_init(&crt));
    must(::gnutls_x509_crt_set_version(crt, 3));
    must(::gnutls_x509_crt_set_serial(crt, &serial, 1));
    must(::gnutls_x509_crt_set_activation_time(crt, std::time(nullptr) - 3600));
    must(::gnutls_x509_crt_set_expiration_time(crt, std::time(nullptr) + 3600));
    must(::gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                         static_cast<unsigned>(std::strlen(name))));
    must(::gnutls_x509_crt_set_key(crt, key));
    must(::gnutls_x509_crt_set_basic_constraints(crt, issuer == nullptr ? 1 : 0, -1));
    if (issuer != nullptr) {
      const unsigned char address[] = {127, 0, 0, 1};
      must(::gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0));
      must(::gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address,
                                                  sizeof address, GNUTLS_FSAN_SET));
      must(::gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "localhost", 9,
                                                  GNUTLS_FSAN_APPEND));
    }
    const Certificate& signer = issuer == nullptr ? *this : *issuer;
    must(::gnutls_x509_crt_sign2(crt, signer.crt, signer.key, GNUTLS_DIG_SHA256, 0));
  }
  ~Certificate() {
    ::gnutls_x509_crt_deinit(crt);
    ::gnutls_x509_privkey_deinit(key);
  }
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;
  [[nodiscard]] std::string pem() const {
    gnutls_datum_t out{};
    must(::gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out));
    return text_of(out);
  }
  [[nodiscard]] std::string key_pem() const {
    gnutls_datum_t out{};
    must(::gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &out));
    return text_of(out);
  }
  gnutls_x509_crt_t crt = nullptr;
  gnutls_x509_privkey_t key = nullptr;
};

}  // namespace

Identity make_identity() {
  const Certificate authority("fake authority", 1, nullptr);
  const Certificate server("fake cluster", 2, &authority);
  return {authority.pem(), {server.pem(), server.key_pem()}};
}

class TlsServer {
 public:
  explicit TlsServer(const Tls& tls) {
    must(::gnutls_certificate_allocate_credentials(&credentials));
    const gnutls_datum_t certificate = datum(tls.certificate);
    const gnutls_datum_t key = datum(tls.key);
    must(::gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key,
                                               GNUTLS_X509_FMT_PEM));
  }
  ~TlsServer() { ::gnutls_certificate_free_credentials(credentials); }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  gnutls_certificate_credentials_t credentials = nullptr;
};

std::shared_ptr<TlsServer> make_tls_server(const Tls& tls) {
  return std::make_shared<TlsServer>(tls);
}

struct Stream::Impl {
  base::UniqueFd fd;
  std::shared_ptr<TlsServer> tls;
  gnutls_session_t session = nullptr;
  bool greeted = false;  // the handshake is done
  bool broken = false;
  std::string buffer;

  ~Impl() {
    if (session != nullptr) ::gnutls_deinit(session);
  }
  ssize_t receive(char* data, std::size_t size) {
    if (broken) return -1;
    if (session == nullptr) return ::recv(fd.get(), data, size, 0);
    ssize_t n = 0;
    do {
      n = ::gnutls_record_recv(session, data, size);
    } while (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_AGAIN);
    return n;
  }
};

Stream::Stream(int fd, const std::shared_ptr<TlsServer>& tls) : impl_(std::make_unique<Impl>()) {
  impl_->fd.reset(fd);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  impl_->tls = tls;
  if (tls == nullptr) return;
  must(::gnutls_init(&impl_->session, GNUTLS_SERVER | GNUTLS_NO_SIGNAL));
  must(::gnutls_set_default_priority(impl_->session));
  must(::gnutls_credentials_set(impl_->session, GNUTLS_CRD_CERTIFICATE, tls->credentials));
  ::gnutls_transport_set_int(impl_->session, fd);
}
Stream::~Stream() = default;

std::string Stream::request() {
  if (impl_->session != nullptr && !std::exchange(impl_->greeted, true)) {
    int code = 0;
    do {
      code = ::gnutls_handshake(impl_->session);
    } while (code < 0 && ::gnutls_error_is_fatal(code) == 0);
    impl_->broken = code < 0;
  }
  std::string& buffer = impl_->buffer;
  std::size_t end = 0;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    std::array<char, 4096> piece{};
    const ssize_t n = impl_->receive(piece.data(), piece.size());
    if (n <= 0) return {};
    buffer.append(piece.data(), static_cast<std::size_t>(n));
  }
  std::string head = buffer.substr(0, end + 4);
  buffer.erase(0, end + 4);
  return head;
}

bool Stream::send(std::string_view text) {
  while (!text.empty() && !impl_->broken) {
    const ssize_t n = impl_->session == nullptr
                          ? ::send(impl_->fd.get(), text.data(), text.size(), MSG_NOSIGNAL)
                          : ::gnutls_record_send(impl_->session, text.data(), text.size());
    if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_AGAIN) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return !impl_->broken;
}

bool Stream::send_chunk(std::string_view text) {
  return send(fmt::format("{:x}\r\n{}\r\n", text.size(), text));
}

bool Stream::client_is_gone() const {
  pollfd one = {impl_->fd.get(), POLLIN | POLLRDHUP, 0};
  // A client that has asked for a watch says nothing more before it leaves.
  return ::poll(&one, 1, 0) > 0;
}

void Stream::shut_down() {
  ::shutdown(impl_->fd.get(), SHUT_RDWR);
}

}  // namespace tarsier::net::kubernetes::fake
