// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "kernel/links.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

namespace tarsier::kernel {
namespace {

int open_perf_event(std::string_view target, int cpu) {
  const auto colon = target.find(':');
  std::uint64_t frequency = 0;
  if (colon != std::string_view::npos) {
    std::from_chars(target.data() + colon + 1, target.data() + target.size(), frequency);
  }
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_CPU_CLOCK;
  attributes.freq = 1;
  attributes.sample_freq = frequency;
  return static_cast<int>(
      ::syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
}

}  // namespace

void Links::Deleter::operator()(bpf_link* link) const {
  bpf_link__destroy(link);
}

Result<bpf_program*> Links::find(std::string_view program) const {
  const std::string name(program);
  if (bpf_program* found = bpf_object__find_program_by_name(object_, name.c_str())) return found;
  return fail(ErrorCode::invalid, fmt::format("the BPF object has no program {}", name));
}

Status Links::attach(const Attachment& attachment) {
  const std::string target(attachment.target);
  const auto found = find(attachment.program);
  if (!found) return std::unexpected(found.error());
  bpf_program* program = *found;
  switch (attachment.method) {
    case Method::tp_btf:
    case Method::fentry:
    case Method::fexit: return keep(bpf_program__attach_trace(program), attachment);
    case Method::raw_tracepoint:
      return keep(bpf_program__attach_raw_tracepoint(program, target.c_str()), attachment);
    case Method::tracepoint: {
      const auto slash = target.find('/');
      return keep(bpf_program__attach_tracepoint(program, target.substr(0, slash).c_str(),
                                                 target.substr(slash + 1).c_str()),
                  attachment);
    }
    case Method::kprobe:
    case Method::kretprobe:
      return keep(bpf_program__attach_kprobe(program, attachment.method == Method::kretprobe,
                                             target.c_str()),
                  attachment);
    case Method::iter: return attach_iterator(program, attachment);
    case Method::perf_event: return attach_perf(program, attachment);
    case Method::manual: return {};
  }
  return fail(ErrorCode::invalid, "unknown method");
}

Status Links::keep(bpf_link* link, const Attachment& attachment) {
  if (link == nullptr) {
    return fail_errno(fmt::format("attach {} to {} {}", attachment.program,
                                  name_of(attachment.method), attachment.target));
  }
  links_.emplace_back(link);
  return {};
}

// Target "bpf_map_elem:MAP" walks a map of this object; any other name stands for itself.
Status Links::attach_iterator(bpf_program* program, const Attachment& attachment) {
  LIBBPF_OPTS(bpf_iter_attach_opts, options);
  bpf_iter_link_info info{};
  const auto colon = attachment.target.find(':');
  if (colon != std::string_view::npos) {
    const std::string map(attachment.target.substr(colon + 1));
    const int fd = bpf_object__find_map_fd_by_name(object_, map.c_str());
    if (fd < 0) return fail(ErrorCode::invalid, fmt::format("the BPF object has no map {}", map));
    info.map.map_fd = static_cast<std::uint32_t>(fd);
    options.link_info = &info;
    options.link_info_len = sizeof info;
  }
  auto status = keep(bpf_program__attach_iter(program, &options), attachment);
  if (status) maps_.add_iterator(std::string(attachment.program), links_.back().get());
  return status;
}

Status Links::attach_perf(bpf_program* program, const Attachment& attachment) {
  const int cpus = libbpf_num_possible_cpus();
  int attached = 0;
  for (int cpu = 0; cpu < cpus; ++cpu) {
    const int fd = open_perf_event(attachment.target, cpu);
    if (fd < 0 && errno == ENODEV) continue;  // possible, but not online
    if (fd < 0) {
      return fail_errno(fmt::format("open perf event {} on CPU {}", attachment.target, cpu));
    }
    // The link takes the descriptor over.
    bpf_link* link = bpf_program__attach_perf_event(program, fd);
    if (link == nullptr) ::close(fd);
    if (auto status = keep(link, attachment); !status) return status;
    ++attached;
  }
  if (attached == 0) return fail(ErrorCode::unavailable, "no CPU takes the perf event");
  return {};
}

Status Links::uprobe(std::string_view program_name, const std::string& path, std::uint64_t offset,
                     bool on_return, int pid) {
  const auto program = find(program_name);
  if (!program) return std::unexpected(program.error());
  LIBBPF_OPTS(bpf_uprobe_opts, options, .retprobe = on_return);
  bpf_link* link = bpf_program__attach_uprobe_opts(*program, pid, path.c_str(), offset, &options);
  if (link == nullptr) {
    return fail_errno(fmt::format("attach {} to offset {:#x} of {}", program_name, offset, path));
  }
  links_.emplace_back(link);
  return {};
}

}  // namespace tarsier::kernel
