// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The probe `tcp`: its name plate and how records become numbers.
#include "tcp.h"
#include "connections.h"
#include "tarsier/probe.h"
#include "tcp_object.h"

namespace tarsier {
namespace {

using tcp::Connections;

class TcpProbe final : public Probe {
 public:
  explicit TcpProbe(std::uint64_t now_ns) : connections_(now_ns) {}

  bool on_event(Bytes bytes, Sinks& sinks) override {
    tcp_record record;
    if (!copy_from(bytes, record) || record.header.type < TCP_OPENED ||
        record.header.type > TCP_SAMPLE) {
      return false;
    }
    connections_.on_record(record, sinks);
    return true;
  }

  void on_tick(std::uint64_t now_ns, Maps& maps, Sinks& sinks) override {
    connections_.begin_samples();
    const auto sampled = maps.iterate("sample", sizeof(tcp_record), [&](Bytes bytes) {
      tcp_record record;
      if (copy_from(bytes, record)) connections_.on_record(record, sinks);
    });
    if (sampled) connections_.finish_samples(now_ns, sinks);
    count_stray_resets(maps, sinks);
  }

  void on_stop(Sinks& sinks) override { connections_.take_back_gauges(sinks); }

 private:
  void count_stray_resets(Maps& maps, Sinks& sinks) {
    std::uint64_t total = 0;
    (void)maps.each("stray_resets", [&](Bytes, Bytes per_cpu) {
      for (; per_cpu.size() >= sizeof(std::uint64_t); per_cpu = per_cpu.subspan(8)) {
        std::uint64_t count = 0;
        (void)copy_from(per_cpu, count);
        total += count;
      }
    });
    if (total > stray_resets_) {
      sinks.node().record(tcp::kResets, static_cast<double>(total - stray_resets_), {"", "sent"});
      stray_resets_ = total;
    }
  }

  Connections connections_;
  std::uint64_t stray_resets_ = 0;
};

TARSIER_TRACEPOINT_WAYS(kState, "inet_sock_set_state", "state");

constexpr Attachment kConnectCalls[] = {
    {Method::tracepoint, "syscalls/sys_enter_connect", "connect_enter"},
    {Method::tracepoint, "syscalls/sys_exit_connect", "connect_exit"}};
constexpr Attachment kConnectFunction[] = {
    {Method::fentry, "inet_stream_connect", "connect_fentry"},
    {Method::fexit, "inet_stream_connect", "connect_fexit"}};
constexpr Way kConnect[] = {kConnectFunction, kConnectCalls};

TARSIER_TRACEPOINT_WAYS(kReceivedResets, "tcp_receive_reset", "reset_received");

constexpr Attachment kSentRaw[] = {{Method::raw_tracepoint, "tcp_send_reset", "reset_sent_raw_tp"}};
constexpr Way kSentResets[] = {kSentRaw};

constexpr Attachment kSampleIter[] = {{Method::iter, "bpf_map_elem:shared_sockets", "sample"}};
constexpr Way kSample[] = {kSampleIter};

constexpr Hook kHooks[] = {
    {"a connection opens, closes or fails", kState},
    {"connect() fails before a packet is sent", kConnect, false},
    {"a reset arrives", kReceivedResets, false},
    {"a reset is sent", kSentResets, false},
    {"live connections move on", kSample, false},
};

constexpr Option kOptions[] = {
    duration_option(
        "sample_interval",
        "How often live connections are looked at for bytes, retransmits and round trip time.",
        5 * kSecond, 1 * kSecond, 5 * kMinute),
};
constexpr std::string_view kRings[] = {"events"};
constexpr std::string_view kServices[] = {"sockets"};

}  // namespace

extern const ProbeSpec tcp_probe;  // the table of probes, generated, refers to it
constinit const ProbeSpec tcp_probe{
    .name = "tcp",
    .summary = "Counts TCP connections, their bytes, failures, resets and round trip times.",
    .metrics = tcp::kMetrics,
    .hooks = kHooks,
    .options = kOptions,
    .services = kServices,
    .rings = kRings,
    .tick_option = "sample_interval",
    .object = tcp_object,
    .make = [](const ProbeContext& context) -> std::unique_ptr<Probe> {
      return std::make_unique<TcpProbe>(context.now_ns);
    },
};

}  // namespace tarsier
