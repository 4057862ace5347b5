// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The clocks of the daemon, passed in so that tests can turn them.
#pragma once

#include <cstdint>

namespace tarsier::base {

class Clock {
 public:
  virtual ~Clock() = default;
  // CLOCK_BOOTTIME: the clock of all BPF records. Never steps, counts suspend.
  [[nodiscard]] virtual std::uint64_t boot_ns() const = 0;
  // CLOCK_REALTIME: for people and logs. It can step; nothing is measured with it.
  [[nodiscard]] virtual std::uint64_t real_ns() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] std::uint64_t boot_ns() const override;
  [[nodiscard]] std::uint64_t real_ns() const override;
};

class ManualClock final : public Clock {
 public:
  std::uint64_t boot = 1'000'000'000;
  std::uint64_t real = 1'700'000'000'000'000'000;
  [[nodiscard]] std::uint64_t boot_ns() const override { return boot; }
  [[nodiscard]] std::uint64_t real_ns() const override { return real; }
};

}  // namespace tarsier::base
