// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// API objects as JSON, of the shape in which real clusters give them: with managedFields,
// conditions, volumes, tolerations and all else that a client has to skip. For tests.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tarsier::net::kubernetes::fake {

struct FakeOwner {
  std::string kind, name, uid;
};

struct FakePod {
  std::string name = "web-5d4f8c-x7x2p";
  std::string namespace_name = "shop";
  std::string uid = "3f6c8a52-1f0e-4b1f-9d5c-000000000001";
  std::string node = "node-a";
  std::string ip = "10.1.0.1";
  std::string container_id = "3b5a1f0e9c8d7b6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa0099";
  std::string image = "nginx:1.25";
  std::map<std::string, std::string> labels{{"app", "web"}, {"pod-template-hash", "5d4f8c"}};
  std::map<std::string, std::string> annotations;
  FakeOwner owner{"ReplicaSet", "web-5d4f8c", "rs-uid-1"};
  bool host_network = false;
};

[[nodiscard]] std::string pod_json(const FakePod& pod);
// The mirror that the API has of a static pod: its uid is another than that of the cgroup paths.
[[nodiscard]] std::string static_pod_json(std::string_view name, std::string_view node,
                                          std::string_view uid, std::string_view config_hash);
[[nodiscard]] std::string service_json(std::string_view namespace_name, std::string_view name,
                                       std::string_view cluster_ip);
[[nodiscard]] std::string slice_json(std::string_view namespace_name, std::string_view name,
                                     std::string_view service,
                                     const std::vector<std::string>& addresses,
                                     std::string_view node);
[[nodiscard]] std::string node_json(std::string_view name, std::string_view internal_ip,
                                    std::string_view external_ip, std::string_view zone);
// A ReplicaSet or a Job and who controls it (no kind: nobody).
[[nodiscard]] std::string owner_json(std::string_view namespace_name, const FakeOwner& self,
                                     const FakeOwner& controller);

// The i-th of many: pods of the node with owners ten to one, services with ClusterIPs, and a slice
// of `endpoints` addresses for each service.
[[nodiscard]] FakePod numbered_pod(std::size_t i, std::string_view node);
[[nodiscard]] std::string numbered_service(std::size_t i);
[[nodiscard]] std::string numbered_slice(std::size_t i, std::size_t endpoints);

}  // namespace tarsier::net::kubernetes::fake
