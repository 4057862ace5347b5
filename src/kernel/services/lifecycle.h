/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records of the service `lifecycle`: processes and cgroups that begin, change and end. */
#ifndef TARSIER_LIFECYCLE_H
#define TARSIER_LIFECYCLE_H

#include "event.h"

enum lifecycle_type {
  LIFECYCLE_FORK = 1, /* a new process; comm is still its parent's */
  LIFECYCLE_EXEC = 2,
  LIFECYCLE_RENAME = 3,   /* the leader changed its comm */
  LIFECYCLE_MOVE = 4,     /* to another cgroup */
  LIFECYCLE_EXIT = 5,     /* the last thread is going */
  LIFECYCLE_SNAPSHOT = 6, /* was running when the service started */
  LIFECYCLE_CGROUP_MAKE = 7,
  LIFECYCLE_CGROUP_REMOVE = 8,
};

struct lifecycle_process {
  struct tarsier_header header;
  __u64 cgroup_id;
  __u64 parent_start_ns;
  __u32 parent_tgid;
  __u32 flags;                 /* LIFECYCLE_KERNEL_THREAD */
  char comm[TARSIER_COMM_LEN]; /* of the leader; may lack its end */
};
WIRE_SIZE(struct lifecycle_process, 64);

#define LIFECYCLE_KERNEL_THREAD 1u

/* Longest path of a cgroup, from the root of its hierarchy, that crosses; longer ones are cut. */
#define LIFECYCLE_PATH_LEN 448

struct lifecycle_cgroup {
  struct tarsier_header header; /* no subject */
  __u64 cgroup_id;
  char path[LIFECYCLE_PATH_LEN];
};
WIRE_SIZE(struct lifecycle_cgroup, 480);

#endif
