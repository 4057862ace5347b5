// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "assembly.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "daemon/privileges.h"
#include "export/text.h"
#include "kernel/facts.h"
#include "kernel/loader.h"
#include "kernel/plan.h"

namespace tarsier::rooms {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kPoll{20};
constexpr std::uint32_t kWatermarkBytes = 256 * 1024;  // as the daemon's

tarsier_env environment_of(const enrich::Hierarchy& hierarchy) {
  tarsier_env environment{};
  environment.self_tgid = static_cast<std::uint32_t>(::getpid());
  environment.ring_watermark = kWatermarkBytes;
  environment.cpus = static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_CONF));
  if (hierarchy.version == 1) {
    environment.cgroup_hierarchy =
        hierarchy.controller == "pids" ? TARSIER_CGROUP_V1_PIDS : TARSIER_CGROUP_V1_MEMORY;
  }
  return environment;
}

bool wait_until(const std::function<bool()>& condition) {
  const auto deadline = SteadyClock::now() + live::kDeadline;
  while (!condition()) {
    if (SteadyClock::now() > deadline) return false;
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

}  // namespace

std::string unavailable() {
  if (::geteuid() != 0) return "rooms load BPF programs and need root";
  if (const auto status = kernel::try_bpf(); !status) return status.error().message;
  return kernel::RunningKernel("").btf_error();
}

std::string unavailable(const ProbeSpec& spec) {
  daemon::see_tracefs();
  return kernel::choose(spec.hooks, kernel::RunningKernel(""), {}).impossible;
}

Assembly::Assembly()
    : cgroups_(enrich::find_hierarchy(host_).value_or(enrich::Hierarchy{}), host_),
      resolver_(std::vector<std::unique_ptr<enrich::ContainerSource>>{}, clock_),
      self_(registry_, host_, static_cast<double>(clock_.real_ns()) / 1e9),
      subjects_({host_, registry_, cgroups_, resolver_, static_cast<std::uint32_t>(::getpid())}),
      sinks_(subjects_, registry_, stores_),
      collector_({clock_, registry_, subjects_, sinks_, self_}),
      probes_({clock_, host_, collector_, registry_, sinks_, self_,
               environment_of(cgroups_.hierarchy()), "", ""}) {
  kernel::quiet_libbpf();
  daemon::see_tracefs();
  subjects_.set_observer(&sinks_);
  (void)cgroups_.walk(clock_.boot_ns());
  EXPECT_TRUE(subjects_.configure(config::Config{}));
  probes_.start_services(true);
  EXPECT_NE(probes_.services().lifecycle, nullptr);
  EXPECT_TRUE(collector_.start(probes_.services()));
}

Assembly::~Assembly() {
  probes_.stop_all();
  collector_.stop();
  resolver_.stop();
}

void Assembly::start(const config::ProbeConfig& wanted) {
  probes_.apply({{std::string(wanted.spec->name), wanted}});
}

void Assembly::stop(const ProbeSpec& spec) {
  config::ProbeConfig wanted(spec);
  wanted.enabled = false;
  probes_.apply({{std::string(spec.name), wanted}});
}

daemon::ProbeStatus Assembly::status(const ProbeSpec& spec) const {
  return probes_.status(spec.name).value_or(daemon::ProbeStatus{});
}

live::Scrape Assembly::scrape() const {
  exposition::Scrape scrape(registry_, exposition::Format::text);
  std::string text;
  for (std::string chunk; scrape.next(chunk);) text += chunk;
  return live::Scrape(text);
}

bool Assembly::eventually(const std::function<bool(const live::Scrape&)>& condition) const {
  return wait_until([&] { return condition(scrape()); });
}

bool Assembly::becomes(std::string_view name, const live::Labels& labels, double value) const {
  double last = 0;
  const auto reached = [&](const live::Scrape& scrape) {
    last = scrape.sum(name, labels);
    return last >= value;
  };
  if (eventually(reached) && last == value) return true;
  std::fprintf(stderr, "rooms: %s is %.17g and not %.17g (lost: %.17g)\n",
               std::string(name).c_str(), last, value,
               scrape().sum("tarsier_probe_events_lost_total"));
  return false;
}

void Assembly::on_collector(const std::function<void(metrics::Registry&)>& work) {
  collector_.run([&] { work(registry_); });
}

Worker::Worker(const std::string& comm, std::function<int(int)> work) {
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds_), 0);
  child_ = std::make_unique<live::Child>(comm, [this, &work] {
    ::close(fds_[0]);
    int argument = 0;
    while (::read(fds_[1], &argument, sizeof argument) == sizeof argument) {
      const int result = work(argument);
      if (::write(fds_[1], &result, sizeof result) != sizeof result) return 1;
    }
    return 0;
  });
  ::close(fds_[1]);
}

