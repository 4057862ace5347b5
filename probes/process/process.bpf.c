// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The probe `process`: programs started, processes ended, and what processes use. Hooks at the edges
// of a process's life alone; what happens between them is read by an iterator every few seconds.
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "core.bpf.h"
#include "emit.bpf.h"
#include "process.h"
#include "program.bpf.h"

#define PF_EXITING 0x00000004 /* include/linux/sched.h */
#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */
#define SIGNAL_GROUP_EXIT 0x00000004 /* include/linux/sched/signal.h */
#define EXIT_DEAD 0x00000010 /* include/linux/sched.h */
#define LOST_FDS LOST_PROBE_FIRST

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* The iterator's record: too large for the stack beside the words of a descriptor table. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct process_sample);
} scratch SEC(".maps");

/*
 * Linux 6.2 (f1a7941243c1, "mm: convert mm's rss stats into percpu_counter") made an array of the
 * structure with an array in it.
 */
struct mm_rss_stat___before_6_2 {
	atomic_long_t count[4];
} __attribute__((preserve_access_index));
struct mm_struct___before_6_2 {
	struct mm_rss_stat___before_6_2 rss_stat;
} __attribute__((preserve_access_index));

static __always_inline bool is_leader(struct task_struct *task)
{
	return BPF_CORE_READ(task, pid) == BPF_CORE_READ(task, tgid);
}

static __always_inline bool is_kernel_thread(struct task_struct *task)
{
	return BPF_CORE_READ(task, flags) & PF_KTHREAD;
}

static __always_inline void add_thread(struct process_usage *usage, struct task_struct *task)
{
	usage->user_ns += BPF_CORE_READ(task, utime);
	usage->system_ns += BPF_CORE_READ(task, stime);
	usage->runtime_ns += BPF_CORE_READ(task, se.sum_exec_runtime);
	usage->minor_faults += BPF_CORE_READ(task, min_flt);
	usage->major_faults += BPF_CORE_READ(task, maj_flt);
	usage->voluntary_switches += BPF_CORE_READ(task, nvcsw);
	usage->involuntary_switches += BPF_CORE_READ(task, nivcsw);
}

/* What the threads that were released have left behind: __exit_signal() adds it up here. */
static __always_inline void add_gone(struct process_usage *usage, struct signal_struct *signal)
{
	usage->user_ns += BPF_CORE_READ(signal, utime);
	usage->system_ns += BPF_CORE_READ(signal, stime);
	usage->runtime_ns += BPF_CORE_READ(signal, sum_sched_runtime);
	usage->minor_faults += BPF_CORE_READ(signal, min_flt);
	usage->major_faults += BPF_CORE_READ(signal, maj_flt);
	usage->voluntary_switches += BPF_CORE_READ(signal, nvcsw);
	usage->involuntary_switches += BPF_CORE_READ(signal, nivcsw);
}

/* A configuration without task I/O accounting has no such fields. */
static __always_inline void fill_io(struct process_bytes *io, struct task_struct *task)
{
	if (!bpf_core_field_exists(task->ioac.read_bytes))
		return;
	io->read = BPF_CORE_READ(task, ioac.read_bytes);
	io->written = BPF_CORE_READ(task, ioac.write_bytes);
}

/* Most threads never went to storage and say nothing. */
static __always_inline void emit_io(struct task_struct *task)
{
	struct process_bytes io = {};
	struct process_io *record;

	fill_io(&io, task);
	if (!io.read && !io.written)
		return;
	record = reserve_record(&events, sizeof(*record));
	if (!record)
		return;
	record->header.type = PROCESS_THREAD_IO;
	set_subject(&record->header, task);
	record->io = io;
	submit_record(&events, record);
}

static __always_inline int emit_header(struct task_struct *task, __u16 type)
{
	struct tarsier_header *header = reserve_record(&events, sizeof(*header));

	if (!header)
		return 0;
	header->type = type;
	set_subject(header, task);
	submit_record(&events, header);
	return 0;
}

/* The status that wait() gives: wait_task_zombie() in kernel/exit.c. */
static __always_inline __u32 wait_status(struct task_struct *task, struct signal_struct *signal)
{
	if (BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(signal, group_exit_code);
	return BPF_CORE_READ(task, group_leader, exit_code);
}

/*
 * A thread goes, or the last one of the group. Two threads that go at the same moment may both see that nobody is
 * left: the reader takes the second exit of a process for the first one again. Of threads that are
 * on their way out on other CPUs the figures are missing here; they come with PROCESS_GONE.
 */
static __always_inline int on_exit(struct task_struct *task)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct process_end *record;

	if (is_kernel_thread(task))
		return 0;
	emit_io(task);
	if (BPF_CORE_READ(signal, live.counter) != 0)
		return 0;
	record = reserve_record(&events, sizeof(*record));
	if (!record)
		return 0;
	record->header.type = PROCESS_EXIT;
	set_subject(&record->header, task);
	record->exit_code = wait_status(task, signal);
	add_gone(&record->usage, signal);
	add_thread(&record->usage, task);
	if (leader != task)
		add_thread(&record->usage, leader);
	submit_record(&events, record);
	return 0;
}

/*
 * A task is freed, after it was reaped and an RCU grace period later; of a leader this means that
 * the whole group was added up in its signal_struct, its way through exit included.
 */
static __always_inline int on_free(struct task_struct *task)
{
	struct process_end *record;

	if (!is_leader(task) || is_kernel_thread(task))
		return 0;
	record = reserve_record(&events, sizeof(*record));
	if (!record)
		return 0;
	record->header.type = PROCESS_GONE;
	record->header.tgid = BPF_CORE_READ(task, tgid);
	record->header.start_ns = BPF_CORE_READ(task, start_boottime);
	add_gone(&record->usage, BPF_CORE_READ(task, signal));
	submit_record(&events, record);
	return 0;
}

