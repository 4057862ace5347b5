// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One direction of a connection: finds frames in messages of which only the begin is known.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>

#include "echo/echo.h"

namespace tarsier::rooms {

class Stream {
 public:
  // `begin` is the front of a message of `length` bytes that stands at `position` of the stream.
  // false: out of step (records lost, a header that was not seen); it tries again with the next
  // message that looks like the begin of a frame.
  bool on_message(std::uint64_t position, std::uint64_t length, std::span<const std::uint8_t> begin,
                  const std::function<void(const echo_frame&)>& on_frame) {
    bool in_step = true;
    if (!synced_ || position > next_frame_) {
      in_step = !synced_ || position == next_frame_;
      next_frame_ = position;
      synced_ = true;
    }
    while (next_frame_ < position + length) {
      const std::uint64_t at = next_frame_ - position;
      echo_frame frame;
      if (at + sizeof frame > begin.size()) return give_up();
      std::memcpy(&frame, begin.data() + at, sizeof frame);
      if (frame.magic[0] != 'E' || frame.magic[1] != 'C') return give_up();
      on_frame(frame);
      next_frame_ += sizeof frame + frame.body_bytes;
    }
    return in_step;
  }

 private:
  bool give_up() {
    synced_ = false;
    return false;
  }

  bool synced_ = false;
  std::uint64_t next_frame_ = 0;
};

}  // namespace tarsier::rooms
