// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/gate.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <tuple>

namespace tarsier::api {
namespace {

bool same_client(const Peer& a, const Peer& b) {
  return !a.local && !b.local && a.address == b.address;
}

bool older_than(Instant then, Instant now, std::uint32_t limit_ms) {
  return now - then > std::chrono::milliseconds(limit_ms);
}

}  // namespace

std::optional<std::size_t> Gate::admit(int fd, Newcomer newcomer, std::size_t first_worker,
                                       std::size_t workers, Instant now) {
  base::UniqueFd duplicate(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  const std::lock_guard lock(mutex_);
  if (!duplicate) {
    ++stats_.accept_failures;
    return std::nullopt;
  }
  if (stopping_ || !make_room(newcomer.peer, now)) {
    ++stats_.refused;
    return std::nullopt;
  }
  ++stats_.accepted;
  auto connection = std::make_unique<Connection>();
  connection->socket = std::move(duplicate);
  connection->peer = std::move(newcomer.peer);
  connection->local_address = std::move(newcomer.local_address);
  connection->tls = newcomer.tls;
  connection->since = connection->progress = now;
  const std::size_t worker = connection->worker = pick_worker(first_worker, workers);
  auto& place = connections_[fd];
  // The library gave up on an earlier connection without a word and the number was used again.
  if (place != nullptr && place->doomed) --doomed_;
  place = std::move(connection);
  return worker;
}

bool Gate::crowded() const {
  const std::lock_guard lock(mutex_);
  return doomed_ >= kMaxDoomed;
}

Connection* Gate::start(int fd) {
  const std::lock_guard lock(mutex_);
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return nullptr;
  found->second->started = true;
  return found->second.get();
}

void Gate::closed(int fd) {
  const std::lock_guard lock(mutex_);
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  if (found->second->doomed) --doomed_;
  connections_.erase(found);
}

void Gate::begin_request(Connection& connection, Instant now) {
  const std::lock_guard lock(mutex_);
  connection.phase = Phase::reading;
  connection.since = now;
}

bool Gate::begin_work(Connection& connection, Instant now) {
  const std::lock_guard lock(mutex_);
  if (connection.phase == Phase::reading) connection.since = now;
  connection.phase = Phase::serving;
  set_busy(connection.worker, true);
  return !connection.doomed && !stopping_;
}

void Gate::end_work(Connection& connection, Instant now) {
  const std::lock_guard lock(mutex_);
  connection.phase = Phase::responding;
  connection.progress = now;
  set_busy(connection.worker, false);
}

void Gate::end_request(Connection& connection, Instant now) {
  const std::lock_guard lock(mutex_);
  connection.phase = Phase::idle;
  connection.since = now;
}

// Who has to go: the one whose phase began first, of those that hold a place without being served.
// An answer counts among them once it takes longer than a stalled client would be given.
Connection* Gate::longest_in_the_way(Instant now, const Peer* of_client) {
  Connection* victim = nullptr;
  for (auto& [fd, connection] : connections_) {
    if (connection->doomed) continue;
    if (of_client != nullptr && !same_client(connection->peer, *of_client)) continue;
    if (connection->phase == Phase::serving) continue;
    const bool served =
        connection->phase == Phase::responding || connection->phase == Phase::waiting;
    if (served && !older_than(connection->since, now, options_.write_stall_ms)) continue;
    if (victim == nullptr || connection->since < victim->since) victim = connection.get();
  }
  return victim;
}

bool Gate::make_room(const Peer& peer, Instant now) {
  std::size_t of_client = 0;
  for (const auto& [fd, connection] : connections_) {
    if (!connection->doomed && same_client(connection->peer, peer)) ++of_client;
  }
  const bool client_full = !peer.local && of_client >= options_.max_per_client;
  const bool server_full = connections_.size() - doomed_ >= options_.max_connections;
  if (!client_full && !server_full) return true;
  if (doomed_ >= kMaxDoomed) return false;
  Connection* victim = longest_in_the_way(now, client_full ? &peer : nullptr);
  if (victim == nullptr) return false;
  shut(*victim);
  ++stats_.evicted;
  return true;
}

std::size_t Gate::pick_worker(std::size_t first, std::size_t count) const {
  std::vector<std::size_t> load(count);
  for (const auto& [fd, connection] : connections_) {
    if (connection->worker >= first && connection->worker < first + count) {
      ++load[connection->worker - first];
    }
  }
  const auto cost = [&](std::size_t i) { return std::tuple(is_busy(first + i), load[i]); };
  std::size_t best = 0;
  for (std::size_t i = 1; i < count; ++i) {
    if (cost(i) < cost(best)) best = i;
  }
  return first + best;
}

void Gate::shut(Connection& connection) {
  if (connection.doomed) return;
  connection.doomed = true;
  ++doomed_;
  ::shutdown(connection.socket.get(), SHUT_RDWR);
}

bool Gate::overdue(const Connection& connection, Instant now,
                   std::uint64_t ServerStats::*& counter) const {
  switch (connection.phase) {
    case Phase::fresh:
    case Phase::reading:
      counter = &ServerStats::request_timeouts;
      return older_than(connection.since, now, options_.request_timeout_ms);
    case Phase::idle:
      counter = &ServerStats::idle_timeouts;
      return older_than(connection.since, now, options_.idle_timeout_ms);
    case Phase::responding:
      counter = &ServerStats::write_timeouts;
      return older_than(connection.progress, now, options_.write_stall_ms);
    case Phase::serving:
    case Phase::waiting: return false;
  }
  return false;
}

Gate::Sweep Gate::expire(Instant now) {
  Sweep result;
  result.any = !connections_.empty();
  if (stopping_) return result;
  for (auto& [fd, connection] : connections_) {
    if (finished(*connection, now)) shut(*connection);
    std::uint64_t ServerStats::* counter = nullptr;
    if (connection->doomed || !overdue(*connection, now, counter)) continue;
    ++(stats_.*counter);
    shut(*connection);
  }
  doomed_ -= std::erase_if(connections_, [&](const auto& entry) {
    const Connection& connection = *entry.second;
    return connection.doomed && !connection.started &&
           older_than(connection.since, now, kForgetAfterMs);
  });
  return result;
}

// Whether the client's side has ended and nothing of it can be under way: a busy worker may have a
// further request of this client before it.
bool Gate::finished(const Connection& connection, Instant now) const {
  const bool served = connection.phase == Phase::serving || connection.phase == Phase::responding ||
                      connection.phase == Phase::waiting;
  if (connection.doomed || served || is_busy(connection.worker) ||
      !older_than(connection.since, now, kFinishedAfterMs)) {
    return false;
  }
  pollfd end{connection.socket.get(), POLLRDHUP, 0};
  return ::poll(&end, 1, 0) > 0;
}

bool Gate::is_busy(std::size_t worker) const {
  return worker < busy_.size() && busy_[worker];
}

void Gate::set_busy(std::size_t worker, bool busy) {
  if (busy_.size() <= worker) busy_.resize(worker + 1);
  busy_[worker] = busy;
}

ServerStats Gate::stats() const {
  const std::lock_guard lock(mutex_);
  ServerStats stats = stats_;
  stats.connections = connections_.size() - doomed_;
  return stats;
}

}  // namespace tarsier::api
