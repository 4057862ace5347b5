// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The room `stacks`: both stacks of what runs, at each tick of a software clock.
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "emit.bpf.h"
#include "stacks.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} events SEC(".maps");

SEC("perf_event")
int room_sample(struct bpf_perf_event_data *ctx)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct stacks_record *record;
	long bytes;

	if (!tid)
		return 0; /* idle */
	record = reserve_record(&events, sizeof(*record));
	if (!record)
		return 0;
	set_subject(&record->header, (struct task_struct *)bpf_get_current_task());
	record->tid = tid;
	/* No kernel stack: the sample came from user mode. No user stack: a kernel thread. */
	bytes = bpf_get_stack(ctx, record->kernel, sizeof(record->kernel), 0);
	if (bytes > 0)
		record->kernel_frames = (__u16)(bytes / 8);
	bytes = bpf_get_stack(ctx, record->user, sizeof(record->user), BPF_F_USER_STACK);
	if (bytes > 0)
		record->user_frames = (__u16)(bytes / 8);
	submit_record(&events, record);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
