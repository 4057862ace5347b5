// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The service `names`: hands user space the answers of DNS servers that processes of this node
// really received over UDP, so that addresses get the names under which they were asked for.
//
// The best way sits behind udp_recvmsg, which nothing but UDP passes, and takes the bytes from the
// iterator that the kernel filled. Where functions cannot be traced there is the tracepoint behind
// every receive: other protocols pay a comparison there, and the bytes are found by the arguments
// of the system call. An answer that a program is not run for is a name less, no wrong number;
// hence no second programs as in program.bpf.h.
//
// Not seen: DNS over TCP, TLS and HTTPS; answers from another port than 53; multicast DNS.
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "core.bpf.h"
#include "emit.bpf.h"
#include "names.h"
#include "sock.bpf.h"
#include "user.bpf.h"

#define DNS_PORT 53
#define MULTICAST_DNS_PORT 5353
#define FIRST_USER_PORT 1024 /* RFC 6335, 6: below are the ports of servers */
#define MAX_RECEIVERS 1024

/* An answer from which no byte could be read: io_uring where the tracepoint serves, or a message
 * in many pieces. */
#define LOST_UNREACHABLE LOST_PROBE_FIRST

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 19);
} events SEC(".maps");

/* The last message that a thread received by recvmmsg, see is_repeated(). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_RECEIVERS);
	__type(key, __u64); /* thread */
	__type(value, __u64); /* front of the message's header */
} received_last SEC(".maps");

/* RFC 1035, 4.1.1; network byte order. */
struct dns_header {
	__u16 id;
	__u8 flags[2]; /* QR, opcode, AA, TC, RD; RA, Z, AD, CD, response code */
	__u16 questions;
	__u16 answers;
	__u16 authorities;
	__u16 additional;
};

/* Who sent the message: port 0 where nobody says. */
struct server {
	__u8 address[16];
	__u16 port;
};

/* An answer without error to one question, with records in it. */
static __always_inline bool is_answer(const struct dns_header *header)
{
	return (header->flags[0] & 0xf8) == 0x80 && (header->flags[1] & 0x0f) == 0 &&
	       header->questions == bpf_htons(1) && header->answers;
}

/*
 * The tracepoint fires for each message of a recvmmsg call and does not say for which; the buffer
 * we look into is that of the first. Its bytes, seen again, say that a later message came.
 */
static __always_inline bool is_repeated(const struct dns_header *header)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u64 front, *last = bpf_map_lookup_elem(&received_last, &thread);

	__builtin_memcpy(&front, header, sizeof(front));
	if (last && *last == front)
		return true;
	bpf_map_update_elem(&received_last, &thread, &front, BPF_ANY);
	return false;
}

static __always_inline void send_answer(const struct sock *sk, const struct server *server,
					const struct user_bytes *bytes, __u32 length)
{
	struct names_answer *record = reserve_record(&events, sizeof(*record));
	__u32 size = bytes->size;

	if (!record)
		return;
	set_subject(&record->header, (struct task_struct *)bpf_get_current_task());
	record->netns = sock_netns(sk);
	record->length = length;
	__builtin_memcpy(record->server_address, server->address, sizeof(server->address));
	record->server_port = server->port;
	asm volatile("" : "+r"(size)); /* the verifier must see the comparison with this register */
	if (size > NAMES_MESSAGE_MAX)
		size = NAMES_MESSAGE_MAX;
	record->captured = size;
	if (bpf_probe_read_user(record->message, size, bytes->at)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		count_lost(LOST_UNREACHABLE);
		return;
	}
	submit_record(&events, record);
}

/* A message of `length` bytes came, from a DNS server or from somebody unknown. */
static __always_inline void on_message(const struct sock *sk, const struct server *server,
				       enum user_bytes_found found, const struct user_bytes *bytes,
				       __u32 length)
{
	struct dns_header header;

	if (!found || bytes->size < sizeof(header) ||
	    bpf_probe_read_user(&header, sizeof(header), bytes->at)) {
		if (server->port)
			count_lost(LOST_UNREACHABLE);
		return;
	}
	if (!is_answer(&header))
		return;
	if (found == USER_BYTES_PERHAPS && is_repeated(&header)) {
		count_lost(LOST_UNREACHABLE);
		return;
	}
	send_answer(sk, server, bytes, length);
}

