// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Container runtimes that do what a test says. For tests only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "enrich/containers.h"
#include "enrich/resolver.h"

namespace tarsier::enrich {

using namespace std::chrono_literals;
inline constexpr std::uint64_t kSecond = 1'000'000'000;
inline const std::string kId = "3b5a1f0e9c8d7b6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa0099";

// The resolver's threads read it while the test turns it.
class TestClock final : public base::Clock {
 public:
  std::atomic<std::uint64_t> now{kSecond};
  [[nodiscard]] std::uint64_t boot_ns() const override { return now; }
  [[nodiscard]] std::uint64_t real_ns() const override { return now; }
};

// What a fake runtime does and saw; shared, because the resolver owns the source.
struct Script {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, ContainerFacts, std::less<>> containers;
  ErrorCode failure = ErrorCode::not_found;  // not_found: does not fail
  bool present = true;
  bool hangs = false;                 // until it no longer does
  std::chrono::milliseconds slow{0};  // what each call takes
  int lists = 0, gets = 0, inside = 0, most_inside = 0;
  // Its events: told in this order; then the stream is silent, or breaks.
  bool has_events = false, agrees = true, breaks = false;
  std::deque<ContainerEvent> events;
  std::size_t losses = 0;
  int watches = 0;

  void set(const std::function<void(Script&)>& edit) {
    {
      const std::scoped_lock lock(mutex);
      edit(*this);
    }
    changed.notify_all();
  }
  int count(int Script::* member) {
    const std::scoped_lock lock(mutex);
    return this->*member;
  }
};

class FakeStream final : public EventStream {
 public:
  explicit FakeStream(std::shared_ptr<Script> script) : script_(std::move(script)) {}
  Status wait(int timeout_ms, std::vector<ContainerEvent>& events) override {
    std::unique_lock lock(script_->mutex);
    script_->changed.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] {
      return script_->breaks || !script_->events.empty() || script_->losses > 0;
    });
    std::ranges::move(script_->events, std::back_inserter(events));
    script_->events.clear();
    if (script_->breaks) return fail(ErrorCode::unavailable, "watch the fake: it broke");
    return {};
  }
  [[nodiscard]] bool answered() const override {
    const std::scoped_lock lock(script_->mutex);
    return script_->agrees;
  }
  std::size_t take_losses() override {
    const std::scoped_lock lock(script_->mutex);
    return std::exchange(script_->losses, 0);
  }

 private:
  std::shared_ptr<Script> script_;
};

class FakeSource final : public ContainerSource {
 public:
  FakeSource(std::string name, Runtime runtime, std::shared_ptr<Script> script)
      : name_(std::move(name)), runtime_(runtime), script_(std::move(script)) {}
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] bool serves(Runtime runtime) const override {
    return runtime == runtime_ || runtime == Runtime::unknown;
  }
  [[nodiscard]] bool present() const override {
    const std::scoped_lock lock(script_->mutex);
    return script_->present;
  }
  Result<std::vector<ContainerFacts>> list() override {
    std::unique_lock lock(script_->mutex);
    ++script_->lists;
    if (auto bad = trouble(lock)) return std::unexpected(std::move(*bad));
    std::vector<ContainerFacts> all;
    for (const auto& [id, facts] : script_->containers) all.push_back(facts);
    return all;
  }
  Result<ContainerFacts> get(std::string_view id) override {
    std::unique_lock lock(script_->mutex);
    ++script_->gets;
    if (auto bad = trouble(lock)) return std::unexpected(std::move(*bad));
    const auto found = script_->containers.find(id);
    if (found == script_->containers.end()) return fail(ErrorCode::not_found, "no such container");
    ContainerFacts facts = found->second;
    facts.complete = true;
    return facts;
  }
  Result<std::unique_ptr<EventStream>> watch() override {
    const std::scoped_lock lock(script_->mutex);
    ++script_->watches;
    if (!script_->has_events) return fail(ErrorCode::not_found, "watch the fake: no events");
    return std::make_unique<FakeStream>(script_);
  }

 private:
  std::optional<Error> trouble(std::unique_lock<std::mutex>& lock) {
    script_->most_inside = std::max(script_->most_inside, ++script_->inside);
    script_->changed.wait(lock, [&] { return !script_->hangs; });
    if (script_->slow.count() > 0) {
      lock.unlock();
      std::this_thread::sleep_for(script_->slow);
      lock.lock();
    }
    --script_->inside;
    if (script_->failure == ErrorCode::not_found) return std::nullopt;
    return Error{script_->failure, "ask the fake: it fails", 0};
  }
  std::string name_;
  Runtime runtime_;
  std::shared_ptr<Script> script_;
};

class ResolverTest : public testing::Test {
 protected:
  ~ResolverTest() override {
    for (auto& script : {docker_, cri_}) script->set([](Script& it) { it.hangs = false; });
  }
  void start() {
    std::vector<std::unique_ptr<ContainerSource>> sources;
    sources.push_back(std::make_unique<FakeSource>("docker", Runtime::docker, docker_));
    sources.push_back(std::make_unique<FakeSource>("cri", Runtime::containerd, cri_));
    resolver_ = std::make_unique<Resolver>(std::move(sources), clock_);
  }
  // Waits until the condition holds, at most 5 s.
  static bool wait(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 5s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }
  // The next answer that is no list.
  Answer next() {
    Answer found{Answer::Outcome::list, "none came", {}};
    EXPECT_TRUE(wait([&] {
      resolver_->drain(answers_);
      std::erase_if(answers_,
                    [](const Answer& one) { return one.outcome == Answer::Outcome::list; });
      if (answers_.empty()) return false;
      found = std::move(answers_.front());
      answers_.erase(answers_.begin());
      return true;
    }));
    return found;
  }

  TestClock clock_;
  std::shared_ptr<Script> docker_ = std::make_shared<Script>();
  std::shared_ptr<Script> cri_ = std::make_shared<Script>();
  std::unique_ptr<Resolver> resolver_;
  std::vector<Answer> answers_;
};

class Containers : public ResolverTest {
 protected:
  void SetUp() override {
    start();
    ASSERT_TRUE(wait([&] { return resolver_->first_lists_done(); }));
    table_.emplace(*resolver_);
  }
  // Polls until the container is in the state.
  bool becomes(std::string_view id, ContainerState state, std::uint64_t now_ns) {
    return wait([&] {
      table_->poll(now_ns);
      return state_of(id) == state;
    });
  }
  ContainerState state_of(std::string_view id) {
    ContainerState state = ContainerState::unknown;
    table_->each([&](const Container& one) {
      if (one.facts.id == id) state = one.state;
    });
    return state;
  }
  std::optional<ContainerTable> table_;
};

}  // namespace tarsier::enrich