TRACEPOINT_PROGRAMS(exec, sched_process_exec, emit_header(task, PROCESS_EXEC),
		    struct task_struct *task)

TRACEPOINT_PROGRAMS(exit, sched_process_exit, on_exit(task), struct task_struct *task)

TRACEPOINT_PROGRAMS(free, sched_process_free, on_free(task), struct task_struct *task)

/*
 * Linux 6.9 (72ba14deb40a, "mm: update mark_victim tracepoints fields") passes the task. Before, it
 * was the number of a thread: the plain access to the task is refused there, and the next way is
 * taken. That one is refused where the argument is a pointer.
 */
SEC("tp_btf/mark_victim")
int BPF_PROG(oom_task_tp_btf, struct task_struct *task)
{
	return task->tgid ? emit_header(task, PROCESS_OOM_KILL) : 0;
}

SEC("tp_btf/mark_victim")
int BPF_PROG(oom_number_tp_btf, int tid)
{
	struct tarsier_header *header = reserve_record(&events, sizeof(*header));

	if (!header)
		return 0;
	header->type = PROCESS_OOM_KILL;
	header->tgid = tid;
	submit_record(&events, header);
	return 0;
}

#define RSS_FILE 0 /* MM_FILEPAGES */
#define RSS_ANON 1 /* MM_ANONPAGES */
#define RSS_SHMEM 3 /* MM_SHMEMPAGES; between them are swap entries */

static __always_inline __u64 positive(__s64 value)
{
	return value > 0 ? value : 0;
}

/*
 * As /proc/PID/statm adds it up. From 6.2 on each CPU may hold back up to max(32, 2 * CPUs) pages
 * of each kind, either way.
 */
static __always_inline __u64 resident_pages(struct mm_struct *mm)
{
	struct mm_struct___before_6_2 *old = (void *)mm;

	if (bpf_core_field_exists(old->rss_stat.count))
		return positive(BPF_CORE_READ(old, rss_stat.count[RSS_FILE].counter)) +
		       positive(BPF_CORE_READ(old, rss_stat.count[RSS_ANON].counter)) +
		       positive(BPF_CORE_READ(old, rss_stat.count[RSS_SHMEM].counter));
	return positive(BPF_CORE_READ(mm, rss_stat[RSS_FILE].count)) +
	       positive(BPF_CORE_READ(mm, rss_stat[RSS_ANON].count)) +
	       positive(BPF_CORE_READ(mm, rss_stat[RSS_SHMEM].count));
}

/* A global function, so that the verifier looks at it once and not at every turn of the loop. */
__noinline __u32 ones_of(__u64 word)
{
	return __builtin_popcountll(word);
}

/* The bits that are set in the table of open descriptors. */
static __always_inline __u32 open_fds(struct task_struct *task)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	const unsigned long *bits = BPF_CORE_READ(table, open_fds);
	__u32 words = BPF_CORE_READ(table, max_fds) / 64;
	__u32 count = 0, i;

	if (words > PROCESS_MAX_FDS / 64)
		count_lost(LOST_FDS);
	for (i = 0; i < PROCESS_MAX_FDS / 64 && i < words; i++) {
		__u64 word = 0;

		bpf_probe_read_kernel(&word, sizeof(word), bits + i);
		count += ones_of(word);
	}
	return count;
}

static __always_inline void fill_gauges(struct process_sample *record, struct task_struct *task,
					struct signal_struct *signal)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);

	record->flags |= PROCESS_HAS_GAUGES;
	record->threads = BPF_CORE_READ(signal, nr_threads);
	if (mm)
		record->resident_pages = resident_pages(mm);
	if (BPF_CORE_READ(task, files))
		record->open_fds = open_fds(task);
}

/*
 * One thread. The figures of released threads are taken with the first thread of a process that
 * the iterator meets, which is the leader or, where thread ids have wrapped around, one before it;
 * the reader uses the first. A thread that is released in between is then missing in this look and
 * never counted twice; that is what the order of the reads and EXIT_DEAD are for.
 */
SEC("iter/task")
int sample(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct signal_struct *signal;
	struct process_sample *record;
	struct task_struct *leader;
	__u32 zero = 0;

	if (!task || is_kernel_thread(task))
		return 0;
	record = bpf_map_lookup_elem(&scratch, &zero);
	if (!record)
		return 0;
	__builtin_memset(record, 0, sizeof(*record));
	signal = BPF_CORE_READ(task, signal);
	leader = BPF_CORE_READ(task, group_leader);
	record->header.time_ns = bpf_ktime_get_boot_ns();
	record->header.type = PROCESS_SAMPLE;
	set_subject(&record->header, task);
	if (BPF_CORE_READ(signal, live.counter) == 0)
		record->flags |= PROCESS_ENDED;
	if (BPF_CORE_READ(task, pid) <= BPF_CORE_READ(task, tgid)) {
		record->flags |= PROCESS_HAS_GONE;
		add_gone(&record->gone, signal);
	}
	add_thread(&record->thread, task);
	if (BPF_CORE_READ(task, exit_state) & EXIT_DEAD)
		__builtin_memset(&record->thread, 0, sizeof(record->thread));
	if (!(BPF_CORE_READ(task, flags) & PF_EXITING))
		fill_io(&record->io, task);
	/* A leader may end before its threads, and has neither memory nor files from then on. */
	if (task == leader || BPF_CORE_READ(leader, exit_state))
		fill_gauges(record, task, signal);
	bpf_seq_write(ctx->meta->seq, record, sizeof(*record));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
