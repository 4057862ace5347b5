// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/schema.h"

#include <fmt/format.h>

#include <limits>

namespace tarsier::config {
namespace {

template <auto Part, auto Member>
constexpr auto in() {
  using T = std::remove_cvref_t<decltype((std::declval<Config&>().*Part).*Member)>;
  if constexpr (std::is_enum_v<T>) {
    return EnumRef{
        [](Config& config, std::size_t i) { (config.*Part).*Member = static_cast<T>(i); },
        [](const Config& config) { return static_cast<std::size_t>((config.*Part).*Member); }};
  } else {
    return Ref<T>{[](Config& config) -> T& { return (config.*Part).*Member; },
                  [](const Config& config) -> const T& { return (config.*Part).*Member; }};
  }
}

using C = Config;
using F = Form;

constexpr std::string_view kLevels[] = {"debug", "info", "warning", "error"};
constexpr std::string_view kLogFormats[] = {"text", "json"};
constexpr std::string_view kAuths[] = {"token", "mtls", "none"};
constexpr std::string_view kDialects[] = {"short", "otel"};
constexpr std::string_view kSources[] = {"auto", "api", "kubelet", "cri", "off"};
constexpr std::string_view kProcessLabels[] = {"comm", "pid", "exe", "unit"};

constexpr Shape any(Form form) {
  return {.form = form};
}
constexpr Shape one_of(std::span<const std::string_view> choices) {
  return {.form = F::choice, .choices = choices};
}
constexpr Shape whole(Form form, std::int64_t min, std::int64_t max) {
  return {.form = form, .min = min, .max = max};
}
constexpr Shape real(double min, double max) {
  return {.form = F::number, .number_min = min, .number_max = max};
}

constexpr std::int64_t kMebi = std::int64_t{1} << 20U;
constexpr std::int64_t kMaxSeries = 10'000'000;

constexpr Section kSections[] = {
    {"node", "The node that is watched."},
    {"daemon", "The daemon itself."},
    {"kernel", "How the daemon meets the kernel."},
    {"log", "What the daemon says on standard error."},
    {"http", "The listener of Prometheus: /metrics, /healthz and /readyz, nothing else."},
    {"api", "The listener of people and tools: /api/v1 and what carries payload."},
    {"labels", "What a series says about whom it counts."},
    {"targets",
     "Which processes are observed. A rule is a table; all that it names must match. Its keys are "
     "comm, exe, cmdline, unit, cgroup, container, image, pod and namespace (regular expressions "
     "in RE2 syntax that match the whole value: \"java\" is not javac, \"java.*\" is both), label "
     "(pod labels: names with a regular expression each) and pid (a number or a list). What is "
     "unknown matches nothing. Longer rules read better as [[targets.include]] tables, which "
     "replace the lists below."},
    {"limits", "Bounds that hold whatever the node does."},
    {"kubernetes",
     "Where pods and services are learned from. Without any key the service account of the pod is "
     "used where there is one, else the file that KUBECONFIG names."},
};

constexpr Field kFields[] = {
    {"node", "name",
     "Name of the node in tarsier_node_info. \"\" takes the Kubernetes node's "
     "name, else the host name.",
     in<&C::node, &C::Node::name>(), any(F::label_value), Effect::restart},
    {"node", "labels", "More labels for tarsier_node_info, as in { zone = \"a\" }.",
     in<&C::node, &C::Node::labels>(), any(F::label_value), Effect::restart, 32, F::label_name},
    {"node", "root",
     "Where the node's root directory is mounted; \"/host\" in a container that "
     "has it there.",
     in<&C::node, &C::Node::root>(), any(F::path), Effect::restart},

    {"daemon", "without_bpf",
     "Whether to run, with what /proc and /sys tell, where no BPF program "
     "can be loaded; otherwise that ends the daemon with exit code 3.",
     in<&C::daemon, &C::Daemon::without_bpf>(), any(F::boolean), Effect::restart},
    {"kernel", "btf", "Path of a BTF file for a kernel that has none of its own.",
     in<&C::kernel, &C::Kernel::btf>(), any(F::path), Effect::restart},

    {"log", "level", "The least important lines that are written.", in<&C::log, &C::Log::level>(),
     one_of(kLevels)},
    {"log", "format", "Lines for people or one JSON object per line.",
     in<&C::log, &C::Log::format>(), one_of(kLogFormats)},

    {"http", "listen",
     "Address of /metrics. \"auto\" is [::]:9920, which takes IPv4 as well, or "
     "0.0.0.0:9920 where IPv6 is off.",
     in<&C::http, &C::Http::listen>(), any(F::listen_auto), Effect::restart},
    {"http", "tls_cert", "Certificate chain in PEM; with tls_key it switches TLS on.",
     in<&C::http, &C::Http::tls_cert>(), any(F::path), Effect::restart},
    {"http", "tls_key", "Private key in PEM.", in<&C::http, &C::Http::tls_key>(), any(F::path),
     Effect::restart},
    {"http", "users",
     "Users of basic authentication with their hashed passwords, as in "
     "{ prometheus = \"$6$…\" }. Without users nobody is asked.",
     in<&C::http, &C::Http::users>(), any(F::password_hash), Effect::restart, 64, F::user_name,
     true},

    {"api", "listen", "Address of the API.", in<&C::api, &C::Api::listen>(), any(F::listen),
     Effect::restart},
    {"api", "socket", "UNIX socket of the API, for root alone; the tarsier commands use it.",
     in<&C::api, &C::Api::socket>(), any(F::socket_path), Effect::restart},
    {"api", "auth",
     "Who may use the API's address: the bearer of a token, the holder of a "
     "certificate that client_ca signed, or everybody (refused off loopback).",
     in<&C::api, &C::Api::auth>(), one_of(kAuths), Effect::restart},
    {"api", "token_file",
     "File that holds the token. \"\" makes one at the start, in "
     "/run/tarsier/token, readable by root.",
     in<&C::api, &C::Api::token_file>(), any(F::path), Effect::restart},
    {"api", "tls_cert", "Certificate chain in PEM; with tls_key it switches TLS on.",
     in<&C::api, &C::Api::tls_cert>(), any(F::path), Effect::restart},
    {"api", "tls_key", "Private key in PEM.", in<&C::api, &C::Api::tls_key>(), any(F::path),
     Effect::restart},
    {"api", "client_ca", "Certificates in PEM that may sign clients, for auth = \"mtls\".",
     in<&C::api, &C::Api::client_ca>(), any(F::path), Effect::restart},

    {"labels", "process",
     "What tells processes apart. With \"pid\" each process has series of its "
     "own, which is many.",
     in<&C::labels, &C::Labels::process>(), one_of(kProcessLabels), Effect::restart, 4},
    {"labels", "container", "Whether series carry their container.",
     in<&C::labels, &C::Labels::container>(), any(F::boolean), Effect::restart},
    {"labels", "kubernetes", "Whether series carry their pod, namespace and workload.",
     in<&C::labels, &C::Labels::kubernetes>(), any(F::boolean), Effect::restart},
    {"labels", "k8s_pod_labels",
     "Labels of pods that series carry as label_NAME, as in "
     "[\"app.kubernetes.io/name\"].",
     in<&C::labels, &C::Labels::k8s_pod_labels>(), any(F::pod_label), Effect::restart, 16},
    {"labels", "k8s_pod_annotations",
     "Annotations of pods that series carry as annotation_NAME, where the API server or the "
     "kubelet is asked.",
     in<&C::labels, &C::Labels::k8s_pod_annotations>(), any(F::pod_label), Effect::restart, 16},
    {"labels", "k8s_node_labels",
     "Labels of the node that tarsier_kubernetes_node_info carries as label_NAME.",
     in<&C::labels, &C::Labels::k8s_node_labels>(), any(F::pod_label), Effect::restart, 16},
    {"labels", "fixed",
     "Labels that every series of a process, container or pod carries, as in { team = \"shop\" }.",
     in<&C::labels, &C::Labels::fixed>(), any(F::label_value), Effect::restart, 16, F::label_name},
    {"labels", "peer", "Whether series of connections and requests name the other side.",
     in<&C::labels, &C::Labels::peer>(), any(F::boolean), Effect::restart},
    {"labels", "peer_nat",
     "Whether connection tracking is listened to, so that what is behind a ClusterIP, a published "
     "port or a masqueraded address has its name. Where connections are tracked, the kernel then "
     "takes 2.5 µs longer for the first packet of each.",
     in<&C::labels, &C::Labels::peer_nat>(), any(F::boolean), Effect::restart},
    {"labels", "dialect",
     "Names such as pod and namespace, or those of OpenTelemetry such as "
     "k8s_pod_name.",
     in<&C::labels, &C::Labels::dialect>(), one_of(kDialects), Effect::restart},

    {"targets", "include",
     "Rules of which one must match; none: every process is observed. As in "
     "[{ comm = \"nginx|java.*\" }, { namespace = \"shop\", label = { app = \"cart\" } }].",
     in<&C::targets, &Targets::include>(), any(F::pattern), Effect::now, kMaxRules},
    {"targets", "exclude", "Rules of which none may match.", in<&C::targets, &Targets::exclude>(),
     any(F::pattern), Effect::now, kMaxRules},
    {"targets", "self", "Whether this daemon and other tarsiers are observed too.",
     in<&C::targets, &Targets::self>(), any(F::boolean)},
    {"targets", "payload", "Whether requests may be kept with their paths and statements.",
     in<&C::targets, &Targets::payload>(), any(F::boolean)},

    {"limits", "series", "Series in all; beyond it new ones go to an overflow series.",
     in<&C::limits, &C::Limits::series>(), whole(F::integer, 100, kMaxSeries)},
    {"limits", "series_per_metric", "The same for each metric.",
     in<&C::limits, &C::Limits::series_per_metric>(), whole(F::integer, 10, kMaxSeries)},
    {"limits", "stale_after",
     "How long a series stays after its last update, or after its "
     "process, container or pod has gone. Longer than a scrape interval.",
     in<&C::limits, &C::Limits::stale_after_ns>(), whole(F::duration, kSecond, 24 * 60 * kMinute)},
    {"limits", "memory", "Resident memory that the daemon keeps below by giving up detail.",
     in<&C::limits, &C::Limits::memory_bytes>(), whole(F::size, 32 * kMebi, 1024 * 1024 * kMebi),
     Effect::restart},
    {"limits", "cpu", "Share of the node's CPUs that the daemon keeps below by giving up detail.",
     in<&C::limits, &C::Limits::cpu>(), real(0.001, 1)},

    {"kubernetes", "source",
     "The API server, the kubelet of this node, the container runtime, or "
     "whichever of them answers.",
     in<&C::kubernetes, &C::Kubernetes::source>(), one_of(kSources), Effect::restart},
    {"kubernetes", "kubeconfig", "Path of a kubeconfig file.",
     in<&C::kubernetes, &C::Kubernetes::kubeconfig>(), any(F::path), Effect::restart},
    {"kubernetes", "node_name",
     "Name of this node in Kubernetes. \"\" takes NODE_NAME of the "
     "environment, else the host name.",
     in<&C::kubernetes, &C::Kubernetes::node_name>(), any(F::label_value), Effect::restart},
    {"kubernetes", "api_server",
     "URL of the API server, instead of the one that the service "
     "account or kubeconfig names.",
     in<&C::kubernetes, &C::Kubernetes::api_server>(), any(F::url), Effect::restart},
    {"kubernetes", "kubelet",
     "URL of the kubelet, which is asked for the pods where the API server may not be. \"\" is "
     "https://127.0.0.1:10250, for whoever has credentials.",
     in<&C::kubernetes, &C::Kubernetes::kubelet>(), any(F::url), Effect::restart},
    {"kubernetes", "kubelet_verify",
     "Whether the kubelet's certificate must be signed by the cluster. Many kubelets sign their "
     "own.",
     in<&C::kubernetes, &C::Kubernetes::kubelet_verify>(), any(F::boolean), Effect::restart},
    {"kubernetes", "services",
     "Whether services, their pods on other nodes and the nodes themselves are learned as names of "
     "peers: two watches of the API server more.",
     in<&C::kubernetes, &C::Kubernetes::services>(), any(F::boolean), Effect::restart},
};

Value show_rule(const TargetRule& rule) {
  Value table = Value::table();
  for (const RuleKey& key : rule_keys()) {
    const std::string& pattern = rule.*key.pattern;
    if (!pattern.empty()) table.add(key.key, Value::of(pattern));
  }
  if (!rule.labels.empty()) {
    Value labels = Value::table();
    for (const auto& [name, pattern] : rule.labels) labels.add(name, Value::of(pattern));
    table.add("label", std::move(labels));
  }
  if (!rule.pids.empty()) {
    Value pids = Value::list();
    for (const std::int64_t pid : rule.pids) pids.add(Value::of(pid));
    table.add("pid", std::move(pids));
  }
  return table;
}

struct Shower {
  const Config& config;
  const Shape& shape;

