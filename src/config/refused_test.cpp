// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a configuration is refused for, and with which words.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/test_plates.h"

namespace tarsier::config {
namespace {

using test::problems_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Golden {
  std::string_view toml, line;
  friend void PrintTo(const Golden& golden, std::ostream* out) { *out << golden.toml; }
};

class Refused : public testing::TestWithParam<Golden> {};

TEST_P(Refused, SaysWhereWhatAndWhatIsAllowed) {
  EXPECT_THAT(problems_of(GetParam().toml), ElementsAre(std::string(GetParam().line)));
}

// One for each class of error.
constexpr Golden kGolden[] = {
    // Unknown names.
    {"[htp]\n",
     "c.toml:1:2: unknown section \"htp\"; did you mean \"http\"? allowed: node, daemon, kernel, "
     "log, http, api, labels, targets, limits, kubernetes, metrics, probes"},
    {"[http]\nlistn = \"off\"\n",
     "c.toml:2:1: unknown key \"listn\" in [http]; did you mean \"listen\"? allowed: listen, "
     "tls_cert, tls_key, users"},
    {"[kernel]\nzzzzzz = 1\n", "c.toml:2:1: unknown key \"zzzzzz\" in [kernel]; allowed: btf"},
    {"[probes.tc]\n",
     "c.toml:1:9: unknown probe \"tc\" in [probes]; did you mean \"tcp\"? allowed: lock, tcp"},
    {"[probes.tcp]\nedge = true\n",
     "c.toml:2:1: unknown key \"edge\" in [probes.tcp]; did you mean \"edges\"? allowed: enabled, "
     "edges, max_connections, sample, period, device"},
    {"[metrics.tarsier_tcp_rtt_second]\n",
     "c.toml:1:10: unknown metric \"tarsier_tcp_rtt_second\" in [metrics]; did you mean "
     "\"tarsier_tcp_rtt_seconds\"? allowed: tarsier_series, "
     "tarsier_tcp_connections_opened_total, tarsier_tcp_rtt_seconds"},
    {"[metrics.tarsier_series]\nbucket = [1]\n",
     "c.toml:2:1: unknown key \"bucket\" in [metrics.tarsier_series]; did you mean \"buckets\"? "
     "allowed: enabled, buckets"},
    {"[targets]\ninclude = [{ com = \"x\" }]\n",
     "c.toml:2:14: unknown key \"com\" in targets.include[0]; did you mean \"comm\"? allowed: "
     "comm, "
     "exe, cmdline, unit, cgroup, container, image, pod, namespace, label, pid"},
    // Wrong types.
    {"http = 3\n", "c.toml:1:8: http must be a table ([http]), not an integer"},
    {"[daemon]\nwithout_bpf = \"yes\"\n",
     "c.toml:2:15: daemon.without_bpf is \"yes\" (a string), but must be true or false"},
    {"[limits]\nseries = 1.5\n",
     "c.toml:2:10: limits.series is 1.5 (a number), but must be an integer from 100 to 10000000"},
    {"[node]\nname = 1979-05-27\n",
     "c.toml:2:8: node.name is a date or time, but must be a string of at most 128 bytes"},
    {"[labels]\nprocess = \"comm\"\n",
     "c.toml:2:11: labels.process is \"comm\" (a string), but must be a list of \"comm\", \"pid\", "
     "\"exe\" or \"unit\""},
    {"[targets]\ninclude = [\"nginx\"]\n",
     "c.toml:2:12: targets.include[0] must be a table such as { comm = \"nginx\" }, not a string"},
    {"[probes]\ntcp = true\n",
     "c.toml:2:7: probes.tcp must be a table ([probes.tcp]), not a boolean"},
    // Out of range and ill-formed.
    {"[limits]\nseries = 99\n",
     "c.toml:2:10: limits.series is 99, but must be an integer from 100 to 10000000"},
    {"[limits]\nseries = 10000001\n",
     "c.toml:2:10: limits.series is 10000001, but must be an integer from 100 to 10000000"},
    {"[limits]\ncpu = 1.5\n",
     "c.toml:2:7: limits.cpu is 1.5, but must be a number from 0.001 to 1"},
    {"[limits]\ncpu = nan\n",
     "c.toml:2:7: limits.cpu is nan, but must be a number from 0.001 to 1"},
    {"[limits]\nstale_after = \"5 minutes\"\n",
     "c.toml:2:15: limits.stale_after is \"5 minutes\", but must be a duration such as \"250ms\", "
     "\"5s\", \"5m\" or \"1h\", from 1s to 24h"},
    {"[limits]\nstale_after = 300\n",
     "c.toml:2:15: limits.stale_after is 300 (an integer), but must be a duration such as "
     "\"250ms\", \"5s\", \"5m\" or \"1h\", from 1s to 24h"},
    {"[limits]\nmemory = \"256MB\"\n",
     "c.toml:2:10: limits.memory is \"256MB\", but must be a size such as \"256MiB\" or a number "
     "of "
     "bytes, from 32MiB to 1TiB"},
    {"[log]\nlevel = \"infoo\"\n",
     "c.toml:2:9: log.level is \"infoo\", but must be \"debug\", \"info\", \"warning\" or "
     "\"error\"; "
     "did you mean \"info\"?"},
    {"[http]\nlisten = \"localhost:80\"\n",
     "c.toml:2:10: http.listen is \"localhost:80\", but must be an IP address and port such as "
     "\"127.0.0.1:9920\" or \"[::]:9920\" (port 0: a free one), \"auto\" or \"off\": the host is "
     "not an IP address"},
    {"[api]\nlisten = \"127.0.0.1:65536\"\n",
     "c.toml:2:10: api.listen is \"127.0.0.1:65536\", but must be an IP address and port such as "
     "\"127.0.0.1:9921\" or \"[::]:9921\" (port 0: a free one), or \"off\": the port is not a "
     "number from 0 to 65535"},
    {"[kernel]\nbtf = \"vmlinux\"\n",
     "c.toml:2:7: kernel.btf is \"vmlinux\", but must be an absolute path, or \"\" for none: it "
     "does not start with a /"},
    {"[node]\nname = \"a\\nb\"\n",
     "c.toml:2:8: node.name is \"a\\u000ab\", but must be a string of at most 128 bytes: it holds "
     "a "
     "control character"},
    {"[node]\nlabels = { 9a = \"x\" }\n",
     "c.toml:2:12: a key of node.labels is \"9a\", but must be at most 64 letters, digits and _, "
     "not starting with a digit"},
    {"[kubernetes]\napi_server = \"10.0.0.1\"\n",
     "c.toml:2:14: kubernetes.api_server is \"10.0.0.1\", but must be a URL that starts with "
     "http:// or https://, or \"\" for none"},
    {"[labels]\nprocess = [\"comm\", \"comm\"]\n",
     "c.toml:2:20: labels.process names \"comm\" twice"},
    {"[targets]\nexclude = [{ comm = \"a(\" }]\n",
     "c.toml:2:21: targets.exclude[0].comm is \"a(\", but must be a regular expression (RE2 "
     "syntax) "
     "for the whole value: missing ): a("},
    {"[targets]\nexclude = [{ comm = \"\" }]\n",
     "c.toml:2:21: targets.exclude[0].comm is \"\", but must be a regular expression (RE2 syntax) "
     "for the whole value: it is empty and would match nothing"},
    {"[targets]\nexclude = [{}]\n",
     "c.toml:2:12: targets.exclude[0] names nothing; it would match every process"},
    {"[targets]\nexclude = [{ pid = 0 }]\n",
     "c.toml:2:20: targets.exclude[0].pid is 0, but must be an integer from 1 to 4194304"},
    {"[targets]\nexclude = [{ label = \"app=x\" }]\n",
     "c.toml:2:22: targets.exclude[0].label must be a table of 1 to 16 pod labels such as { app = "
     "\"cart|shop\" }, not \"app=x\""},
    {"[metrics.tarsier_tcp_rtt_seconds]\nbuckets = [1, 1]\n",
     "c.toml:2:15: metrics.tarsier_tcp_rtt_seconds.buckets[1] is 1, but must be greater than the "
     "bound before it, 1"},
    {"[metrics.tarsier_tcp_rtt_seconds]\nbuckets = [inf]\n",
     "c.toml:2:12: metrics.tarsier_tcp_rtt_seconds.buckets[0] is inf, but must be a finite number"},
    {"[metrics.tarsier_series]\nbuckets = [1]\n",
     "c.toml:2:11: metrics.tarsier_series.buckets: only histograms have buckets, and this metric "
     "is a gauge"},
    {"[probes.tcp]\nperiod = \"1ms\"\n",
     "c.toml:2:10: probes.tcp.period is \"1ms\", but must be a duration such as \"250ms\", \"5s\", "
     "\"5m\" or \"1h\", from 100ms to 1m"},
    {"[probes.tcp]\nmax_connections = 15\n",
     "c.toml:2:19: probes.tcp.max_connections is 15, but must be an integer from 16 to 1000000"},
    // Secrets are not repeated.
    {"[http.users]\nbob = \"hunter2\"\n",
     "c.toml:2:7: http.users.bob must be a crypt(5) hash that starts with $2b$, $2y$, $5$, $6$ or "
     "$y$ (`openssl passwd -6` makes one)"},
    // Keys that are fine alone and not together.
    {"[api]\nlisten = \"0.0.0.0:1\"\nauth = \"none\"\n",
     "c.toml:3:8: api.auth = \"none\" lets everybody change this daemon from 0.0.0.0:1; it is "
     "allowed with a loopback api.listen such as \"127.0.0.1:9921\" only"},
    {"[api]\nauth = \"mtls\"\n",
     "c.toml:2:8: api.auth = \"mtls\" needs api.tls_cert, api.tls_key and api.client_ca"},
    {"[http]\ntls_cert = \"/c\"\n",
     "c.toml:2:12: http.tls_cert and http.tls_key go together, and http.tls_key is empty"},
    // Syntax, duplicates, nesting.
    {"[log]\nlevel = \n",
     "c.toml:2:9: this is not TOML: Error while parsing key-value pair: expected value, saw '\\n'"},
    {"[!]\n",
     "c.toml:1:2: this is not TOML: Error while parsing key: expected bare key starting character "
     "or string delimiter, saw '!'"},
    {"[log]\nlevel = \"info\"\nlevel = \"debug\"\n",
     "c.toml:3:9: this is not TOML: Error while parsing key-value pair: cannot redefine existing "
     "string 'level'"},
    {"[log]\nlevel = ʪ\n",
     "c.toml:2:9: this is not TOML: Error while parsing value: could not determine value type"},
    {"a.b.c.d.e.f.g.h.i.j = 1\n",
     "c.toml:1:18: tables and lists stand more than 8 deep inside each other"},
};
INSTANTIATE_TEST_SUITE_P(Config, Refused, testing::ValuesIn(kGolden));

TEST(Config, JsonProblemsHavePlacesToo) {
  const auto json = [](std::string_view text) { return problems_of(text, Format::json); };
  EXPECT_THAT(json("{\n  \"é\": 1,  \"log\": {\"level\":  \"infoo\",\n \"format\": 1.5}}"),
              ElementsAre(AllOf(HasSubstr("c.json:2:3: unknown section \"é\"")),
                          HasSubstr("c.json:2:30: log.level is \"infoo\""),
                          HasSubstr("c.json:3:12: log.format is 1.5 (a number)")));
  EXPECT_THAT(json(R"({"node": {"name": "\"\\"}, "log": 1})"),
              ElementsAre("c.json:1:35: log must be a table ([log]), not an integer"));
  EXPECT_THAT(json(R"({"log": {"level": "info", "level": "debug"}})"),
              ElementsAre("c.json:1:27: the key \"level\" stands here twice"));
  EXPECT_THAT(json(R"({"limits": {"series": -12}, "http": [null]})"),
              ElementsAre(HasSubstr("c.json:1:23: limits.series is -12,"),
                          "c.json:1:37: http must be a table ([http]), not a list"));
  EXPECT_THAT(json(R"({"daemon": {"without_bpf": null}})"),
              ElementsAre("c.json:1:28: daemon.without_bpf is null (nothing), but must be true or "
                          "false"));
  EXPECT_THAT(json("[1]"), ElementsAre("c.json:1:1: the file must hold an object, not a list"));
  EXPECT_THAT(json("{\"log\": {,}}"),
              ElementsAre(HasSubstr("c.json:1:11: this is not JSON: error while parsing")));
  EXPECT_THAT(json(""), ElementsAre(HasSubstr("c.json:1:1: this is not JSON")));
  EXPECT_THAT(
      json(R"({"a":[[[[[[[[[1]]]]]]]]]})"),
      ElementsAre("c.json:1:14: tables and lists stand more than 8 deep inside each other"));
}

