// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The room `echo`: stitches requests with their answers, and tells the kernel when a connection has
// been seen enough.
#include "echo/echo.h"

#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "echo/stream.h"
#include "room_echo_object.h"
#include "sockets.h"
#include "tarsier/probe.h"

namespace tarsier {
namespace {

constexpr std::size_t kMaxConnections = 4'096;
constexpr std::size_t kMaxWaiting = 1'024;  // requests without an answer on one connection
constexpr std::uint64_t kIdleNs = 30'000'000'000;

constexpr std::string_view kRole[] = {"role"};
constexpr auto kRequests = counter("tarsier_room_echo_requests_total",
                                   "Requests that got their answer.", Unit::none, kRole);
constexpr auto kDuration =
    histogram("tarsier_room_echo_duration_seconds", "From a request to its answer.", Unit::seconds,
              kKernelLatencyBuckets, kRole);
constexpr auto kOutOfStep =
    counter("tarsier_room_echo_out_of_step_total", "Messages that did not fit what was before.",
            Unit::none, kRole);
constexpr auto kVerdicts =
    counter("tarsier_room_echo_verdicts_total", "Connections that were seen enough of.");
constexpr auto kHeldBack = counter("tarsier_room_echo_held_back_total",
                                   "Messages that a verdict held back in the kernel.");
constexpr const MetricDef* kMetrics[] = {&kRequests, &kDuration, &kOutOfStep, &kVerdicts,
                                         &kHeldBack};

struct Connection {
  rooms::Stream streams[2];
  std::deque<std::pair<std::uint32_t, std::uint64_t>> waiting;  // sequence and time of requests
  Series requests, duration;
  std::uint64_t seen_ns = 0;
};

class EchoRoom final : public Probe {
 public:
  bool on_event(Bytes bytes, Sinks& sinks) override {
    echo_record record;
    if (!copy_from(bytes, record) || record.direction > ECHO_RECEIVED ||
        record.captured > ECHO_PREFIX || record.captured > record.length) {
      return false;
    }
    const Key key{record.socket.sock, record.socket.opened_ns};
    if (!connections_.contains(key) && connections_.size() >= kMaxConnections) forget_oldest();
    Connection& connection = connections_[key];
    connection.seen_ns = record.header.time_ns;
    Sink& sink = sinks.at(Subject::process(record.header.tgid, record.header.start_ns));
    bool stitched = true;
    const bool in_step = connection.streams[record.direction].on_message(
        record.position, record.length, std::span(record.prefix).first(record.captured),
        [&](const echo_frame& frame) {
          stitched = on_frame(connection, record, frame, sink) && stitched;
        });
    if (!in_step || !stitched) sink.record(kOutOfStep, 1, {role_of(record)});
    return true;
  }

  void on_tick(std::uint64_t now_ns, Maps& maps, Sinks& sinks) override {
    std::erase_if(verdicts_, [&](const auto& one) {
      const bool done =
          maps.update("verdicts", bytes_of(one.first), bytes_of(one.second)).has_value();
      if (done) sinks.node().record(kVerdicts, 1);
      return done;
    });
    count_held_back(maps, sinks);
    std::erase_if(connections_,
                  [&](const auto& one) { return one.second.seen_ns + kIdleNs < now_ns; });
  }

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;

  static std::string_view role_of(const echo_record& record) {
    return record.role == ROLE_CLIENT ? "client" : "server";
  }

  // false: an answer to nothing, or to another request than the first that waits.
  bool on_frame(Connection& connection, const echo_record& record, const echo_frame& frame,
                Sink& sink) {
    if (frame.kind == 'Q') {
      if (frame.verb == ECHO_LOOK_AWAY) verdicts_.push_back({record.socket, {0}});
      if (frame.verb == ECHO_ENOUGH_AT) verdicts_.push_back({record.socket, {frame.argument}});
      if (connection.waiting.size() == kMaxWaiting) connection.waiting.pop_front();
      connection.waiting.emplace_back(frame.sequence, record.header.time_ns);
      return true;
    }
    auto& waiting = connection.waiting;
    if (waiting.empty() || waiting.front().first != frame.sequence) {
      waiting.clear();
      return false;
    }
    const std::uint64_t taken_ns = record.header.time_ns - waiting.front().second;
    waiting.pop_front();
    const std::array<std::string_view, 1> role{role_of(record)};
    while (!connection.requests.add(1)) connection.requests = sink.series(kRequests, role);
    while (!connection.duration.observe(static_cast<double>(taken_ns) * 1e-9)) {
      connection.duration = sink.series(kDuration, role);
    }
    return true;
  }

  void forget_oldest() {
    const auto oldest = std::ranges::min_element(
        connections_, {}, [](const auto& one) { return one.second.seen_ns; });
    connections_.erase(oldest);
  }

  void count_held_back(Maps& maps, Sinks& sinks) {
    std::uint64_t total = 0;
    (void)maps.each("held_back", [&](Bytes, Bytes per_cpu) {
      for (; per_cpu.size() >= sizeof(std::uint64_t); per_cpu = per_cpu.subspan(8)) {
        std::uint64_t count = 0;
        (void)copy_from(per_cpu, count);
        total += count;
      }
    });
    sinks.node().record(kHeldBack, static_cast<double>(total - held_back_));
    held_back_ = total;
  }

  std::map<Key, Connection> connections_;
  std::vector<std::pair<echo_socket, echo_verdict>> verdicts_;  // not yet told to the kernel
  std::uint64_t held_back_ = 0;
};

constexpr Attachment kTyped[] = {{Method::tp_btf, "sock_send_length", "room_echo_send"},
                                 {Method::tp_btf, "sock_recv_length", "room_echo_recv"}};
constexpr Attachment kCalls[] = {
    {Method::tracepoint, "syscalls/sys_enter_sendto", "room_echo_ens"},
    {Method::tracepoint, "syscalls/sys_exit_sendto", "room_echo_exs"},
    {Method::tracepoint, "syscalls/sys_enter_recvfrom", "room_echo_enr"},
    {Method::tracepoint, "syscalls/sys_exit_recvfrom", "room_echo_exr"}};
constexpr Way kWays[] = {kTyped, kCalls};
constexpr Hook kHooks[] = {{"a message is sent or received", kWays}};

constexpr Option kOptions[] = {
    integer_option("port", "The server's port.", 0, 0, 65'535),
    integer_option("other_port", "A second server's port.", 0, 0, 65'535),
    duration_option("verdict_interval", "How often verdicts go to the kernel.", 20 * kMillisecond,
                    kMillisecond, kSecond),
};
constexpr std::string_view kRings[] = {"events"};
constexpr std::string_view kServices[] = {"sockets"};

}  // namespace

extern const ProbeSpec echo_room;
constinit const ProbeSpec echo_room{
    .name = "echo",
    .summary = "Follows an echo protocol.",
    .metrics = kMetrics,
    .hooks = kHooks,
    .options = kOptions,
    .services = kServices,
    .rings = kRings,
    .tick_option = "verdict_interval",
    .object = room_echo_object,
    .kernel_config =
        [](const Options& options) {
          return copy_bytes_of(
              echo_config{static_cast<std::uint16_t>(options.integer("port")),
                          static_cast<std::uint16_t>(options.integer("other_port"))});
        },
    .make = [](const ProbeContext&) -> std::unique_ptr<Probe> {
      return std::make_unique<EchoRoom>();
    },
};

}  // namespace tarsier
