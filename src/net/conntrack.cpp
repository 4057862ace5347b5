// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/conntrack.h"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/text.h"

namespace tarsier::net {
namespace {

// Entries that ended are removed together, at most once in so long.
constexpr std::uint64_t kExpiryStepNs = 1'000'000'000;
constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::size_t kMaxSysctlBytes = 64;
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kMostMs = 3'600'000;  // of one sleep, to fit an int

// Of an open network namespace.
Result<std::uint64_t> inode_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno("look at a network namespace");
  return status.st_ino;
}

// Of the namespace that a socket belongs to.
std::uint64_t home_of(int socket) {
  const base::UniqueFd home(::ioctl(socket, SIOCGSKNS));
  return inode_of(home.get()).value_or(0);  // 0: cannot be told, and equals no other
}

// A socket belongs to the namespace of the thread that opens it. The thread for it ends at once, so
// the caller's own namespace is never another, not for an instant.
Result<ConntrackSockets> open_in(int netns_fd, int event_buffer_bytes) {
  Result<ConntrackSockets> sockets = fail(ErrorCode::failed, "not opened");
  std::thread([&] {
    if (::setns(netns_fd, CLONE_NEWNET) != 0) {
      sockets = fail_errno("enter a network namespace (needs CAP_SYS_ADMIN)");
    } else {
      sockets = ConntrackSockets::open(event_buffer_bytes);
    }
  }).join();
  return sockets;
}

// The sentence for a kernel that is told to send no events; empty: it sends them.
std::string events_switched_off(const std::string& path) {
  const auto value = base::read_file(path, kMaxSysctlBytes);
  if (!value || base::trim(*value) != "0") return {};
  return "net.netfilter.nf_conntrack_events is 0, so connections that begin from now on are not "
         "seen; set it to 1, or to 2 from Linux 5.19 on";
}

}  // namespace

Conntrack::Conntrack(const base::Clock& clock, ConntrackOptions options)
    : clock_(clock),
      options_(std::move(options)),
      table_(options_.max_translations, options_.grace_ns) {}

Conntrack::~Conntrack() {
  stop();
}

Status Conntrack::refuse(Error error) {
  const std::scoped_lock lock(mutex_);
  kind_ = ConntrackState::Kind::refused;
  reason_ = error.message;
  return std::unexpected(std::move(error));
}

Status Conntrack::start() {
  if (next_number_ != 0)
    return fail(ErrorCode::invalid, "start connection tracking: a second time");
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return refuse(fail_errno("make an eventfd").error());
  auto sockets = ConntrackSockets::open(options_.event_buffer_bytes);
  if (!sockets) return refuse(std::move(sockets.error()));
  auto tracker = std::make_unique<Tracker>();
  tracker->sockets = std::move(*sockets);
  tracker->inode = home_of(tracker->sockets.events_fd());
  tracker->number = next_number_++;
  {
    const std::scoped_lock lock(mutex_);
    kind_ = ConntrackState::Kind::running;
    reason_ = events_switched_off(options_.events_sysctl);
    inodes_.assign(1, tracker->inode);
  }
  trackers_.push_back(std::move(tracker));
  thread_ = std::thread([this] { run(); });
  ::pthread_setname_np(thread_.native_handle(), "nat");
  return {};
}