TEST(Config, AllProblemsAreTold) {
  EXPECT_THAT(problems_of("[log]\nlevel = 1\nformat = 2\n[limits]\ncpu = 2\nfoo = 1\n"),
              ElementsAre(HasSubstr("c.toml:2:9:"), HasSubstr("c.toml:3:10:"),
                          HasSubstr("c.toml:5:7:"), HasSubstr("c.toml:6:1:")));
}

TEST(Config, TheListOfProblemsIsBounded) {
  std::string text = "[log]\n";
  for (int i = 0; i < 250; ++i) text += fmt::format("k{} = 1\n", i);
  const auto lines = problems_of(text);
  ASSERT_EQ(lines.size(), kMaxProblems + 1);
  EXPECT_EQ(lines.back(), "c.toml: and 150 more problems");
}

TEST(Config, LimitsOfCountsAndSizes) {
  EXPECT_THAT(problems_of(std::string(kMaxFileBytes + 1, '#')),
              ElementsAre("c.toml: the file is longer than 1048576 bytes"));
  std::string rules = "[targets]\ninclude = [";
  for (std::size_t i = 0; i < kMaxRules; ++i) rules += "{ pid = 1 },";
  EXPECT_THAT(problems_of(rules + "]"), IsEmpty());
  EXPECT_THAT(problems_of(rules + "{ pid = 1 }]"),
              ElementsAre("c.toml:2:11: targets.include has 129 items, but must have at most 128"));
  EXPECT_THAT(problems_of("[targets]\ninclude = [{ exe = \"" +
                          std::string(kMaxPatternBytes + 1, 'a') + "\" }]"),
              ElementsAre(HasSubstr("it is longer than 1024 bytes")));
  EXPECT_THAT(problems_of("[targets]\ninclude = [{ exe = \"((a{100}){100}){100}\" }]"),
              ElementsAre(HasSubstr("for the whole value: ")));
}