  Value operator()(const Ref<Texts>& ref) const {
    Value list = Value::list();
    for (const std::string& text : ref.view(config)) list.add(Value::of(text));
    return list;
  }
  Value operator()(const Ref<TextMap>& ref) const {
    Value table = Value::table();
    for (const auto& [key, text] : ref.view(config)) table.add(key, Value::of(text));
    return table;
  }
  Value operator()(const Ref<Rules>& ref) const {
    Value list = Value::list();
    for (const TargetRule& rule : ref.view(config)) list.add(show_rule(rule));
    return list;
  }
  Value operator()(const EnumRef& ref) const {
    return Value::of(std::string(shape.choices[ref.get(config)]));
  }
  template <class T>
  Value operator()(const Ref<T>& ref) const {
    return show_scalar(ref.view(config), shape);
  }
};

void add_metric(const std::string& name, const MetricConfig& metric, std::vector<Setting>& out) {
  const std::string section = "metrics." + name;
  out.push_back({section, std::string(kEnabledKey), "", "", Value::of(metric.enabled),
                 Effect::restart, false});
  Value buckets = Value::list();
  for (const double bound : metric.buckets) buckets.add(Value::of(bound));
  out.push_back(
      {section, std::string(kBucketsKey), "", "", std::move(buckets), Effect::restart, false});
}

void add_probe(const std::string& name, const ProbeConfig& probe, std::vector<Setting>& out) {
  const std::string section = "probes." + name;
  out.push_back({section, std::string(kEnabledKey), "Whether the probe runs.",
                 describe(kEnabledShape), Value::of(probe.enabled), Effect::now, false});
  const auto options = probe.options.declared();
  for (std::size_t i = 0; i < options.size(); ++i) {
    const Shape shape = shape_of(options[i]);
    out.push_back({section, std::string(options[i].key), options[i].help, describe(shape),
                   show_scalar(probe.options.at(i), shape), Effect::now, false});
  }
}

}  // namespace

std::span<const Section> sections() {
  return kSections;
}
std::span<const Field> fields() {
  return kFields;
}

Shape bucket_shape() {
  constexpr double kLargest = std::numeric_limits<double>::max();
  return real(-kLargest, kLargest);
}

std::string describe_field(const Field& field) {
  if (std::holds_alternative<Ref<Texts>>(field.slot)) {
    return fmt::format("a list of at most {}, each {}", field.max_items, describe(field.shape));
  }
  if (std::holds_alternative<Ref<TextMap>>(field.slot)) {
    return fmt::format("a table of at most {}, each {}", field.max_items, describe(field.shape));
  }
  if (std::holds_alternative<Ref<Rules>>(field.slot)) {
    return fmt::format("a list of at most {} rules", field.max_items);
  }
  return describe(field.shape);
}

std::vector<Setting> settings_of(const Config& config) {
  std::vector<Setting> out;
  for (const Field& field : kFields) {
    out.push_back({std::string(field.section), std::string(field.key), field.help,
                   describe_field(field), std::visit(Shower{config, field.shape}, field.slot),
                   field.effect, field.secret});
  }
  for (const auto& [name, metric] : config.metrics) add_metric(name, metric, out);
  for (const auto& [name, probe] : config.probes) add_probe(name, probe, out);
  return out;
}

}  // namespace tarsier::config