Status Conntrack::add_namespace(int netns_fd) {
  const auto refuse_it = [this](Error error) -> Status {
    const std::scoped_lock lock(mutex_);
    ++namespaces_refused_;
    return std::unexpected(std::move(error).in("listen to connection tracking"));
  };
  const auto inode = inode_of(netns_fd);
  if (!inode) return refuse_it(inode.error());
  {
    const std::scoped_lock lock(mutex_);
    if (std::ranges::find(inodes_, *inode) != inodes_.end()) return {};
    if (kind_ == ConntrackState::Kind::running && inodes_.size() <= kMaxNatNamespaces) {
      inodes_.push_back(*inode);
    } else {
      ++namespaces_refused_;
      return kind_ != ConntrackState::Kind::running
                 ? fail(ErrorCode::unavailable, "listen to connection tracking: it does not run")
                 : fail(ErrorCode::limit_reached,
                        fmt::format("listen to connection tracking: in {} further network "
                                    "namespaces already, the limit",
                                    kMaxNatNamespaces));
    }
  }
  auto sockets = open_in(netns_fd, options_.event_buffer_bytes);
  if (!sockets) {
    {
      const std::scoped_lock lock(mutex_);
      std::erase(inodes_, *inode);
    }
    return refuse_it(std::move(sockets.error()));
  }
  auto tracker = std::make_unique<Tracker>();
  tracker->sockets = std::move(*sockets);
  tracker->inode = *inode;
  tracker->number = next_number_++;
  {
    const std::scoped_lock lock(mutex_);
    added_.push_back(std::move(tracker));
  }
  wake();
  return {};
}

void Conntrack::remove_namespace(std::uint64_t inode) {
  {
    const std::scoped_lock lock(mutex_);
    if (std::erase(inodes_, inode) == 0) return;
    removed_.push_back(inode);
  }
  wake();
}

void Conntrack::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  wake();
  thread_.join();
  trackers_.clear();
  const std::scoped_lock lock(mutex_);
  added_.clear();
  removed_.clear();
  inodes_.clear();
  if (kind_ == ConntrackState::Kind::running) kind_ = ConntrackState::Kind::off;
}

void Conntrack::wake() const {
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);  // full means that it is awake already
}

ConntrackState Conntrack::state() const {
  ConntrackState state;
  state.entries = table_.size();
  state.evicted = table_.evicted();
  state.refused = table_.refused();
  state.events = events_.load(std::memory_order_relaxed);
  state.malformed = malformed_.load(std::memory_order_relaxed);
  state.dumps = dumps_.load(std::memory_order_relaxed);
  state.lost = lost_.load(std::memory_order_relaxed);
  const std::scoped_lock lock(mutex_);
  state.kind = kind_;
  state.reason = reason_;
  state.namespaces = kind_ == ConntrackState::Kind::running ? inodes_.size() : 0;
  state.namespaces_refused = namespaces_refused_;
  return state;
}

void Conntrack::run() {
  while (!stopping_) {
    take_commands();
    bool had_events = false;
    bool drained = true;
    for (const auto& tracker : trackers_) {
      had_events = read_events(*tracker) || had_events;
      drained = drained && tracker->drained;
      if (dump_due(*tracker)) dump(*tracker);
    }
    if (!leave_broken()) return;
    const std::uint64_t now_ns = clock_.boot_ns();
    const auto expiry_ns = table_.next_expiry_ns();
    if (expiry_ns && now_ns >= *expiry_ns + kExpiryStepNs) table_.expire(now_ns);
    sleep(had_events && drained);
  }
}

// Sockets that failed are not tried again. false: the own namespace's are among them.
bool Conntrack::leave_broken() {
  for (auto tracker = trackers_.begin(); tracker != trackers_.end();) {
    const auto current = tracker++;
    if (!(*current)->broken) continue;
    if ((*current)->number == 0) {
      (void)refuse(std::move(*(*current)->broken));
      return false;
    }
    complain(*(*current)->broken);
    const std::uint64_t inode = (*current)->inode;
    const std::scoped_lock lock(mutex_);
    ++namespaces_refused_;
    if (std::erase(inodes_, inode) != 0) removed_.push_back(inode);
  }
  return true;
}

void Conntrack::take_commands() {
  std::vector<std::uint64_t> removed;
  {
    const std::scoped_lock lock(mutex_);
    std::ranges::move(added_, std::back_inserter(trackers_));
    added_.clear();
    removed.swap(removed_);
  }
  for (const std::uint64_t inode : removed) {
    const auto tracker = std::ranges::find(trackers_, inode, &Tracker::inode);
    if (tracker == trackers_.end()) continue;
    table_.start_sweep();  // nothing is found: all of it ends
    table_.finish_sweep((*tracker)->number, clock_.boot_ns());
    trackers_.erase(tracker);
  }
}

