/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the bytes of a message that was just received lie in the memory of the process that asked
 * for it. At the hooks behind a receive the kernel has copied them already and its own copy may be
 * in pages that a program cannot read; the user's buffer is the one place that always has them.
 */
#ifndef TARSIER_USER_BPF_H
#define TARSIER_USER_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define TARSIER_PF_KTHREAD 0x00200000 /* include/linux/sched.h */

/* The front of a message, as much of it as lies in one piece; for bpf_probe_read_user(). */
struct user_bytes {
	const void *at;
	__u32 size;
};

enum user_bytes_found {
	USER_BYTES_NOWHERE = 0, /* not in user memory, or nobody says where */
	USER_BYTES_FOUND = 1,
	USER_BYTES_PERHAPS = 2, /* recvmmsg: right if this is the first message of the call */
};

/* Commit 8cd54c1c8480 ("iov_iter: separate direction from flavour", 5.14). */
struct iov_iter___v5_13 {
	unsigned int type; /* enum iter_type, and the direction in bit 0 */
} __attribute__((preserve_access_index));

/* Commit de4f5fed3f23 ("iov_iter: add iter_iovec() helper", 6.4) renamed it. */
struct iov_iter___v6_3 {
	const struct iovec *iov;
} __attribute__((preserve_access_index));

static __always_inline __u32 iter_type_of(const struct iov_iter *iter)
{
	const struct iov_iter___v5_13 *old = (const void *)iter;

	if (bpf_core_field_exists(old->type))
		return BPF_CORE_READ(old, type) & ~1u;
	return BPF_CORE_READ(iter, iter_type);
}

static __always_inline const struct iovec *iovec_of(const struct iov_iter *iter)
{
	const struct iov_iter___v6_3 *old = (const void *)iter;

	if (bpf_core_field_exists(old->iov))
		return BPF_CORE_READ(old, iov);
	return BPF_CORE_READ(iter, __iov);
}

/*
 * From an iterator that has moved over `copied` bytes: they end where it stands. A vector that was
 * filled to its end is left behind, so they may end at the end of the vector before.
 */
static __always_inline enum user_bytes_found
user_bytes_behind(const struct iov_iter *iter, __u32 copied, struct user_bytes *found)
{
	__u64 offset = BPF_CORE_READ(iter, iov_offset);
	__u32 type = iter_type_of(iter);
	const struct iovec *vector;
	__u64 before, length;

	found->size = copied;
	if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) &&
	    type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
		found->at = (const char *)BPF_CORE_READ(iter, ubuf) + offset - copied;
		return USER_BYTES_FOUND;
	}
	if (type != bpf_core_enum_value(enum iter_type, ITER_IOVEC))
		return USER_BYTES_NOWHERE;
	vector = iovec_of(iter);
	if (offset >= copied) {
		found->at = (const char *)BPF_CORE_READ(vector, iov_base) + offset - copied;
		return USER_BYTES_FOUND;
	}
	before = copied - offset;
	length = BPF_CORE_READ(vector - 1, iov_len);
	if (length < before)
		return USER_BYTES_NOWHERE; /* in three pieces or more */
	found->at = (const char *)BPF_CORE_READ(vector - 1, iov_base) + length - before;
	found->size = before;
	return USER_BYTES_FOUND;
}

#if defined(__TARGET_ARCH_x86)

/* arch/x86/entry/syscalls/syscall_64.tbl. The numbers of 32-bit calls are none of these. */
enum {
	CALL_READ = 0,
	CALL_READV = 19,
	CALL_RECVFROM = 45,
	CALL_RECVMSG = 47,
	CALL_RECVMMSG = 299,
};
#define TARSIER_ENOSYS 38

static __always_inline enum user_bytes_found
user_bytes_in_vector(const struct iovec *vector, __u32 received, struct user_bytes *found)
{
	__u64 length = BPF_CORE_READ_USER(vector, iov_len);

	found->at = BPF_CORE_READ_USER(vector, iov_base);
	found->size = received < length ? received : length;
	return found->size ? USER_BYTES_FOUND : USER_BYTES_NOWHERE;
}

/*
 * From the arguments of the system call that the current task is in, where the hook has no
 * iterator. Needs bpf_task_pt_regs() (5.15). io_uring receives in other calls, or when a call has
 * ended but its number still stands in the registers: until then, the place of the call's result
 * holds -ENOSYS (arch/x86/entry/entry_64.S).
 */
static __always_inline enum user_bytes_found user_bytes_of_call(__u32 received,
								struct user_bytes *found)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u64 second = regs->si, third = regs->dx;
	const struct mmsghdr *many = (const void *)second;
	const struct user_msghdr *one = (const void *)second;

	if ((long)regs->ax != -TARSIER_ENOSYS)
		return USER_BYTES_NOWHERE;
	switch (regs->orig_ax) {
	case CALL_READ:
	case CALL_RECVFROM:
		found->at = (const void *)second;
		found->size = received < third ? received : third;
		return found->size ? USER_BYTES_FOUND : USER_BYTES_NOWHERE;
	case CALL_READV:
		return user_bytes_in_vector((const void *)second, received, found);
	case CALL_RECVMMSG:
		one = &many->msg_hdr;
		if (!user_bytes_in_vector(BPF_CORE_READ_USER(one, msg_iov), received, found))
			return USER_BYTES_NOWHERE;
		return third == 1 ? USER_BYTES_FOUND : USER_BYTES_PERHAPS;
	case CALL_RECVMSG:
		return user_bytes_in_vector(BPF_CORE_READ_USER(one, msg_iov), received, found);
	}
	return USER_BYTES_NOWHERE;
}

#else
#error "name the system calls and registers of this architecture here"
#endif

#endif
