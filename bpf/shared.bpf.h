/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Maps that a service owns and probes look into. A probe that names the service in its plate
 * includes this header; the loader gives its object the service's map in place of a new one.
 */
#ifndef TARSIER_SHARED_BPF_H
#define TARSIER_SHARED_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "sockets.h"

/* 128 bytes an entry: 8 MiB. The owner counts what does not fit (reason map_full). */
#define SHARED_SOCKETS_MAX 65536

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SHARED_SOCKETS_MAX);
	__type(key, __u64); /* address of the struct sock */
	__type(value, struct tarsier_socket);
} shared_sockets SEC(".maps");

static __always_inline struct tarsier_socket *find_socket(const void *sk)
{
	__u64 key = (__u64)sk;

	return bpf_map_lookup_elem(&shared_sockets, &key);
}

#endif
