/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What crosses from the kernel to user space, for both sides. */
#ifndef TARSIER_EVENT_H
#define TARSIER_EVENT_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif

#ifdef __cplusplus
#define TARSIER_STATIC_ASSERT static_assert
#else
#define TARSIER_STATIC_ASSERT _Static_assert
#endif
/* A struct that crosses has the same size on both sides, said below its definition. */
#define WIRE_SIZE(type, size) \
	TARSIER_STATIC_ASSERT(sizeof(type) == (size), #type " changed its size on the wire")

#define TARSIER_COMM_LEN 16

/*
 * The front of every record. The collector reads time_ns to keep the order between rings and the
 * lifecycle of processes; the probe reads the rest.
 */
struct tarsier_header {
	__u64 time_ns; /* bpf_ktime_get_boot_ns(): CLOCK_BOOTTIME; 5.10 has it since 5.8 */
	__u16 type; /* the probe's own enum */
	__u16 reserved;
	__u32 tgid; /* the subject: a process by tgid and the start of its leader */
	__u64 start_ns;
};
WIRE_SIZE(struct tarsier_header, 24);

/* Facts about this daemon and this machine, written into every object before it is loaded. */
struct tarsier_env {
	__u32 self_tgid;
	__u32 cgroup_hierarchy; /* enum tarsier_cgroup_hierarchy */
	__u32 ring_watermark; /* bytes waiting in a ring that are worth a wake-up */
	__u32 cpus; /* possible CPUs */
};
WIRE_SIZE(struct tarsier_env, 16);

/* Where the container runtimes of this machine place their containers. */
enum tarsier_cgroup_hierarchy {
	TARSIER_CGROUP_V2 = 0,
	TARSIER_CGROUP_V1_MEMORY = 1,
	TARSIER_CGROUP_V1_PIDS = 2,
};

/* Why something that a probe saw did not become a record; index of the map `lost`. */
enum tarsier_lost {
	LOST_RING_FULL = 0, /* no room in the ring buffer */
	LOST_MAP_FULL = 1, /* a map of the probe is full: the thing is not tracked */
	LOST_RECURSION = 2, /* the kernel did not run the program, see program.bpf.h */
	LOST_PROBE_FIRST = 3, /* from here on: ProbeSpec::losses */
	LOST_MAX = 16,
};

#endif
