/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the probe `tcp` sends to user space. */
#ifndef TARSIER_TCP_H
#define TARSIER_TCP_H

#include "event.h"
#include "sockets.h"

enum tcp_record_type {
  TCP_OPENED = 1, /* reached ESTABLISHED */
  TCP_CLOSED = 2, /* reached CLOSE after it was established */
  TCP_FAILED = 3, /* connect() did not reach ESTABLISHED */
  TCP_RESET_RECEIVED = 4,
  TCP_RESET_SENT = 5,
  TCP_SAMPLE = 6, /* a look at a live connection, by the iterator */
};

/*
 * One record for all: where a connection stands, in absolute figures, so that a lost record is made
 * up for by the next one. The header's subject is the owner at that moment.
 */
struct tcp_record {
  struct tarsier_header header;
  __u64 sock; /* with opened_ns: names the connection for good */
  __u64 opened_ns;
  __u64 established_ns; /* 0: never */
  __u64 sent_bytes;     /* payload handed to the network, without repetitions */
  __u64 received_bytes; /* payload in order, without the FIN */
  __u32 retransmitted_segments;
  __u32 srtt_us;    /* 0: no measurement yet */
  __u8 role;        /* enum tarsier_role */
  __u8 flags;       /* enum tarsier_socket_flags */
  __u16 local_port; /* ports in host byte order */
  __u32 error;      /* TCP_FAILED: errno, 0: given up by the caller */
  __u32 netns;
  __u16 remote_port;
  __u16 reserved;
  __u8 local_address[16]; /* IPv4 as ::ffff:a.b.c.d; all zero: not known */
  __u8 remote_address[16];
};
WIRE_SIZE(struct tcp_record, 120);

#endif
