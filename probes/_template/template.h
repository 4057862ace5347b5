/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the probe `template` sends to user space. */
#ifndef TARSIER_TEMPLATE_H
#define TARSIER_TEMPLATE_H

#include "event.h"

enum template_record_type {
  TEMPLATE_OPENED = 1,
};

/* A finished open of a file; the header's subject is the process that asked for it. */
struct template_record {
  struct tarsier_header header;
  __s32 result; /* the descriptor, or minus the errno */
  __u32 reserved;
};
WIRE_SIZE(struct template_record, 32);

/* What the kernel side is told before it is loaded. */
struct template_config {
  __u32 failures_only; /* 0 or 1 */
};
WIRE_SIZE(struct template_config, 4);

#endif
