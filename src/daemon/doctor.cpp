// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// tarsier doctor: says in words what this kernel can do, by doing it for a moment with the daemon's
// own rights.
#include <fmt/format.h>
#include <sys/capability.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "daemon/catalogue.h"
#include "daemon/commands.h"
#include "daemon/daemon.h"
#include "daemon/privileges.h"
#include "daemon/probes.h"
#include "enrich/cgroups.h"
#include "kernel/facts.h"
#include "kernel/loader.h"
#include "kernel/services/services.h"
#include "version.h"

namespace tarsier::daemon {
namespace {

using Json = nlohmann::ordered_json;

struct Finding {
  const ProbeSpec* spec;
  bool service;
  std::string state;  // running, degraded, failed
  std::string reason;
  std::vector<kernel::HookState> hooks;
};

class Examination {
 public:
  explicit Examination(const config::Config& config)
      : config_(config), facts_(config.kernel.btf), bpf_(kernel::try_bpf()) {}

  void examine(const ProbeSpec& spec, bool service) {
    Finding finding{&spec, service, "running", {}, {}};
    const kernel::Plan plan = kernel::choose(spec.hooks, facts_, {});
    finding.hooks = kernel::describe(spec.hooks, plan);
    if (!bpf_ && spec.has_object()) {
      finding.state = "failed";
      finding.reason = bpf_.error().message;
    } else {
      load(spec, service, finding);
    }
    findings_.push_back(std::move(finding));
  }
  [[nodiscard]] const std::vector<Finding>& findings() const { return findings_; }
  [[nodiscard]] const Status& bpf() const { return bpf_; }

 private:
  void load(const ProbeSpec& spec, bool service, Finding& finding) {
    const auto config = config_.probes.find(std::string(spec.name));
    kernel::LoadInput input{spec, nullptr, {}, config_.kernel.btf};
    input.environment.ring_watermark = 1U << 18U;
    if (config != config_.probes.end()) input.options = &config->second.options;
    auto loaded = kernel::load_probe(input, facts_, shared_);
    if (!loaded) {
      finding.state = "failed";
      finding.reason = loaded.error().message;
      return;
    }
    finding.hooks = (*loaded)->hooks();
    if ((*loaded)->degraded()) finding.state = "degraded";
    // Services stay loaded while the probes that need them are looked at.
    if (service) services_.push_back(std::move(*loaded));
  }

