/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sending records: reserve, fill, submit. What does not fit is counted, never silently dropped.
 *
 * Nothing here wakes user space for a single event: a wake-up costs the traced application ten
 * times the event (docs/overhead.md). The collector drains on a clock of its own; only a ring that
 * fills past the watermark wakes it early.
 */
#ifndef TARSIER_EMIT_BPF_H
#define TARSIER_EMIT_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "core.bpf.h"
#include "env.bpf.h"
#include "event.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOST_MAX);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

static __always_inline void count_lost(__u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&lost, &reason);

	if (count)
		__sync_fetch_and_add(count, 1); /* per CPU, but runs may interrupt each other */
}

/* What was counted as lost elsewhere, or will be, was not. */
static __always_inline void take_back_lost(__u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&lost, &reason);

	if (count)
		__sync_fetch_and_add(count, -1);
}

/* A zeroed record of `size` bytes (a constant), or NULL after counting the loss. */
static __always_inline void *reserve_record(void *ring, __u64 size)
{
	struct tarsier_header *header = bpf_ringbuf_reserve(ring, size, 0);

	if (!header) {
		count_lost(LOST_RING_FULL);
		return 0;
	}
	__builtin_memset(header, 0, size);
	header->time_ns = bpf_ktime_get_boot_ns();
	return header;
}

/*
 * Sends the record. The wake-up happens only in the band above the watermark, so that a flood wakes
 * the collector a few times and not once an event.
 */
#define WATERMARK_BAND 8192u

static __always_inline void submit_record(void *ring, void *record)
{
	__u64 waiting = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
	__u64 watermark = tarsier_env.ring_watermark;
	__u64 flags = BPF_RB_NO_WAKEUP;

	if (waiting >= watermark && waiting < watermark + WATERMARK_BAND)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(record, flags);
}

/* Makes a task's process the subject of the record. */
static __always_inline void set_subject(struct tarsier_header *header, struct task_struct *task)
{
	header->tgid = BPF_CORE_READ(task, tgid);
	header->start_ns = process_start_ns(task);
}

#endif
