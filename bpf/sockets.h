/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the service `sockets` knows about each TCP socket of the node; for both sides. */
#ifndef TARSIER_SOCKETS_H
#define TARSIER_SOCKETS_H

#include "event.h"

enum tarsier_role {
	ROLE_UNKNOWN = 0,
	ROLE_CLIENT = 1,
	ROLE_SERVER = 2,
};

enum tarsier_socket_flags {
	SOCKET_PREEXISTING = 1, /* was open before the service started */
	SOCKET_CLOSED = 2, /* reached CLOSE; the entry goes when the kernel frees the sock */
};

/*
 * Value of shared_sockets; the key is the sock's address. An address is used again after a sock is
 * freed: (address, opened_ns) names a socket for good.
 */
struct tarsier_socket {
	__u64 opened_ns; /* first seen: connect() called, or established by the peer */
	__u64 established_ns; /* 0: not yet */
	__u64 owner_start_ns; /* who connected, accepted or, until accept, listens */
	__u32 owner_tgid;
	__u32 netns; /* inode number of the network namespace */
	__u8 role; /* enum tarsier_role */
	__u8 flags; /* enum tarsier_socket_flags */
	__u16 local_port; /* host byte order */
	__u16 remote_port;
	__u16 reserved;
	__u8 local_address[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 remote_address[16];
};
WIRE_SIZE(struct tarsier_socket, 72);

#endif
