// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A node in miniature: network namespaces of a host and three pods, routed, and services that
// nftables translates in the host's. Nothing has a name on the machine; all of it ends with the
// process.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "net/nat_table.h"

namespace tarsier::test {

// Runs `work` on a thread inside a network namespace. A socket that it makes stays there and can be
// used from anywhere.
void inside(int netns_fd, const std::function<void()>& work);

// A new network namespace; -1 where the kernel refuses.
[[nodiscard]] base::UniqueFd make_namespace();

// Pods 0, 1 and 2 have the addresses 10.244.N.2 and fd00:244:N::2 with N = 1, 2, 3. In the host:
//   10.96.0.10:80, [fd00:96::10]:80 tcp   -> port 8080 of pod 1 or 2, taken in turn
//   10.96.0.10:53 udp                     -> port 5353 of pod 1 or 2, taken in turn
//   10.96.0.11:80 tcp                     -> the same, with the client masqueraded
//   port 8081 of pod 1                    no service; the client is masqueraded
//   port 8082 of pod 1                    not translated
class NatNetwork {
 public:
  NatNetwork();

  // Why there is none, in words; empty: it stands.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] int host() const { return host_.get(); }
  [[nodiscard]] int pod(std::size_t number) const { return pods_[number].get(); }
  void write_host_sysctl(std::string_view name, std::string_view value) const;
  [[nodiscard]] std::string read_host_sysctl(std::string_view name) const;
  // Makes the host's connection tracking forget everything.
  void forget() const;

 private:
  void command(int netns_fd, const std::vector<std::string>& words);
  void connect_pod(std::size_t number);
  void add_rules();

  base::UniqueFd host_;
  std::vector<base::UniqueFd> pods_;
  std::string problem_;
};

[[nodiscard]] net::Endpoint endpoint(std::string_view address, std::uint16_t port);
[[nodiscard]] net::Endpoint local_of(const base::UniqueFd& socket);
[[nodiscard]] net::Endpoint remote_of(const base::UniqueFd& socket);

// A bound socket in a namespace; TCP ones listen. One socket serves both address families.
[[nodiscard]] base::UniqueFd serve(int netns_fd, int type, std::uint16_t port);
// A connected socket in a namespace; an empty one where it failed within 5 s.
[[nodiscard]] base::UniqueFd open_connection(int netns_fd, int type, const net::Endpoint& to);
// The next connection of whichever listener has one, within 5 s.
[[nodiscard]] base::UniqueFd accept_any(const std::vector<const base::UniqueFd*>& listeners);

}  // namespace tarsier::test
