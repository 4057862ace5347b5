// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What this kernel has. Asked, never derived from a version number: distributions port back.
#pragma once

#include <memory>
#include <string>

#include "tarsier/attach.h"
#include "tarsier/result.h"

namespace tarsier::kernel {

class KernelFacts {
 public:
  virtual ~KernelFacts() = default;
  // Empty where the attachment looks possible, else why it is not, in words. That something looks
  // possible proves nothing: the loader still tries, and takes the next way after a refusal.
  [[nodiscard]] virtual std::string missing(const Attachment& attachment) const = 0;
};

// The running kernel, by its BTF, tracefs and /proc/kallsyms. Holds several MiB while it lives:
// make one for loading and let it go.
class RunningKernel final : public KernelFacts {
 public:
  // `btf_path` is an external BTF for kernels without their own; empty: /sys/kernel/btf/vmlinux.
  explicit RunningKernel(std::string btf_path);
  ~RunningKernel() override;
  RunningKernel(const RunningKernel&) = delete;
  RunningKernel& operator=(const RunningKernel&) = delete;

  [[nodiscard]] std::string missing(const Attachment& attachment) const override;
  // Why there is no usable BTF; empty where there is.
  [[nodiscard]] const std::string& btf_error() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What doctor prints about the kernel as a whole.
struct KernelSummary {
  std::string release;
  std::string btf;       // its path, or why there is none
  std::string lockdown;  // none, integrity, confidentiality or unknown
  std::string unprivileged_bpf;
  bool bpf_statistics = false;  // kernel.bpf_stats_enabled
};
[[nodiscard]] KernelSummary summarize_kernel(const std::string& btf_path);

// Tries the smallest program there is: whether this process may load BPF at all, and why not.
[[nodiscard]] Status try_bpf();

}  // namespace tarsier::kernel
