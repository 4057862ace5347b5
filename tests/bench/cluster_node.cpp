// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The API server of tests/bench/cluster: cluster_node PODS SERVICES ENDPOINTS. All pods are on
// node-a, each service has a slice. Says its URL and ends with its standard input.
#include <cstdio>
#include <cstdlib>

#include "net/kubernetes/fake/fake_cluster.h"
#include "net/kubernetes/fake/objects.h"

namespace fake = tarsier::net::kubernetes::fake;

int main(int count, char** arguments) {
  if (count != 4) return 2;
  const auto number = [&](int i) { return std::strtoul(arguments[i], nullptr, 10); };
  fake::FakeCluster cluster;
  for (std::size_t i = 0; i < number(1); ++i) {
    cluster.put(fake::Kind::pods, fake::pod_json(fake::numbered_pod(i, "node-a")));
  }
  for (std::size_t i = 0; i < number(2); ++i) {
    cluster.put(fake::Kind::services, fake::numbered_service(i));
    cluster.put(fake::Kind::slices, fake::numbered_slice(i, number(3)));
  }
  std::printf("%s\n", cluster.url().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
