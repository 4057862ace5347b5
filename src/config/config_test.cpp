// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "config/test_plates.h"

namespace tarsier::config {
namespace {

using test::kCatalogue;
using test::lines_of;
using test::must;
using test::problems_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr std::string_view kFullToml = R"(
[node]
name = "n1"
labels = { zone = "a", rack = "é" }
root = "/host"
[daemon]
without_bpf = true
[kernel]
btf = "/boot/btf"
[log]
level = "warning"
format = "json"
[http]
listen = "[::1]:0"
tls_cert = "/c"
tls_key = "/k"
[http.users]
alice = "$6$saltsalt$0123456789abcdef0123456789"
[api]
listen = "127.0.0.1:1"
socket = "off"
auth = "none"
token_file = "/t"
[labels]
process = ["comm", "unit"]
container = false
kubernetes = false
k8s_pod_labels = ["app.kubernetes.io/name"]
k8s_pod_annotations = ["prometheus.io/scrape"]
k8s_node_labels = ["node.kubernetes.io/instance-type"]
fixed = { team = "shop" }
peer = false
peer_nat = false
dialect = "otel"
[targets]
self = true
payload = false
[[targets.include]]
comm = "nginx|java.*"
[[targets.include]]
namespace = "shop"
label = { app = "cart" }
pid = [7, 8]
[[targets.exclude]]
unit = "ssh\\.service"
pid = 1
[limits]
series = 1000
series_per_metric = 100
stale_after = "1h"
memory = "1GiB"
cpu = 1
[kubernetes]
source = "cri"
kubeconfig = "/root/.kube/config"
node_name = "k1"
api_server = "https://10.0.0.1:6443"
kubelet = "https://10.0.0.7:10250"
kubelet_verify = false
services = false
[metrics."tarsier_tcp_rtt_seconds"]
buckets = [0.5, 1, 2]
[metrics.tarsier_series]
enabled = false
[probes.tcp]
enabled = false
edges = false
max_connections = 16
sample = 0.25
period = "250ms"
device = "eth1"
[probes.lock]
enabled = true
)";

constexpr std::string_view kFullJson = R"({
"node": {"name": "n1", "labels": {"zone": "a", "rack": "\u00e9"}, "root": "/host"},
"daemon": {"without_bpf": true}, "kernel": {"btf": "/boot/btf"},
"log": {"level": "warning", "format": "json"},
"http": {"listen": "[::1]:0", "tls_cert": "/c", "tls_key": "/k",
  "users": {"alice": "$6$saltsalt$0123456789abcdef0123456789"}},
"api": {"listen": "127.0.0.1:1", "socket": "off", "auth": "none", "token_file": "/t"},
"labels": {"process": ["comm", "unit"], "container": false, "kubernetes": false,
  "k8s_pod_labels": ["app.kubernetes.io/name"], "k8s_pod_annotations": ["prometheus.io/scrape"],
  "k8s_node_labels": ["node.kubernetes.io/instance-type"], "fixed": {"team": "shop"}, "peer": false, "peer_nat": false,
  "dialect": "otel"},
"targets": {"self": true, "payload": false,
  "include": [{"comm": "nginx|java.*"},
              {"namespace": "shop", "label": {"app": "cart"}, "pid": [7, 8]}],
  "exclude": [{"unit": "ssh\\.service", "pid": 1}]},
"limits": {"series": 1000, "series_per_metric": 100, "stale_after": "1h", "memory": 1073741824,
  "cpu": 1.0},
"kubernetes": {"source": "cri", "kubeconfig": "/root/.kube/config", "node_name": "k1",
  "api_server": "https://10.0.0.1:6443", "kubelet": "https://10.0.0.7:10250",
  "kubelet_verify": false, "services": false},
"metrics": {"tarsier_tcp_rtt_seconds": {"buckets": [0.5, 1, 2]}, "tarsier_series": {"enabled": false}},
"probes": {"tcp": {"enabled": false, "edges": false, "max_connections": 16, "sample": 0.25,
  "period": "250ms", "device": "eth1"}, "lock": {"enabled": true}}
})";

std::string joined(const std::vector<Change>& changes) {
  std::string text;
  for (const Change& change : changes) {
    text += change.key + (change.restart_needed ? "! " : " ");
  }
  return text;
}

