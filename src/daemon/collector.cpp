// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/collector.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "kernel/services/services.h"
#include "lifecycle.h"

namespace tarsier::daemon {
namespace {

// A record is stamped a little before it can be read. Records of the last moment wait for the next
// round, when the lifecycle records of that moment are surely readable.
constexpr std::uint64_t kSettleNs = 100'000;
constexpr std::uint64_t kSecondNs = 1'000'000'000;
// Fewer records in a round than the first let the period grow, more than the second let it shrink.
constexpr std::size_t kFewRecords = 32;
constexpr std::size_t kManyRecords = 256;
constexpr std::size_t kSliceRecords = 512;  // between two looks at the clock

}  // namespace

Collector::Collector(const Parts& parts)
    : clock_(parts.clock),
      registry_(parts.registry),
      subjects_(parts.subjects),
      sinks_(parts.sinks),
      self_(parts.self),
      sources_(parts.sources) {}

Status Collector::start(const RunningServices& services) {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !wake_) return fail_errno("make the collector's descriptors");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_.get();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
    return fail_errno("watch the collector's wake-up");
  }
  lifecycle_ = services.lifecycle;
  names_ = services.names;
  for (RunningProbe* service : {services.lifecycle, services.sockets, services.names}) {
    if (service != nullptr) services_.push_back(service);
  }
  if (lifecycle_ != nullptr) {
    watch_rings(*lifecycle_, EPOLL_CTL_ADD);
    take_snapshot();
  }
  if (names_ != nullptr) watch_rings(*names_, EPOLL_CTL_ADD);
  heartbeat_ns_ = clock_.boot_ns();
  thread_ = std::thread([this] { loop(); });
  ::pthread_setname_np(thread_.native_handle(), "collector");
  return {};
}

void Collector::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

void Collector::run(std::function<void()> work) {
  if (!thread_.joinable()) {
    work();
    return;
  }
  std::unique_lock lock(mutex_);
  work_.push_back(std::move(work));
  const std::uint64_t ticket = ++work_given_;
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  done_.wait(lock, [&] { return work_done_ >= ticket; });
}

void Collector::run_work() {
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard lock(mutex_);
    work.swap(work_);
  }
  if (work.empty()) return;
  for (const auto& one : work) one();
  const std::lock_guard lock(mutex_);
  work_done_ += work.size();
  done_.notify_all();
}

// Edge-triggered: a ring with data in it is not news, only its watermark is.
void Collector::watch_rings(RunningProbe& probe, int operation) {
  for (const kernel::Ring& ring : probe.loaded->rings()) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    event.data.fd = ring.fd();
    (void)::epoll_ctl(epoll_.get(), operation, ring.fd(), &event);
  }
}

void Collector::add(RunningProbe& probe) {
  watch_rings(probe, EPOLL_CTL_ADD);
  probe.next_tick_ns = clock_.boot_ns();
  probes_.push_back(&probe);
}

void Collector::remove(RunningProbe& probe) {
  const auto found = std::ranges::find(probes_, &probe);
  if (found == probes_.end()) return;
  const std::uint64_t now = clock_.boot_ns();
  std::size_t records = 0;
  for (kernel::Ring& ring : probe.loaded->rings()) (void)drain_ring(probe, ring, now, records);
  watch_rings(probe, EPOLL_CTL_DEL);
  sinks_.begin(probe.spec->name, now, now);
  probe.probe->on_stop(sinks_);
  self_.refresh_probe(probe);
  probes_.erase(found);
}

void Collector::loop() {
  while (!stopping_) {
    round();
    wait();
  }
  run_work();
}

void Collector::wait() {
  epoll_event events[8];
  const int count = ::epoll_wait(epoll_.get(), events, std::size(events), period_ms_);
  for (int i = 0; i < count; ++i) {
    if (events[i].data.fd != wake_.get()) continue;
    std::uint64_t ignored = 0;
    (void)!::read(wake_.get(), &ignored, sizeof ignored);
  }
}

void Collector::round() {
  const std::uint64_t now = clock_.boot_ns();
  heartbeat_ns_ = now;
  ++rounds_;
  run_work();
  std::size_t records = 0;
  const std::uint64_t until = drain_lifecycle(now, records);
  drain_names();
  if (sources_ != nullptr) sources_->poll(now);
  subjects_.poll(now);
  bool more = until < now - kSettleNs;
  // Each round begins with another probe, so that nobody is always last.
  for (std::size_t i = 0; i < probes_.size(); ++i) {
    RunningProbe& probe = *probes_[(first_ + i) % probes_.size()];
    for (kernel::Ring& ring : probe.loaded->rings()) {
      more |= drain_ring(probe, ring, until, records);
    }
  }
  ++first_;
  for (RunningProbe* probe : probes_) {
    if (probe->tick_period_ns != 0 && now >= probe->next_tick_ns) tick(*probe, now);
  }
  subjects_.poll_peers(now);
  if (now >= next_second_ns_) {
    next_second_ns_ = now + kSecondNs;
    watch_lifecycle_losses();
    self_.refresh(services_, probes_, subjects_.figures(), now);
    if (sources_ != nullptr) self_.refresh_sources(sources_->figures());
    registry_.sweep(now);
  }
  adapt(records, more);
}

