/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How the programs of a tracepoint are declared, so that no event of it is missed.
 *
 * The kernel skips a program whose last run on this CPU has not ended, and counts it
 * (recursion_misses in `bpftool prog`). An interrupt in the middle of a run is enough where the
 * network's soft interrupts come with it, and so is another task where a run may be preempted. Seen
 * on 7.2, where now and then a connection was missing.
 *
 * Hence a second program at the same tracepoint, which does the work if the first one is in the
 * middle of another event. What both were skipped for, or what came before the first could say
 * that it runs, stands in tarsier_probe_events_lost_total{reason="recursion"}.
 */
#ifndef TARSIER_PROGRAM_BPF_H
#define TARSIER_PROGRAM_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "emit.bpf.h"

#define MAX_TRACEPOINTS 16

struct attendance {
	__u32 running; /* the first program is in the middle of an event */
	__u32 nests; /* this kernel does not skip: the first program attends to every event */
};

/* For each tracepoint of the object. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_TRACEPOINTS);
	__type(key, __u32);
	__type(value, struct attendance);
} attendances SEC(".maps");

static __always_inline struct attendance *begin_run(__u32 tracepoint)
{
	struct attendance *here = bpf_map_lookup_elem(&attendances, &tracepoint);

	if (!here)
		return 0;
	if (here->running)
		here->nests = 1;
	here->running++;
	return here;
}

static __always_inline void end_run(struct attendance *here)
{
	if (here)
		here->running--;
}

static __always_inline bool must_stand_in(__u32 tracepoint)
{
	struct attendance *here = bpf_map_lookup_elem(&attendances, &tracepoint);

	if (!here || !here->running || here->nests)
		return false;
	take_back_lost(LOST_RECURSION);
	return true;
}

#define TRACEPOINT_PROGRAM_PAIR(type, suffix, name, tracepoint, call, ...) \
	SEC(type "/" #tracepoint)                                          \
	int BPF_PROG(name##suffix, ##__VA_ARGS__)                          \
	{                                                                  \
		struct attendance *here_ = begin_run(name##_slot);         \
                                                                           \
		call;                                                      \
		end_run(here_);                                            \
		return 0;                                                  \
	}                                                                  \
                                                                           \
	SEC(type "/" #tracepoint)                                          \
	int BPF_PROG(name##suffix##_2, ##__VA_ARGS__)                      \
	{                                                                  \
		if (must_stand_in(name##_slot))                            \
			call;                                              \
		return 0;                                                  \
	}

/*
 * The programs of a tracepoint: NAME_tp_btf and, for kernels without BTF of their own, NAME_raw_tp,
 * each with its second, NAME_tp_btf_2 and NAME_raw_tp_2. `call` may use the arguments of the
 * tracepoint, which follow. TARSIER_TRACEPOINT_WAYS in the plate attaches them.
 */
#define TRACEPOINT_PROGRAMS(name, tracepoint, call, ...)                                     \
	enum { name##_slot = __COUNTER__ };                                                  \
	_Static_assert(name##_slot < MAX_TRACEPOINTS, "too many tracepoints in one object"); \
	TRACEPOINT_PROGRAM_PAIR("tp_btf", _tp_btf, name, tracepoint, call, ##__VA_ARGS__)    \
	TRACEPOINT_PROGRAM_PAIR("raw_tp", _raw_tp, name, tracepoint, call, ##__VA_ARGS__)

#endif
