// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/auth.h"

#include <arpa/inet.h>
#include <crypt.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "base/fd.h"
#include "base/files.h"
#include "base/text.h"

namespace tarsier::api {
namespace {

Result<std::string> random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  // Up to 256 bytes come whole once the kernel's generator is seeded (getrandom(2)).
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(count)) {
    return fail_errno("read random bytes");
  }
  return bytes;
}

std::string hexadecimal(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

bool is_generated_token(std::string_view text) {
  return text.size() == 2 * kTokenBytes &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
}

// The token that another daemon of ours left, or nothing if the file is not to be trusted.
std::optional<std::string> existing_token(const std::string& path) {
  const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0) return std::nullopt;
  const bool private_file =
      S_ISREG(info.st_mode) && info.st_uid == ::geteuid() && (info.st_mode & 0077U) == 0;
  if (!private_file) return std::nullopt;
  char buffer[2 * kTokenBytes + 2];
  const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
  if (n <= 0) return std::nullopt;
  const std::string_view text = base::trim({buffer, static_cast<std::size_t>(n)});
  if (!is_generated_token(text)) return std::nullopt;
  return std::string(text);
}

// Host without its port, brackets and final dot.
std::string_view host_name(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    return end == host.npos ? std::string_view() : host.substr(1, end - 1);
  }
  host = host.substr(0, host.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

std::optional<std::string> numeric(std::string_view text) {
  const std::string name(text);
  unsigned char raw[sizeof(in6_addr)];
  char out[INET6_ADDRSTRLEN];
  for (const int family : {AF_INET, AF_INET6}) {
    if (::inet_pton(family, name.c_str(), raw) == 1 &&
        ::inet_ntop(family, raw, out, sizeof out) != nullptr) {
      return out;
    }
  }
  return std::nullopt;
}

std::string_view strip_port(std::string_view authority, std::string_view port) {
  const std::size_t colon = authority.rfind(':');
  const bool has_port = colon != authority.npos && authority.substr(colon + 1) == port;
  return has_port ? authority.substr(0, colon) : authority;
}

// crypt(3) into its own 32 KiB work area, which is too large for a stack.
std::string hash_password(const std::string& password, const std::string& setting) {
  auto work = std::make_unique<crypt_data>();
  const char* hash = ::crypt_r(password.c_str(), setting.c_str(), work.get());
  std::string result = hash == nullptr ? std::string("*") : std::string(hash);
  ::explicit_bzero(work.get(), sizeof(crypt_data));
  return result;
}

}  // namespace

Result<std::string> shared_token(const std::string& path) {
  if (auto token = existing_token(path)) return *token;
  auto bytes = random_bytes(kTokenBytes);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  std::string token = hexadecimal(*bytes);
  if (auto status = base::make_parent(path); !status) {
    return std::unexpected(std::move(status.error()).in("keep the API token"));
  }
  if (auto status = base::replace_file(path, token + "\n", 0600); !status) {
    return std::unexpected(std::move(status.error()).in("keep the API token"));
  }
  return token;
}

Result<std::string> token_from_file(const std::string& path) {
  constexpr std::size_t kMaxTokenFileBytes = 4096;
  auto content = base::read_file(path, kMaxTokenFileBytes);
  if (!content) return std::unexpected(std::move(content.error()).in("read the API token"));
  const std::string_view first_line(*content);
  const std::string_view token = base::trim(first_line.substr(0, first_line.find('\n')));
  const bool printable =
      std::ranges::all_of(token, [](unsigned char c) { return c > ' ' && c < 0x7F; });
  if (token.size() < kMinTokenLength || !printable) {
    return fail(ErrorCode::invalid,
                fmt::format("read the API token: the first line of {} is not a token of at least "
                            "{} printable characters without blanks; `openssl rand -hex 32` makes "
                            "one",
                            path, kMinTokenLength));
  }
  return std::string(token);
}

