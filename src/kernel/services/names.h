/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Record of the service `names`: the answers of DNS servers that processes received. */
#ifndef TARSIER_NAMES_H
#define TARSIER_NAMES_H

#include "event.h"

/*
 * So much of a message crosses. What is allowed without EDNS (RFC 1035, 2.3.4); an address
 * takes 16 or 28 bytes of it, because its name is written once.
 */
#define NAMES_MESSAGE_MAX 512

/* Whose answer it is stands in the header: the process that received it. */
struct names_answer {
  struct tarsier_header header;
  __u32 netns;             /* inode number of the network namespace */
  __u16 length;            /* of the message as it was received */
  __u16 captured;          /* bytes of it in `message`; fewer than `length`: the end is missing */
  __u8 server_address[16]; /* IPv4 as ::ffff:a.b.c.d */
  __u16 server_port;       /* host byte order; 0: unknown, then the address is all zero */
  __u8 reserved[6];
  __u8 message[NAMES_MESSAGE_MAX]; /* RFC 1035, 4.1; whatever the sender put there */
};
WIRE_SIZE(struct names_answer, 568);

#endif
