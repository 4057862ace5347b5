// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// TLS with certificates made on the spot, asked by libcurl (which brings another TLS library).
#include <curl/curl.h>
#include <gmock/gmock.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>

#include "api/test_server.h"

namespace tarsier::api {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryDirectory;
using testing::TestServer;

std::string text_of(const gnutls_datum_t& datum) {
  std::string text(reinterpret_cast<char*>(datum.data), datum.size);
  ::gnutls_free(datum.data);
  return text;
}

// A certificate and its key; signed by `issuer` or by itself.
class Identity {
 public:
  Identity(const char* name, const Identity* issuer, const char* purpose) {
    ::gnutls_x509_privkey_init(&key_);
    ::gnutls_x509_privkey_generate(key_, GNUTLS_PK_ECDSA,
                                   GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    ::gnutls_x509_crt_init(&certificate_);
    ::gnutls_x509_crt_set_version(certificate_, 3);
    const unsigned char serial[] = {1, static_cast<unsigned char>(std::strlen(name))};
    ::gnutls_x509_crt_set_serial(certificate_, serial, sizeof serial);
    ::gnutls_x509_crt_set_activation_time(certificate_, std::time(nullptr) - 3600);
    ::gnutls_x509_crt_set_expiration_time(certificate_, std::time(nullptr) + 3600);
    ::gnutls_x509_crt_set_dn_by_oid(certificate_, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                    static_cast<unsigned>(std::strlen(name)));
    ::gnutls_x509_crt_set_key(certificate_, key_);
    ::gnutls_x509_crt_set_basic_constraints(certificate_, issuer == nullptr ? 1 : 0, -1);
    if (purpose != nullptr) {
      ::gnutls_x509_crt_set_key_purpose_oid(certificate_, purpose, 0);
      ::gnutls_x509_crt_set_subject_alt_name(certificate_, GNUTLS_SAN_DNSNAME, "localhost", 9,
                                             GNUTLS_FSAN_SET);
    }
    const Identity& signer = issuer == nullptr ? *this : *issuer;
    EXPECT_EQ(::gnutls_x509_crt_sign2(certificate_, signer.certificate_, signer.key_,
                                      GNUTLS_DIG_SHA256, 0),
              0);
  }
  ~Identity() {
    ::gnutls_x509_crt_deinit(certificate_);
    ::gnutls_x509_privkey_deinit(key_);
  }
  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;

  [[nodiscard]] std::string certificate() const {
    gnutls_datum_t out{};
    ::gnutls_x509_crt_export2(certificate_, GNUTLS_X509_FMT_PEM, &out);
    return text_of(out);
  }
  [[nodiscard]] std::string key() const {
    gnutls_datum_t out{};
    ::gnutls_x509_privkey_export2(key_, GNUTLS_X509_FMT_PEM, &out);
    return text_of(out);
  }

 private:
  gnutls_x509_crt_t certificate_ = nullptr;
  gnutls_x509_privkey_t key_ = nullptr;
};

struct Answer {
  CURLcode code = CURLE_OK;
  long status = 0;
  std::string body;
};

std::size_t keep(char* data, std::size_t size, std::size_t count, void* to) {
  static_cast<std::string*>(to)->append(data, size * count);
  return size * count;
}

class TlsTest : public ::testing::Test {
 protected:
  Answer ask(const TestServer& test, const std::string& path, const Identity* client = nullptr,
             long version = CURL_SSLVERSION_DEFAULT) {
    Answer answer;
    const std::string port = test.address().substr(test.address().rfind(':'));
    CURL* curl = ::curl_easy_init();
    const std::string ca = authority_.certificate();
    curl_blob blob{const_cast<char*>(ca.data()), ca.size(), CURL_BLOB_COPY};
    ::curl_easy_setopt(curl, CURLOPT_URL, ("https://localhost" + port + path).c_str());
    ::curl_easy_setopt(curl, CURLOPT_IPRESOLVE, CURL_IPRESOLVE_V4);
    ::curl_easy_setopt(curl, CURLOPT_PROXY, "");
    ::curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    ::curl_easy_setopt(curl, CURLOPT_TIMEOUT, 10L);
    ::curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
    ::curl_easy_setopt(curl, CURLOPT_SSLVERSION, version);
    // Else the client itself would refuse old versions, and the server's refusal would not show.
    ::curl_easy_setopt(curl, CURLOPT_SSL_CIPHER_LIST, "DEFAULT@SECLEVEL=0");
    ::curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &keep);
    ::curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
    std::string certificate, key;
    if (client != nullptr) {
      certificate = client->certificate();
      key = client->key();
      curl_blob cert_blob{certificate.data(), certificate.size(), CURL_BLOB_COPY};
      curl_blob key_blob{key.data(), key.size(), CURL_BLOB_COPY};
      ::curl_easy_setopt(curl, CURLOPT_SSLCERT_BLOB, &cert_blob);
      ::curl_easy_setopt(curl, CURLOPT_SSLKEY_BLOB, &key_blob);
    }
    answer.code = ::curl_easy_perform(curl);
    ::curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    ::curl_easy_cleanup(curl);
    return answer;
  }
  ServerOptions options(bool mutual) {
    ServerOptions options = TestServer::quick();
    options.tls = Tls{server_.certificate(), server_.key(),
                      mutual ? authority_.certificate() : std::string()};
    if (mutual) options.auth.kind = Auth::Kind::certificate;
    return options;
  }