/* A kernel thread has no memory of a user: io_uring before 5.12, or a client in the kernel. */
static __always_inline bool is_kernel_thread(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, flags) & TARSIER_PF_KTHREAD;
}

/* The peer of a connected socket; false: it is no DNS server. */
static __always_inline bool server_of_socket(const struct sock *sk, struct server *server)
{
	__u16 port = sock_remote_port(sk);

	if (port != DNS_PORT)
		return port == 0;
	server->port = port;
	sock_remote_address(sk, server->address);
	return true;
}

/*
 * An unconnected socket of which nobody says who sent: then the message must look like an answer.
 * Servers receive from everybody and ask nobody; their ports are left alone, so that they do not
 * pay for the look.
 */
static __always_inline bool may_ask(const struct sock *sk)
{
	__u16 port = sock_local_port(sk);

	return port >= FIRST_USER_PORT && port != MULTICAST_DNS_PORT;
}

/* The address that recvfrom or recvmsg will give the user, in the kernel's copy. */
static __always_inline bool server_of_name(const struct msghdr *msg, const struct sock *sk,
					   struct server *server)
{
	const struct sockaddr_in6 *name = BPF_CORE_READ(msg, msg_name);
	const struct sockaddr_in *name4 = (const void *)name;

	if (!name)
		return may_ask(sk);
	/* The port stands at the same place for both families. */
	if (BPF_CORE_READ(name, sin6_port) != bpf_htons(DNS_PORT))
		return false;
	server->port = DNS_PORT;
	if (BPF_CORE_READ(name, sin6_family) == TARSIER_AF_INET)
		map_ipv4(server->address, BPF_CORE_READ(name4, sin_addr.s_addr));
	else
		bpf_core_read(server->address, 16, &name->sin6_addr);
	return true;
}

/*
 * The result stands behind the arguments, which were six until commit ec095263a965 ("net: remove
 * noblock parameter from recvmsg() entities", 5.19). Kernels since 5.17 say where it stands.
 */
static __always_inline long result_of_recvmsg(unsigned long long *ctx)
{
	__u64 result = 0;

	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_func_ret))
		return (int)*(volatile unsigned long long *)&ctx[6]; /* no address of two choices */
	bpf_get_func_ret(ctx, &result);
	return (int)result;
}

static __always_inline int on_udp_received(unsigned long long *ctx)
{
	const struct sock *sk = (const struct sock *)ctx[0];
	const struct msghdr *msg = (const struct msghdr *)ctx[1];
	long room = ctx[2], received = result_of_recvmsg(ctx);
	struct user_bytes bytes = {};
	struct server server = {};
	enum user_bytes_found found = USER_BYTES_NOWHERE;

	if (received < (long)sizeof(struct dns_header) || !server_of_socket(sk, &server))
		return 0;
	if (!server.port && !server_of_name(msg, sk, &server))
		return 0;
	/* With MSG_TRUNC the result may be more than what was copied. */
	if (!is_kernel_thread())
		found = user_bytes_behind(&msg->msg_iter, received < room ? received : room,
					  &bytes);
	on_message(sk, &server, found, &bytes, received);
	return 0;
}

SEC("fexit/udp_recvmsg")
int udp_fexit(unsigned long long *ctx)
{
	return on_udp_received(ctx);
}

SEC("fexit/udpv6_recvmsg")
int udpv6_fexit(unsigned long long *ctx)
{
	return on_udp_received(ctx);
}

/* Behind every receive of the node: what is not UDP must leave at once. */
SEC("tp_btf/sock_recv_length")
int BPF_PROG(receive_tp_btf, struct sock *sk, int received)
{
	struct user_bytes bytes = {};
	struct server server = {};
	enum user_bytes_found found = USER_BYTES_NOWHERE;

	if (sk->sk_protocol != IPPROTO_UDP || sk->sk_type != SOCK_DGRAM)
		return 0;
	if (received < (int)sizeof(struct dns_header) || !server_of_socket(sk, &server))
		return 0;
	if (!server.port && !may_ask(sk))
		return 0;
	if (!is_kernel_thread())
		found = user_bytes_of_call(received, &bytes);
	on_message(sk, &server, found, &bytes, received);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
