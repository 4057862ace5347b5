// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Bounded stores of what is not a number. A store keeps the youngest records; what it pushes out is
// counted. Written by the collector, read by the API.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tarsier/records.h"

namespace tarsier::store {

// Stack samples kept: 16,384 of about 1 KiB each.
inline constexpr std::size_t kMaxStackSamples = 16'384;

template <class T>
class Store {
 public:
  explicit Store(std::size_t limit) : limit_(limit) {}

  void add(T record) {
    const std::lock_guard lock(mutex_);
    if (records_.size() == limit_) {
      records_.pop_front();
      ++pushed_out_;
    }
    records_.push_back(std::move(record));
    ++added_;
  }
  [[nodiscard]] std::vector<T> all() const {
    const std::lock_guard lock(mutex_);
    return {records_.begin(), records_.end()};
  }
  [[nodiscard]] std::uint64_t added() const {
    const std::lock_guard lock(mutex_);
    return added_;
  }
  [[nodiscard]] std::uint64_t pushed_out() const {
    const std::lock_guard lock(mutex_);
    return pushed_out_;
  }

 private:
  std::size_t limit_;
  mutable std::mutex mutex_;
  std::deque<T> records_;
  std::uint64_t added_ = 0, pushed_out_ = 0;
};

// A record with where it came from. `entity` is the registry's id of its subject's labels.
template <class T>
struct Stored {
  std::string probe;
  std::uint32_t entity = 0;
  T record;
};

// One store per kind of record (include/tarsier/records.h).
class Stores {
 public:
  template <class Entity>
  void add(std::string_view probe, Entity entity, const Record& record) {
    std::visit(
        [&](const auto& one) { put(std::string(probe), static_cast<std::uint32_t>(entity), one); },
        record);
  }
  [[nodiscard]] const Store<Stored<StackSample>>& stacks() const { return stacks_; }

 private:
  void put(std::string probe, std::uint32_t entity, const StackSample& sample) {
    stacks_.add({std::move(probe), entity, sample});
  }
  Store<Stored<StackSample>> stacks_{kMaxStackSamples};
};

}  // namespace tarsier::store