TEST(Config, EmptyIsTheDefaultsOfTheContract) {
  const Config config = must("");
  EXPECT_EQ(config.http.listen, "auto");
  EXPECT_EQ(config.api.listen, "127.0.0.1:9921");
  EXPECT_EQ(config.api.socket, "/run/tarsier/control.sock");
  EXPECT_EQ(config.api.auth, ApiAuth::token);
  EXPECT_EQ(config.limits.series, 50'000);
  EXPECT_EQ(config.limits.series_per_metric, 10'000);
  EXPECT_EQ(config.limits.stale_after_ns, 300'000'000'000);
  EXPECT_EQ(config.limits.memory_bytes, 268'435'456);
  EXPECT_EQ(config.limits.cpu, 0.05);
  EXPECT_THAT(config.labels.process, ElementsAre("comm"));
  EXPECT_TRUE(config.probes.at("tcp").enabled);
  EXPECT_FALSE(config.probes.at("lock").enabled);
  EXPECT_EQ(config.probes.at("tcp").options.duration_ns("period"), 10 * kSecond);
  EXPECT_EQ(joined(diff(config, defaults(kCatalogue))), "");
}

TEST(Config, EveryKeyArrives) {
  const Config config = must(kFullToml);
  EXPECT_EQ(config.node.name, "n1");
  EXPECT_THAT(config.node.labels, ElementsAre(Pair("rack", "é"), Pair("zone", "a")));
  EXPECT_EQ(config.node.root, "/host");
  EXPECT_TRUE(config.daemon.without_bpf);
  EXPECT_EQ(config.kernel.btf, "/boot/btf");
  EXPECT_EQ(config.log.level, base::LogLevel::warning);
  EXPECT_EQ(config.log.format, base::LogFormat::json);
  EXPECT_EQ(config.http.listen, "[::1]:0");
  EXPECT_EQ(config.http.users.at("alice"), "$6$saltsalt$0123456789abcdef0123456789");
  EXPECT_EQ(config.api.auth, ApiAuth::none);
  EXPECT_EQ(config.api.socket, "off");
  EXPECT_THAT(config.labels.process, ElementsAre("comm", "unit"));
  EXPECT_FALSE(config.labels.container);
  EXPECT_EQ(config.labels.dialect, Dialect::otel);
  ASSERT_EQ(config.targets.include.size(), 2U);
  EXPECT_EQ(config.targets.include[0].comm, "nginx|java.*");
  EXPECT_EQ(config.targets.include[1].pod_namespace, "shop");
  EXPECT_THAT(config.targets.include[1].labels, ElementsAre(Pair("app", "cart")));
  EXPECT_THAT(config.targets.include[1].pids, ElementsAre(7, 8));
  ASSERT_EQ(config.targets.exclude.size(), 1U);
  EXPECT_EQ(config.targets.exclude[0].unit, "ssh\\.service");
  EXPECT_THAT(config.targets.exclude[0].pids, ElementsAre(1));
  EXPECT_EQ(config.limits.stale_after_ns, 3'600 * kSecond);
  EXPECT_EQ(config.limits.memory_bytes, 1'073'741'824);
  EXPECT_EQ(config.limits.cpu, 1.0);
  EXPECT_EQ(config.kubernetes.source, KubernetesSource::cri);
  EXPECT_THAT(config.metrics.at("tarsier_tcp_rtt_seconds").buckets, ElementsAre(0.5, 1, 2));
  EXPECT_FALSE(config.metrics.at("tarsier_series").enabled);
  const ProbeConfig& tcp = config.probes.at("tcp");
  EXPECT_FALSE(tcp.enabled);
  EXPECT_FALSE(tcp.options.boolean("edges"));
  EXPECT_EQ(tcp.options.integer("max_connections"), 16);
  EXPECT_EQ(tcp.options.number("sample"), 0.25);
  EXPECT_EQ(tcp.options.duration_ns("period"), 250 * kMillisecond);
  EXPECT_EQ(tcp.options.text("device"), "eth1");
  EXPECT_TRUE(config.probes.at("lock").enabled);
}

TEST(Config, EveryKeyOfTheFullFileDiffersFromItsDefault) {
  // So that the two tests above cannot pass on a key that is never read.
  const std::vector<Change> changes = diff(defaults(kCatalogue), must(kFullToml));
  const std::string text = joined(changes);
  EXPECT_EQ(text,
            "node.name! node.labels! node.root! daemon.without_bpf! kernel.btf! log.level "
            "log.format http.listen! http.tls_cert! http.tls_key! http.users! api.listen! "
            "api.socket! api.auth! api.token_file! labels.process! labels.container! "
            "labels.kubernetes! labels.k8s_pod_labels! labels.k8s_pod_annotations! "
            "labels.k8s_node_labels! labels.fixed! labels.peer! labels.peer_nat! labels.dialect! "
            "targets.include targets.exclude targets.self targets.payload limits.series "
            "limits.series_per_metric limits.stale_after limits.memory! limits.cpu "
            "kubernetes.source! kubernetes.kubeconfig! kubernetes.node_name! "
            "kubernetes.api_server! kubernetes.kubelet! kubernetes.kubelet_verify! "
            "kubernetes.services! metrics.tarsier_series.enabled! "
            "metrics.tarsier_series.buckets! metrics.tarsier_tcp_rtt_seconds.enabled! "
            "metrics.tarsier_tcp_rtt_seconds.buckets! probes.lock.enabled probes.tcp.enabled "
            "probes.tcp.edges probes.tcp.max_connections probes.tcp.sample probes.tcp.period "
            "probes.tcp.device ");
}

TEST(Config, JsonIsTheSameSchema) {
  const Config toml = must(kFullToml);
  const Config json = must(kFullJson, Format::json);
  EXPECT_EQ(joined(diff(toml, json)), "");
  EXPECT_EQ(to_json(toml), to_json(json));
  EXPECT_EQ(format_of("/etc/tarsier.json"), Format::json);
  EXPECT_EQ(format_of("/etc/tarsier.toml"), Format::toml);
  EXPECT_EQ(format_of("/etc/tarsier"), Format::toml);
}

TEST(Config, ToJsonReadsBackAndHidesSecrets) {
  const Config config = must(kFullToml);
  const std::string json = to_json(config);
  EXPECT_THAT(json, testing::Not(HasSubstr("saltsalt")));
  EXPECT_THAT(json, HasSubstr(R"=("users":{"alice":"(hidden)"})="));
  EXPECT_THAT(json, HasSubstr(R"("stale_after":"1h","memory":"1GiB","cpu":1.0)"));
  // With the hash put back it is the same configuration.
  std::string restored = json;
  const std::string hidden = "(hidden)";
  restored.replace(restored.find(hidden), hidden.size(), config.http.users.at("alice"));
  EXPECT_EQ(joined(diff(config, must(restored, Format::json))), "");
}

TEST(Config, ReferenceReadsBackToTheDefaults) {
  const std::string reference = reference_toml(kCatalogue);
  const Config config = must(reference);
  EXPECT_EQ(joined(diff(config, defaults(kCatalogue))), "");
  for (const std::string_view line :
       {"listen = \"auto\"", "stale_after = \"5m\"", "memory = \"256MiB\"", "cpu = 0.05",
        "include = []", "[probes.tcp]", "period = \"10s\"", "sample = 0.5", "edges = true",
        "# Who waits for locks.", "[probes.lock]", "enabled = false",
        "# Time between two looks.\n# Allowed: a duration"}) {
    EXPECT_THAT(reference, HasSubstr(line));
  }
  std::size_t start = 0;
  for (std::size_t end; (end = reference.find('\n', start)) != std::string::npos; start = end + 1) {
    EXPECT_LE(end - start, 100U) << reference.substr(start, end - start);
  }
}

TEST(Config, WhatIsToBeScreenedIsNotMistaken) {
  EXPECT_EQ(must("\xEF\xBB\xBF# é . . . . . . . . . .\n[node]\nname = 'é' # \"é").node.name, "é");
  EXPECT_EQ(must("[node]\nname = \"\"\"é\\\n  \\\"é\"\"\"\"").node.name, "é\"é\"");
  EXPECT_EQ(must("[node]\nname = \"\"\"\\\n\u00A7 \u02AA\"\"\"").node.name, "§ ʪ");
  EXPECT_EQ(must("[node]\nname = \"a.b.c.d.e.f.g.h.i.j.k\\\\\"").node.name,
            "a.b.c.d.e.f.g.h.i.j.k\\");
  EXPECT_EQ(must("[node]\nname = \"\"\"a\"\"\"\"\" # é").node.name, "a\"\"");
  EXPECT_THAT(problems_of("x = [{ a = \"\"\"a\"\"\"\", b.b.b.b.b.b.b.b.b.b = 1 }]"),
              ElementsAre(HasSubstr("more than 8 deep")));
  EXPECT_THAT(problems_of("[probes.tcp]\nsample = [1.1, 2.1, 3.1, 4.1, 5.1, 6.1, 7.1, 8.1, 9.1]"),
              ElementsAre(HasSubstr("(a list)")));
}

TEST(Config, SetsComeAfterTheFile) {
  const std::vector<std::string> sets = {"api.auth=none",
                                         "limits.stale_after = 1m",
                                         "probes.tcp.enabled=false",
                                         "probes.tcp.device=17",
                                         "node.labels.zone=b",
                                         "labels.process=[\"pid\"]",
                                         "metrics.tarsier_series.enabled=false",
                                         "targets.include=[{ comm = \"x=y\" }]",
                                         "node.name=true",
                                         "kernel.btf=some/btf"};
  const auto read = parse("[limits]\nstale_after = \"2m\"\n[node]\nlabels = { rack = \"1\" }\n",
                          Format::toml, "c", kCatalogue, sets);
  ASSERT_TRUE(read) << testing::PrintToString(lines_of(read.error()));
  EXPECT_EQ(read->api.auth, ApiAuth::none);
  EXPECT_EQ(read->limits.stale_after_ns, kMinute);
  EXPECT_FALSE(read->probes.at("tcp").enabled);
  EXPECT_EQ(read->probes.at("tcp").options.text("device"), "17");
  EXPECT_THAT(read->node.labels, ElementsAre(Pair("rack", "1"), Pair("zone", "b")));
  EXPECT_THAT(read->labels.process, ElementsAre("pid"));
  EXPECT_FALSE(read->metrics.at("tarsier_series").enabled);
  EXPECT_EQ(read->targets.include.at(0).comm, "x=y");
  EXPECT_EQ(read->node.name, "true");
  EXPECT_THAT(read->kernel.btf, AllOf(testing::StartsWith("/"), testing::EndsWith("/some/btf")));
}

TEST(Config, MutualTlsNeedsAllThreeFiles) {
  const std::string two = "[api]\nauth = \"mtls\"\ntls_cert = \"/c\"\ntls_key = \"/k\"\n";
  EXPECT_THAT(problems_of(two), ElementsAre(HasSubstr("c.toml:2:8: api.auth = \"mtls\" needs")));
  EXPECT_EQ(must(two + "client_ca = \"/a\"").api.auth, ApiAuth::mtls);
}

TEST(Config, ASetMendsAContradictionOfTheFile) {
  const std::string file = "[api]\nauth = \"none\"\nlisten = \"[::]:1\"\n";
  EXPECT_FALSE(parse(file, Format::toml, "c", kCatalogue));
  EXPECT_TRUE(
      parse(file, Format::toml, "c", kCatalogue, std::vector<std::string>{"api.auth=token"}));
}

TEST(Config, ABadSetIsRefusedAndChangesNothing) {
  Config config = defaults(kCatalogue);
  const auto message = [&](std::string_view assignment) {
    const Status status = apply_set(config, assignment, kCatalogue);
    return status ? std::string("accepted") : status.error().message;
  };
  EXPECT_EQ(message("api.auth=non"),
            "--set api.auth: api.auth is \"non\", but must be \"token\", \"mtls\" or \"none\"; "
            "did you mean \"none\"?");
  EXPECT_THAT(message("api.listen=0.0.0.0:1"), testing::Eq("accepted"));
  EXPECT_THAT(message("api.auth=none"), HasSubstr("loopback"));
  EXPECT_EQ(config.api.auth, ApiAuth::token);
  const std::string usage = "this must be SECTION.KEY=VALUE, as in api.auth=none";
  for (const std::string_view bad :
       {"api.auth", "=1", "api=1", "", "a b=1", "[api]\nauth=1", "api.auth#x=1", "a.=1"}) {
    EXPECT_THAT(message(bad), HasSubstr(usage)) << bad;
  }
  EXPECT_THAT(message("limits.series=12x"),
              HasSubstr("limits.series is \"12x\" (a string), but must be an integer"));
  EXPECT_THAT(message("log.level=info\nx=1"), HasSubstr("log.level is \"info\\u000ax=1\""));
  EXPECT_THAT(message("http.users.bob=hunter2"), testing::Not(HasSubstr("hunter2")));
  EXPECT_THAT(message("prbes.tcp.enabled=1"), HasSubstr("did you mean \"probes\"?"));
}

TEST(Config, PatchOfAProbeIsAllOrNothing) {
  const Config config = defaults(kCatalogue);
  const ProbeConfig& tcp = config.probes.at("tcp");
  const auto patched = patch_probe(tcp, R"({"enabled": false, "options": {"period": "1s"}})");
  ASSERT_TRUE(patched);
  EXPECT_FALSE(patched->enabled);
  EXPECT_EQ(patched->options.duration_ns("period"), kSecond);
  EXPECT_TRUE(patched->options.boolean("edges"));
  EXPECT_EQ(tcp.options.duration_ns("period"), 10 * kSecond);
  const auto message = [&](std::string_view body) {
    const auto result = patch_probe(tcp, body);
    return result ? std::string("accepted") : result.error().message;
  };
  EXPECT_THAT(message(R"({"options": {"perod": "1s"}, "x": 1})"),
              AllOf(HasSubstr("body:1:14: unknown key \"perod\" in [probes.tcp]; did you mean "
                              "\"period\"?"),
                    HasSubstr("body:1:30: unknown key \"x\"; allowed: enabled, options")));
  EXPECT_THAT(message(R"({"options": 1})"), HasSubstr("options must be an object"));
  EXPECT_THAT(message("{"), HasSubstr("this is not JSON"));
  EXPECT_EQ(message("{}"), "accepted");
}

TEST(Config, LoadSaysWhichFileCannotBeRead) {
  const auto read = load("/nonexistent/tarsier.toml", kCatalogue);
  ASSERT_FALSE(read);
  EXPECT_THAT(lines_of(read.error()), ElementsAre(HasSubstr("No such file or directory")));
  EXPECT_TRUE(load("", kCatalogue));
}

TEST(Config, OptionsThatThePlateLacksAbort) {
  const Config config = defaults(kCatalogue);
  const OptionValues& options = config.probes.at("tcp").options;
  EXPECT_DEATH((void)options.integer("nothing"), "does not declare");
  EXPECT_DEATH((void)options.integer("period"), "does not declare");
}

// Whatever happens to a file, the reader answers; and what it accepts, it can show and read again.
TEST(Config, MutatedFilesNeverCrash) {
  std::mt19937 random(20'240'607);
  const auto below = [&random](std::size_t n) { return std::size_t{random()} % n; };
  constexpr std::string_view kBytes = "[]{}\"'=.,#\n\\0x-e\xC3\x00\xFF";
  std::size_t accepted = 0;
  for (int round = 0; round < 3'000; ++round) {
    const bool json = round % 2 == 1;
    std::string text(json ? kFullJson : kFullToml);
    for (std::size_t n = 1 + below(4); n != 0; --n) {
      const std::size_t at = below(text.size());
      switch (below(4)) {
        case 0: text.erase(at, 1 + below(20)); break;
        case 1: text.insert(at, 1, kBytes[below(kBytes.size())]); break;
        case 2: text[at] = static_cast<char>(random()); break;
        default: text.insert(at, text.substr(below(text.size()), below(40)));
      }
    }
    const auto read = parse(text, json ? Format::json : Format::toml, "c", kCatalogue);
    if (!read) {
      ASSERT_FALSE(read.error().empty());
      continue;
    }
    ++accepted;
    ASSERT_FALSE(to_json(*read).empty());
  }
  EXPECT_GT(accepted, 50U);
}

}  // namespace
}  // namespace tarsier::config
