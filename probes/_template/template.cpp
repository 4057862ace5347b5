// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The probe `template`: its name plate and how records become numbers.
#include "template.h"

#include "tarsier/probe.h"
#include "template_object.h"

namespace tarsier {
namespace {

constexpr std::string_view kResult[] = {"result"};
constexpr auto kOpens =
    counter("tarsier_template_opens_total",
            "Files that were opened or could not be, by result (ok, failed).", Unit::none, kResult);
constexpr const MetricDef* kMetrics[] = {&kOpens};

class TemplateProbe final : public Probe {
 public:
  bool on_event(Bytes bytes, Sinks& sinks) override {
    template_record record;
    if (!copy_from(bytes, record) || record.header.type != TEMPLATE_OPENED) return false;
    const Subject subject = Subject::process(record.header.tgid, record.header.start_ns);
    sinks.at(subject).record(kOpens, 1, {record.result >= 0 ? "ok" : "failed"});
    return true;
  }
};

constexpr Attachment kOpenatExit[] = {
    {Method::tracepoint, "syscalls/sys_exit_openat", "openat_exit"}};
constexpr Way kOpenat[] = {kOpenatExit};
constexpr Hook kHooks[] = {{"a file is opened", kOpenat}};

constexpr Option kOptions[] = {
    boolean_option("failures_only", "Counts only the opens that failed, at less cost.", false),
};
constexpr std::string_view kRings[] = {"events"};

}  // namespace

extern const ProbeSpec template_probe;  // the table of probes, generated, refers to it
constinit const ProbeSpec template_probe{
    .name = "template",
    .summary = "Counts files that processes open.",
    .metrics = kMetrics,
    .hooks = kHooks,
    .options = kOptions,
    .rings = kRings,
    .object = template_object,
    .kernel_config =
        [](const Options& options) {
          return copy_bytes_of(template_config{options.boolean("failures_only") ? 1U : 0U});
        },
    .make = [](const ProbeContext&) -> std::unique_ptr<Probe> {
      return std::make_unique<TemplateProbe>();
    },
};

}  // namespace tarsier
