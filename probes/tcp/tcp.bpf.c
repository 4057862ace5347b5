// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The probe `tcp`: the life of each connection from the kernel's own state, on tracepoints and an
// iterator alone. Runs at the edges of a connection's life, never per packet.
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "core.bpf.h"
#include "emit.bpf.h"
#include "program.bpf.h"
#include "shared.bpf.h"
#include "sock.bpf.h"
#include "tcp.h"

#define EINTR 4
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115
#define ERESTARTSYS 512
#define MAX_CONNECTING 10240

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* A thread inside connect(). What fails before or within the call has only its return value. */
struct connecting {
	__u64 sock; /* set when the sock entered SYN_SENT during the call */
	const void *address; /* the caller's, in user memory, where the hook has no other */
	__s32 fd; /* where the hook has no sock */
	__u32 undecided; /* went back to CLOSE without an error of the socket's own */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CONNECTING);
	__type(key, __u32); /* tid */
	__type(value, struct connecting);
} connecting SEC(".maps");

/* Resets that belong to no connection (an answer to a closed port), all network namespaces. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} stray_resets SEC(".maps");

/*
 * Figures of a sock that may already be on its way out, hence probe reads and no typed pointer.
 * bytes_received counts the FIN as one byte (tcp_fin() runs after rcv_nxt moved over it and sets
 * SOCK_DONE); bytes_sent counts repetitions, bytes_retrans how much of it they were.
 */
static __always_inline void fill_figures(struct tcp_record *record, const void *sk)
{
	const struct tcp_sock *tp = sk;
	const struct sock *sock = sk;
	__u64 received = BPF_CORE_READ(tp, bytes_received);

	if (received > 0 && (BPF_CORE_READ(sock, __sk_common.skc_flags) & (1ul << SOCK_DONE)))
		received--;
	record->received_bytes = received;
	record->sent_bytes = BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	record->retransmitted_segments = BPF_CORE_READ(tp, total_retrans);
	record->srtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
}

static __always_inline void fill_identity(struct tcp_record *record, const void *sk,
					  const struct tarsier_socket *entry)
{
	record->header.tgid = entry->owner_tgid;
	record->header.start_ns = entry->owner_start_ns;
	record->sock = (__u64)sk;
	record->opened_ns = entry->opened_ns;
	record->established_ns = entry->established_ns;
	record->role = entry->role;
	record->flags = entry->flags;
	record->netns = entry->netns;
	record->local_port = entry->local_port;
	record->remote_port = entry->remote_port;
	__builtin_memcpy(record->local_address, entry->local_address, 16);
	__builtin_memcpy(record->remote_address, entry->remote_address, 16);
}

static __always_inline void emit(const void *sk, const struct tarsier_socket *entry, __u16 type,
				 __u32 error)
{
	struct tcp_record *record = reserve_record(&events, sizeof(*record));

	if (!record)
		return;
	record->header.type = type;
	fill_identity(record, sk, entry);
	fill_figures(record, sk);
	record->error = error;
	submit_record(&events, record);
}

/* SYN_SENT to CLOSE. Without sk_err the caller gave up, or connect() itself is about to fail. */
static __always_inline void on_connect_failed(const struct sock *sk, const struct tarsier_socket *entry)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	int error = BPF_CORE_READ(sk, sk_err);
	struct connecting *call;

	if (!error) {
		call = bpf_map_lookup_elem(&connecting, &tid);
		if (call && call->sock == (__u64)sk) {
			call->undecided = 1;
			return;
		}
	}
	emit(sk, entry, TCP_FAILED, error);
}

static __always_inline int on_state(const struct sock *sk, int old_state, int new_state)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct tarsier_socket *entry;
	struct connecting *call;

	/* What the service has an entry for is TCP; the others that pass here have none. */
	if (new_state == TCP_SYN_SENT) {
		call = bpf_map_lookup_elem(&connecting, &tid);
		if (call)
			call->sock = (__u64)sk;
		return 0;
	}
	if (new_state != TCP_ESTABLISHED && new_state != TCP_CLOSE)
		return 0;
	entry = find_socket(sk);
	if (!entry)
		return 0;
	if (new_state == TCP_ESTABLISHED)
		emit(sk, entry, TCP_OPENED, 0);
	else if (entry->established_ns)
		emit(sk, entry, TCP_CLOSED, 0);
	else if (old_state == TCP_SYN_SENT)
		on_connect_failed(sk, entry);
	return 0;
}

TRACEPOINT_PROGRAMS(state, inet_sock_set_state, on_state(sk, old_state, new_state),
		    const struct sock *sk, int old_state, int new_state)

static __always_inline int on_connect_enter(int fd, const void *address)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct connecting call = {};

	call.fd = fd;
	call.address = address;
	if (bpf_map_update_elem(&connecting, &tid, &call, BPF_ANY))
		count_lost(LOST_MAP_FULL);
	return 0;
}