// Returns up to which moment the process table is right.
std::uint64_t Collector::drain_lifecycle(std::uint64_t now_ns, std::size_t& records) {
  if (lifecycle_ == nullptr) return now_ns;
  std::uint64_t until = now_ns - kSettleNs;
  for (kernel::Ring& ring : lifecycle_->loaded->rings()) {
    const auto drained = ring.drain(std::numeric_limits<std::uint64_t>::max(), kMaxRecordsPerTurn,
                                    [this](Bytes record) {
                                      ++lifecycle_->events;
                                      if (!subjects_.on_lifecycle(record)) {
                                        ++lifecycle_->decode_errors;
                                      }
                                    });
    records += drained.records;
    if (drained.more) until = std::min(until, drained.last_time_ns);
  }
  lifecycle_->handler_ns += clock_.boot_ns() - now_ns;
  return until;
}

// Before the probes: who connects has asked for the address just before.
void Collector::drain_names() {
  if (names_ == nullptr) return;
  const std::uint64_t began = clock_.boot_ns();
  std::size_t records = 0;
  for (kernel::Ring& ring : names_->loaded->rings()) {
    records += ring.drain(std::numeric_limits<std::uint64_t>::max(), kMaxRecordsPerTurn,
                          [this](Bytes record) {
                            if (!subjects_.on_dns_answer(record)) ++names_->decode_errors;
                          })
                   .records;
  }
  if (records == 0) return;
  names_->events += records;
  names_->handler_ns += clock_.boot_ns() - began;
}

bool Collector::drain_ring(RunningProbe& probe, kernel::Ring& ring, std::uint64_t until_ns,
                           std::size_t& records) {
  const std::uint64_t began = clock_.boot_ns();
  std::uint64_t now = began;
  std::size_t drained_here = 0;
  bool more = true;
  while (more && drained_here < kMaxRecordsPerTurn && now - began < kMaxTurnNs) {
    const auto drained = ring.drain(until_ns, kSliceRecords, [&](Bytes record) {
      tarsier_header header{};
      (void)copy_from(record, header);
      sinks_.begin(probe.spec->name, header.time_ns, now);
      if (!probe.probe->on_event(record, sinks_)) ++probe.decode_errors;
    });
    drained_here += drained.records;
    more = drained.more;
    now = clock_.boot_ns();
  }
  probe.events += drained_here;
  if (drained_here != 0) probe.handler_ns += now - began;
  records += drained_here;
  return more;
}

void Collector::tick(RunningProbe& probe, std::uint64_t now_ns) {
  sinks_.begin(probe.spec->name, now_ns, now_ns);
  probe.probe->on_tick(now_ns, probe.loaded->maps(), sinks_);
  const std::uint64_t ended = clock_.boot_ns();
  probe.handler_ns += ended - now_ns;
  // A tick that was late does not bring the next one nearer.
  probe.next_tick_ns = std::max(probe.next_tick_ns + probe.tick_period_ns, ended);
  probe.ticked = true;
}

// A process that began or ended unseen would keep a wrong name: look at all of them again.
void Collector::watch_lifecycle_losses() {
  if (lifecycle_ == nullptr) return;
  std::uint64_t lost = 0;
  for (const auto& [reason, count] : lifecycle_->loaded->losses()) lost += count;
  if (lost == lifecycle_lost_) return;
  lifecycle_lost_ = lost;
  take_snapshot();
}

void Collector::take_snapshot() {
  const std::uint64_t taken = clock_.boot_ns();
  const auto status =
      lifecycle_->loaded->maps().iterate(kernel::kLifecycleSnapshot, sizeof(lifecycle_process),
                                         [this](Bytes record) { subjects_.add_snapshot(record); });
  if (status) subjects_.finish_snapshot(taken);
}

void Collector::adapt(std::size_t records, bool more) {
  if (more) {
    period_ms_ = 0;
  } else if (records > kManyRecords) {
    period_ms_ = std::max(kMinPeriodMs, period_ms_ / 2);
  } else if (records < kFewRecords) {
    period_ms_ = std::clamp(period_ms_ * 2, kMinPeriodMs, kMaxPeriodMs);
  } else {
    period_ms_ = std::max(kMinPeriodMs, period_ms_);
  }
}

}  // namespace tarsier::daemon
