// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The service `sockets`: who owns each TCP socket of the node, in which role, between which
// addresses, in every network namespace. Owns shared_sockets; probes look their socks up there.
//
// Entries are keyed by the sock's address and not kept in socket storage, so that one way serves
// all kernels from 5.10 on. They are made before any probe's program runs at the same tracepoint
// (services attach first, and tracepoints call in the order of attachment) and go when the kernel
// frees the sock, after the last probe has seen it close.
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "core.bpf.h"
#include "emit.bpf.h"
#include "program.bpf.h"
#include "shared.bpf.h"
#include "sock.bpf.h"

#define MAX_LISTENERS 16384

/* A passive connection belongs to its listener until somebody accepts it. */
struct listen_key {
	__u32 netns;
	__u16 port;
	__u16 reserved;
	__u8 address[16]; /* all zero: any address */
};

struct listen_owner {
	__u64 owner_start_ns;
	__u32 owner_tgid;
	__u32 sockets; /* SO_REUSEPORT: several listen on one port */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_LISTENERS);
	__type(key, struct listen_key);
	__type(value, struct listen_owner);
} listeners SEC(".maps");

static __always_inline void clear_if_any(__u8 address[16])
{
	__u64 high = 0, low = 0;

	/* 0.0.0.0 is mapped to ::ffff:0.0.0.0; a listener on it is one on ::. */
	__builtin_memcpy(&high, address, 8);
	__builtin_memcpy(&low, address + 8, 8);
	if (high == 0 && (low == 0 || low == 0xffff0000ULL))
		__builtin_memset(address, 0, 16);
}

static __always_inline void fill_listener_key(struct listen_key *key, const struct sock *sk)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->netns = sock_netns(sk);
	key->port = sock_local_port(sk);
	sock_local_address(sk, key->address);
	clear_if_any(key->address);
}

/* Who listens where the connection came in: on its local address, or on any. */
static __always_inline struct listen_owner *find_listener(const struct tarsier_socket *connection)
{
	struct listen_key key = {};
	struct listen_owner *found;

	key.netns = connection->netns;
	key.port = connection->local_port;
	__builtin_memcpy(key.address, connection->local_address, sizeof(key.address));
	found = bpf_map_lookup_elem(&listeners, &key);
	if (found)
		return found;
	__builtin_memset(key.address, 0, sizeof(key.address));
	return bpf_map_lookup_elem(&listeners, &key);
}

static __always_inline void add_listener(const struct sock *sk, struct task_struct *owner)
{
	struct listen_owner fresh = {};
	struct listen_key key;
	struct listen_owner *found;

	fill_listener_key(&key, sk);
	found = bpf_map_lookup_elem(&listeners, &key);
	if (found) {
		__sync_fetch_and_add(&found->sockets, 1);
		return;
	}
	fresh.owner_tgid = BPF_CORE_READ(owner, tgid);
	fresh.owner_start_ns = process_start_ns(owner);
	fresh.sockets = 1;
	if (bpf_map_update_elem(&listeners, &key, &fresh, BPF_NOEXIST))
		count_lost(LOST_MAP_FULL);
}

static __always_inline void remove_listener(const struct sock *sk)
{
	struct listen_key key;
	struct listen_owner *found;

	fill_listener_key(&key, sk);
	found = bpf_map_lookup_elem(&listeners, &key);
	if (!found)
		return;
	if (found->sockets <= 1)
		bpf_map_delete_elem(&listeners, &key);
	else
		__sync_fetch_and_add(&found->sockets, -1);
}

static __always_inline void fill_tuple(struct tarsier_socket *entry, const struct sock *sk)
{
	entry->netns = sock_netns(sk);
	entry->local_port = sock_local_port(sk);
	entry->remote_port = sock_remote_port(sk);
	sock_local_address(sk, entry->local_address);
	sock_remote_address(sk, entry->remote_address);
}

static __always_inline void own(struct tarsier_socket *entry, struct task_struct *task)
{
	entry->owner_tgid = BPF_CORE_READ(task, tgid);
	entry->owner_start_ns = process_start_ns(task);
}

static __always_inline void insert(const struct sock *sk, struct tarsier_socket *entry, __u64 flags)
{
	__u64 key = (__u64)sk;
	long error = bpf_map_update_elem(&shared_sockets, &key, entry, flags);

	if (error && error != -17 /* EEXIST: somebody was faster */)
		count_lost(LOST_MAP_FULL);
}

/* connect(): in the caller's context, where the local port may not be known yet. */
static __always_inline void on_connecting(const struct sock *sk)
{
	struct tarsier_socket entry = {};

	entry.opened_ns = bpf_ktime_get_boot_ns();
	entry.role = ROLE_CLIENT;
	own(&entry, (struct task_struct *)bpf_get_current_task());
	fill_tuple(&entry, sk);
	insert(sk, &entry, BPF_ANY);
}

/* Established by the peer's last packet, in softirq: the current task is a stranger. */
static __always_inline void on_passive_established(const struct sock *sk)
{
	struct tarsier_socket entry = {};
	struct listen_owner *listener;

	entry.opened_ns = bpf_ktime_get_boot_ns();
	entry.established_ns = entry.opened_ns;
	entry.role = ROLE_SERVER;
	fill_tuple(&entry, sk);
	listener = find_listener(&entry);
	if (listener) {
		entry.owner_tgid = listener->owner_tgid;
		entry.owner_start_ns = listener->owner_start_ns;
	}
	insert(sk, &entry, BPF_ANY);
}