  Identity authority_{"authority", nullptr, nullptr};
  Identity server_{"server", &authority_, GNUTLS_KP_TLS_WWW_SERVER};
};

TEST_F(TlsTest, ServesAndStreams) {
  const TestServer test(options(false));
  EXPECT_EQ(ask(test, "/hello").body, "hello");
  const Answer streamed = ask(test, "/stream?bytes=5000000");
  EXPECT_EQ(streamed.code, CURLE_OK);
  EXPECT_TRUE(testing::is_pattern(streamed.body, 5'000'000));
}

TEST_F(TlsTest, SpeaksNoOldVersion) {
  // The highest version stands in the upper half (CURL_SSLVERSION_MAX_…).
  constexpr long kUpper = 0x10000;
  constexpr long kTls12 = CURL_SSLVERSION_TLSv1_2 + CURL_SSLVERSION_TLSv1_2 * kUpper;
  constexpr long kTls11 = CURL_SSLVERSION_TLSv1_0 + CURL_SSLVERSION_TLSv1_1 * kUpper;
  const TestServer test(options(false));
  EXPECT_EQ(ask(test, "/hello", nullptr, kTls12).status, 200);
  EXPECT_NE(ask(test, "/hello", nullptr, kTls11).code, CURLE_OK);
}

TEST_F(TlsTest, AsksForACertificateOfItsAuthority) {
  const TestServer test(options(true));
  const Identity known("client", &authority_, GNUTLS_KP_TLS_WWW_CLIENT);
  const Identity elsewhere("elsewhere", nullptr, nullptr);
  const Identity stranger("stranger", &elsewhere, GNUTLS_KP_TLS_WWW_CLIENT);
  const Answer good = ask(test, "/hello", &known);
  EXPECT_EQ(good.status, 200) << ::curl_easy_strerror(good.code);
  EXPECT_NE(ask(test, "/hello").status, 200);
  EXPECT_NE(ask(test, "/hello", &stranger).status, 200);
  EXPECT_NE(ask(test, "/hello", &server_).status, 200);  // a server's certificate is no client's
  EXPECT_GE(test.server->stats().auth_failures, 1U);
}

TEST_F(TlsTest, HostileClientsAreCutToo) {
  ServerOptions slow = options(false);
  slow.request_timeout_ms = 300;
  const TestServer test(slow);
  testing::Client silent = test.client();
  testing::Client plain = test.client();
  plain.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  testing::Client half = test.client();
  half.send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9));
  EXPECT_EQ(ask(test, "/hello").status, 200);
  using namespace std::chrono_literals;
  EXPECT_TRUE(silent.ended_within(2s));
  EXPECT_TRUE(plain.ended_within(2s));
  EXPECT_TRUE(half.ended_within(2s));
}

TEST_F(TlsTest, TheSocketFileStaysPlain) {
  const TemporaryDirectory directory;
  testing::Probe probe;
  std::vector<Listener> listeners;
  listeners.push_back(std::move(*listen_tcp("127.0.0.1:0")));
  listeners.push_back(std::move(*listen_unix(directory / "s")));
  const auto server = Server::start(std::move(listeners), test_routes(probe), options(true));
  ASSERT_TRUE(server.has_value()) << server.error().message;
  EXPECT_EQ(testing::Client(directory / "s").get("/hello").status, 200);
}

TEST_F(TlsTest, KeyAndCertificateBelongTogether) {
  testing::Probe probe;
  std::vector<Listener> listeners;
  listeners.push_back(std::move(*listen_tcp("127.0.0.1:0")));
  ServerOptions wrong = options(false);
  wrong.tls->key = authority_.key();
  const auto server = Server::start(std::move(listeners), test_routes(probe), wrong);
  ASSERT_FALSE(server.has_value());
  EXPECT_THAT(server.error().message, HasSubstr("key"));
}

TEST_F(TlsTest, ReadsPemFiles) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "cert") << server_.certificate();
  std::ofstream(directory / "key") << server_.key();
  std::ofstream(directory / "not") << "something else";
  const auto tls = read_tls(directory / "cert", directory / "key");
  ASSERT_TRUE(tls.has_value()) << tls.error().message;
  EXPECT_EQ(tls->certificate, server_.certificate());
  EXPECT_EQ(tls->client_ca, "");
  EXPECT_THAT(read_tls(directory / "not", directory / "key").error().message,
              HasSubstr("not a PEM"));
  EXPECT_THAT(read_tls(directory / "cert", directory / "none").error().message,
              HasSubstr("No such file"));
  EXPECT_FALSE(read_tls(directory / "cert", directory / "key", directory / "none").has_value());
}

}  // namespace
}  // namespace tarsier::api
