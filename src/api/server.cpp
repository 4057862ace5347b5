// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <thread>

#include "api/worker.h"
#include "base/files.h"
#include "base/log.h"

namespace tarsier::api {
namespace {

// Connections taken from one listener before the clock is looked at again.
constexpr int kMaxAcceptsPerTurn = 32;
// Pauses in which clients stay in the kernel's queue: after running out of descriptors or memory,
// and while the workers have many connections to close.
constexpr int kAcceptPauseMs = 100;
constexpr int kCrowdedPauseMs = 5;
constexpr int kMinTickMs = 10;
constexpr int kMaxTickMs = 500;

std::string numeric_address(const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(storage).sin_addr, text,
                sizeof text);
  } else if (storage.ss_family == AF_INET6) {
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr;
    constexpr std::size_t kMappedPrefix = 12;
    if (IN6_IS_ADDR_V4MAPPED(&v6)) {
      ::inet_ntop(AF_INET, v6.s6_addr + kMappedPrefix, text, sizeof text);
    } else {
      ::inet_ntop(AF_INET6, &v6, text, sizeof text);
    }
  }
  return text;
}

std::string local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return numeric_address(storage);
}

Peer peer_of(int fd, const sockaddr_storage& storage) {
  Peer peer;
  if (storage.ss_family == AF_UNIX) {
    ucred credentials{};
    socklen_t length = sizeof credentials;
    peer.local = true;
    // Without the kernel's word the peer is nobody in particular, who is refused.
    peer.uid = static_cast<uid_t>(-1);
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
      peer.uid = credentials.uid;
      peer.gid = credentials.gid;
      peer.pid = credentials.pid;
    }
    return peer;
  }
  peer.address = numeric_address(storage);
  peer.loopback = peer.address == "::1" || peer.address.starts_with("127.");
  return peer;
}

Status check(const std::vector<Listener>& listeners, const ServerOptions& options) {
  const auto refuse = [&](std::string_view why) {
    return fail(ErrorCode::invalid,
                fmt::format("start the HTTP server \"{}\": {}", options.name, why));
  };
  if (options.workers == 0 || options.max_connections == 0 || options.max_per_client == 0) {
    return refuse("it needs at least one worker and one connection");
  }
  const bool exposed =
      std::ranges::any_of(listeners, [](const Listener& l) { return !l.is_loopback(); });
  if (options.auth.kind == Auth::Kind::loopback && exposed) {
    return refuse("without authentication it may listen on a loopback address only");
  }
  if (options.auth.kind == Auth::Kind::token && options.auth.token.size() < kMinTokenLength) {
    return refuse(fmt::format("its token is shorter than {} characters", kMinTokenLength));
  }
  if (options.auth.kind == Auth::Kind::certificate &&
      (!options.tls || options.tls->client_ca.empty())) {
    return refuse("client certificates need TLS and a client_ca");
  }
  return {};
}

// Signals are the main thread's; threads inherit the mask of their creator.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

class Server::Impl {
 public:
  Impl(std::vector<Listener> listeners, Routes routes, ServerOptions options)
      : core(std::move(routes), std::move(options)), listeners_(std::move(listeners)) {}
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status start();
  void stop();
  [[nodiscard]] const std::vector<Listener>& listeners() const { return listeners_; }
  [[nodiscard]] std::vector<Listener> release() { return std::move(listeners_); }

  Core core;

 private:
  Status start_workers();
  void ring() const;
  void watch();
  int poll_once(int timeout_ms);
  void accept_from(const Listener& listener);
  void take(int fd, const sockaddr_storage& storage, socklen_t length, bool is_unix);
  [[nodiscard]] int tick_ms() const;

  std::vector<Listener> listeners_;
  std::vector<std::unique_ptr<Worker>> workers_;  // those for TCP, then the one for AF_UNIX if TLS
  std::size_t tcp_workers_ = 0;
  base::UniqueFd bell_;
  std::atomic<bool> stopping_{false};
  int accept_pause_ms_ = 0;
  std::thread door_;
};

Status Server::Impl::start_workers() {
  const Tls* tls = core.options.tls ? &*core.options.tls : nullptr;
  for (unsigned i = 0; i < core.options.workers; ++i) {
    auto worker = Worker::start(core, tls);
    if (!worker) return std::unexpected(std::move(worker.error()));
    workers_.push_back(std::move(*worker));
  }
  tcp_workers_ = workers_.size();
  const bool any_unix = std::ranges::any_of(listeners_, &Listener::is_unix);
  if (tls == nullptr || !any_unix) return {};
  auto plain = Worker::start(core, nullptr);
  if (!plain) return std::unexpected(std::move(plain.error()));
  workers_.push_back(std::move(*plain));
  return {};
}

Status Server::Impl::start() {
  bell_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!bell_) return fail_errno("create an eventfd");
  core.wake = [this] { ring(); };
  if (core.options.auth.kind == Auth::Kind::basic) {
    auto passwords = PasswordCheck::make(core.options.auth.users);
    if (!passwords) return std::unexpected(std::move(passwords.error()));
    core.passwords = std::move(*passwords);
  }
  const SignalsBlocked blocked;
  if (auto status = start_workers(); !status) return status;
  try {
    door_ = std::thread([this] { watch(); });
  } catch (const std::system_error& error) {
    return fail_errno("start a thread for the HTTP server", error.code().value());
  }
  return {};
}

void Server::Impl::stop() {
  if (stopping_.exchange(true)) return;
  ring();
  if (door_.joinable()) door_.join();
  core.gate.stop(&Worker::wake);
  workers_.clear();
}

