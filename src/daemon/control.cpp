// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/control.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace tarsier::daemon {

Status ControlQueue::open() {
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return fail_errno("make the control queue's descriptor");
  return {};
}

Status ControlQueue::run(std::function<void()> work, std::chrono::milliseconds limit) {
  std::packaged_task<void()> task(std::move(work));
  std::future<void> done = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() == kMaxWaiting) {
      return fail(ErrorCode::unavailable, "too many changes wait already; try again later");
    }
    waiting_.push_back(std::move(task));
  }
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  if (done.wait_for(limit) != std::future_status::ready) {
    return fail(ErrorCode::unavailable, "the change did not happen in time; it may still come");
  }
  return {};
}

void ControlQueue::run_waiting() {
  std::uint64_t ignored = 0;
  (void)!::read(wake_.get(), &ignored, sizeof ignored);
  std::vector<std::packaged_task<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(waiting_);
  }
  for (auto& task : tasks) task();
}

}  // namespace tarsier::daemon
