// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The bounded way of changes from the cluster's thread to the consumer. A full queue makes the
// cluster's thread wait, which makes the server wait: nothing is dropped.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

#include "net/kubernetes/objects.h"

namespace tarsier::net::kubernetes {

inline constexpr std::size_t kMaxQueued = 512;  // changes; a pod takes about 2 KiB

class ChangeQueue {
 public:
  // Waits while the queue is full. false: close() was called.
  bool push(Change change) {
    std::unique_lock lock(mutex_);
    if (changes_.size() >= kMaxQueued && !closed_) {
      ++waits_;
      room_.wait(lock, [&] { return changes_.size() < kMaxQueued || closed_; });
    }
    if (closed_) return false;
    changes_.push_back(std::move(change));
    return true;
  }
  // Appends all that is there to `out` and gives the queue's memory away with it where it can.
  void drain(std::vector<Change>& out) {
    {
      const std::lock_guard lock(mutex_);
      if (changes_.empty()) return;
      if (out.empty()) {
        out.swap(changes_);
      } else {
        out.insert(out.end(), std::make_move_iterator(changes_.begin()),
                   std::make_move_iterator(changes_.end()));
        changes_.clear();
      }
    }
    room_.notify_one();
  }
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    room_.notify_all();
  }
  // How often the queue was full and the cluster's thread waited.
  [[nodiscard]] std::uint64_t waits() const {
    const std::lock_guard lock(mutex_);
    return waits_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::vector<Change> changes_;
  std::uint64_t waits_ = 0;
  bool closed_ = false;
};

}  // namespace tarsier::net::kubernetes
