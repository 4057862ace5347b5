// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The control thread's mailbox: what API handlers want done where BPF objects may be touched.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <mutex>
#include <vector>

#include "base/fd.h"
#include "tarsier/result.h"

namespace tarsier::daemon {

class ControlQueue {
 public:
  // What waits at most; more is refused, so that a flood of requests cannot pile up.
  static constexpr std::size_t kMaxWaiting = 64;

  Status open();
  [[nodiscard]] int fd() const { return wake_.get(); }  // readable: call run_waiting()

  // Any other thread: runs `work` on the control thread and waits for it, at most `limit`.
  // unavailable: it did not come to it in time (the work may still happen), or too much waits.
  Status run(std::function<void()> work, std::chrono::milliseconds limit);
  // The control thread.
  void run_waiting();

 private:
  base::UniqueFd wake_;
  std::mutex mutex_;
  std::vector<std::packaged_task<void()>> waiting_;
};

}  // namespace tarsier::daemon
