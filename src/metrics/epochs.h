// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Epochs: how the writer knows when nobody can look at a removed thing any more.
//
// A reader announces the version of the state it found (Pin) before it follows the first pointer;
// the writer unlinks a thing, publishes the next version, and gives the thing back once every pin
// is at that version or a later one. All steps of this hand-shake are sequentially consistent: if
// the writer's look at the pins missed a reader, that reader cannot have found the old pointer.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <thread>

namespace tarsier::metrics {

class Epochs {
 public:
  // Reads that can run at the same time; the next one waits for its turn. A read lasts as long as
  // the rendering of one chunk takes (some 100 µs), never as long as a client takes.
  static constexpr std::size_t kMaxPins = 64;

  class Pin {
   public:
    Pin(Epochs& epochs, const std::atomic<std::uint64_t>& version) : slot_(epochs.take(version)) {}
    ~Pin() { slot_.store(0, std::memory_order_release); }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;

   private:
    std::atomic<std::uint64_t>& slot_;
  };

  // The oldest pinned version; the largest number if nobody reads.
  [[nodiscard]] std::uint64_t oldest() const {
    std::uint64_t oldest = std::numeric_limits<std::uint64_t>::max();
    for (const Slot& slot : slots_) {
      const std::uint64_t version = slot.version.load(std::memory_order_seq_cst);
      if (version != 0 && version < oldest) oldest = version;
    }
    return oldest;
  }

 private:
  struct alignas(64) Slot {  // a cache line each, so that readers do not disturb one another
    std::atomic<std::uint64_t> version{0};  // 0: free
  };

  std::atomic<std::uint64_t>& take(const std::atomic<std::uint64_t>& version) {
    while (true) {
      for (Slot& slot : slots_) {
        std::uint64_t free = 0;
        const std::uint64_t now = version.load(std::memory_order_seq_cst);
        if (slot.version.compare_exchange_strong(free, now, std::memory_order_seq_cst)) {
          return slot.version;
        }
      }
      std::this_thread::yield();
    }
  }

  std::array<Slot, kMaxPins> slots_;
};

}  // namespace tarsier::metrics
