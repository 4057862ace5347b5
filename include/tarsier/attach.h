// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// How a probe says where it wants to sit in the kernel: hooks, each with ways in order of
// preference.
//
// A hook has a purpose ("a connection changes its state"); a way is what has to be attached
// together to serve it. The framework takes the first way that this kernel has and accepts, and
// says in tarsier_probe_hook_info and `tarsier doctor` which one that was.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tarsier/result.h"

namespace tarsier {

enum class Method : std::uint8_t {
  tp_btf,          // typed raw tracepoint; target is the tracepoint's name: "sched_switch"
  raw_tracepoint,  // untyped; target as above
  tracepoint,      // target is "category/name": "sched/sched_switch"
  fentry,          // target is a kernel function
  fexit,
  kprobe,
  kretprobe,
  iter,        // target is an iterator's name: "task_file"; run on demand, see Maps::iterate
  perf_event,  // target is "cpu-clock:HZ" (software clock, HZ samples a second on each CPU)
  manual,      // loaded with the object and attached by the probe itself, see Probe::attach_more
};

[[nodiscard]] constexpr std::string_view name_of(Method method) {
  switch (method) {
    case Method::tp_btf: return "tp_btf";
    case Method::raw_tracepoint: return "raw_tracepoint";
    case Method::tracepoint: return "tracepoint";
    case Method::fentry: return "fentry";
    case Method::fexit: return "fexit";
    case Method::kprobe: return "kprobe";
    case Method::kretprobe: return "kretprobe";
    case Method::iter: return "iter";
    case Method::perf_event: return "perf_event";
    case Method::manual: return "manual";
  }
  return "unknown";
}

// `program` is the name of the BPF function in the probe's object.
struct Attachment {
  Method method;
  std::string_view target;
  std::string_view program;
};

using Way = std::span<const Attachment>;  // all of these together, else the next way

// The ways of a tracepoint whose programs TRACEPOINT_PROGRAMS(program, tracepoint, …) of
// bpf/program.bpf.h declares: typed, and raw where the kernel has no BTF of its own. Both names are
// literals; defines the array `ways`.
#define TARSIER_TRACEPOINT_WAYS(ways, tracepoint, program)                   \
  constexpr ::tarsier::Attachment ways##Typed[] = {                          \
      {::tarsier::Method::tp_btf, tracepoint, program "_tp_btf"},            \
      {::tarsier::Method::tp_btf, tracepoint, program "_tp_btf_2"}};         \
  constexpr ::tarsier::Attachment ways##Raw[] = {                            \
      {::tarsier::Method::raw_tracepoint, tracepoint, program "_raw_tp"},    \
      {::tarsier::Method::raw_tracepoint, tracepoint, program "_raw_tp_2"}}; \
  constexpr ::tarsier::Way ways[] = {ways##Typed, ways##Raw}

struct Hook {
  std::string_view purpose;  // ends the sentence "this is how we learn that …"
  std::span<const Way> ways;
  bool required = true;  // false: without it the probe runs degraded; true: it fails
};

// Attaches programs at places that are only known at run time (a library in a container, a user's
// pick). Given to Probe::attach_more on the control thread. The framework owns the links and
// removes them when the probe stops.
class Attacher {
 public:
  virtual ~Attacher() = default;
  // A uprobe (or uretprobe) at a file offset. `pid` -1 means every process that maps the file.
  virtual Status uprobe(std::string_view program, const std::string& path, std::uint64_t offset,
                        bool on_return, int pid) = 0;
};

}  // namespace tarsier
