// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A consumer as the changes want it, and a Cluster beside a fake one. For tests only.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/clock.h"
#include "net/kubernetes/cluster.h"
#include "net/kubernetes/fake/fake_cluster.h"
#include "net/kubernetes/fake/objects.h"

namespace tarsier::net::kubernetes {

using namespace std::chrono_literals;

// Keeps what it was told, by resource and name.
class Consumer {
 public:
  void apply(const Change& change) {
    auto& kept = objects_[change.resource];
    auto& seen = seen_[change.resource];
    switch (change.kind) {
      case ChangeKind::begin_list:
        seen.clear();
        ++begun_[change.resource];
        break;
      case ChangeKind::end_list:
        std::erase_if(kept, [&](const auto& one) { return !seen.contains(one.first); });
        ++ended_[change.resource];
        break;
      case ChangeKind::upsert:
        kept[name_of(change.object)] = change.object;
        seen.insert(name_of(change.object));
        ++upserts_;
        break;
      case ChangeKind::remove: kept.erase(name_of(change.object)); break;
    }
  }
  template <class T>
  [[nodiscard]] const T* find(Resource resource, const std::string& name) const {
    const auto kept = objects_.find(resource);
    if (kept == objects_.end()) return nullptr;
    const auto found = kept->second.find(name);
    return found == kept->second.end() ? nullptr : std::get_if<T>(&found->second);
  }
  [[nodiscard]] std::size_t count(Resource resource) const {
    const auto kept = objects_.find(resource);
    return kept == objects_.end() ? 0 : kept->second.size();
  }
  [[nodiscard]] int ended(Resource resource) const {
    const auto found = ended_.find(resource);
    return found == ended_.end() ? 0 : found->second;
  }
  [[nodiscard]] std::uint64_t upserts() const { return upserts_; }

 private:
  static std::string name_of(const Object& object) {
    return std::visit(
        [](const auto& one) -> std::string {
          using T = std::decay_t<decltype(one)>;
          if constexpr (std::is_same_v<T, std::monostate>) {
            return {};
          } else if constexpr (std::is_same_v<T, Owner>) {
            return one.uid;
          } else if constexpr (std::is_same_v<T, Node>) {
            return one.name;
          } else {
            return one.namespace_name + "/" + one.name;
          }
        },
        object);
  }
  std::map<Resource, std::map<std::string, Object>> objects_;
  std::map<Resource, std::set<std::string>> seen_;
  std::map<Resource, int> begun_, ended_;
  std::uint64_t upserts_ = 0;
};

// Field times are minutes; tests wait milliseconds.
inline ClusterTiming quick_timing() {
  ClusterTiming timing;
  timing.jitter_ms = 5;
  timing.backoff_min_ms = 10;
  timing.backoff_max_ms = 50;
  timing.refused_retry_ms = 100;
  timing.token_retry_ms = 100;
  timing.short_watch_ms = 0;
  timing.connect_timeout_ms = 1'000;
  timing.silence_ms = 1'000;
  timing.kubelet_after_ms = 300;
  timing.kubelet_poll_ms = 100;
  timing.poke_ms = 30;
  timing.owner_gap_ms = 5;
  return timing;
}

class ClusterTest : public testing::Test {
 protected:
  ClusterOptions options_for(const fake::FakeCluster& fake) {
    ClusterOptions options;
    options.node_name = "node-a";
    options.credentials.server = fake.url();
    options.seed = 7;
    options.timing = quick_timing();
    return options;
  }
  void start(ClusterOptions options) {
    auto started = Cluster::start(std::move(options), clock_);
    ASSERT_TRUE(started) << started.error().message;
    cluster_ = std::move(*started);
  }
  void take() {
    changes_.clear();
    cluster_->drain(changes_);
    for (const Change& change : changes_) consumer_.apply(change);
  }
  // Takes changes until the condition holds; false: it did not within the time.
  bool wait(const std::function<bool()>& condition, std::chrono::milliseconds limit = 10s) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < end) {
      take();
      if (condition()) {
        take();  // what came between taking and asking
        return true;
      }
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }
  [[nodiscard]] ResourceState state(Resource resource) const {
    return cluster_->state().resources[static_cast<std::size_t>(resource)];
  }
  [[nodiscard]] bool watching(Resource resource) const {
    return state(resource).state == TaskState::watching;
  }
  [[nodiscard]] const Pod* pod(const std::string& name) const {
    return consumer_.find<Pod>(Resource::pods, name);
  }
  [[nodiscard]] std::size_t pods() const { return consumer_.count(Resource::pods); }
  // stop() whatever goes on, timed.
  void expect_prompt_stop() {
    const auto start = std::chrono::steady_clock::now();
    cluster_->stop();
    EXPECT_LT(std::chrono::steady_clock::now() - start, 1s);
  }

  base::SystemClock clock_;
  Consumer consumer_;
  std::vector<Change> changes_;
  std::unique_ptr<Cluster> cluster_;
};

}  // namespace tarsier::net::kubernetes
