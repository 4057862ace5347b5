// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The probe interface: what a probe is, where it hooks, what it says. This, metric.h, records.h,
// attach.h, options.h, peer.h and result.h are all that a probe may include, next to bpf/*.h and
// its own folder; testkit.h is for its tests.
//
// A probe never resolves a pid, never hears of containers, never formats text and never opens a
// file of a process: the record carries its subject, the framework knows the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tarsier/attach.h"
#include "tarsier/metric.h"
#include "tarsier/options.h"
#include "tarsier/peer.h"
#include "tarsier/records.h"
#include "tarsier/result.h"

namespace tarsier {

using Bytes = std::span<const std::byte>;

// Whom a number is about. A record names its subject, because in softirq "current" is somebody
// else.
struct Subject {
  enum class Type : std::uint8_t { node, process, cgroup };
  Type type = Type::node;
  std::uint32_t tgid = 0;  // process, in the root pid namespace
  std::uint64_t start_ns =
      0;  // process: start of the group leader, CLOCK_BOOTTIME; 0: who has the tgid now
  std::uint64_t cgroup_id = 0;  // cgroup
  std::uint32_t peer = 0;       // Peer::id: what it does towards one other side; 0: all it does

  [[nodiscard]] static constexpr Subject node() { return {}; }
  [[nodiscard]] static constexpr Subject process(std::uint32_t tgid, std::uint64_t start_ns) {
    return {Type::process, tgid, start_ns, 0, 0};
  }
  [[nodiscard]] static constexpr Subject cgroup(std::uint64_t id) {
    return {Type::cgroup, 0, 0, id, 0};
  }
  // The same subject; its series carry the peer's name as well.
  [[nodiscard]] constexpr Subject towards(Peer to) const {
    Subject subject = *this;
    subject.peer = to.id;
    return subject;
  }
  friend constexpr bool operator==(const Subject&, const Subject&) = default;
};

// Takes the numbers and records of one subject. Valid until the callback that got it returns.
class Sink {
 public:
  virtual ~Sink() = default;

  // Counter: adds `value`. Histogram: one observation. Gauge: what this subject contributes to the
  // series from now on; subjects with equal labels share a series that shows their sum, and the
  // contribution of a process is taken back when it ends.
  template <std::size_t N>
  void record(const Metric<N>& metric, double value,
              const std::array<std::string_view, N>& labels) {
    write(metric, value, labels);
  }
  void record(const Metric<0>& metric, double value) { write(metric, value, {}); }

  // The series itself, for hot paths: see Series. A gauge's handle is shared by all subjects with
  // the same labels, so only add() and its opposite make sense on it.
  template <std::size_t N>
  [[nodiscard]] Series series(const Metric<N>& metric,
                              const std::array<std::string_view, N>& labels) {
    return find(metric, labels);
  }
  [[nodiscard]] Series series(const Metric<0>& metric) { return find(metric, {}); }

  // The same two without the compile-time label count, for probes that are described at run time.
  virtual void write(const MetricDef& metric, double value,
                     std::span<const std::string_view> labels) = 0;
  virtual Series find(const MetricDef& metric, std::span<const std::string_view> labels) = 0;

  virtual void emit(const Record& record) = 0;

  // Equal for subjects that share their series. What keeps series handles for a subject compares
  // it: it is another number once the subject has another name.
  [[nodiscard]] virtual std::uint64_t group() const = 0;
};

// Gives the sink of any subject. In on_event the subject is taken as it was at the record's time:
// before an exec it had the old name, after it the new one.
class Sinks {
 public:
  virtual ~Sinks() = default;
  virtual Sink& at(const Subject& subject) = 0;
  Sink& node() { return at(Subject::node()); }

