// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One accepted connection of the fake cluster, plain or TLS. For tests.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace tarsier::net::kubernetes::fake {

struct Tls;
class TlsServer;  // certificate and key, made ready once

[[nodiscard]] std::shared_ptr<TlsServer> make_tls_server(const Tls& tls);

class Stream {
 public:
  // Takes the socket. Without a TLS server it stays plain.
  Stream(int fd, const std::shared_ptr<TlsServer>& tls);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // The head of the next request; empty: the client is gone.
  std::string request();
  // false: the client is gone.
  bool send(std::string_view text);
  bool send_chunk(std::string_view text);  // of a chunked body
  [[nodiscard]] bool client_is_gone() const;
  // From another thread: all calls end.
  void shut_down();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tarsier::net::kubernetes::fake
