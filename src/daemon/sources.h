// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Everybody who is asked for names, in one form: container runtimes, Kubernetes, connection
// tracking.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/kubernetes.h"
#include "daemon/source_figures.h"
#include "enrich/resolver.h"
#include "net/conntrack.h"

namespace tarsier::daemon {

class Sources {
 public:
  Sources(const enrich::Resolver& resolver, KubernetesFeed& kubernetes,
          const net::Conntrack& conntrack)
      : resolver_(resolver), kubernetes_(kubernetes), conntrack_(conntrack) {}

  // Collector thread, each round.
  void poll(std::uint64_t now_ns) { kubernetes_.poll(now_ns); }
  // Any thread. Those that are there, or were.
  [[nodiscard]] std::vector<SourceFigures> figures() const;

 private:
  const enrich::Resolver& resolver_;
  KubernetesFeed& kubernetes_;
  const net::Conntrack& conntrack_;
};

}  // namespace tarsier::daemon
