/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the probe `process` sends to user space. */
#ifndef TARSIER_PROCESS_H
#define TARSIER_PROCESS_H

#include "event.h"

enum process_record_type {
  PROCESS_EXEC = 1,      /* a bare header */
  PROCESS_OOM_KILL = 2,  /* a bare header; start_ns 0: who has the tgid now */
  PROCESS_EXIT = 3,      /* struct process_end; the last thread is going */
  PROCESS_GONE = 4,      /* struct process_end; reaped, so that its figures are final */
  PROCESS_THREAD_IO = 5, /* struct process_io; a thread is going */
  PROCESS_SAMPLE = 6,    /* struct process_sample, by the iterator; one per thread */
};

/* Absolute figures since the start of a thread or a process. */
struct process_usage {
  __u64 user_ns; /* as the tick accounted it, see runtime_ns */
  __u64 system_ns;
  __u64 runtime_ns; /* as the scheduler measured it; user and system are scaled to it */
  __u64 minor_faults;
  __u64 major_faults;
  __u64 voluntary_switches;
  __u64 involuntary_switches;
};
WIRE_SIZE(struct process_usage, 56);

/* All 0 without CONFIG_TASK_IO_ACCOUNTING. */
struct process_bytes {
  __u64 read;    /* from storage */
  __u64 written; /* in pages made dirty */
};
WIRE_SIZE(struct process_bytes, 16);

/*
 * What a thread leaves behind. Of usage the kernel keeps the sum over released threads, but into
 * that of bytes it adds those of children that were waited for, which are counted elsewhere.
 */
struct process_io {
  struct tarsier_header header;
  struct process_bytes io;
};
WIRE_SIZE(struct process_io, 40);

struct process_end {
  struct tarsier_header header;
  struct process_usage usage;
  __u32 exit_code; /* as the parent gets it from wait() */
  __u32 reserved;
};
WIRE_SIZE(struct process_end, 88);

enum process_sample_flags {
  PROCESS_HAS_GONE = 1,   /* `gone` is filled */
  PROCESS_HAS_GAUGES = 2, /* resident_pages, open_fds and threads are filled */
  PROCESS_ENDED = 4,      /* nobody runs in it any more; it waits to be reaped */
};

/* One thread, and with it, where the flags say so, what belongs to the process as a whole. */
struct process_sample {
  struct tarsier_header header;
  struct process_usage thread;
  struct process_usage gone; /* threads that ended before; read before `thread` */
  struct process_bytes io;   /* of the thread; 0 once it is going, see struct process_io */
  __u64 resident_pages;
  __u32 open_fds;
  __u32 threads;
  __u32 flags;
  __u32 reserved;
};
WIRE_SIZE(struct process_sample, 176);

/* Descriptors that are counted, per process; more are a loss called fds_over_limit. */
#define PROCESS_MAX_FDS 65536

#endif
