// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/daemon.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <optional>

#include "api/server.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "config/config.h"
#include "config/watch.h"
#include "daemon/catalogue.h"
#include "daemon/collector.h"
#include "daemon/control.h"
#include "daemon/kubernetes.h"
#include "daemon/notify.h"
#include "daemon/privileges.h"
#include "daemon/probes.h"
#include "daemon/routes.h"
#include "daemon/runtimes.h"
#include "daemon/self_metrics.h"
#include "daemon/servers.h"
#include "daemon/sinks.h"
#include "daemon/sources.h"
#include "daemon/subjects.h"
#include "enrich/proc_snapshot.h"
#include "kernel/facts.h"
#include "kernel/loader.h"
#include "net/conntrack.h"
#include "version.h"

namespace tarsier::daemon {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
// Readiness does not wait longer than this for container runtimes and Kubernetes.
constexpr std::uint64_t kNamesNs = kSecondNs;
constexpr int kStartingPollMs = 10;
constexpr int kControlPollMs = 1'000;

metrics::Limits limits_of(const config::Config& config) {
  return {.series = static_cast<std::size_t>(config.limits.series),
          .series_per_metric = static_cast<std::size_t>(config.limits.series_per_metric),
          .stale_after_ns = static_cast<std::uint64_t>(config.limits.stale_after_ns)};
}

std::vector<metrics::MetricSetting> settings_of(const config::Config& config) {
  std::vector<metrics::MetricSetting> settings;
  for (const auto& [name, metric] : config.metrics) {
    settings.push_back({name, metric.enabled, metric.buckets});
  }
  return settings;
}

std::uint32_t watermark_of() {
  return 256 * 1024;
}

tarsier_env environment_of(const enrich::Hierarchy& hierarchy) {
  tarsier_env environment{};
  environment.self_tgid = static_cast<std::uint32_t>(::getpid());
  environment.ring_watermark = watermark_of();
  environment.cpus = static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_CONF));
  environment.cgroup_hierarchy = TARSIER_CGROUP_V2;
  if (hierarchy.version == 1) {
    environment.cgroup_hierarchy =
        hierarchy.controller == "pids" ? TARSIER_CGROUP_V1_PIDS : TARSIER_CGROUP_V1_MEMORY;
  }
  return environment;
}

net::Endpoint net_endpoint(const Endpoint& endpoint) {
  return {endpoint.address, endpoint.port};
}

std::optional<Endpoint> translate(const net::Conntrack& conntrack, const Flow& flow) {
  const auto found = conntrack.find({net_endpoint(flow.local), net_endpoint(flow.remote),
                                     static_cast<std::uint16_t>(flow.protocol)});
  if (!found) return std::nullopt;
  return Endpoint{found->remote.address, found->remote.port};
}

// Blocks the signals that the control loop reads; before any thread is started.
sigset_t block_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return set;
}

class Daemon {
 public:
  Daemon(const RunArguments& arguments, std::span<const ProbeSpec* const> specs,
         config::Config config, Sockets sockets, std::string without_bpf)
      : arguments_(arguments),
        specs_(specs),
        without_bpf_(std::move(without_bpf)),
        host_(config.node.root),
        sockets_(std::move(sockets)),
        hierarchy_(enrich::find_hierarchy(host_)),
        cgroups_(hierarchy_.value_or(enrich::Hierarchy{}), host_),
        resolver_(runtime_sources(host_), clock_),
        registry_(limits_of(config), settings_of(config)),
        self_(registry_, own_files_, static_cast<double>(clock_.real_ns()) / 1e9),
        conntrack_(clock_),
        subjects_({host_, registry_, cgroups_, resolver_, static_cast<std::uint32_t>(::getpid()),
                   [this](const Flow& flow) { return translate(conntrack_, flow); }}),
        sinks_(subjects_, registry_, stores_),
        kubernetes_(subjects_, clock_),
        sources_(resolver_, kubernetes_, conntrack_),
        collector_({clock_, registry_, subjects_, sinks_, self_, &sources_}),
        probes_({clock_, host_, collector_, registry_, sinks_, self_,
                 environment_of(cgroups_.hierarchy()), config.kernel.btf, without_bpf_}) {
    state_.started_boot_ns = clock_.boot_ns();
    state_.config = std::move(config);
    subjects_.set_observer(&sinks_);
  }

  int run(const sigset_t& signals);

 private:
  Status start();
  void watch_cgroups();
  void start_kubernetes();
  void start_conntrack();
  void start_servers();
  void snapshot_from_proc();
  bool is_ready();
  void become_ready();
  void watch_collector();
  void reload();
  void apply(const config::Config& config);
  void change_probe(const config::ProbeConfig& wanted);
  void stop();
  void loop(int signal_fd);

