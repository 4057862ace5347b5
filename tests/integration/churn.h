// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Containers that come and go quickly: real cgroups with a real process each, and a Docker Engine
// API that knows them. Needs root. For tests and benchmarks.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "integration/fake_docker.h"

namespace tarsier::test {

// The process of each container.
inline constexpr std::string_view kChurnComm = "churn-job";

struct ChurnOptions {
  std::size_t containers = 200;
  double per_second = 50;
  std::size_t names = 20;  // job-0 … are given in turn
  std::chrono::milliseconds life{1000};
  std::chrono::milliseconds short_life{50};         // of every tenth one
  std::chrono::milliseconds forgotten_after{2000};  // by the API, after its end
};

class Churn {
 public:
  // `directory` becomes a root directory for [node] root. Look at problem() first.
  Churn(std::string directory, const ChurnOptions& options);
  ~Churn();  // ends what still runs and removes its cgroups
  Churn(const Churn&) = delete;
  Churn& operator=(const Churn&) = delete;

  // Why there can be no cgroups here, in words; empty: there can.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  // Runs them all, until the API has forgotten the last one or `stop` says so; how many ran and
  // ended well.
  std::size_t run(const std::function<bool()>& stop = [] { return false; });
  // The 64 digits of a container; the first six are the same for all.
  [[nodiscard]] static std::string id_of(std::size_t number);

 private:
  using Clock = std::chrono::steady_clock;
  struct Job {
    std::string id, cgroup;
    pid_t pid = -1;        // -1: reaped
    bool removed = false;  // its cgroup
    int status = 0;
    Clock::time_point forget_at;
  };
  [[nodiscard]] std::string make_cgroups();
  bool start(std::size_t number);
  void step(Job& job);
  bool reap(Job& job, int flags);

  std::string directory_;
  ChurnOptions options_;
  std::string parent_;  // of the cgroups
  bool made_parent_ = false;
  std::string problem_;
  std::deque<Job> jobs_;  // not forgotten yet
  std::size_t ended_well_ = 0;
  std::unique_ptr<FakeDocker> docker_;
};

}  // namespace tarsier::test
