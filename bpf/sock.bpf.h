/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From descriptors to sockets, and what the probes read of a socket. CO-RE only. */
#ifndef TARSIER_SOCK_BPF_H
#define TARSIER_SOCK_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TARSIER_AF_INET 2
#define TARSIER_AF_INET6 10
#define TARSIER_S_IFMT 0170000
#define TARSIER_S_IFSOCK 0140000

/* The sock behind a file, or NULL where the file is no socket. */
static __always_inline struct sock *sock_of_file(struct file *file)
{
	struct socket *socket;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & TARSIER_S_IFMT) != TARSIER_S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	return socket ? BPF_CORE_READ(socket, sk) : 0;
}

/* The sock behind a descriptor of the current task, or NULL. */
static __always_inline struct sock *sock_of_fd(int fd)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd);
	struct file *file = 0;

	if (fd < 0 || (__u32)fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	bpf_core_read(&file, sizeof(file), &files[fd]);
	return file ? sock_of_file(file) : 0;
}

static __always_inline bool sock_is_tcp(const struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == TARSIER_AF_INET || family == TARSIER_AF_INET6) &&
	       BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP;
}

static __always_inline __u32 sock_netns(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline __u16 sock_local_port(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_num);
}

static __always_inline __u16 sock_remote_port(const struct sock *sk)
{
	return bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

/*
 * Addresses in 16 bytes; IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), which is also what an IPv6
 * socket with an IPv4 peer holds, so that both spellings of a connection are equal.
 */
static __always_inline void map_ipv4(__u8 address[16], __be32 ipv4)
{
	__builtin_memset(address, 0, 10);
	address[10] = 0xff;
	address[11] = 0xff;
	__builtin_memcpy(address + 12, &ipv4, 4);
}

static __always_inline void sock_local_address(const struct sock *sk, __u8 address[16])
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == TARSIER_AF_INET6)
		bpf_core_read(address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	else
		map_ipv4(address, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
}

static __always_inline void sock_remote_address(const struct sock *sk, __u8 address[16])
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == TARSIER_AF_INET6)
		bpf_core_read(address, 16, &sk->__sk_common.skc_v6_daddr);
	else
		map_ipv4(address, BPF_CORE_READ(sk, __sk_common.skc_daddr));
}

#endif
