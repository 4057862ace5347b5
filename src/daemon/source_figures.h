// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// How somebody who is asked for names fares: for /metrics, status and targets. Plain data.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace tarsier::daemon {

struct SourceFigures {
  std::string name;           // "containerd", "kubernetes/pods", "conntrack"
  bool up = false;            // the last question was answered
  std::string state;          // one word
  std::uint64_t objects = 0;  // it told of by the last list and what followed
  std::uint64_t requests = 0, failures = 0;
  std::uint64_t events = 0, events_lost = 0;
  std::string last_error;  // a sentence; empty: none
};

[[nodiscard]] nlohmann::ordered_json json_of(const SourceFigures& source);

}  // namespace tarsier::daemon
