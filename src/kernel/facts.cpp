// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "kernel/facts.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <mutex>
#include <unordered_set>

#include "base/files.h"
#include "base/text.h"

namespace tarsier::kernel {
namespace {

constexpr const char* kKernelBtf = "/sys/kernel/btf/vmlinux";

std::string tracefs() {
  for (const char* root : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
    if (::access((std::string(root) + "/events").c_str(), F_OK) == 0) return root;
  }
  return {};
}

std::unordered_set<std::string> read_symbols() {
  std::unordered_set<std::string> symbols;
  const auto text = base::read_file("/proc/kallsyms");
  if (!text) return symbols;
  for (const std::string_view line : base::split(*text, '\n')) {
    const auto fields = base::split(line, ' ');
    if (fields.size() < 3 || (fields[1] != "T" && fields[1] != "t")) continue;
    symbols.emplace(fields[2].substr(0, fields[2].find('\t')));
  }
  return symbols;
}

}  // namespace

struct RunningKernel::State {
  btf* types = nullptr;
  std::string btf_error;
  bool own_btf = false;  // the kernel's own: typed programs are possible
  std::string tracefs_root = tracefs();
  std::once_flag symbols_once;
  std::unordered_set<std::string> symbols;

  bool has_type(const std::string& name, unsigned kind) const {
    return types != nullptr && btf__find_by_name_kind(types, name.c_str(), kind) > 0;
  }
  // A function in BTF may still be refused (lockdown, no trampolines): load the smallest program on
  // it and see.
  std::string try_function(const std::string& name, Method method) const {
    const int id =
        types == nullptr ? -1 : btf__find_by_name_kind(types, name.c_str(), BTF_KIND_FUNC);
    if (id <= 0) return fmt::format("this kernel has no traceable function {}", name);
    const bpf_insn program[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
                                {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    LIBBPF_OPTS(
        bpf_prog_load_opts, options,
        .expected_attach_type = method == Method::fentry ? BPF_TRACE_FENTRY : BPF_TRACE_FEXIT,
        .attach_btf_id = static_cast<std::uint32_t>(id));
    const int fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "tarsier_try", "GPL", program,
                                 std::size(program), &options);
    if (fd < 0) return fmt::format("the kernel refused {}: {}", name, std::strerror(-fd));
    ::close(fd);
    return {};
  }
  bool has_symbol(const std::string& name) {
    std::call_once(symbols_once, [this] { symbols = read_symbols(); });
    return symbols.contains(name);
  }
};

RunningKernel::RunningKernel(std::string btf_path) : state_(std::make_unique<State>()) {
  state_->own_btf = ::access(kKernelBtf, R_OK) == 0;
  if (btf_path.empty()) btf_path = kKernelBtf;
  state_->types = btf__parse(btf_path.c_str(), nullptr);
  if (state_->types == nullptr) {
    state_->btf_error = fmt::format(
        "read the kernel's types (BTF) from {}: {}; this kernel needs CONFIG_DEBUG_INFO_BTF, or a "
        "BTF file for it under [kernel] btf",
        btf_path, std::strerror(errno));
  }
}

RunningKernel::~RunningKernel() {
  btf__free(state_->types);
}

const std::string& RunningKernel::btf_error() const {
  return state_->btf_error;
}

std::string RunningKernel::missing(const Attachment& attachment) const {
  const std::string target(attachment.target);
  switch (attachment.method) {
    case Method::tp_btf:
      if (!state_->own_btf) return "the kernel has no BTF of its own";
      if (state_->has_type("btf_trace_" + target, BTF_KIND_TYPEDEF)) return {};
      return fmt::format("this kernel has no tracepoint {}", target);
    case Method::raw_tracepoint:
      if (state_->has_type("btf_trace_" + target, BTF_KIND_TYPEDEF)) return {};
      return fmt::format("this kernel has no tracepoint {}", target);
    case Method::tracepoint:
      if (state_->tracefs_root.empty()) {
        return "tracefs is not mounted at /sys/kernel/tracing, or this process may not look there";
      }
      if (::access(fmt::format("{}/events/{}/id", state_->tracefs_root, target).c_str(), F_OK) ==
          0) {
        return {};
      }
      return fmt::format("this kernel has no tracepoint {}", target);
    case Method::fentry:
    case Method::fexit:
      if (!state_->own_btf) return "the kernel has no BTF of its own";
      return state_->try_function(target, attachment.method);
    case Method::kprobe:
    case Method::kretprobe:
      if (::access("/sys/bus/event_source/devices/kprobe/type", F_OK) != 0) {
        return "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)";
      }
      if (state_->has_symbol(target)) return {};
      return fmt::format("this kernel has no function {}", target);
    case Method::iter: {
      if (!state_->own_btf) return "the kernel has no BTF of its own";
      const std::string iterator = target.substr(0, target.find(':'));
      if (state_->has_type("bpf_iter_" + iterator, BTF_KIND_FUNC)) return {};
      return fmt::format("this kernel has no iterator {}", iterator);
    }
    case Method::perf_event:
    case Method::manual: return {};
  }
  return "unknown method";
}

KernelSummary summarize_kernel(const std::string& btf_path) {
  KernelSummary summary;
  utsname names{};
  if (::uname(&names) == 0) summary.release = names.release;
  const std::string path = btf_path.empty() ? kKernelBtf : btf_path;
  summary.btf = ::access(path.c_str(), R_OK) == 0
                    ? path
                    : fmt::format("{} cannot be read: {}", path, std::strerror(errno));
  summary.lockdown = "unknown";
  if (const auto text = base::read_file("/sys/kernel/security/lockdown")) {
    const auto open = text->find('['), close = text->find(']');
    if (open != std::string::npos && close != std::string::npos) {
      summary.lockdown = text->substr(open + 1, close - open - 1);
    }
  }
  if (const auto text = base::read_file("/proc/sys/kernel/unprivileged_bpf_disabled")) {
    summary.unprivileged_bpf = base::trim(*text) == "0" ? "allowed" : "disabled";
  }
  if (const auto text = base::read_file("/proc/sys/kernel/bpf_stats_enabled")) {
    summary.bpf_statistics = base::trim(*text) == "1";
  }
  return summary;
}

Status try_bpf() {
  // r0 = 0; exit
  const bpf_insn program[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
                              {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  const int fd = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "tarsier_try", "GPL", program,
                               std::size(program), nullptr);
  if (fd < 0) {
    auto error = fail_errno("load a BPF program", -fd);
    error.error().message +=
        "; tarsier needs CAP_BPF and CAP_PERFMON (or root), and a kernel that "
        "is not locked down to confidentiality";
    return error;
  }
  ::close(fd);
  return {};
}

}  // namespace tarsier::kernel