  const RunArguments& arguments_;
  std::span<const ProbeSpec* const> specs_;
  std::string without_bpf_;
  base::SystemClock clock_;
  base::HostFiles host_;
  base::HostFiles own_files_{"/"};
  Sockets sockets_;
  Notifier notifier_;
  DaemonState state_;
  ControlQueue control_;
  Result<enrich::Hierarchy> hierarchy_;
  enrich::CgroupTable cgroups_;
  enrich::Resolver resolver_;
  metrics::Registry registry_;
  store::Stores stores_;
  SelfMetrics self_;
  net::Conntrack conntrack_;
  Subjects subjects_;
  SubjectSinks sinks_;
  KubernetesFeed kubernetes_;
  Sources sources_;
  Collector collector_;
  ProbeManager probes_;
  std::optional<config::FileWatch> watch_;
  std::vector<std::unique_ptr<api::Server>> servers_;
  std::uint64_t last_rounds_ = 0;
  std::uint64_t next_ping_ns_ = 0;
  bool stop_asked_ = false;
};

// Without the lifecycle service: /proc once, so that at least those names are known.
void Daemon::snapshot_from_proc() {
  const auto entries = enrich::read_processes(host_, cgroups_, ::sysconf(_SC_CLK_TCK));
  if (!entries) {
    base::log_warning("{}; processes stay without names", entries.error().message);
    return;
  }
  subjects_.apply_snapshot(*entries, clock_.boot_ns());
}

void Daemon::watch_cgroups() {
  if (auto status = subjects_.watch_cgroups(); !status) {
    base::log_warning("{}; new containers are found by their processes, ended ones late",
                      status.error().message);
  }
}

// A file that cannot be used must not keep the daemon from what it can see without it.
void Daemon::start_kubernetes() {
  const auto environment = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  auto options = cluster_options(state_.config, environment);
  if (!options) {
    base::log_error("{}; Kubernetes is not asked", options.error().message);
    return;
  }
  if (auto status = kubernetes_.start(std::move(*options)); !status) {
    base::log_error("{}; Kubernetes is not asked", status.error().message);
  }
}

// Where it is refused, peers behind a translated address are called by their service or address.
void Daemon::start_conntrack() {
  if (!state_.config.labels.peer || !state_.config.labels.peer_nat) return;
  if (auto status = conntrack_.start(); !status) {
    base::log_warning("{}; translated addresses stay as sockets see them", status.error().message);
  }
}

Status Daemon::start() {
  if (auto status = control_.open(); !status) return status;
  if (!hierarchy_) base::log_warning("{}", hierarchy_.error().message);
  if (auto status = cgroups_.walk(clock_.boot_ns()); !status) {
    base::log_warning("{}", status.error().message);
  }
  if (auto status = subjects_.configure(state_.config); !status) return status;
  start_kubernetes();
  start_conntrack();
  probes_.start_services(state_.config.labels.peer);
  if (probes_.services().lifecycle == nullptr) snapshot_from_proc();
  if (!probes_.tells_of_cgroups()) watch_cgroups();
  if (auto status = collector_.start(probes_.services()); !status) return status;
  probes_.apply(state_.config.probes);
  start_servers();
  return {};
}

void Daemon::start_servers() {
  const RouteParts parts{clock_,
                         registry_,
                         self_,
                         probes_,
                         sources_,
                         control_,
                         state_,
                         collector_,
                         subjects_,
                         specs_,
                         [this](const config::ProbeConfig& wanted) { change_probe(wanted); }};
  servers_ = start_all_servers(std::move(sockets_), state_.config, metrics_routes(parts),
                               api_routes(parts), state_.listening);
  std::vector<const api::Server*> shown;
  shown.reserve(servers_.size());
  for (const auto& server : servers_) shown.push_back(server.get());
  collector_.run([&] { self_.set_servers(std::move(shown)); });
  for (const std::string& address : state_.listening) base::log_info("listening {}", address);
}

bool Daemon::is_ready() {
  const bool names = (resolver_.first_lists_done() && kubernetes_.first_sync_done()) ||
                     clock_.boot_ns() - state_.started_boot_ns >= kNamesNs;
  return names && probes_.all_ticked();
}

void Daemon::become_ready() {
  state_.ready = true;
  notifier_.send("READY=1");
  ::malloc_trim(0);  // loading has left holes of several MiB
  base::log_info("ready after {} ms", (clock_.boot_ns() - state_.started_boot_ns) / 1'000'000);
}

// The service manager hears from us only while the collector does its rounds.
void Daemon::watch_collector() {
  const std::uint64_t period = notifier_.watchdog_ns() / 3;
  const std::uint64_t now = clock_.boot_ns();
  if (period == 0 || now < next_ping_ns_) return;
  next_ping_ns_ = now + period;
  const std::uint64_t rounds = collector_.rounds();
  if (rounds != last_rounds_) notifier_.send("WATCHDOG=1");
  last_rounds_ = rounds;
}

void Daemon::reload() {
  auto loaded = config::load(arguments_.config_path, config_catalogue(specs_), arguments_.sets);
  const bool ok = loaded.has_value();
  if (ok) {
    apply(*loaded);
    base::log_info("configuration read again from {}", arguments_.config_path);
  } else {
    for (const auto& problem : loaded.error()) base::log_error("{}", problem.text());
    base::log_error("the configuration stays as it was");
  }
  collector_.run([&] { self_.count_reload(ok); });
}

