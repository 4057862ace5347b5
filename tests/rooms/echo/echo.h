/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What crosses between the kernel side of the room `echo` and its decoder. */
#ifndef TARSIER_ROOM_ECHO_H
#define TARSIER_ROOM_ECHO_H

#include "event.h"

#define ECHO_PREFIX 64

enum echo_direction {
  ECHO_SENT = 0,
  ECHO_RECEIVED = 1,
};

/* A socket for good: the address is used again, the pair never. */
struct echo_socket {
  __u64 sock;
  __u64 opened_ns;
};
WIRE_SIZE(struct echo_socket, 16);

/* One send or receive: where in its stream it stands, and how it begins. */
struct echo_record {
  struct tarsier_header header;
  struct echo_socket socket;
  __u64 position; /* of its first byte, counted from the first message that was seen */
  __u32 length;
  __u8 direction; /* enum echo_direction */
  __u8 role;      /* enum tarsier_role */
  __u16 captured; /* bytes of prefix */
  __u8 prefix[ECHO_PREFIX];
};
WIRE_SIZE(struct echo_record, 56 + ECHO_PREFIX);

/*
 * The verdict on a socket, from user space: messages that begin at or behind this position of
 * either direction are not wanted. 0: nothing is.
 */
struct echo_verdict {
  __u64 wanted_bytes;
};
WIRE_SIZE(struct echo_verdict, 8);

struct echo_config {
  __u16 port;       /* of a server; sockets with another one are not looked at */
  __u16 other_port; /* of a second server, or 0 */
};
WIRE_SIZE(struct echo_config, 4);

/* The echo protocol itself: a frame is this and `body_bytes` more. */
struct echo_frame {
  char magic[2]; /* "EC" */
  char kind;     /* 'Q' or 'R' */
  char verb;     /* of a request: enum echo_verb */
  __u32 sequence;
  __u32 body_bytes;
  __u32 argument;
};
WIRE_SIZE(struct echo_frame, 16);

enum echo_verb {
  ECHO_PLAIN = 0,
  ECHO_LOOK_AWAY = 1, /* do not watch this connection any more */
  ECHO_ENOUGH_AT = 2, /* watch no more than `argument` bytes of each direction */
};

#endif
