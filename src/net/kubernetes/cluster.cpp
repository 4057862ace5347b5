// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/cluster.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

#include "net/kubernetes/change_queue.h"
#include "net/kubernetes/kubelet.h"
#include "net/kubernetes/node_table.h"
#include "net/kubernetes/owners.h"
#include "net/kubernetes/reflector.h"

namespace tarsier::net::kubernetes {
namespace {

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr int kMaxSleepMs = 10'000;

struct MultiDeleter {
  void operator()(CURLM* multi) const { ::curl_multi_cleanup(multi); }
};

// A task and its connection. The tasks of the gets could share one, but each has its own keep-alive
// connection anyway once it watches.
struct Slot {
  std::unique_ptr<Task> task;
  std::unique_ptr<Transfer> transfer;
};

Status check(const ClusterOptions& options) {
  const bool api = !options.credentials.server.empty();
  const bool kubelet = !options.kubelet_url.empty();
  if (options.node_name.empty()) {
    return fail(ErrorCode::invalid, "start the Kubernetes client: the node has no name");
  }
  if (options.source == PodSource::api && !api) {
    return fail(ErrorCode::invalid, "start the Kubernetes client: no API server is known");
  }
  if (options.source == PodSource::kubelet && !kubelet) {
    return fail(ErrorCode::invalid, "start the Kubernetes client: no kubelet is known");
  }
  if (!api && !kubelet) {
    return fail(ErrorCode::invalid,
                "start the Kubernetes client: neither an API server nor a kubelet is known");
  }
  return {};
}

}  // namespace

struct Cluster::Impl {
  Impl(ClusterOptions given, const base::Clock& given_clock)
      : options(std::move(given)), clock(given_clock) {}

  const ClusterOptions options;
  const base::Clock& clock;
  TaskContext context;
  ChangeQueue queue;
  std::unique_ptr<CURLM, MultiDeleter> multi{::curl_multi_init()};  // goes after the slots
  std::vector<Slot> slots;
  Reflector* pods = nullptr;  // these are owned by the slots
  Kubelet* kubelet = nullptr;
  Owners* owners = nullptr;
  std::int64_t healthy_ms = 0;    // when the API last gave the pods
  std::string_view pods_from;     // whose list the consumer got last
  std::string_view listing_from;  // whose list it is getting
  std::atomic<bool> stopping{false}, poked{false}, synced{false};
  mutable std::mutex state_mutex;
  ClusterState shown;
  std::mutex stop_mutex;
  std::thread thread;