void Daemon::apply(const config::Config& config) {
  std::vector<config::Change> changes;
  {
    const std::lock_guard lock(state_.mutex);
    changes = config::diff(state_.config, config);
  }
  for (const config::Change& change : changes) {
    base::log_info("{} changed{}", change.key, change.restart_needed ? ": restart needed" : "");
  }
  base::set_log(config.log.level, config.log.format);
  collector_.run([&] {
    if (auto status = subjects_.configure(config); !status) {
      base::log_error("{}", status.error().message);
    }
    if (auto status = registry_.configure(limits_of(config), settings_of(config)); !status) {
      base::log_error("{}", status.error().message);
    }
  });
  probes_.apply(config.probes);
  const std::lock_guard lock(state_.mutex);
  state_.config = config;
}

void Daemon::change_probe(const config::ProbeConfig& wanted) {
  const std::string name(wanted.spec->name);
  std::map<std::string, config::ProbeConfig> probes;
  {
    const std::lock_guard lock(state_.mutex);
    state_.config.probes.at(name) = wanted;
    probes = state_.config.probes;
  }
  probes_.apply(probes);
}

void Daemon::stop() {
  // If anything hangs, the kernel takes all links and maps with the process.
  ::alarm(kStopSeconds);
  state_.stopping = true;
  notifier_.send("STOPPING=1");
  collector_.run([&] { self_.set_servers({}); });
  servers_.clear();
  probes_.stop_all();
  collector_.stop();
  resolver_.stop();
  kubernetes_.stop();
  conntrack_.stop();
}

void Daemon::loop(int signal_fd) {
  const base::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  const auto watch = [&](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
  };
  watch(signal_fd);
  watch(control_.fd());
  if (watch_) watch(watch_->fd());
  while (!stop_asked_) {
    epoll_event event{};
    const int timeout = state_.ready ? kControlPollMs : kStartingPollMs;
    const int count = ::epoll_wait(epoll.get(), &event, 1, timeout);
    if (count > 0 && event.data.fd == signal_fd) {
      signalfd_siginfo info{};
      if (::read(signal_fd, &info, sizeof info) != sizeof info) continue;
      if (info.ssi_signo == SIGHUP) {
        reload();
      } else {
        base::log_info("stopping on {}", ::strsignal(static_cast<int>(info.ssi_signo)));
        stop_asked_ = true;
      }
    } else if (count > 0 && event.data.fd == control_.fd()) {
      control_.run_waiting();
    } else if (count > 0 && watch_ && watch_->changed()) {
      reload();
    }
    if (!state_.ready && is_ready()) become_ready();
    watch_collector();
  }
}

int Daemon::run(const sigset_t& signals) {
  const base::UniqueFd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!arguments_.config_path.empty()) {
    if (auto opened = config::FileWatch::open(arguments_.config_path)) {
      watch_.emplace(std::move(*opened));
    } else {
      base::log_warning("{}; the file is read again on SIGHUP only", opened.error().message);
    }
  }
  if (auto status = start(); !status) {
    base::log_error("{}", status.error().message);
    stop();
    return kExitUsage;
  }
  loop(signal_fd.get());
  stop();
  return kExitOk;
}

// Why no BPF program can be loaded; empty: one can.
std::string try_kernel(const config::Config& config) {
  if (auto status = kernel::try_bpf(); !status) return status.error().message;
  const kernel::RunningKernel facts(config.kernel.btf);
  return facts.btf_error();
}

}  // namespace

int run_daemon(const RunArguments& arguments, std::span<const ProbeSpec* const> specs) {
  ::mallopt(M_ARENA_MAX, 2);  // one arena per thread would cost more memory than it saves time
  const sigset_t signals = block_signals();
  auto config = config::load(arguments.config_path, config_catalogue(specs), arguments.sets);
  if (!config) {
    for (const auto& problem : config.error()) base::log_error("{}", problem.text());
    return kExitUsage;
  }
  base::set_log(config->log.level, config->log.format);
  kernel::quiet_libbpf();
  base::log_info("tarsier {} ({})", kVersion, kRevision);
  auto sockets = open_sockets(*config);
  if (!sockets) {
    base::log_error("{}", sockets.error().message);
    return kExitUsage;
  }
  see_tracefs();
  if (auto status = settle_privileges(); !status) base::log_warning("{}", status.error().message);
  std::string without_bpf = try_kernel(*config);
  if (!without_bpf.empty()) {
    if (!config->daemon.without_bpf) {
      base::log_error("{}; set daemon.without_bpf = true to run without BPF", without_bpf);
      return kExitNoBpf;
    }
    base::log_warning("{}; running without BPF", without_bpf);
  }
  return Daemon(arguments, specs, std::move(*config), std::move(*sockets), std::move(without_bpf))
      .run(signals);
}

}  // namespace tarsier::daemon
