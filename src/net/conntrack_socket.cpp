// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/conntrack_socket.h"

#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_compat.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <vector>

namespace tarsier::net {
namespace {

constexpr std::size_t kEventBytes = 8'192;  // an event is below 1 KiB
constexpr std::size_t kDumpBytes = 32'768;  // what the kernel fills at most at a time
constexpr int kDumpReceiveSeconds = 2;      // the kernel answers from inside recv()

Result<base::UniqueFd> open_netfilter() {
  base::UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (fd) return fd;
  auto failed = fail_errno("open a netlink socket for connection tracking");
  if (failed.error().errno_value == EPROTONOSUPPORT) failed.error().code = ErrorCode::unavailable;
  return failed;
}

Status attach_filter(int fd) {
  std::vector<sock_filter> code = event_filter();
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) {
    return fail_errno("filter the events of connection tracking");
  }
  return {};
}

void set_receive_buffer(int fd, int bytes) {
  const int half = bytes / 2;  // the kernel doubles it for its own book-keeping
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &half, sizeof half) != 0) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &half, sizeof half);
  }
}

Status join_events(int fd) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = NF_NETLINK_CONNTRACK_NEW | NF_NETLINK_CONNTRACK_DESTROY;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno("listen to the events of connection tracking (needs CAP_NET_ADMIN)");
  }
  return {};
}

// What a refused dump means to the user.
std::unexpected<Error> explain_dump(int error) {
  auto failed = fail_errno("dump the connection tracking table", error);
  if (error == EPERM) failed.error().message += " (needs CAP_NET_ADMIN)";
  if (error == EINVAL || error == EOPNOTSUPP || error == ENOENT) {
    failed.error().code = ErrorCode::unavailable;
    failed.error().message += " (a kernel without CONFIG_NF_CT_NETLINK?)";
  }
  return failed;
}

// Of a batch of messages what is translated goes on.
std::function<void(std::span<const std::byte>)> sieve(const TakeRecord& take, std::size_t& read,
                                                      std::size_t& malformed) {
  return [&take, &read, &malformed](std::span<const std::byte> message) {
    NatRecord record;
    const MessageKind kind = parse_conntrack(message, record);
    ++read;
    if (kind == MessageKind::malformed) ++malformed;
    if (kind == MessageKind::translated) take(record);
  };
}

}  // namespace

Result<ConntrackSockets> ConntrackSockets::open(int event_buffer_bytes) {
  auto events = open_netfilter();
  if (!events) return std::unexpected(std::move(events.error()));
  auto dumps = open_netfilter();
  if (!dumps) return std::unexpected(std::move(dumps.error()));
  ConntrackSockets sockets;
  sockets.events_ = std::move(*events);
  sockets.dumps_ = std::move(*dumps);
  const timeval timeout{.tv_sec = kDumpReceiveSeconds, .tv_usec = 0};
  (void)::setsockopt(sockets.dumps_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  set_receive_buffer(sockets.events_fd(), event_buffer_bytes);
  // The filter is there before the first event.
  if (auto filtered = attach_filter(sockets.events_fd()); !filtered) {
    return std::unexpected(std::move(filtered.error()));
  }
  if (auto joined = join_events(sockets.events_fd()); !joined) {
    return std::unexpected(std::move(joined.error()));
  }
  return sockets;
}

Result<EventTurn> ConntrackSockets::read_events(const TakeRecord& take) {
  alignas(nlmsghdr) std::array<std::byte, kEventBytes> buffer;
  EventTurn turn;
  const auto handle = sieve(take, turn.read, turn.malformed);
  while (turn.read < kMaxEventsPerTurn) {
    const ssize_t got =
        ::recv(events_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOBUFS) {
        turn.lost = true;  // what came before the loss can still be read
        continue;
      }
      turn.drained = errno == EAGAIN;
      if (turn.drained) return turn;
      return fail_errno("read the events of connection tracking");
    }
    if (static_cast<std::size_t>(got) > buffer.size()) {
      ++turn.read;
      ++turn.malformed;
      continue;
    }
    const Walk walk =
        walk_messages(std::span(buffer).first(static_cast<std::size_t>(got)), 0, handle);
    if (walk.end == WalkEnd::error) ++turn.read, ++turn.malformed;
  }
  return turn;
}

Result<DumpOutcome> ConntrackSockets::dump(const TakeRecord& take,
                                           const std::function<bool()>& stop) {
  const std::vector<std::byte> request = dump_request(++sequence_);
  if (::send(dumps_.get(), request.data(), request.size(), 0) < 0) {
    return fail_errno("ask for the connection tracking table");
  }
  alignas(nlmsghdr) std::array<std::byte, kDumpBytes> buffer;
  DumpOutcome outcome;
  std::size_t read = 0;
  const auto handle = sieve(take, read, outcome.malformed);
  bool interrupted = false;
  while (!stop()) {  // the kernel walks its table once, so there is an end
    const ssize_t got = ::recv(dumps_.get(), buffer.data(), buffer.size(), MSG_TRUNC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read the connection tracking table");
    if (static_cast<std::size_t>(got) > buffer.size()) {
      ++outcome.malformed;
      interrupted = true;
      continue;
    }
    const Walk walk =
        walk_messages(std::span(buffer).first(static_cast<std::size_t>(got)), sequence_, handle);
    interrupted = interrupted || walk.interrupted;
    if (walk.end == WalkEnd::error) return explain_dump(walk.error);
    if (walk.end == WalkEnd::more) continue;
    outcome.complete = !interrupted;
    return outcome;
  }
  return outcome;
}

}  // namespace tarsier::net