bool Conntrack::read_events(Tracker& tracker) {
  if (tracker.broken) return false;
  const std::uint64_t now_ns = clock_.boot_ns();
  auto turn = tracker.sockets.read_events([&](const NatRecord& record) {
    if (record.ended) {
      table_.end(record, now_ns);
    } else {
      table_.begin(record, tracker.number);
    }
  });
  if (!turn) {
    tracker.broken = std::move(turn.error());
    return true;
  }
  events_.fetch_add(turn->read, std::memory_order_relaxed);
  malformed_.fetch_add(turn->malformed, std::memory_order_relaxed);
  tracker.drained = turn->drained;
  if (turn->lost) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    tracker.dump_due = true;
  }
  return turn->read > 0 || turn->lost;
}

// Once the buffer was full the kernel tells of no further loss until it has been drained. A dump
// before that could miss what was dropped behind it.
bool Conntrack::dump_due(const Tracker& tracker) const {
  if (tracker.broken || !tracker.drained) return false;
  return clock_.boot_ns() >= next_dump_ns(tracker);
}

// CLOCK_BOOTTIME; kNever: no dump is wanted.
std::uint64_t Conntrack::next_dump_ns(const Tracker& tracker) const {
  if (tracker.dump_due) return tracker.dumped_ns == 0 ? 0 : tracker.dumped_ns + tracker.rest_ns;
  return table_.found_alive() > 0 ? tracker.dumped_ns + options_.sweep_pause_ns : kNever;
}

// Events that come meanwhile wait in their socket and are read afterwards: so what a dump found and
// an event ends, ends.
void Conntrack::dump(Tracker& tracker) {
  const bool first = tracker.dumped_ns == 0;
  const std::uint64_t started_ns = clock_.boot_ns();
  tracker.dump_due = false;
  table_.start_sweep();
  auto outcome = tracker.sockets.dump(
      [&](const NatRecord& record) {
        if (!record.ended) table_.found(record, tracker.number);
      },
      [this] { return stopping_.load(std::memory_order_relaxed); });
  tracker.dumped_ns = clock_.boot_ns();
  tracker.rest_ns = std::max(kRedumpPauseNs, kRestPerDump * (tracker.dumped_ns - started_ns));
  if (outcome) {
    malformed_.fetch_add(outcome->malformed, std::memory_order_relaxed);
    if (outcome->complete) table_.finish_sweep(tracker.number, tracker.dumped_ns);
    dumps_.fetch_add(1, std::memory_order_relaxed);
  } else if (first) {
    tracker.broken = std::move(outcome.error());
  } else {
    complain(outcome.error());
  }
}

void Conntrack::complain(const Error& error) {
  const std::scoped_lock lock(mutex_);
  if (reason_ == error.message) return;
  reason_ = error.message;
  base::log_warning("addresses behind NAT: {}", error.message);
}

int Conntrack::timeout_ms() const {
  std::uint64_t next_ns = kNever;
  if (const auto expiry_ns = table_.next_expiry_ns()) next_ns = *expiry_ns + kExpiryStepNs;
  for (const auto& tracker : trackers_) next_ns = std::min(next_ns, next_dump_ns(*tracker));
  if (next_ns == kNever) return -1;
  const std::uint64_t now_ns = clock_.boot_ns();
  if (next_ns <= now_ns) return 0;
  return static_cast<int>(std::min((next_ns - now_ns) / kNsPerMs + 1, kMostMs));
}

void Conntrack::sleep(bool pause) {
  std::vector<pollfd> fds{{wake_.get(), POLLIN, 0}};
  // Nobody polls the events in the pause, so the packets of others wake nobody.
  if (pause) (void)::poll(fds.data(), 1, kEventPauseMs);
  for (const auto& tracker : trackers_) fds.push_back({tracker->sockets.events_fd(), POLLIN, 0});
  (void)::poll(fds.data(), fds.size(), timeout_ms());
  std::uint64_t count = 0;
  (void)!::read(wake_.get(), &count, sizeof count);
}

}  // namespace tarsier::net
