// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The service `lifecycle`: says when processes and cgroups begin, change and end, so that user
// space knows the name of a subject at the time of a record. Always on, drained before all others.
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "core.bpf.h"
#include "emit.bpf.h"
#include "lifecycle.h"
#include "program.bpf.h"

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

static __always_inline bool is_leader(struct task_struct *task)
{
	return BPF_CORE_READ(task, pid) == BPF_CORE_READ(task, tgid);
}

static __always_inline void fill(struct lifecycle_process *record, struct task_struct *task, __u16 type)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	struct task_struct *leader;

	record->header.type = type;
	set_subject(&record->header, task);
	record->cgroup_id = task_cgroup_id(task);
	record->parent_tgid = BPF_CORE_READ(parent, tgid);
	record->parent_start_ns = process_start_ns(parent);
	if (BPF_CORE_READ(task, flags) & PF_KTHREAD)
		record->flags = LIFECYCLE_KERNEL_THREAD;
	leader = BPF_CORE_READ(task, group_leader);
	bpf_core_read(record->comm, sizeof(record->comm), &leader->comm);
}

static __always_inline int emit_process(struct task_struct *task, __u16 type, const char *comm)
{
	struct lifecycle_process *record = reserve_record(&events, sizeof(*record));

	if (!record)
		return 0;
	fill(record, task, type);
	if (comm)
		bpf_probe_read_kernel_str(record->comm, sizeof(record->comm), comm);
	submit_record(&events, record);
	return 0;
}

static __always_inline int on_fork(struct task_struct *child)
{
	return is_leader(child) ? emit_process(child, LIFECYCLE_FORK, 0) : 0;
}

static __always_inline int on_exec(struct task_struct *task)
{
	return emit_process(task, LIFECYCLE_EXEC, 0);
}

/* The tracepoint comes before the new name is copied into the task. */
static __always_inline int on_rename(struct task_struct *task, const char *comm)
{
	return is_leader(task) ? emit_process(task, LIFECYCLE_RENAME, comm) : 0;
}

/*
 * The last thread of the group. Two threads that go at the same moment may both see that nobody is
 * left: the reader takes the second exit of a process for the first one again.
 */
static __always_inline int on_exit(struct task_struct *task)
{
	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	return emit_process(task, LIFECYCLE_EXIT, 0);
}

static __always_inline int on_move(struct cgroup *target, struct task_struct *task)
{
	struct lifecycle_process *record;

	if (!is_leader(task) || !cgroup_is_ours(target))
		return 0;
	record = reserve_record(&events, sizeof(*record));
	if (!record)
		return 0;
	fill(record, task, LIFECYCLE_MOVE);
	/* The tracepoint may come before the task's own pointer moves. */
	record->cgroup_id = BPF_CORE_READ(target, kn, id);
	submit_record(&events, record);
	return 0;
}

static __always_inline int emit_cgroup(struct cgroup *cgroup, const char *path, __u16 type)
{
	struct lifecycle_cgroup *record;

	if (!cgroup_is_ours(cgroup))
		return 0;
	record = reserve_record(&events, sizeof(*record));
	if (!record)
		return 0;
	record->header.type = type;
	record->cgroup_id = BPF_CORE_READ(cgroup, kn, id);
	bpf_probe_read_kernel_str(record->path, sizeof(record->path), path);
	submit_record(&events, record);
	return 0;
}

TRACEPOINT_PROGRAMS(fork, sched_process_fork, on_fork(child),
		    struct task_struct *parent, struct task_struct *child)

TRACEPOINT_PROGRAMS(exec, sched_process_exec, on_exec(task), struct task_struct *task)

TRACEPOINT_PROGRAMS(rename, task_rename, on_rename(task, comm),
		    struct task_struct *task, const char *comm)

TRACEPOINT_PROGRAMS(exit, sched_process_exit, on_exit(task), struct task_struct *task)

TRACEPOINT_PROGRAMS(move, cgroup_attach_task, on_move(target, task),
		    struct cgroup *target, const char *path, struct task_struct *task)

TRACEPOINT_PROGRAMS(make, cgroup_mkdir, emit_cgroup(cgroup, path, LIFECYCLE_CGROUP_MAKE),
		    struct cgroup *cgroup, const char *path)

TRACEPOINT_PROGRAMS(remove, cgroup_rmdir, emit_cgroup(cgroup, path, LIFECYCLE_CGROUP_REMOVE),
		    struct cgroup *cgroup, const char *path)

/* What runs already, leaders only. */
SEC("iter/task")
int snapshot(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct lifecycle_process record = {};

	if (!task || task->pid != task->tgid)
		return 0;
	record.header.time_ns = bpf_ktime_get_boot_ns();
	fill(&record, task, LIFECYCLE_SNAPSHOT);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
