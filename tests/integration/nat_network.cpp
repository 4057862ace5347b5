// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "integration/nat_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "base/text.h"
#include "integration/peer.h"

namespace tarsier::test {
namespace {

constexpr int kPatienceMs = 5'000;
constexpr std::size_t kPods = 3;

// What kube-proxy's rules come down to.
constexpr std::string_view kRules = R"(
table inet services {
  chain prerouting {
    type nat hook prerouting priority -100;
    ip daddr { 10.96.0.10, 10.96.0.11 } tcp dport 80 dnat ip to numgen inc mod 2 map { 0 : 10.244.2.2, 1 : 10.244.3.2 } : 8080
    ip daddr 10.96.0.10 udp dport 53 dnat ip to numgen inc mod 2 map { 0 : 10.244.2.2, 1 : 10.244.3.2 } : 5353
    ip6 daddr fd00:96::10 tcp dport 80 dnat ip6 to numgen inc mod 2 map { 0 : fd00:244:2::2, 1 : fd00:244:3::2 } : 8080
  }
  chain postrouting {
    type nat hook postrouting priority 100;
    ct original ip daddr 10.96.0.11 masquerade random
    tcp dport 8081 masquerade random
  }
}
)";

std::string path_of(int fd) {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd);
}

sockaddr_in6 to_sockaddr(const net::Endpoint& endpoint) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(endpoint.port);
  std::memcpy(&address.sin6_addr, endpoint.address.data(), endpoint.address.size());
  return address;
}

net::Endpoint from_sockaddr(const sockaddr_in6& address) {
  net::Endpoint endpoint;
  endpoint.port = ntohs(address.sin6_port);
  std::memcpy(endpoint.address.data(), &address.sin6_addr, endpoint.address.size());
  return endpoint;
}

}  // namespace

void inside(int netns_fd, const std::function<void()>& work) {
  std::thread([&] {
    if (::setns(netns_fd, CLONE_NEWNET) == 0) work();
  }).join();
}

base::UniqueFd make_namespace() {
  base::UniqueFd fd;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    fd.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  }).join();
  return fd;
}

NatNetwork::NatNetwork() {
  for (const char* program : {"ip", "nft"}) {
    if (!find_program(program)) problem_ = std::string("there is no program ") + program;
  }
  if (!problem_.empty()) return;
  host_ = make_namespace();
  if (!host_) {
    problem_ = "network namespaces need root (CAP_SYS_ADMIN)";
    return;
  }
  command(host(), {"ip", "link", "set", "lo", "up"});
  for (std::size_t number = 0; number < kPods; ++number) connect_pod(number);
  write_host_sysctl("ipv4/ip_forward", "1");
  write_host_sysctl("ipv6/conf/all/forwarding", "1");
  add_rules();
}

void NatNetwork::command(int netns_fd, const std::vector<std::string>& words) {
  if (!problem_.empty()) return;
  inside(netns_fd, [&] {
    const Outcome outcome = run(words);
    if (outcome.status == 0) return;
    for (const std::string& word : words) problem_ += word + " ";
    problem_ += "failed: " + outcome.output;
  });
}

void NatNetwork::connect_pod(std::size_t number) {
  pods_.push_back(make_namespace());
  const std::string n = std::to_string(number + 1);
  command(host(), {"ip", "link", "add", "veth" + n, "type", "veth", "peer", "name", "eth0", "netns",
                   path_of(pod(number))});
  for (const auto& [netns, device, last] :
       {std::tuple{host(), "veth" + n, "1"}, std::tuple{pod(number), std::string("eth0"), "2"}}) {
    command(netns, {"ip", "address", "add", "10.244." + n + "." + last + "/24", "dev", device});
    command(netns, {"ip", "address", "add", "fd00:244:" + n + "::" + last + "/64", "dev", device,
                    "nodad"});
    command(netns, {"ip", "link", "set", device, "up"});
  }
  command(pod(number), {"ip", "link", "set", "lo", "up"});
  command(pod(number), {"ip", "route", "add", "default", "via", "10.244." + n + ".1"});
  command(pod(number), {"ip", "-6", "route", "add", "default", "via", "fd00:244:" + n + "::1"});
}

void NatNetwork::add_rules() {
  const Directory directory;
  std::ofstream(directory.path("rules")) << kRules;
  command(host(), {"nft", "-f", directory.path("rules")});
}

void NatNetwork::write_host_sysctl(std::string_view name, std::string_view value) const {
  inside(host(), [&] { std::ofstream("/proc/sys/net/" + std::string(name)) << value; });
}

std::string NatNetwork::read_host_sysctl(std::string_view name) const {
  std::string value;
  inside(host(), [&] {
    value = base::trim(base::read_file("/proc/sys/net/" + std::string(name)).value_or(""));
  });
  return value;
}

void NatNetwork::forget() const {
  struct {
    nlmsghdr header{};
    nfgenmsg family{};
  } request;
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  inside(host(), [&] {
    const base::UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
    char answer[256];
    if (::send(fd.get(), &request, sizeof request, 0) > 0) {
      (void)!::recv(fd.get(), answer, sizeof answer, 0);  // it is done when the kernel answers
    }
  });
}

net::Endpoint endpoint(std::string_view address, std::uint16_t port) {
  sockaddr_in6 parsed{};
  const std::string mapped =
      address.contains(':') ? std::string(address) : "::ffff:" + std::string(address);
  ::inet_pton(AF_INET6, mapped.c_str(), &parsed.sin6_addr);
  parsed.sin6_port = htons(port);
  return from_sockaddr(parsed);
}

net::Endpoint local_of(const base::UniqueFd& socket) {
  sockaddr_in6 address{};
  socklen_t size = sizeof address;
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return from_sockaddr(address);
}

net::Endpoint remote_of(const base::UniqueFd& socket) {
  sockaddr_in6 address{};
  socklen_t size = sizeof address;
  ::getpeername(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return from_sockaddr(address);
}

base::UniqueFd serve(int netns_fd, int type, std::uint16_t port) {
  base::UniqueFd fd;
  inside(netns_fd, [&] {
    fd.reset(::socket(AF_INET6, type | SOCK_CLOEXEC, 0));
    const int one = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const sockaddr_in6 address = to_sockaddr({{}, port});
    const bool bound =
        ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        (type != SOCK_STREAM || ::listen(fd.get(), 1'024) == 0);
    if (!bound) fd.reset();
  });
  return fd;
}

base::UniqueFd open_connection(int netns_fd, int type, const net::Endpoint& to) {
  base::UniqueFd fd;
  inside(netns_fd, [&] { fd.reset(::socket(AF_INET6, type | SOCK_CLOEXEC, 0)); });
  const timeval patience{.tv_sec = kPatienceMs / 1'000, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const sockaddr_in6 address = to_sockaddr(to);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fd.reset();
  }
  return fd;
}

base::UniqueFd accept_any(const std::vector<const base::UniqueFd*>& listeners) {
  std::vector<pollfd> fds;
  for (const base::UniqueFd* listener : listeners) fds.push_back({listener->get(), POLLIN, 0});
  if (::poll(fds.data(), fds.size(), kPatienceMs) <= 0) return {};
  for (const pollfd& fd : fds) {
    if ((fd.revents & POLLIN) != 0) {
      return base::UniqueFd(::accept4(fd.fd, nullptr, nullptr, SOCK_CLOEXEC));
    }
  }
  return {};
}

}  // namespace tarsier::test
