// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The closed list of what a probe can hand over that is not a number. Plain data; the bounded
// stores in src/store keep it and the API reads it there. A new kind is one struct here and one
// store.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

namespace tarsier {

// One look at a stack: addresses, innermost frame first; the kernel's part comes before the user's.
struct StackSample {
  std::uint64_t time_ns = 0;  // CLOCK_BOOTTIME
  std::uint32_t tid = 0;
  std::uint64_t weight = 1;  // what the sample stands for, in the unit of the profile
  std::vector<std::uint64_t> kernel_frames;
  std::vector<std::uint64_t> user_frames;
};

using Record = std::variant<StackSample>;

}  // namespace tarsier