Worker::~Worker() {
  ::close(fds_[0]);
}

int Worker::run(int argument) {
  int result = -1;
  if (::write(fds_[0], &argument, sizeof argument) != sizeof argument ||
      ::read(fds_[0], &result, sizeof result) != sizeof result) {
    ADD_FAILURE() << "the worker is gone";
  }
  return result;
}

std::map<std::string, int> descriptors() {
  std::map<std::string, int> all;
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return all;
  while (const dirent* entry = ::readdir(directory)) {
    std::array<char, 256> target{};
    if (::readlinkat(::dirfd(directory), entry->d_name, target.data(), target.size() - 1) < 0) {
      continue;
    }
    const std::string text(target.data());
    ++all[text.starts_with("anon_inode:") ? text : "other"];
  }
  ::closedir(directory);
  return all;
}

int loaded_programs(std::string_view prefix) {
  int found = 0;
  std::uint32_t id = 0;
  while (bpf_prog_get_next_id(id, &id) == 0) {
    const base::UniqueFd program(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (!program || bpf_prog_get_info_by_fd(program.get(), &info, &size) != 0) continue;
    if (std::string_view(info.name).starts_with(prefix)) ++found;
  }
  return found;
}

void restart_under_load(Assembly& assembly, const config::ProbeConfig& wanted,
                        const MetricDef& metric, const live::Labels& labels,
                        std::string_view programs) {
  const ProbeSpec& spec = *wanted.spec;
  const std::vector<std::string_view> no_values(metric.labels.size());
  const auto before = descriptors();
  Series stale;
  for (int round = 0; round < kRestarts; ++round) {
    assembly.start(wanted);
    const daemon::ProbeStatus status = assembly.status(spec);
    ASSERT_EQ(name_of(status.state), "running") << status.reason;
    ASSERT_GT(loaded_programs(programs), 0);
    ASSERT_NE(descriptors(), before);
    ASSERT_TRUE(assembly.eventually([&](const live::Scrape& scrape) {
      return scrape.sum(metric.name, labels) > 0;
    })) << "no event in round "
        << round;

    Series handle;
    assembly.on_collector([&](metrics::Registry& registry) {
      EXPECT_FALSE(stale.add(1)) << "a handle came back to life with the probe";
      handle = registry.series(metric, metrics::EntityId::node, no_values);
      EXPECT_TRUE(handle.add(1));
    });
    assembly.stop(spec);
    EXPECT_EQ(name_of(assembly.status(spec).state), "off");
    assembly.on_collector([&](metrics::Registry&) { EXPECT_FALSE(handle.add(1)); });
    const live::Scrape scrape = assembly.scrape();
    for (const MetricDef* def : spec.metrics) EXPECT_FALSE(scrape.has(def->name)) << def->name;
    EXPECT_EQ(descriptors(), before) << "in round " << round;
    // The kernel frees programs a moment after their last user has gone.
    EXPECT_TRUE(wait_until([&] { return loaded_programs(programs) == 0; }));
    stale = handle;
  }
  assembly.start(wanted);
}

}  // namespace tarsier::rooms
