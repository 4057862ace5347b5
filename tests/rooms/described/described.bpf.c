// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The kernel side of a probe that somebody else wrote: calls of lseek(), for the description in
// described_live.cpp. Its records have no header file in common with the reader.
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "emit.bpf.h"

struct seek_record {
	struct tarsier_header header;
	__u64 offset;
	__u32 whence;
	char note[12];
};
WIRE_SIZE(struct seek_record, 48);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} seeks SEC(".maps");

SEC("tp/syscalls/sys_enter_lseek")
int room_seek(struct trace_event_raw_sys_enter *ctx)
{
	struct seek_record *record = reserve_record(&seeks, sizeof(*record));

	if (!record)
		return 0;
	record->header.type = 7;
	set_subject(&record->header, (struct task_struct *)bpf_get_current_task());
	record->offset = ctx->args[1];
	record->whence = (__u32)ctx->args[2];
	__builtin_memcpy(record->note, "by lseek", 8);
	submit_record(&seeks, record);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