void Server::Impl::ring() const {
  if (!bell_) return;
  const std::uint64_t one = 1;
  // The only failure is a full counter, and then the bell is ringing already.
  [[maybe_unused]] const ssize_t n = ::write(bell_.get(), &one, sizeof one);
}

// Short enough that a time-out is never late by more than a quarter of itself.
int Server::Impl::tick_ms() const {
  const ServerOptions& options = core.options;
  const std::uint32_t shortest =
      std::min({options.request_timeout_ms, options.idle_timeout_ms, options.write_stall_ms});
  return std::clamp(static_cast<int>(std::min<std::uint32_t>(shortest, 60'000) / 4), kMinTickMs,
                    kMaxTickMs);
}

void Server::Impl::watch() {
  ::pthread_setname_np(::pthread_self(), core.options.name.substr(0, 15).c_str());
  while (!stopping_) {
    const Gate::Sweep sweep = core.gate.sweep(std::chrono::steady_clock::now(), &Worker::wake);
    int timeout_ms = sweep.waiting ? kStreamPollMs : sweep.any ? tick_ms() : -1;
    if (accept_pause_ms_ > 0) timeout_ms = accept_pause_ms_;
    poll_once(timeout_ms);
  }
}

int Server::Impl::poll_once(int timeout_ms) {
  std::vector<pollfd> fds{{bell_.get(), POLLIN, 0}};
  if (accept_pause_ms_ == 0) {
    for (const Listener& listener : listeners_) fds.push_back({listener.fd(), POLLIN, 0});
  }
  accept_pause_ms_ = 0;
  const int ready = ::poll(fds.data(), fds.size(), timeout_ms);
  if (ready <= 0) return ready;
  if (fds[0].revents != 0) {
    std::uint64_t rings = 0;
    [[maybe_unused]] const ssize_t n = ::read(bell_.get(), &rings, sizeof rings);
  }
  for (std::size_t i = 1; i < fds.size(); ++i) {
    if (fds[i].revents != 0) accept_from(listeners_[i - 1]);
  }
  return ready;
}

void Server::Impl::accept_from(const Listener& listener) {
  for (int i = 0; i < kMaxAcceptsPerTurn; ++i) {
    if (core.gate.crowded()) {
      accept_pause_ms_ = kCrowdedPauseMs;
      return;
    }
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    const int fd = ::accept4(listener.fd(), reinterpret_cast<sockaddr*>(&storage), &length,
                             SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      take(fd, storage, length, listener.is_unix());
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return;
    const int error = errno;
    core.gate.count([](ServerStats& stats) { ++stats.accept_failures; });
    if (core.log_limit.allow()) {
      base::log_warning("{}: {}; new clients wait ({} more of these)", core.options.name,
                        fail_errno("accept a connection", error).error().message,
                        core.log_limit.held_back());
    }
    accept_pause_ms_ = kAcceptPauseMs;
    return;
  }
}

void Server::Impl::take(int raw, const sockaddr_storage& storage, socklen_t length, bool is_unix) {
  base::UniqueFd fd(raw);
  const bool separate = is_unix && workers_.size() > tcp_workers_;
  Gate::Newcomer newcomer{peer_of(raw, storage), is_unix ? std::string() : local_address(raw),
                          core.options.tls.has_value() && !is_unix};
  const auto worker =
      core.gate.admit(raw, std::move(newcomer), separate ? tcp_workers_ : 0,
                      separate ? 1 : tcp_workers_, std::chrono::steady_clock::now());
  if (!worker) return;
  // The library closes the descriptor if it refuses it; the gate's entry then goes by its time-out
  // unless the number comes back first.
  workers_[*worker]->add(fd.release(), reinterpret_cast<const sockaddr*>(&storage), length);
}

Result<Tls> read_tls(const std::string& certificate, const std::string& key,
                     const std::string& client_ca) {
  constexpr std::size_t kMaxPemBytes = 1U << 20U;
  Tls tls;
  for (const auto& [path, text] :
       {std::pair(&certificate, &tls.certificate), std::pair(&key, &tls.key),
        std::pair(&client_ca, &tls.client_ca)}) {
    if (path == &client_ca && path->empty()) continue;
    auto content = base::read_file(*path, kMaxPemBytes);
    if (!content) return std::unexpected(std::move(content.error()).in("read what TLS needs"));
    if (content->find("-----BEGIN ") == content->npos) {
      return fail(ErrorCode::invalid,
                  fmt::format("read what TLS needs: {} is not a PEM file", *path));
    }
    *text = std::move(*content);
  }
  return tls;
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(std::vector<Listener> listeners, Routes routes,
                                              ServerOptions options) {
  if (auto status = check(listeners, options); !status) {
    return std::unexpected(std::move(status.error()));
  }
  auto impl = std::make_unique<Impl>(std::move(listeners), std::move(routes), std::move(options));
  if (auto status = impl->start(); !status) return std::unexpected(std::move(status.error()));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::stop() {
  impl_->stop();
}

std::vector<Listener> Server::stop_and_release() {
  impl_->stop();
  return impl_->release();
}

ServerStats Server::stats() const {
  return impl_->core.gate.stats();
}

const std::string& Server::name() const {
  return impl_->core.options.name;
}

std::vector<std::string> Server::addresses() const {
  std::vector<std::string> addresses;
  for (const Listener& listener : impl_->listeners()) addresses.push_back(listener.address());
  return addresses;
}

}  // namespace tarsier::api
