// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "kernel/services/services.h"

#include "lifecycle_object.h"
#include "names_object.h"
#include "sockets_object.h"

namespace tarsier::kernel {
namespace {

TARSIER_TRACEPOINT_WAYS(kFork, "sched_process_fork", "fork");
TARSIER_TRACEPOINT_WAYS(kExec, "sched_process_exec", "exec");
TARSIER_TRACEPOINT_WAYS(kRename, "task_rename", "rename");
TARSIER_TRACEPOINT_WAYS(kExit, "sched_process_exit", "exit");
TARSIER_TRACEPOINT_WAYS(kMove, "cgroup_attach_task", "move");
TARSIER_TRACEPOINT_WAYS(kMake, "cgroup_mkdir", "make");
TARSIER_TRACEPOINT_WAYS(kRemove, "cgroup_rmdir", "remove");
TARSIER_TRACEPOINT_WAYS(kState, "inet_sock_set_state", "state");
TARSIER_TRACEPOINT_WAYS(kDestroy, "tcp_destroy_sock", "destroy");

constexpr Attachment kSnapshotIter[] = {{Method::iter, "task", "snapshot"}};
constexpr Way kSnapshot[] = {kSnapshotIter};

constexpr Attachment kAcceptCalls[] = {
    {Method::tracepoint, "syscalls/sys_exit_accept", "accept_exit"},
    {Method::tracepoint, "syscalls/sys_exit_accept4", "accept4_exit"}};
constexpr Attachment kAcceptFexit[] = {{Method::fexit, "inet_csk_accept", "accept_fexit"}};
constexpr Way kAccept[] = {kAcceptFexit, kAcceptCalls};

constexpr Attachment kSocketIters[] = {{Method::iter, "task_file", "snapshot_listeners"},
                                       {Method::iter, "task_file", "snapshot_connections"}};
constexpr Way kSocketSnapshot[] = {kSocketIters};

constexpr Attachment kReceiveFexit[] = {{Method::fexit, "udp_recvmsg", "udp_fexit"},
                                        {Method::fexit, "udpv6_recvmsg", "udpv6_fexit"}};
constexpr Attachment kReceiveTracepoint[] = {
    {Method::tp_btf, "sock_recv_length", "receive_tp_btf"}};
constexpr Way kReceive[] = {kReceiveFexit, kReceiveTracepoint};

constexpr Hook kLifecycleHooks[] = {
    {"a process is forked", kFork},
    {"a process executes a program", kExec},
    {"a process ends", kExit},
    {"a process changes its name", kRename, false},
    {"a process moves to another cgroup", kMove, false},
    {kCgroupMade, kMake, false},
    {kCgroupRemoved, kRemove, false},
    {"processes ran before the daemon started", kSnapshot, false},
};

constexpr Hook kSocketsHooks[] = {
    {"a connection changes its state", kState},
    {"the kernel frees a socket", kDestroy},
    {"a process accepts a connection", kAccept, false},
    {"connections were open before the daemon started", kSocketSnapshot, false},
};

constexpr Hook kNamesHooks[] = {
    {"a process receives the answer of a DNS server", kReceive, false},
};

constexpr std::string_view kRings[] = {"events"};
constexpr std::string_view kNamesLosses[] = {"unreachable_payload"};

}  // namespace

constinit const ProbeSpec lifecycle_service{
    .name = "lifecycle",
    .summary = "Says when processes and cgroups begin, change and end.",
    .hooks = kLifecycleHooks,
    .rings = kRings,
    .object = lifecycle_object,
};

constinit const ProbeSpec sockets_service{
    .name = "sockets",
    .summary = "Knows the owner, the role and the addresses of each TCP socket.",
    .hooks = kSocketsHooks,
    .object = sockets_object,
};

constinit const ProbeSpec names_service{
    .name = "names",
    .summary = "Hands over the DNS answers that processes receive.",
    .hooks = kNamesHooks,
    .rings = kRings,
    .losses = kNamesLosses,
    .object = names_object,
};

}  // namespace tarsier::kernel