/* The call failed for a reason of its own: no route, no address left, refused by a filter. */
static __always_inline bool is_failure(long result)
{
	return result < 0 && result != -EINPROGRESS && result != -EALREADY && result != -EISCONN &&
	       result != -EINTR && result != -ERESTARTSYS;
}

/* The beginnings of sockaddr_in and sockaddr_in6: family, port, then the address. */
struct remote_address {
	__u16 family;
	__be16 port;
	__be32 ipv4_or_flow;
	__u8 ipv6[16];
};

/* Whom the call wanted: the sock of a call that failed early may not say. */
static __always_inline void fill_remote(struct tarsier_socket *socket, const void *address, bool user)
{
	struct remote_address remote = {};
	long error;

	/* sockaddr_in has 16 bytes, which may end where the next page is missing. */
	if (user)
		error = bpf_probe_read_user(&remote, 16, address);
	else
		error = bpf_probe_read_kernel(&remote, 16, address);
	if (error)
		return;
	socket->remote_port = bpf_ntohs(remote.port);
	if (remote.family == TARSIER_AF_INET) {
		map_ipv4(socket->remote_address, remote.ipv4_or_flow);
	} else if (remote.family == TARSIER_AF_INET6) {
		if (user)
			bpf_probe_read_user(socket->remote_address, 16, address + 8);
		else
			bpf_probe_read_kernel(socket->remote_address, 16, address + 8);
	}
}

static __always_inline int on_connect_exit(const struct sock *sk, const void *address, long result)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct connecting *call = bpf_map_lookup_elem(&connecting, &tid);
	struct tarsier_socket nobody = {};
	struct connecting made;

	if (!call)
		return 0;
	made = *call;
	bpf_map_delete_elem(&connecting, &tid);
	/* What entered SYN_SENT and failed with an error of its own was reported at that moment. */
	if (!is_failure(result) || (made.sock && !made.undecided))
		return 0;
	if (!sk)
		sk = sock_of_fd(made.fd);
	if (!sk || !sock_is_tcp(sk))
		return 0;
	nobody.role = ROLE_CLIENT;
	nobody.opened_ns = bpf_ktime_get_boot_ns();
	nobody.owner_tgid = (__u32)(bpf_get_current_pid_tgid() >> 32);
	nobody.owner_start_ns = process_start_ns((struct task_struct *)bpf_get_current_task());
	nobody.netns = sock_netns(sk);
	fill_remote(&nobody, address ? address : made.address, !address);
	emit(sk, &nobody, TCP_FAILED, (__u32)-result);
	return 0;
}

/* connect() of every stream socket of the internet families, io_uring's too. */
SEC("fentry/inet_stream_connect")
int BPF_PROG(connect_fentry, struct socket *socket)
{
	return on_connect_enter(-1, 0);
}

SEC("fexit/inet_stream_connect")
int BPF_PROG(connect_fexit, struct socket *socket, struct sockaddr *address, int length, int flags,
	     int result)
{
	return on_connect_exit(BPF_CORE_READ(socket, sk), address, result);
}

SEC("tp/syscalls/sys_enter_connect")
int connect_enter(struct trace_event_raw_sys_enter *ctx)
{
	return on_connect_enter((int)ctx->args[0], (const void *)ctx->args[1]);
}

SEC("tp/syscalls/sys_exit_connect")
int connect_exit(struct trace_event_raw_sys_exit *ctx)
{
	return on_connect_exit(0, 0, ctx->ret);
}

static __always_inline int on_reset(const void *sk, __u16 type)
{
	struct tarsier_socket *entry = sk ? find_socket(sk) : 0;
	__u32 zero = 0;
	__u64 *count;

	if (entry) {
		emit(sk, entry, type, 0);
		return 0;
	}
	count = bpf_map_lookup_elem(&stray_resets, &zero);
	if (count && type == TCP_RESET_SENT)
		__sync_fetch_and_add(count, 1);
	return 0;
}

TRACEPOINT_PROGRAMS(reset_received, tcp_receive_reset, on_reset(sk, TCP_RESET_RECEIVED),
		    struct sock *sk)

/* Untyped: the sock may be NULL, a request or a TIME_WAIT sock; only its address is used. */
SEC("raw_tp/tcp_send_reset")
int BPF_PROG(reset_sent_raw_tp, const void *sk)
{
	return on_reset(sk, TCP_RESET_SENT);
}

/* Live connections: the entries of the service, so orphans and all network namespaces included. */
SEC("iter/bpf_map_elem")
int sample(struct bpf_iter__bpf_map_elem *ctx)
{
	struct tarsier_socket *entry = ctx->value;
	__u64 *key = ctx->key;
	struct tcp_record record = {};

	if (!key || !entry)
		return 0;
	if (!entry->established_ns || (entry->flags & SOCKET_CLOSED))
		return 0;
	record.header.time_ns = bpf_ktime_get_boot_ns();
	record.header.type = TCP_SAMPLE;
	fill_identity(&record, (const void *)*key, entry);
	fill_figures(&record, (const void *)*key);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
