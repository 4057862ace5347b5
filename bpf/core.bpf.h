/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kernel differences, each in one reader: the flavours of a structure stand under the kernel commit
 * that made them necessary. Ask BTF what is there; never compare versions.
 */
#ifndef TARSIER_CORE_BPF_H
#define TARSIER_CORE_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "env.bpf.h"

/* Start of the thread group's leader in CLOCK_BOOTTIME: with the tgid it names a process for good. */
static __always_inline __u64 process_start_ns(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, start_boottime);
}

/*
 * The id of the task's cgroup in the hierarchy where this machine's runtimes place containers. It
 * is the inode number of the cgroup's directory. On a hybrid host the v2 id says nothing: all
 * containers of a v1 hierarchy share one.
 */
static __always_inline __u64 task_cgroup_id(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state *state = 0;
	__u32 hierarchy = tarsier_env.cgroup_hierarchy;

	if (hierarchy == TARSIER_CGROUP_V1_MEMORY &&
	    bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		bpf_core_read(&state, sizeof(state),
			      &set->subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)]);
	else if (hierarchy == TARSIER_CGROUP_V1_PIDS &&
		 bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
		bpf_core_read(&state, sizeof(state),
			      &set->subsys[bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id)]);
	if (state)
		return BPF_CORE_READ(state, cgroup, kn, id);
	return BPF_CORE_READ(set, dfl_cgrp, kn, id);
}

/* Whether a cgroup belongs to the hierarchy that task_cgroup_id() reads. */
static __always_inline bool cgroup_is_ours(struct cgroup *cgroup)
{
	struct cgroup_root *root = BPF_CORE_READ(cgroup, root);
	__u32 hierarchy = tarsier_env.cgroup_hierarchy;
	int hierarchy_id = BPF_CORE_READ(root, hierarchy_id);
	__u32 mask = 0;

	if (hierarchy == TARSIER_CGROUP_V2)
		return hierarchy_id == 0; /* cgrp_dfl_root */
	if (hierarchy == TARSIER_CGROUP_V1_MEMORY)
		mask = 1u << bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	else
		mask = 1u << bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
	return hierarchy_id != 0 && (BPF_CORE_READ(root, subsys_mask) & mask);
}

#endif
