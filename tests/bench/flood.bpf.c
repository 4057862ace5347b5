// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Fills a ring as fast as the kernel can, on demand: lseek(-1, records, kind).
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "emit.bpf.h"
#include "flood.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} events SEC(".maps");

static __always_inline void emit_count(struct task_struct *task)
{
	struct tarsier_header *header = reserve_record(&events, sizeof(*header));

	if (!header)
		return;
	header->type = FLOOD_COUNT;
	set_subject(header, task);
	submit_record(&events, header);
}

/* A connection that opens and closes, as the probe `tcp` would tell it. */
static __always_inline void emit_tcp(struct task_struct *task, __u64 connection, bool closes)
{
	struct tcp_record *record = reserve_record(&events, sizeof(*record));

	if (!record)
		return;
	record->header.type = closes ? TCP_CLOSED : TCP_OPENED;
	set_subject(&record->header, task);
	record->sock = connection;
	record->opened_ns = connection;
	record->established_ns = record->header.time_ns;
	record->role = ROLE_SERVER;
	if (closes) {
		record->sent_bytes = 503;
		record->received_bytes = 1009;
		record->srtt_us = 41;
	}
	submit_record(&events, record);
}

SEC("tp/syscalls/sys_enter_lseek")
int flood(struct trace_event_raw_sys_enter *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u64 kind = ctx->args[2], now = bpf_ktime_get_boot_ns();
	__u32 i;

	if ((int)ctx->args[0] != FLOOD_FD)
		return 0;
	for (i = 0; i < FLOOD_RECORDS; i++) {
		if (kind == FLOOD_COUNT)
			emit_count(task);
		else
			emit_tcp(task, now + i / 2, i & 1);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
