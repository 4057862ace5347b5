// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The room `stacks`: records go to the store of stack samples, their number to a counter.
#include "stacks/stacks.h"

#include <algorithm>

#include "room_stacks_object.h"
#include "tarsier/probe.h"

namespace tarsier {
namespace {

constexpr std::uint64_t kHertz = 99;

constexpr auto kSamples =
    counter("tarsier_room_stack_samples_total", "Looks at stacks of running threads.");
constexpr const MetricDef* kMetrics[] = {&kSamples};

class StacksRoom final : public Probe {
 public:
  bool on_event(Bytes bytes, Sinks& sinks) override {
    stacks_record record;
    if (!copy_from(bytes, record) || record.kernel_frames > STACK_FRAMES ||
        record.user_frames > STACK_FRAMES) {
      return false;
    }
    StackSample sample;
    sample.time_ns = record.header.time_ns;
    sample.tid = record.tid;
    sample.weight = static_cast<std::uint64_t>(kSecond) / kHertz;
    sample.kernel_frames.assign(record.kernel, record.kernel + record.kernel_frames);
    sample.user_frames.assign(record.user, record.user + record.user_frames);
    Sink& sink = sinks.at(Subject::process(record.header.tgid, record.header.start_ns));
    sink.record(kSamples, 1);
    sink.emit(sample);
    return true;
  }
};

constexpr Attachment kClock[] = {{Method::perf_event, "cpu-clock:99", "room_sample"}};
constexpr Way kWays[] = {kClock};
constexpr Hook kHooks[] = {{"a CPU has run for a while", kWays}};
constexpr std::string_view kRings[] = {"events"};

}  // namespace

extern const ProbeSpec stacks_room;
constinit const ProbeSpec stacks_room{
    .name = "stacks",
    .summary = "Samples the stacks of what runs.",
    .metrics = kMetrics,
    .hooks = kHooks,
    .rings = kRings,
    .object = room_stacks_object,
    .make = [](const ProbeContext&) -> std::unique_ptr<Probe> {
      return std::make_unique<StacksRoom>();
    },
};

}  // namespace tarsier