  const config::Config& config_;
  kernel::RunningKernel facts_;
  Status bpf_;
  kernel::SharedMaps shared_;
  std::vector<std::unique_ptr<kernel::LoadedProbe>> services_;
  std::vector<Finding> findings_;
};

// One tracepoint of a system call takes every system call of the machine off the kernel's short way
// (SYSCALL_WORK_SYSCALL_TRACEPOINT is set for all tasks).
constexpr std::string_view kSystemCallCost =
    "hooks sit at system calls, for want of a better way: every system call of this machine is "
    "slower for it, by 85 ns where we measured it (docs/overhead.md)";

bool sits_at_system_calls(std::span<const Finding> findings) {
  return std::ranges::any_of(findings, [](const Finding& finding) {
    return std::ranges::any_of(finding.hooks, [](const kernel::HookState& hook) {
      return hook.available && hook.target.starts_with("syscalls/");
    });
  });
}

Json json_of(const Finding& finding) {
  Json json;
  json["name"] = finding.spec->name;
  json["service"] = finding.service;
  json["state"] = finding.state;
  json["reason"] = finding.reason;
  json["hooks"] = Json::array();
  for (const kernel::HookState& hook : finding.hooks) {
    json["hooks"].push_back({{"purpose", hook.purpose},
                             {"required", hook.required},
                             {"available", hook.available},
                             {"method", hook.method},
                             {"target", hook.target},
                             {"reason", hook.reason}});
  }
  return json;
}

Json kernel_json(const config::Config& config, const Status& bpf) {
  const kernel::KernelSummary summary = kernel::summarize_kernel(config.kernel.btf);
  return {{"release", summary.release},
          {"btf", summary.btf},
          {"lockdown", summary.lockdown},
          {"bpf", bpf ? "ok" : bpf.error().message},
          {"bpf_statistics", summary.bpf_statistics}};
}

Json cgroups_json(const base::HostFiles& host) {
  const auto hierarchy = enrich::find_hierarchy(host);
  if (!hierarchy) return {{"error", hierarchy.error().message}};
  return {{"version", hierarchy->version},
          {"controller", hierarchy->controller},
          {"mount_point", hierarchy->mount_point}};
}

Json capabilities_json() {
  Json list = Json::array();
  for (const Capability& capability : kept_capabilities()) {
    list.push_back({{"name", capability.name},
                    {"held", has_capability(capability.number)},
                    {"reason", capability.reason}});
  }
  return list;
}

std::string str(const Json& json, const char* key) {
  return json[key].get<std::string>();
}

void print_words(const Json& report) {
  const Json& kernel = report["kernel"];
  fmt::print("kernel        {}\nBTF           {}\nlockdown      {}\nBPF           {}\n",
             str(kernel, "release"), str(kernel, "btf"), str(kernel, "lockdown"),
             str(kernel, "bpf"));
  const Json& cgroups = report["cgroups"];
  if (cgroups.contains("error")) {
    fmt::print("cgroups       {}\n", str(cgroups, "error"));
  } else {
    fmt::print("cgroups       v{} {} at {}\n", cgroups["version"].get<int>(),
               str(cgroups, "controller"), str(cgroups, "mount_point"));
  }
  for (const Json& capability : report["capabilities"]) {
    if (capability["held"].get<bool>()) continue;
    fmt::print("missing       {}: it is needed to {}\n", str(capability, "name"),
               str(capability, "reason"));
  }
  for (const Json& note : report["notes"])
    fmt::print("note          {}\n", note.get<std::string>());
  for (const Json& probe : report["probes"]) {
    fmt::print("\n{} {}: {}\n", probe["service"].get<bool>() ? "service" : "probe",
               str(probe, "name"), str(probe, "state"));
    if (!str(probe, "reason").empty()) fmt::print("    {}\n", str(probe, "reason"));
    for (const Json& hook : probe["hooks"]) {
      const std::string reason = str(hook, "reason");
      if (hook["available"].get<bool>()) {
        fmt::print("  + {}: {} {}{}\n", str(hook, "purpose"), str(hook, "method"),
                   str(hook, "target"), reason.empty() ? "" : fmt::format(" (because {})", reason));
      } else {
        fmt::print("  - {}: {}\n", str(hook, "purpose"), reason);
      }
    }
  }
}

}  // namespace

int run_doctor(bool json, const std::string& config_path,
               std::span<const ProbeSpec* const> probes) {
  const auto config = config::load(config_path, config_catalogue(probes));
  if (!config) {
    for (const auto& problem : config.error()) fmt::print(stderr, "{}\n", problem.text());
    return kExitUsage;
  }
  kernel::quiet_libbpf();
  see_tracefs();
  (void)settle_privileges();
  Examination examination(*config);
  examination.examine(kernel::lifecycle_service, true);
  examination.examine(kernel::sockets_service, true);
  examination.examine(kernel::names_service, true);
  for (const ProbeSpec* probe : probes) examination.examine(*probe, false);

  const base::HostFiles host(config->node.root);
  Json report;
  report["version"] = kVersion;
  report["kernel"] = kernel_json(*config, examination.bpf());
  report["cgroups"] = cgroups_json(host);
  report["capabilities"] = capabilities_json();
  report["notes"] = Json::array({cost_without_sys_admin()});
  if (sits_at_system_calls(examination.findings())) report["notes"].push_back(kSystemCallCost);
  report["probes"] = Json::array();
  bool ok = true;
  for (const Finding& finding : examination.findings()) {
    report["probes"].push_back(json_of(finding));
    ok = ok && finding.state != "failed";
  }
  if (json) {
    fmt::print("{}\n", report.dump(2));
  } else {
    print_words(report);
  }
  return ok ? kExitOk : kExitNotOk;
}

}  // namespace tarsier::daemon
