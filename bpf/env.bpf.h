/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every object knows about the daemon and the machine; the loader fills it before the load. */
#ifndef TARSIER_ENV_BPF_H
#define TARSIER_ENV_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "event.h"

const volatile struct tarsier_env tarsier_env SEC(".rodata") = {};

#endif