TEST(Config, NestingThatWouldTakeTheStackIsRefused) {
  std::string dots = "a";
  while (dots.size() < 900'000) dots += ".a";
  EXPECT_THAT(problems_of(dots + " = 1"), ElementsAre(HasSubstr("more than 8 deep")));
  EXPECT_THAT(problems_of("x = \"a.b.c.d.e.f.g.h.i.j.k.l\" # a.b.c.d.e.f.g.h.i.j.k.l"),
              ElementsAre(HasSubstr("unknown section \"x\"")));
  EXPECT_THAT(problems_of("\"\"\"" + dots), ElementsAre(HasSubstr("this is not TOML")));
  EXPECT_THAT(problems_of("[node]\nname = [[[[[[[[1]]]]]]]]"),
              ElementsAre(HasSubstr("2:8: node.name is [[[[[[[]]]]]]] (a list)"),
                          HasSubstr("2:15: tables and lists stand more than 8 deep")));
  EXPECT_THAT(problems_of("x = " + std::string(500'000, '[')),
              ElementsAre(HasSubstr("this is not TOML")));
  EXPECT_THAT(problems_of(std::string(500'000, '['), Format::json),
              ElementsAre(HasSubstr("more than 8 deep")));
}

}  // namespace
}  // namespace tarsier::config
