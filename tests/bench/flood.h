/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the flood of the benchmark `drain` is made of. */
#ifndef TARSIER_BENCH_FLOOD_H
#define TARSIER_BENCH_FLOOD_H

#include "../../probes/tcp/tcp.h"

#define FLOOD_FD (-4711)  /* a descriptor that nobody else seeks in */
#define FLOOD_RECORDS 256 /* of one call */

enum flood_kind {
  FLOOD_COUNT = 100, /* a header alone */
  FLOOD_TCP = 101,   /* pairs of TCP_OPENED and TCP_CLOSED */
};

#endif
