// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "connections.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace tarsier::tcp {
namespace {

double seconds(std::uint64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

Subject owner_of(const tcp_record& record) {
  const tarsier_header& header = record.header;
  return header.tgid == 0 ? Subject::node() : Subject::process(header.tgid, header.start_ns);
}

Flow flow_of(const tcp_record& record) {
  Flow flow;
  std::ranges::copy(record.local_address, flow.local.address.begin());
  std::ranges::copy(record.remote_address, flow.remote.address.begin());
  flow.local.port = record.local_port;
  flow.remote.port = record.remote_port;
  flow.netns = record.netns;
  if (record.role == ROLE_CLIENT) flow.side = Flow::Side::client;
  if (record.role == ROLE_SERVER) flow.side = Flow::Side::server;
  return flow;
}

// For what is not followed as a connection.
Sink& sink_once(const tcp_record& record, Sinks& sinks) {
  const Subject owner = owner_of(record);
  const Flow flow = flow_of(record);
  const Peer peer = sinks.peer(owner, flow);
  sinks.disconnected(flow);
  return sinks.at(owner.towards(peer));
}

// Adds through the handle; where it went stale, gets it again once.
template <std::size_t N>
void add(Series& series, const Metric<N>& metric, double value, std::uint8_t role, Sink& sink) {
  if (series.add(value)) return;
  series = sink.series(metric, std::array{role_name(role)});
  (void)series.add(value);  // a refused series swallows it and is counted by the registry
}

}  // namespace

std::string_view role_name(std::uint8_t role) {
  if (role == ROLE_CLIENT) return "client";
  if (role == ROLE_SERVER) return "server";
  return "";
}

std::string_view failure_reason(std::uint32_t error) {
  switch (error) {
    case 0: return "aborted";
    case ECONNREFUSED: return "refused";
    case ETIMEDOUT: return "timeout";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENONET: return "unreachable";
    case ECONNRESET:
    case EPIPE: return "reset";
    case EADDRNOTAVAIL:
    case EADDRINUSE:
    case EAGAIN: return "address_unavailable";
    case EACCES:
    case EPERM: return "denied";
    default: return "other";
  }
}

void Connections::on_record(const tcp_record& record, Sinks& sinks) {
  switch (record.header.type) {
    case TCP_OPENED:
    case TCP_SAMPLE: update(follow(record, sinks), record, false, sinks); break;
    case TCP_CLOSED: {
      Connection& connection = follow(record, sinks);
      update(connection, record, true, sinks);
      close(connection, sinks.at(connection.owner), sinks);
      connections_.erase({record.sock, record.opened_ns});
      break;
    }
    case TCP_FAILED: on_failed(record, sinks); break;
    case TCP_RESET_RECEIVED:
    case TCP_RESET_SENT: on_reset(record, sinks); break;
    default: break;
  }
}

// The connection of the record; a new one is counted as opened if it was opened under our eyes.
Connections::Connection& Connections::follow(const tcp_record& record, Sinks& sinks) {
  const auto [found, is_new] = connections_.try_emplace({record.sock, record.opened_ns});
  Connection& connection = found->second;
  if (!is_new) return connection;
  connection.flow = flow_of(record);
  Sink& sink = sink_of(connection, record, sinks);
  join(connection, {sink.group(), record.role}, sink);
  connection.last_rtt_ns = record.header.time_ns;
  const bool seen_from_start =
      (record.flags & SOCKET_PREEXISTING) == 0 && record.established_ns >= began_ns_;
  if (!seen_from_start) {
    // What flowed before the first look is not ours to count: a counter that starts with it would
    // look like traffic of this minute.
    connection.sent_bytes = record.sent_bytes;
    connection.received_bytes = record.received_bytes;
    connection.retransmits = record.retransmitted_segments;
    return connection;
  }
  add(connection.held->opened, kOpened, 1, record.role, sink);
  if (record.role == ROLE_CLIENT && record.established_ns > record.opened_ns) {
    sink.record(kConnectDuration, seconds(record.established_ns - record.opened_ns),
                {role_name(record.role)});
  }
  return connection;
}

// The sink of whoever owns the connection now, towards the peer by the best name of now.
Sink& Connections::sink_of(Connection& connection, const tcp_record& record, Sinks& sinks) {
  const Subject owner = owner_of(record);
  Subject alone = connection.owner;
  alone.peer = 0;
  if (owner != alone || !connection.settled) {
    const Peer peer = sinks.peer(owner, connection.flow);
    connection.owner = owner.towards(peer);
    connection.settled = peer.settled;
  }
  return sinks.at(connection.owner);
}

void Connections::update(Connection& connection, const tcp_record& record, bool last,
                         Sinks& sinks) {
  connection.round = round_;
  const Subject before = connection.owner;
  Sink& sink = sink_of(connection, record, sinks);
  if (const GroupKey key{sink.group(), record.role}; key != connection.group) {
    // Accepted, handed to another process, or one of the two ends has another name: it lives on
    // there.
    leave(connection, sinks.at(before));
    join(connection, key, sink);
  }
  const std::uint8_t role = record.role;
  Group& group = *connection.held;
  // Figures only grow; one that is behind is an older look at the same connection.
  if (record.sent_bytes > connection.sent_bytes) {
    add(group.sent, kSent, static_cast<double>(record.sent_bytes - connection.sent_bytes), role,
        sink);
    connection.sent_bytes = record.sent_bytes;
  }
  if (record.received_bytes > connection.received_bytes) {
    add(group.received, kReceived,
        static_cast<double>(record.received_bytes - connection.received_bytes), role, sink);
    connection.received_bytes = record.received_bytes;
  }
  if (record.retransmitted_segments > connection.retransmits) {
    add(group.retransmits, kRetransmits, record.retransmitted_segments - connection.retransmits,
        role, sink);
    connection.retransmits = record.retransmitted_segments;
  }
  const bool due = record.header.time_ns >= connection.last_rtt_ns + kRttPeriodNs;
  if (record.srtt_us != 0 && (last || due)) {
    const double rtt = static_cast<double>(record.srtt_us) / 1e6;
    if (!group.rtt.observe(rtt)) {
      group.rtt = sink.series(kRtt, std::array{role_name(role)});
      (void)group.rtt.observe(rtt);
    }
    connection.last_rtt_ns = record.header.time_ns;
  }
}

void Connections::close(Connection& connection, Sink& sink, Sinks& sinks) {
  add(connection.held->closed, kClosed, 1, connection.group.role, sink);
  leave(connection, sink);
  sinks.disconnected(connection.flow);
}

void Connections::join(Connection& connection, const GroupKey& key, Sink& sink) {
  Group& group = groups_[key];
  ++group.connections;
  connection.group = key;
  connection.held = &group;
  add(group.active, kActive, 1, key.role, sink);
  // A group shows all its series from its first connection on, so that a rate has its zero.
  add(group.opened, kOpened, 0, key.role, sink);
  add(group.closed, kClosed, 0, key.role, sink);
  add(group.sent, kSent, 0, key.role, sink);
  add(group.received, kReceived, 0, key.role, sink);
  add(group.retransmits, kRetransmits, 0, key.role, sink);
}

// `sink`: of the owner as it was, for the handle that went stale meanwhile.
void Connections::leave(Connection& connection, Sink& sink) {
  const GroupKey key = connection.group;
  add(connection.held->active, kActive, -1, key.role, sink);
  if (--connection.held->connections == 0) groups_.erase(key);
  connection.held = nullptr;
}

void Connections::finish_samples(std::uint64_t round_began_ns, Sinks& sinks) {
  for (auto entry = connections_.begin(); entry != connections_.end();) {
    Connection& connection = entry->second;
    if (connection.round + 1 >= round_ || entry->first.opened_ns >= round_began_ns) {
      ++entry;
      continue;
    }
    close(connection, sinks.at(connection.owner), sinks);
    entry = connections_.erase(entry);
  }
}

void Connections::take_back_gauges(Sinks& sinks) {
  for (auto& [id, connection] : connections_) {
    leave(connection, sinks.at(connection.owner));
    sinks.disconnected(connection.flow);
  }
  connections_.clear();
}

void Connections::on_failed(const tcp_record& record, Sinks& sinks) {
  Sink& sink = sink_once(record, sinks);
  sink.record(kFailures, 1, {role_name(ROLE_CLIENT), failure_reason(record.error)});
  if (record.retransmitted_segments > 0) {
    sink.record(kRetransmits, record.retransmitted_segments, {role_name(ROLE_CLIENT)});
  }
}

void Connections::on_reset(const tcp_record& record, Sinks& sinks) {
  const auto found = connections_.find({record.sock, record.opened_ns});
  Sink& sink =
      found == connections_.end() ? sink_once(record, sinks) : sinks.at(found->second.owner);
  sink.record(kResets, 1,
              {role_name(record.role), record.header.type == TCP_RESET_SENT ? "sent" : "received"});
}

}  // namespace tarsier::tcp
