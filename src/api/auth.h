// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Who may ask: tokens, passwords, peer credentials, and the checks that keep a web page in the
// user's browser from asking in the user's name.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/http.h"
#include "tarsier/result.h"

namespace tarsier::api {

// What TCP clients have to show. AF_UNIX clients never need any of it: they are root or the
// daemon's own user by the kernel's word, or refused.
struct Auth {
  enum class Kind : std::uint8_t {
    open,         // anyone; for what is public by intent (metrics)
    loopback,     // anyone on this machine; a Server refuses it on any other address
    token,        // Authorization: Bearer
    certificate,  // a client certificate is enough; needs Tls::client_ca
    basic,        // Authorization: Basic against crypt(3) hashes
  };
  Kind kind = Kind::open;
  std::string token;                         // Kind::token
  std::map<std::string, std::string> users;  // Kind::basic: name to hash
};

// Bytes of randomness in a generated token; the file holds them as hexadecimal digits.
inline constexpr std::size_t kTokenBytes = 32;
// Shortest token that is accepted from a file.
inline constexpr std::size_t kMinTokenLength = 16;

// The token in `path`, or a new random one written there with mode 0600. An existing file is used
// again only if it is a plain file of ours that nobody else can read; daemons on one host share it.
[[nodiscard]] Result<std::string> shared_token(const std::string& path);
// The first line of a file that the user provides.
[[nodiscard]] Result<std::string> token_from_file(const std::string& path);

// Compares without telling by its duration where the first difference is.
[[nodiscard]] bool equal_secrets(std::string_view a, std::string_view b);

// Whether a Host header names this server: localhost, a loopback address, the address on which the
// connection came in, or one of `names` (all without regard to the port, which a forwarding may
// change). Any other name may be a page that was pointed at us by DNS rebinding.
[[nodiscard]] bool host_allowed(std::string_view host, std::string_view local_address,
                                std::span<const std::string> names);
// Whether an Origin header is of the same origin as the Host header. "null" is not.
[[nodiscard]] bool origin_allowed(std::string_view origin, std::string_view host, bool tls);

// Checks Basic credentials. Verifying costs up to 100 ms by design, so credentials that were right
// are remembered (as a keyed hash, never as text) and wrong ones are limited: above kVerifyBurst at
// once or kVerifyPerSecond in the long run the answer is "not now", so that guessing cannot hold
// the workers. Thread-safe.
class PasswordCheck {
 public:
  enum class Verdict : std::uint8_t { right, wrong, not_now };
  static constexpr std::size_t kMaxRemembered = 64;
  static constexpr double kVerifyBurst = 8;
  static constexpr double kVerifyPerSecond = 2;

  // Refuses hashes that crypt(3) does not know or calls insecure.
  static Result<std::unique_ptr<PasswordCheck>> make(std::map<std::string, std::string> users);
  [[nodiscard]] Verdict check(std::string_view user, std::string_view password,
                              std::chrono::steady_clock::time_point now);
  // How often a password was really hashed.
  [[nodiscard]] std::uint64_t verifications() const;

 private:
  PasswordCheck() = default;
  [[nodiscard]] std::string fingerprint(std::string_view user, std::string_view password) const;
  [[nodiscard]] bool take_turn(std::chrono::steady_clock::time_point now);

  std::map<std::string, std::string, std::less<>> users_;
  std::string key_;
  mutable std::mutex mutex_;
  std::vector<std::string> remembered_;
  double turns_ = kVerifyBurst;
  std::chrono::steady_clock::time_point last_{};
  std::uint64_t verifications_ = 0;
};

}  // namespace tarsier::api
