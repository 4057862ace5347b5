// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The configuration: what it holds, and how it is read, changed, shown and compared.
//
//   auto read = config::load(path, {.probes = plates}, sets);
//   if (!read) for (const auto& problem : read.error()) log_error("{}", problem.text());
//
// One table (schema.cpp) says for each key where it lives, what it may be and what it means;
// reading, errors, config/tarsier.toml, GET /api/v1/config and the comparison after a reload all
// follow it. Plain data and pure functions: any thread, no state, nothing outside the named file is
// touched.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "config/options.h"
#include "config/targets.h"
#include "tarsier/probe.h"
#include "tarsier/result.h"

namespace tarsier::config {

inline constexpr std::size_t kMaxFileBytes = 1U << 20U;
inline constexpr std::size_t kMaxProblems = 100;  // listed; the rest is counted in a last line
inline constexpr std::size_t kMaxDepth = 8;       // tables and lists inside each other
inline constexpr std::size_t kMaxSets = 256;      // --set arguments

enum class ApiAuth : std::uint8_t { token, mtls, none };
enum class Dialect : std::uint8_t { short_names, otel };
enum class KubernetesSource : std::uint8_t { automatic, api, kubelet, cri, off };

// One probe's part: [probes.<name>].
struct ProbeConfig {
  explicit ProbeConfig(const ProbeSpec& plate)
      : spec(&plate), enabled(plate.enabled), options(plate.options) {}
  const ProbeSpec* spec;  // not owned; the plate outlives the configuration
  bool enabled;
  OptionValues options;
};

// [metrics."NAME"]
struct MetricConfig {
  bool enabled = true;
  std::vector<double> buckets;  // empty: the metric's own
};

// The member initialisers are the defaults; nothing else repeats them.
struct Config {
  struct Node {
    std::string name;  // empty: the node's own name
    std::map<std::string, std::string> labels;
    std::string root = "/";
  } node;
  struct Daemon {
    bool without_bpf = false;
  } daemon;
  struct Kernel {
    std::string btf;  // empty: /sys/kernel/btf/vmlinux
  } kernel;
  struct Log {
    base::LogLevel level = base::LogLevel::info;
    base::LogFormat format = base::LogFormat::text;
  } log;
  struct Http {
    std::string listen = "auto";  // see parse_listen in config/listen.h
    std::string tls_cert, tls_key;
    std::map<std::string, std::string> users;  // name to crypt(3) hash; empty: nobody is asked
  } http;
  struct Api {
    std::string listen = "127.0.0.1:9921";
    std::string socket = "/run/tarsier/control.sock";  // "off" or empty: none
    ApiAuth auth = ApiAuth::token;
    std::string token_file;  // empty: /run/tarsier/token, made at the start
    std::string tls_cert, tls_key, client_ca;
  } api;
  struct Labels {
    std::vector<std::string> process = {"comm"};  // of comm, pid, exe, unit
    bool container = true;
    bool kubernetes = true;
    std::vector<std::string> k8s_pod_labels;
    std::vector<std::string> k8s_pod_annotations;
    std::vector<std::string> k8s_node_labels;
    std::map<std::string, std::string> fixed;
    bool peer = true;
    bool peer_nat = true;
    Dialect dialect = Dialect::short_names;
  } labels;
  Targets targets;
  struct Limits {
    std::int64_t series = 50'000;
    std::int64_t series_per_metric = 10'000;
    std::int64_t stale_after_ns = 5 * kMinute;
    std::int64_t memory_bytes = std::int64_t{256} << 20U;
    double cpu = 0.05;  // fraction of all CPUs of the node
  } limits;
  struct Kubernetes {
    KubernetesSource source = KubernetesSource::automatic;
    std::string kubeconfig;
    std::string node_name;  // empty: NODE_NAME of the environment, else the host name
    std::string api_server;
    std::string kubelet;  // empty: https://127.0.0.1:10250
    bool kubelet_verify = true;
    bool services = true;
  } kubernetes;
  std::map<std::string, MetricConfig> metrics;  // only those that the user names
  std::map<std::string, ProbeConfig> probes;    // every probe of the catalogue
};

// What the configuration may speak about. Not owned; plates outlive every Config made with them.
struct Catalogue {
  std::span<const ProbeSpec* const> probes = {};
  std::span<const MetricDef* const> metrics = {};  // of the framework itself, beside the probes'
};

enum class Format : std::uint8_t { toml, json };
// JSON for a name that ends in .json, else TOML.
[[nodiscard]] Format format_of(std::string_view file_name);

// One thing that is wrong. Line and column count from 1, in characters; 0 where there is no place
// (a file that cannot be read; a --set argument, which then stands in `file`).
struct Problem {
  std::string file;
  int line = 0, column = 0;
  std::string message;
  [[nodiscard]] std::string text() const;  // "file:line:column: message"
};
using Problems = std::vector<Problem>;

[[nodiscard]] Config defaults(const Catalogue& catalogue);

// Defaults, then `text`, then `sets` ("api.auth=none") in their order; checks between keys come
// last, so that the command line can mend the file. Reports all problems, not only the first
// (a text that is not TOML or JSON at all: the first). `file_name` is for messages.
[[nodiscard]] std::expected<Config, Problems> parse(std::string_view text, Format format,
                                                    std::string_view file_name,
                                                    const Catalogue& catalogue,
                                                    std::span<const std::string> sets = {});
// The same from a file of at most kMaxFileBytes; an empty path means no file.
[[nodiscard]] std::expected<Config, Problems> load(const std::string& path,
                                                   const Catalogue& catalogue,
                                                   std::span<const std::string> sets = {});

// One "key=value" on top of `config`, which stays as it was on failure. The value is TOML; what is
// not TOML is a string, and so is every value of a key that takes text.
Status apply_set(Config& config, std::string_view assignment, const Catalogue& catalogue);

// The body of PATCH /api/v1/probes/NAME, {"enabled":…,"options":{…}}, on top of `probe`.
[[nodiscard]] Result<ProbeConfig> patch_probe(const ProbeConfig& probe, std::string_view json);

// The whole configuration in the schema of the file; hashes of passwords are shown as "(hidden)",
// and files of secrets by their name alone.
[[nodiscard]] std::string to_json(const Config& config);

struct Change {
  std::string key;  // "limits.series"
  bool restart_needed = false;
  friend bool operator==(const Change&, const Change&) = default;
};
// What differs, in the order of the schema. The two must come from the same catalogue.
[[nodiscard]] std::vector<Change> diff(const Config& before, const Config& after);

// config/tarsier.toml: each key with its help, what it may be, and its default.
[[nodiscard]] std::string reference_toml(const Catalogue& catalogue);

}  // namespace tarsier::config
