// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base/clock.h"

#include <ctime>

namespace tarsier::base {
namespace {

std::uint64_t read_ns(clockid_t id) {
  timespec time{};
  ::clock_gettime(id, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(time.tv_nsec);
}

}  // namespace

std::uint64_t SystemClock::boot_ns() const {
  return read_ns(CLOCK_BOOTTIME);
}
std::uint64_t SystemClock::real_ns() const {
  return read_ns(CLOCK_REALTIME);
}

}  // namespace tarsier::base
