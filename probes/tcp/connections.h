// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The connections that the probe follows, and what each owner and role counted. No kernel in here.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <unordered_map>

#include "tarsier/probe.h"
#include "tcp.h"

namespace tarsier::tcp {

inline constexpr std::string_view kRole[] = {"role"};
inline constexpr std::string_view kRoleReason[] = {"role", "reason"};
inline constexpr std::string_view kRoleDirection[] = {"role", "direction"};

inline constexpr auto kOpened =
    counter("tarsier_tcp_connections_opened_total", "TCP connections that reached ESTABLISHED.",
            Unit::none, kRole);
inline constexpr auto kClosed =
    counter("tarsier_tcp_connections_closed_total",
            "Established TCP connections that reached CLOSE; TIME_WAIT is not waited for.",
            Unit::none, kRole);
inline constexpr auto kActive =
    gauge("tarsier_tcp_connections_active",
          "TCP connections between ESTABLISHED and CLOSE, without TIME_WAIT.", Unit::none, kRole);
inline constexpr auto kFailures =
    counter("tarsier_tcp_connect_failures_total",
            "Calls of connect() on TCP sockets that did not lead to a connection.", Unit::none,
            kRoleReason);
inline constexpr auto kSent =
    counter("tarsier_tcp_sent_bytes_total",
            "Payload sent over TCP, each byte once, however often it was retransmitted.",
            Unit::bytes, kRole);
inline constexpr auto kReceived = counter(
    "tarsier_tcp_received_bytes_total", "Payload received over TCP, in order.", Unit::bytes, kRole);
inline constexpr auto kRetransmits =
    counter("tarsier_tcp_retransmits_total", "TCP segments sent again, SYN segments included.",
            Unit::none, kRole);
inline constexpr auto kResets =
    counter("tarsier_tcp_resets_total",
            "TCP resets by direction; those that answer a closed port have neither owner nor role.",
            Unit::none, kRoleDirection);
inline constexpr auto kRtt = histogram("tarsier_tcp_rtt_seconds",
                                       "Smoothed round trip time of a TCP connection, observed at "
                                       "its close and every 10 s of its life.",
                                       Unit::seconds, kKernelLatencyBuckets, kRole);
inline constexpr auto kConnectDuration =
    histogram("tarsier_tcp_connect_duration_seconds",
              "Time from the first SYN to ESTABLISHED of connections made by this side.",
              Unit::seconds, kKernelLatencyBuckets, kRole);

inline constexpr const MetricDef* kMetrics[] = {
    &kOpened,   &kClosed,      &kActive, &kFailures, &kSent,
    &kReceived, &kRetransmits, &kResets, &kRtt,      &kConnectDuration};

// How often a live connection's round trip time is observed.
inline constexpr std::uint64_t kRttPeriodNs = 10'000'000'000;

[[nodiscard]] std::string_view role_name(std::uint8_t role);  // "" where it is not known
// The reason of a failed connect() by its errno: a closed set.
[[nodiscard]] std::string_view failure_reason(std::uint32_t error);

// Follows connections by absolute figures. A record that was lost is made up for by the next one of
// the same connection; a connection whose end was lost is found by finish_samples().
class Connections {
 public:
  // Connections that were established before `began_ns` are not counted as opened, and their bytes
  // only from the first look on. No limit of its own: the service tracks at most
  // SHARED_SOCKETS_MAX sockets and counts the rest.
  explicit Connections(std::uint64_t began_ns) : began_ns_(began_ns) {}

  void on_record(const tcp_record& record, Sinks& sinks);
  void begin_samples() { ++round_; }
  // After all samples of a round: what was missing in this round and in the one before has ended
  // and its end was lost. Missing once is not enough, because the record of its end may still wait
  // in the ring and would then be taken for another connection's.
  void finish_samples(std::uint64_t round_began_ns, Sinks& sinks);
  void take_back_gauges(Sinks& sinks);

  [[nodiscard]] std::size_t size() const { return connections_.size(); }

 private:
  struct Id {
    std::uint64_t sock = 0;
    std::uint64_t opened_ns = 0;
    friend bool operator==(const Id&, const Id&) = default;
  };
  struct IdHash {
    std::size_t operator()(const Id& id) const {
      return std::hash<std::uint64_t>()(id.sock ^ (id.opened_ns * 0x9E3779B97F4A7C15ULL));
    }
  };
  // Sink::group() of the owner towards its peer, and the role.
  struct GroupKey {
    std::uint64_t group = 0;
    std::uint8_t role = ROLE_UNKNOWN;
    friend auto operator<=>(const GroupKey&, const GroupKey&) = default;
  };
  // The series of one kind of owner in one role, held by the connections that refer to it.
  struct Group {
    std::size_t connections = 0;
    Series opened, closed, active, sent, received, retransmits, rtt;
  };
  struct Connection {
    Subject owner;  // towards the peer
    Flow flow;
    bool settled = false;  // the peer has the best name that it can get
    GroupKey group;
    Group* held = nullptr;
    std::uint64_t sent_bytes = 0, received_bytes = 0;
    std::uint64_t last_rtt_ns = 0;
    std::uint32_t retransmits = 0;
    std::uint32_t round = 0;  // the last one that sampled it
  };

  Connection& follow(const tcp_record& record, Sinks& sinks);
  Sink& sink_of(Connection& connection, const tcp_record& record, Sinks& sinks);
  void update(Connection& connection, const tcp_record& record, bool last, Sinks& sinks);
  void close(Connection& connection, Sink& sink, Sinks& sinks);
  void join(Connection& connection, const GroupKey& key, Sink& sink);
  void leave(Connection& connection, Sink& sink);
  void on_failed(const tcp_record& record, Sinks& sinks);
  void on_reset(const tcp_record& record, Sinks& sinks);

  std::uint64_t began_ns_;
  std::uint32_t round_ = 0;
  std::unordered_map<Id, Connection, IdHash> connections_;
  std::map<GroupKey, Group> groups_;  // node-based: Connection::held stays valid
};

}  // namespace tarsier::tcp