static __always_inline void on_established(const struct sock *sk, int old_state)
{
	struct tarsier_socket *entry = find_socket(sk);

	/* A stale entry of a freed sock cannot be told from a simultaneous open but by its role. */
	if (entry && !(entry->flags & SOCKET_CLOSED) && entry->role == ROLE_CLIENT) {
		entry->established_ns = bpf_ktime_get_boot_ns();
		fill_tuple(entry, sk);
		return;
	}
	if (old_state == TCP_SYN_RECV)
		on_passive_established(sk);
}

/* Most transitions are of no interest: they must cost nothing. */
static __always_inline void on_state(const struct sock *sk, int old_state, int new_state)
{
	struct tarsier_socket *entry;

	if (new_state == TCP_CLOSE) {
		if (old_state == TCP_LISTEN && sock_is_tcp(sk))
			remove_listener(sk);
		entry = find_socket(sk);
		if (entry)
			entry->flags |= SOCKET_CLOSED;
	} else if (new_state == TCP_SYN_SENT && sock_is_tcp(sk)) {
		on_connecting(sk);
	} else if (new_state == TCP_ESTABLISHED && sock_is_tcp(sk)) {
		on_established(sk, old_state);
	} else if (new_state == TCP_LISTEN && sock_is_tcp(sk)) {
		add_listener(sk, (struct task_struct *)bpf_get_current_task());
	}
}

static __always_inline int on_destroy(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	bpf_map_delete_elem(&shared_sockets, &key);
	return 0;
}

TRACEPOINT_PROGRAMS(state, inet_sock_set_state, on_state(sk, old_state, new_state),
		    const struct sock *sk, int old_state, int new_state)

TRACEPOINT_PROGRAMS(destroy, tcp_destroy_sock, on_destroy(sk), struct sock *sk)

/* accept() returned: the connection, and the next ones until they are accepted, are the caller's. */
static __always_inline int on_accepted(const struct sock *sk)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct tarsier_socket *entry;
	struct listen_owner *listener;

	if (!sk)
		return 0;
	entry = find_socket(sk);
	if (!entry)
		return 0;
	own(entry, task);
	listener = find_listener(entry);
	if (listener) {
		listener->owner_tgid = entry->owner_tgid;
		listener->owner_start_ns = entry->owner_start_ns;
	}
	return 0;
}

/*
 * Commit 92ef0fd55ac8 ("net: change proto and proto_ops accept type", 6.10) made two arguments of
 * four; the returned sock stands behind the arguments. It sees io_uring too.
 */
struct proto_accept_arg___v6_10 {
	int err;
};

SEC("fexit/inet_csk_accept")
int accept_fexit(unsigned long long *ctx)
{
	if (bpf_core_type_exists(struct proto_accept_arg___v6_10))
		return on_accepted((const struct sock *)ctx[2]);
	return on_accepted((const struct sock *)ctx[4]);
}

SEC("tp/syscalls/sys_exit_accept")
int accept_exit(struct trace_event_raw_sys_exit *ctx)
{
	return on_accepted(ctx->ret < 0 ? 0 : sock_of_fd(ctx->ret));
}

SEC("tp/syscalls/sys_exit_accept4")
int accept4_exit(struct trace_event_raw_sys_exit *ctx)
{
	return on_accepted(ctx->ret < 0 ? 0 : sock_of_fd(ctx->ret));
}

/*
 * What is open already: descriptors of every process, hence every network namespace, with their
 * owner. First the listeners, because a connection on a listened port is a server's.
 */
static __always_inline struct sock *tcp_sock_of(struct task_struct *task, struct file *file)
{
	struct sock *sk;

	if (task->pid != task->tgid)
		return 0;
	sk = sock_of_file(file);
	return sk && sock_is_tcp(sk) ? sk : 0;
}

SEC("iter/task_file")
int snapshot_listeners(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct listen_key key;
	struct sock *sk;

	if (!task || !file)
		return 0;
	sk = tcp_sock_of(task, file);
	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN)
		return 0;
	/* A descriptor that several processes share is one listener. */
	fill_listener_key(&key, sk);
	if (!bpf_map_lookup_elem(&listeners, &key))
		add_listener(sk, task);
	return 0;
}

SEC("iter/task_file")
int snapshot_connections(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct tarsier_socket entry = {};
	struct sock *sk;
	__u8 state;

	if (!task || !file)
		return 0;
	sk = tcp_sock_of(task, file);
	if (!sk)
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (state == TCP_CLOSE || state == TCP_LISTEN)
		return 0;
	entry.opened_ns = bpf_ktime_get_boot_ns();
	if (state != TCP_SYN_SENT)
		entry.established_ns = entry.opened_ns;
	entry.flags = SOCKET_PREEXISTING;
	own(&entry, task);
	fill_tuple(&entry, sk);
	entry.role = state != TCP_SYN_SENT && find_listener(&entry) ? ROLE_SERVER : ROLE_CLIENT;
	insert(sk, &entry, BPF_NOEXIST);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