  // Whom the subject is connected to, for Subject::towards(). Also tells the framework who is at
  // this end, so that the other end, if it is on this node, can be told. Ask when the connection
  // opens and while the answer is not settled; about 1 µs.
  virtual Peer peer(const Subject& subject, const Flow& flow) = 0;
  // The connection is over: its addresses may soon be somebody else's.
  virtual void disconnected(const Flow& flow) = 0;
};

// The probe's own BPF maps: kernel-side aggregates come up this way, verdicts and filters go down.
// Collector thread only. A failure says which map and why; reasons that repeat are logged once.
class Maps {
 public:
  virtual ~Maps() = default;
  // Calls `visit` for each entry. Per-CPU maps: `value` holds one value per CPU, each rounded up to
  // 8 bytes, one behind the other.
  virtual Status each(std::string_view map,
                      const std::function<void(Bytes key, Bytes value)>& visit) = 0;
  virtual Status lookup(std::string_view map, Bytes key, std::span<std::byte> value) = 0;
  virtual Status update(std::string_view map, Bytes key, Bytes value) = 0;
  virtual Status erase(std::string_view map, Bytes key) = 0;  // an absent key is no error
  // Runs an iterator program once and calls `visit` with what it wrote, in pieces of `record_size`.
  virtual Status iterate(std::string_view program, std::size_t record_size,
                         const std::function<void(Bytes record)>& visit) = 0;
};

// The files of the node. Paths are relative to the root that [node] root names: "proc/stat".
class Host {
 public:
  virtual ~Host() = default;
  [[nodiscard]] virtual Result<std::string> read(std::string_view path) const = 0;
};

struct ProbeSpec;

struct ProbeContext {
  const Options& options;
  const Host& host;
  std::uint64_t now_ns = 0;  // CLOCK_BOOTTIME, before the hooks are attached
  // The plate that is started. What a run-time owner derives from ProbeSpec finds itself here.
  const ProbeSpec* spec = nullptr;
};

// One running probe. All callbacks come from the collector thread, one at a time; a probe starts no
// thread and takes no clock of its own.
class Probe {
 public:
  virtual ~Probe() = default;
  // One record from the probe's ring, header included, at most once each. false: it could not be
  // decoded; the framework counts that. `record` is mapped read-only and gone after the call.
  virtual bool on_event(Bytes record, Sinks& sinks) {
    (void)record, (void)sinks;
    return false;
  }
  // Every ProbeSpec::tick_option period, and once before the daemon reports itself ready.
  // now_ns: CLOCK_BOOTTIME, the clock of the records.
  virtual void on_tick(std::uint64_t now_ns, Maps& maps, Sinks& sinks) {
    (void)now_ns, (void)maps, (void)sinks;
  }
  // The probe stops at run time: what it holds in shared gauges is taken back here.
  virtual void on_stop(Sinks& sinks) { (void)sinks; }
  // After the hooks are attached, on the control thread and before the first callback.
  virtual Status attach_more(Attacher& attacher) {
    (void)attacher;
    return {};
  }
};

// The name plate of a probe. The loader, the configuration reader, `tarsier probes`, the API,
// docs/metrics.md and the self-metrics read it; a new fact about probes is a new field here.
// Built-in plates are constinit; a run-time owner may hold one as long as the probe runs.
struct ProbeSpec {
  std::string_view name;     // lower case letters, digits and _
  std::string_view summary;  // a sentence
  std::span<const MetricDef* const> metrics = {};
  std::span<const Hook> hooks = {};
  std::span<const Option> options = {};
  // Services whose shared_* maps the object uses: "lifecycle", "sockets".
  std::span<const std::string_view> services = {};
  // Ring buffer maps to drain; most probes have one, called events.
  std::span<const std::string_view> rings = {};
  // Names of the probe's own reasons in its `lost` map, from LOST_PROBE_FIRST on (bpf/emit.bpf.h).
  std::span<const std::string_view> losses = {};
  // How often on_tick runs: the name of a duration option of this plate; empty: never.
  std::string_view tick_option = {};
  bool enabled = true;  // by default
  // The BPF ELF, aligned to 8 bytes; neither for a probe without kernel programs. A built-in plate
  // names the function of its embedded object, a run-time owner points at the bytes that it holds.
  Bytes (*object)() = nullptr;
  Bytes object_bytes = {};
  // The bytes of the object's `probe_config`; nullptr where it has none.
  std::vector<std::byte> (*kernel_config)(const Options&) = nullptr;
  std::unique_ptr<Probe> (*make)(const ProbeContext&) = nullptr;

  [[nodiscard]] bool has_object() const { return object != nullptr || !object_bytes.empty(); }
  [[nodiscard]] Bytes elf() const { return object != nullptr ? object() : object_bytes; }
};

// A plain struct as its bytes, for Maps and kernel_config.
template <class T>
[[nodiscard]] Bytes bytes_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::as_bytes(std::span(&value, 1));
}
template <class T>
[[nodiscard]] std::vector<std::byte> copy_bytes_of(const T& value) {
  const Bytes bytes = bytes_of(value);
  return {bytes.begin(), bytes.end()};
}
template <class T>
[[nodiscard]] std::span<std::byte> writable_bytes_of(T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::as_writable_bytes(std::span(&value, 1));
}

// A copy of the record of type E at the front of `bytes`, or nothing where it is too short. A copy,
// because ring buffer memory promises 8-byte alignment and no more.
template <class E>
[[nodiscard]] bool copy_from(Bytes bytes, E& out) {
  static_assert(std::is_trivially_copyable_v<E> && std::is_standard_layout_v<E>);
  if (bytes.size() < sizeof(E)) return false;
  std::memcpy(&out, bytes.data(), sizeof(E));
  return true;
}

}  // namespace tarsier
