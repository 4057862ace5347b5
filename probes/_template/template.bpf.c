// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The probe `template`: opens of files, by the return value of openat().
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "emit.bpf.h"
#include "template.h"

const volatile struct template_config probe_config = {};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

SEC("tp/syscalls/sys_exit_openat")
int openat_exit(struct trace_event_raw_sys_exit *ctx)
{
	struct template_record *record;

	/* What nobody asked for is dropped as early as possible. */
	if (probe_config.failures_only && ctx->ret >= 0)
		return 0;
	record = reserve_record(&events, sizeof(*record));
	if (!record)
		return 0;
	record->header.type = TEMPLATE_OPENED;
	set_subject(&record->header, (struct task_struct *)bpf_get_current_task());
	record->result = (__s32)ctx->ret;
	submit_record(&events, record);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