  [[nodiscard]] std::int64_t now_ms() const {
    return static_cast<std::int64_t>(clock.boot_ns()) / kNsPerMs;
  }
  void make_tasks();
  template <class T, class... Args>
  T* add(Args&&... args) {
    auto task = std::make_unique<T>(std::forward<Args>(args)...);
    T* raw = task.get();
    slots.push_back({std::move(task), std::make_unique<Transfer>(multi.get())});
    return raw;
  }
  bool push(Change change);
  void run();
  void choose_source(std::int64_t now_ms);
  void start_due(std::int64_t now_ms);
  void start(Slot& slot, std::int64_t now_ms);
  void collect_ended();
  void cut_overdue();
  void ended(Slot& slot, const Outcome& outcome);
  [[nodiscard]] int sleep_ms(std::int64_t now_ms) const;
  void show();
};

void Cluster::Impl::make_tasks() {
  const ClusterTiming& timing = options.timing;
  context.options = &options;
  context.push = [this](Change change) { return push(std::move(change)); };
  context.random.seed(options.seed != 0 ? options.seed : std::random_device()());
  context.read_options.annotations = options.annotations;
  const std::int64_t now = now_ms();
  const auto soon = [&] { return now + context.jitter(timing.pods_jitter_ms); };
  const auto later = [&] { return now + context.jitter(timing.jitter_ms); };
  const std::string node = percent_encode(options.node_name);
  const bool api = !options.credentials.server.empty();
  healthy_ms = now;
  if (api && options.source != PodSource::kubelet) {
    pods = add<Reflector>(Resource::pods, context, "/api/v1/pods",
                          "fieldSelector=spec.nodeName%3D" + node, soon());
  }
  if (!options.kubelet_url.empty() && options.source != PodSource::api) {
    kubelet = add<Kubelet>(context);
  }
  owners = add<Owners>(context, api);
  if (!api) return;
  add<Reflector>(Resource::own_node, context, "/api/v1/nodes",
                 "fieldSelector=metadata.name%3D" + node, soon());
  if (options.services) {
    add<Reflector>(Resource::services, context, "/api/v1/services", "", later());
    add<Reflector>(Resource::endpoint_slices, context, "/apis/discovery.k8s.io/v1/endpointslices",
                   "labelSelector=kubernetes.io%2Fservice-name", later());
  }
  if (options.nodes) add<NodeTable>(context, later());
}

bool Cluster::Impl::push(Change change) {
  if (change.resource == Resource::pods) {
    if (change.kind == ChangeKind::begin_list) {
      listing_from = pods != nullptr && pods->delivering() ? "api" : "kubelet";
      // What the kubelet said may be older than what a watch of ours has told before.
      if (listing_from == "kubelet" && pods != nullptr) pods->list_again();
      if (listing_from == "api" && kubelet != nullptr) kubelet->yield();
    }
    if (change.kind == ChangeKind::end_list) pods_from = listing_from;
    if (owners != nullptr) owners->observe(change, now_ms());
  }
  return queue.push(std::move(change));
}

// The kubelet stands in while the API does not give the pods.
void Cluster::Impl::choose_source(std::int64_t now) {
  if (pods != nullptr && pods->healthy()) healthy_ms = now;
  if (kubelet == nullptr) return;
  const bool wanted = pods == nullptr || (!pods->healthy() && !pods->delivering() &&
                                          (pods->state().state == TaskState::refused ||
                                           now - healthy_ms >= options.timing.kubelet_after_ms));
  kubelet->set_active(wanted);
  if (poked.exchange(false)) kubelet->poke(now);
}

void Cluster::Impl::start(Slot& slot, std::int64_t now) {
  auto secrets = read_secrets(options.credentials);
  if (!secrets) return slot.task->fail_before(secrets.error().message, now);
  Request request = slot.task->begin(now);
  request.verify = request.verify && options.credentials.verify;
  request.connect_timeout_ms = options.timing.connect_timeout_ms;
  request.silence_ms = options.timing.silence_ms;
  // The bearer token is for whoever proves to be the cluster, never for a plain connection.
  if (!request.url.starts_with("https://")) secrets->token.clear();
  auto started = slot.transfer->start(
      request, *secrets,
      [this, task = slot.task.get()](std::string_view bytes) {
        return !stopping && task->receive(bytes);
      },
      now);
  if (!started) {
    Outcome outcome;
    outcome.problem = std::move(started.error().message);
    ended(slot, outcome);
  }
}

void Cluster::Impl::start_due(std::int64_t now) {
  for (Slot& slot : slots) {
    if (!slot.transfer->running() && slot.task->due_ms() <= now) start(slot, now);
  }
}

void Cluster::Impl::ended(Slot& slot, const Outcome& outcome) {
  if (stopping) return;  // we ended it, so it means nothing
  slot.task->finish(outcome, now_ms());
}

void Cluster::Impl::collect_ended() {
  int left = 0;
  while (const CURLMsg* message = ::curl_multi_info_read(multi.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const auto slot = std::ranges::find_if(slots, [&](const Slot& candidate) {
      return candidate.transfer->owns(message->easy_handle);
    });
    if (slot == slots.end()) continue;
    const int code = static_cast<int>(message->data.result);
    ended(*slot, slot->transfer->finish(code, now_ms()));
  }
}

void Cluster::Impl::cut_overdue() {
  const std::int64_t now = now_ms();
  for (Slot& slot : slots) {
    if (!slot.transfer->running()) continue;
    const std::string problem = slot.transfer->overdue(now);
    if (!problem.empty()) ended(slot, slot.transfer->abort(problem, now));
  }
}

int Cluster::Impl::sleep_ms(std::int64_t now) const {
  std::int64_t next = now + kMaxSleepMs;
  for (const Slot& slot : slots) {
    next = std::min(next, slot.transfer->running() ? slot.transfer->due_ms() : slot.task->due_ms());
  }
  if (kubelet != nullptr && !kubelet->active()) {
    const std::int64_t stands_in = healthy_ms + options.timing.kubelet_after_ms;
    if (stands_in > now) next = std::min(next, stands_in);
  }
  return static_cast<int>(std::max<std::int64_t>(next - now, 0));
}

void Cluster::Impl::show() {
  bool all_settled = true;
  const std::lock_guard lock(state_mutex);
  for (const Slot& slot : slots) {
    const Task* task = slot.task.get();
    if (task == kubelet) {
      shown.kubelet = task->state();
      all_settled = all_settled && (!kubelet->active() || task->settled());
      continue;
    }
    for (std::size_t i = 0; i < kResources; ++i) {
      if (shown.resources[i].name == task->state().name) shown.resources[i] = task->state();
    }
    all_settled = all_settled && task->settled();
  }
  shown.pods_from = pods_from;
  shown.cut = context.read_counters.cut;
  shown.owners_dropped = owners->dropped();
  if (all_settled) synced = true;
}

void Cluster::Impl::run() {
  while (!stopping) {
    std::int64_t now = now_ms();
    choose_source(now);
    start_due(now);
    int running = 0;
    ::curl_multi_perform(multi.get(), &running);
    collect_ended();
    cut_overdue();
    show();
    now = now_ms();
    ::curl_multi_poll(multi.get(), nullptr, 0, sleep_ms(now), nullptr);
  }
}

Result<std::unique_ptr<Cluster>> Cluster::start(ClusterOptions options, const base::Clock& clock) {
  if (options.source != PodSource::off) {
    if (auto checked = check(options); !checked) return std::unexpected(checked.error());
  }
  auto impl = std::make_unique<Impl>(std::move(options), clock);
  for (std::size_t i = 0; i < kResources; ++i) {
    impl->shown.resources[i].name = resource_name(static_cast<Resource>(i));
  }
  impl->shown.kubelet.name = "kubelet";
  if (impl->options.source == PodSource::off) {
    impl->synced = true;
    return std::unique_ptr<Cluster>(new Cluster(std::move(impl)));
  }
  if (impl->multi == nullptr) return fail(ErrorCode::failed, "start libcurl: out of memory");
  impl->make_tasks();
  Impl* raw = impl.get();
  auto cluster = std::unique_ptr<Cluster>(new Cluster(std::move(impl)));
  raw->show();
  raw->thread = std::thread([raw] { raw->run(); });
  return cluster;
}

Cluster::Cluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cluster::~Cluster() {
  stop();
}

void Cluster::stop() {
  impl_->stopping = true;
  impl_->queue.close();
  ::curl_multi_wakeup(impl_->multi.get());
  const std::lock_guard lock(impl_->stop_mutex);
  if (impl_->thread.joinable()) impl_->thread.join();
}

void Cluster::drain(std::vector<Change>& out) {
  impl_->queue.drain(out);
}

void Cluster::poke() {
  impl_->poked = true;
  ::curl_multi_wakeup(impl_->multi.get());
}

ClusterState Cluster::state() const {
  const std::lock_guard lock(impl_->state_mutex);
  ClusterState state = impl_->shown;
  state.queue_waits = impl_->queue.waits();
  return state;
}

bool Cluster::first_sync_done() const {
  return impl_->synced;
}

}  // namespace tarsier::net::kubernetes
