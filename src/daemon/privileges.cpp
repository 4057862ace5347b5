// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/privileges.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <type_traits>

namespace tarsier::daemon {
namespace {

using CapState =
    std::unique_ptr<std::remove_pointer_t<cap_t>, decltype([](cap_t caps) { ::cap_free(caps); })>;

bool is_kept(int number) {
  for (const Capability& capability : kept_capabilities()) {
    if (capability.number == number) return true;
  }
  return number == CAP_SYS_ADMIN && !CAP_IS_SUPPORTED(CAP_BPF);
}

}  // namespace

const std::vector<Capability>& kept_capabilities() {
  static const std::vector<Capability> kKept = {
      {"CAP_BPF", CAP_BPF, "load BPF programs and make maps"},
      {"CAP_PERFMON", CAP_PERFMON, "attach BPF programs to tracepoints, functions and perf events"},
      {"CAP_SYS_PTRACE", CAP_SYS_PTRACE,
       "read /proc/PID/exe, maps and root of other users' processes"},
      {"CAP_DAC_READ_SEARCH", CAP_DAC_READ_SEARCH,
       "read tracefs, cgroup directories and the files of other users"},
      {"CAP_SYSLOG", CAP_SYSLOG, "read kernel addresses in /proc/kallsyms"},
      {"CAP_NET_ADMIN", CAP_NET_ADMIN, "read connection tracking and attach to network hooks"},
  };
  return kKept;
}

std::string_view cost_without_sys_admin() {
  return "without CAP_SYS_ADMIN the daemon cannot enter other network namespaces nor switch the "
         "kernel's BPF run-time statistics on, and where kernel.perf_event_paranoid is 3 (Debian's "
         "default) plain tracepoints, kprobes and perf events are refused: the probes then take "
         "typed tracepoints and function hooks, or say what they miss";
}

void see_tracefs() {
  for (const char* root : {"/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"}) {
    if (::access(root, F_OK) == 0) return;
  }
  if (::unshare(CLONE_NEWNS) != 0) return;
  // What the host mounts later still reaches us; what we mount does not reach the host.
  if (::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) return;
  (void)::mount("tracefs", "/sys/kernel/tracing", "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                nullptr);
}

bool has_capability(int number) {
  const CapState state(::cap_get_proc());
  cap_flag_value_t value = CAP_CLEAR;
  return state != nullptr &&
         ::cap_get_flag(state.get(), static_cast<cap_value_t>(number), CAP_EFFECTIVE, &value) ==
             0 &&
         value == CAP_SET;
}

Status settle_privileges() {
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  // Refused without CAP_SYS_RESOURCE; then the service manager has to set LimitMEMLOCK.
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);

  const CapState before(::cap_get_proc());
  const CapState after(::cap_init());
  if (before == nullptr || after == nullptr) return fail_errno("read the daemon's capabilities");
  for (int number = 0; number <= ::cap_max_bits(); ++number) {
    cap_flag_value_t held = CAP_CLEAR;
    const auto value = static_cast<cap_value_t>(number);
    if (::cap_get_flag(before.get(), value, CAP_PERMITTED, &held) != 0 || held != CAP_SET) continue;
    if (!is_kept(number)) {
      // No program that we might ever execute gets it back. Needs CAP_SETPCAP; without it there is
      // nothing to take away from.
      ::prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
      continue;
    }
    ::cap_set_flag(after.get(), CAP_PERMITTED, 1, &value, CAP_SET);
    ::cap_set_flag(after.get(), CAP_EFFECTIVE, 1, &value, CAP_SET);
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::cap_set_proc(after.get()) != 0) return fail_errno("drop the daemon's other capabilities");
  return {};
}

}  // namespace tarsier::daemon