bool equal_secrets(std::string_view a, std::string_view b) {
  // The lengths are no secret: that of a token is public, that of a hash is its method's.
  return a.size() == b.size() && ::gnutls_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool host_allowed(std::string_view host, std::string_view local_address,
                  std::span<const std::string> names) {
  const std::string_view name = host_name(host);
  if (name.empty()) return false;
  if (const auto address = numeric(name)) {
    if (*address == "::1" || address->starts_with("127.")) return true;
    if (const auto local = numeric(local_address); local && *local == *address) return true;
  }
  if (equal_caseless(name, "localhost")) return true;
  return std::ranges::any_of(
      names, [&](const std::string& other) { return equal_caseless(name, host_name(other)); });
}

bool origin_allowed(std::string_view origin, std::string_view host, bool tls) {
  const std::string_view scheme = tls ? "https://" : "http://";
  if (!equal_caseless(origin.substr(0, scheme.size()), scheme)) return false;
  const std::string_view port = tls ? "443" : "80";
  return !host.empty() &&
         equal_caseless(strip_port(origin.substr(scheme.size()), port), strip_port(host, port));
}

Result<std::unique_ptr<PasswordCheck>> PasswordCheck::make(
    std::map<std::string, std::string> users) {
  if (users.empty()) {
    return fail(ErrorCode::invalid, "basic authentication without a user would let nobody in");
  }
  for (const auto& [name, hash] : users) {
    const int verdict = ::crypt_checksalt(hash.c_str());
    if (verdict == CRYPT_SALT_OK && hash.starts_with('$')) continue;
    return fail(ErrorCode::invalid,
                fmt::format("the password of user \"{}\" is not a hash of a strong method; "
                            "`mkpasswd -m yescrypt` or `openssl passwd -6` makes one",
                            name));
  }
  auto key = random_bytes(32);
  if (!key) return std::unexpected(std::move(key.error()));
  std::unique_ptr<PasswordCheck> check(new PasswordCheck);
  check->users_.insert(users.begin(), users.end());
  check->key_ = std::move(*key);
  return check;
}

std::string PasswordCheck::fingerprint(std::string_view user, std::string_view password) const {
  std::string text(user);
  text.push_back('\0');
  text.append(password);
  std::string mac(32, '\0');
  ::gnutls_hmac_fast(GNUTLS_MAC_SHA256, key_.data(), key_.size(), text.data(), text.size(),
                     mac.data());
  return mac;
}

bool PasswordCheck::take_turn(std::chrono::steady_clock::time_point now) {
  if (last_ != std::chrono::steady_clock::time_point{}) {
    const std::chrono::duration<double> passed = now - last_;
    turns_ = std::min(kVerifyBurst, turns_ + passed.count() * kVerifyPerSecond);
  }
  last_ = now;
  if (turns_ < 1) return false;
  turns_ -= 1;
  return true;
}

PasswordCheck::Verdict PasswordCheck::check(std::string_view user, std::string_view password,
                                            std::chrono::steady_clock::time_point now) {
  const std::string mark = fingerprint(user, password);
  const auto found = users_.find(user);
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& known : remembered_) {
      if (equal_secrets(known, mark)) return Verdict::right;
    }
    if (!take_turn(now)) return Verdict::not_now;
    ++verifications_;
  }
  // An unknown user costs as much as a known one, so that names cannot be found by the clock.
  const std::string& hash = found != users_.end() ? found->second : users_.begin()->second;
  const bool right = equal_secrets(hash_password(std::string(password), hash), hash);
  if (!right || found == users_.end()) return Verdict::wrong;

  const std::lock_guard lock(mutex_);
  turns_ = std::min(kVerifyBurst, turns_ + 1);  // only wrong guesses use up turns
  if (std::ranges::find(remembered_, mark) != remembered_.end()) return Verdict::right;
  if (remembered_.size() == kMaxRemembered) remembered_.erase(remembered_.begin());
  remembered_.push_back(mark);
  return Verdict::right;
}

std::uint64_t PasswordCheck::verifications() const {
  const std::lock_guard lock(mutex_);
  return verifications_;
}

}  // namespace tarsier::api
