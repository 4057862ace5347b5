/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the room `stacks` sends to user space. */
#ifndef TARSIER_ROOM_STACKS_H
#define TARSIER_ROOM_STACKS_H

#include "event.h"

#define STACK_FRAMES 48

/* A look at what a CPU runs; innermost frame first. */
struct stacks_record {
  struct tarsier_header header;
  __u32 tid;
  __u16 kernel_frames; /* used entries */
  __u16 user_frames;
  __u64 kernel[STACK_FRAMES];
  __u64 user[STACK_FRAMES];
};
WIRE_SIZE(struct stacks_record, 32 + 16 * STACK_FRAMES);

#endif
