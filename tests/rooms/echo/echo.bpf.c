// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The room `echo`: messages of the connections of two servers with their first bytes, until user space
// says of a connection that it has seen enough.
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "echo.h"
#include "emit.bpf.h"
#include "shared.bpf.h"
#include "sock.bpf.h"

#define MAX_SOCKETS 4096

#define SYS_SENDTO 44
#define SYS_RECVFROM 45

const volatile struct echo_config probe_config = {};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* How far each direction is; the end of a socket may never be told, hence LRU. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_SOCKETS);
	__type(key, struct echo_socket);
	__type(value, __u64[2]);
} positions SEC(".maps");

/* Written by user space alone. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_SOCKETS);
	__type(key, struct echo_socket);
	__type(value, struct echo_verdict);
} verdicts SEC(".maps");

/* Messages that were held back because of a verdict. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} held_back SEC(".maps");

/* A thread inside sendto() or recvfrom(), for kernels without the typed tracepoints. */
struct call {
	__u64 buffer;
	__u64 fd;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SOCKETS);
	__type(key, __u32); /* tid */
	__type(value, struct call);
} calls SEC(".maps");

static __always_inline bool is_wanted(const struct echo_socket *socket, __u64 position)
{
	const struct echo_verdict *verdict = bpf_map_lookup_elem(&verdicts, socket);
	__u32 zero = 0;
	__u64 *count;

	if (!verdict || position < verdict->wanted_bytes)
		return true;
	count = bpf_map_lookup_elem(&held_back, &zero);
	if (count)
		__sync_fetch_and_add(count, 1);
	return false;
}

static __always_inline bool is_ours(__u16 port)
{
	return port == probe_config.port || port == probe_config.other_port;
}

static __always_inline int on_message(const struct sock *sk, __u8 direction, long length,
				      const void *buffer)
{
	struct tarsier_socket *entry;
	struct echo_socket socket = {};
	struct echo_record *record;
	__u64 fresh[2] = {}, position;
	__u64 *at;
	long failed;

	if (length <= 0)
		return 0;
	if (!is_ours(sock_local_port(sk)) && !is_ours(sock_remote_port(sk)))
		return 0;
	entry = find_socket(sk);
	if (!entry)
		return 0;
	socket.sock = (__u64)sk;
	socket.opened_ns = entry->opened_ns;
	at = bpf_map_lookup_elem(&positions, &socket);
	if (!at) {
		bpf_map_update_elem(&positions, &socket, fresh, BPF_NOEXIST);
		at = bpf_map_lookup_elem(&positions, &socket);
		if (!at) {
			count_lost(LOST_MAP_FULL);
			return 0;
		}
	}
	position = __sync_fetch_and_add(&at[direction & 1], (__u64)length);
	if (!is_wanted(&socket, position))
		return 0;
	record = reserve_record(&events, sizeof(*record));
	if (!record)
		return 0;
	set_subject(&record->header, (struct task_struct *)bpf_get_current_task());
	record->socket = socket;
	record->position = position;
	record->length = (__u32)length;
	record->direction = direction;
	record->role = entry->role;
	/* Never a byte behind the message: it would be somebody's memory. */
	record->captured = length < ECHO_PREFIX ? (__u16)length : ECHO_PREFIX;
	if (record->captured == ECHO_PREFIX)
		failed = bpf_probe_read_user(record->prefix, ECHO_PREFIX, buffer);
	else
		failed = bpf_probe_read_user(record->prefix, record->captured & (ECHO_PREFIX - 1),
					     buffer);
	if (failed)
		record->captured = 0;
	submit_record(&events, record);
	return 0;
}

/* The buffer of the system call that the current task is in: its second argument. */
static __always_inline const void *buffer_of_call(__u64 number)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());

	if (BPF_CORE_READ(regs, orig_ax) != number)
		return 0;
	return (const void *)BPF_CORE_READ(regs, si);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(room_echo_send, struct sock *sk, int ret, int flags)
{
	return on_message(sk, ECHO_SENT, ret, buffer_of_call(SYS_SENDTO));
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(room_echo_recv, struct sock *sk, int ret, int flags)
{
	return on_message(sk, ECHO_RECEIVED, ret, buffer_of_call(SYS_RECVFROM));
}

static __always_inline int on_enter(struct trace_event_raw_sys_enter *ctx)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct call call = {};

	call.fd = ctx->args[0];
	call.buffer = ctx->args[1];
	if (bpf_map_update_elem(&calls, &tid, &call, BPF_ANY))
		count_lost(LOST_MAP_FULL);
	return 0;
}

static __always_inline int on_exit(struct trace_event_raw_sys_exit *ctx, __u8 direction)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct call *call = bpf_map_lookup_elem(&calls, &tid);
	struct call made;
	struct sock *sk;

	if (!call)
		return 0;
	made = *call;
	bpf_map_delete_elem(&calls, &tid);
	sk = sock_of_fd((int)made.fd);
	if (!sk)
		return 0;
	return on_message(sk, direction, ctx->ret, (const void *)made.buffer);
}

SEC("tp/syscalls/sys_enter_sendto")
int room_echo_ens(struct trace_event_raw_sys_enter *ctx)
{
	return on_enter(ctx);
}

SEC("tp/syscalls/sys_exit_sendto")
int room_echo_exs(struct trace_event_raw_sys_exit *ctx)
{
	return on_exit(ctx, ECHO_SENT);
}

SEC("tp/syscalls/sys_enter_recvfrom")
int room_echo_enr(struct trace_event_raw_sys_enter *ctx)
{
	return on_enter(ctx);
}

SEC("tp/syscalls/sys_exit_recvfrom")
int room_echo_exr(struct trace_event_raw_sys_exit *ctx)
{
	return on_exit(ctx, ECHO_RECEIVED);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
