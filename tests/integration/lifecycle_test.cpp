// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The daemon as a whole, from outside: start, endpoints, reload, faults, stop.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

#include "tarsier/livekit.h"

namespace tarsier {
namespace {

using live::Daemon;
using live::http;

class DaemonTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = live::unavailable(); !why.empty()) GTEST_SKIP() << why;
  }
};

struct Ended {
  int code;
  std::string output;
};

// Runs the binary to its end; standard output and error together.
Ended run(std::vector<std::string> words, bool close_output = false) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return {-1, ""};
  words.insert(words.begin(), std::getenv("TARSIER_BIN"));
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(fds[1], STDOUT_FILENO);
    ::dup2(fds[1], STDERR_FILENO);
    if (close_output) {
      ::close(STDOUT_FILENO);
      ::close(STDERR_FILENO);
    }
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(126);
  }
  ::close(fds[1]);
  Ended ended;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(fds[0], buffer, sizeof buffer)) > 0;) {
    ended.output.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fds[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ended;
}

std::string temporary(const std::string& name, const std::string& content) {
  const std::string path =
      testing::TempDir() + "/tarsier-" + std::to_string(::getpid()) + "-" + name;
  std::ofstream(path) << content;
  return path;
}

// The lines about TCP of one comm, as they stand there.
std::string tcp_samples_of(const live::Scrape& scrape, const std::string& comm) {
  std::istringstream lines(scrape.text());
  std::string found;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("tarsier_tcp_") && line.find("comm=\"" + comm + "\"") != std::string::npos)
      found += line + '\n';
  }
  return found;
}

TEST_F(DaemonTest, FirstScrapeSaysWhatMachineThisIs) {
  const Daemon daemon;
  const live::Scrape scrape = daemon.scrape();
  EXPECT_EQ(scrape.sum("tarsier_build_info"), 1);
  EXPECT_EQ(scrape.sum("tarsier_node_info"), 1);
  for (const char* probe : {"lifecycle", "sockets", "tcp", "process", "node"}) {
    EXPECT_EQ(scrape.sum("tarsier_probe_up", {{"probe", probe}}), 1) << probe;
  }
  EXPECT_TRUE(scrape.has("tarsier_processes"));
  EXPECT_EQ(http(daemon.metrics_address(), "GET", "/healthz").status, 200);
  EXPECT_EQ(http(daemon.metrics_address(), "GET", "/readyz").status, 200);
  EXPECT_TRUE(daemon.becomes_at_least("tarsier_http_requests_total",
                                      {{"server", "http"}, {"code", "2xx"}}, 3));
}

TEST_F(DaemonTest, StopsInOrderWithinTwoSecondsAndLeavesNothing) {
  Daemon daemon;
  const std::string socket = daemon.socket();
  EXPECT_EQ(daemon.stop(), 0);
  EXPECT_LT(daemon.stop_took().count(), 2000);
  EXPECT_NE(::access(socket.c_str(), F_OK), 0) << "the control socket is left";
}

TEST_F(DaemonTest, ApiAndControlSocketAnswer) {
  const Daemon daemon;
  EXPECT_NE(http(daemon.api_address(), "GET", "/api/v1/status").body.find("\"ready\": true"),
            std::string::npos);
  EXPECT_NE(http(daemon.socket(), "GET", "/api/v1/probes").body.find("\"tcp\""), std::string::npos);
  EXPECT_EQ(http(daemon.api_address(), "GET", "/api/v1/nothing").status, 404);
  EXPECT_EQ(http(daemon.api_address(), "GET", "/api/v1/probes/nothing").status, 404);
  // What changes state or carries more than numbers is not on the metrics listener.
  EXPECT_EQ(http(daemon.metrics_address(), "GET", "/api/v1/status").status, 404);
  // Another site's page in the user's browser, and a rebound name.
  EXPECT_EQ(http(daemon.api_address(), "GET", "/api/v1/status", "", {"Origin: http://evil.example"})
                .status,
            403);
}

TEST_F(DaemonTest, TheApiWantsItsToken) {
  const std::string token = temporary("token", "0123456789abcdef0123456789abcdef\n");
  ::chmod(token.c_str(), 0600);
  const Daemon daemon({"--set", "api.auth=token", "--set", "api.token_file=" + token});
  EXPECT_EQ(http(daemon.api_address(), "GET", "/api/v1/status").status, 401);
  EXPECT_EQ(http(daemon.api_address(), "GET", "/api/v1/status", "",
                 {"Authorization: Bearer 0123456789abcdef0123456789abcdef"})
                .status,
            200);
  EXPECT_EQ(http(daemon.socket(), "GET", "/api/v1/status").status, 200) << "root on the socket";
  ::unlink(token.c_str());
}

TEST_F(DaemonTest, ProbesStopAndStartAtRunTime) {
  const Daemon daemon;
  ASSERT_TRUE(daemon.scrape().has("tarsier_node_load"));
  EXPECT_EQ(http(daemon.socket(), "PATCH", "/api/v1/probes/node", R"({"enabled":false})").status,
            200);
  EXPECT_FALSE(daemon.scrape().has("tarsier_node_load"));
  EXPECT_TRUE(daemon.becomes("tarsier_probe_up", {{"probe", "node"}}, 0));
  EXPECT_EQ(http(daemon.socket(), "PATCH", "/api/v1/probes/node", R"({"enabled":true})").status,
            200);
  EXPECT_TRUE(daemon.eventually(
      [](const live::Scrape& scrape) { return scrape.has("tarsier_node_load"); }));
  EXPECT_EQ(http(daemon.socket(), "PATCH", "/api/v1/probes/tcp",
                 R"({"options":{"sample_interval":"1s"}})")
                .status,
            200);
  EXPECT_EQ(http(daemon.socket(), "PATCH", "/api/v1/probes/tcp",
                 R"({"options":{"sample_interval":"1ns"}})")
                .status,
            400);
}

TEST_F(DaemonTest, TwoDaemonsDoNotDisturbEachOther) {
  const Daemon first;
  {
    const Daemon second;
    EXPECT_EQ(second.scrape().sum("tarsier_probe_up", {{"probe", "tcp"}}), 1);
    EXPECT_EQ(first.scrape().sum("tarsier_tcp_connections_opened_total", {{"comm", "tarsier"}}), 0)
        << "one tarsier observes another";
  }
  EXPECT_EQ(first.scrape().sum("tarsier_probe_up", {{"probe", "tcp"}}), 1);
  EXPECT_EQ(http(first.socket(), "GET", "/api/v1/status").status, 200);
  // A third one that wants the first one's control socket says so and runs without.
  const Daemon third({"--socket", first.socket()});
  EXPECT_NE(third.log().find("running without a control socket"), std::string::npos);
  EXPECT_EQ(http(first.socket(), "GET", "/api/v1/status").status, 200);
}

TEST_F(DaemonTest, APortInUseIsAClearError) {
  const Daemon daemon;
  const Ended ended = run({"run", "--listen", daemon.metrics_address(), "--socket", "off"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.output.find("http.listen"), std::string::npos) << ended.output;
  EXPECT_NE(ended.output.find(daemon.metrics_address()), std::string::npos) << ended.output;
}

TEST_F(DaemonTest, AStaleControlSocketIsReplaced) {
  const std::string path = testing::TempDir() + "/tarsier-stale.sock";
  ::unlink(path.c_str());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(fd);  // nobody listens, the file stays
  {
    const Daemon daemon({"--socket", path});
    EXPECT_EQ(http(path, "GET", "/api/v1/status").status, 200);
  }
  ::unlink(path.c_str());
}

TEST_F(DaemonTest, ABadConfigurationIsRefusedBeforeTheStart) {
  const std::string file = temporary("bad.toml", "[limits]\nserie = 5\n");
  const Ended ended = run({"run", "--config", file});
  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.output.find(file + ":2:1:"), std::string::npos) << ended.output;
  EXPECT_NE(ended.output.find("series"), std::string::npos) << "no nearest key: " << ended.output;
  EXPECT_EQ(run({"check-config", file}).code, 1);
  ::unlink(file.c_str());
}

TEST_F(DaemonTest, ReloadsOnSighupAndOnChangeAndKeepsTheOldOneOnErrors) {
  const std::string file = temporary("reload.toml", "[probes.node]\nenabled = true\n");
  const Daemon daemon({"--config", file});
  ASSERT_TRUE(daemon.scrape().has("tarsier_node_load"));
  {
    std::ofstream(file) << "[probes.node]\nenabled = false\n";
  }
  EXPECT_TRUE(daemon.becomes("tarsier_probe_up", {{"probe", "node"}}, 0)) << "file change";
  EXPECT_TRUE(daemon.becomes_at_least("tarsier_config_reloads_total", {{"result", "ok"}}, 1));
  {
    std::ofstream(file) << "[probes.node]\nenabled = maybe\n";
  }
  EXPECT_TRUE(daemon.becomes_at_least("tarsier_config_reloads_total", {{"result", "refused"}}, 1));
  EXPECT_EQ(daemon.scrape().sum("tarsier_probe_up", {{"probe", "node"}}), 0);
  EXPECT_NE(daemon.log().find(file + ":2:"), std::string::npos);
  const double refused =
      daemon.scrape().sum("tarsier_config_reloads_total", {{"result", "refused"}});
  ::kill(daemon.pid(), SIGHUP);
  EXPECT_TRUE(daemon.becomes_at_least("tarsier_config_reloads_total", {{"result", "refused"}},
                                      refused + 1));
  ::unlink(file.c_str());
}

TEST_F(DaemonTest, HostileProcessNamesNeverCostAScrape) {
  const Daemon daemon;
  const std::vector<std::string> names = {"a\"b\\c", "new\nline", "\xff\xfe\xc0", "{x=\"y\"} 1"};
  std::vector<std::unique_ptr<live::Child>> children;
  live::Signal finish;
  for (const std::string& name : names) {
    children.push_back(std::make_unique<live::Child>(name, [&] { return finish.await(), 0; }));
  }
  for (const std::string expected :
       {"a\"b\\c", "new\nline", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", "{x=\"y\"} 1"}) {
    EXPECT_TRUE(daemon.becomes("tarsier_processes", {{"comm", expected}}, 1)) << expected;
  }
  for (std::size_t i = 0; i < names.size(); ++i) finish.send();
}

TEST_F(DaemonTest, TenScrapersSeeTheSameAndNoCounterFalls) {
  const Daemon daemon;
  std::vector<std::thread> scrapers;
  std::atomic<int> problems{0};
  for (int i = 0; i < 10; ++i) {
    scrapers.emplace_back([&] {
      std::map<std::pair<std::string, live::Labels>, double> last;
      for (int round = 0; round < 20; ++round) {
        const live::Scrape scrape = daemon.scrape();
        std::map<std::pair<std::string, live::Labels>, double> now;
        for (const live::Sample& sample : scrape.samples()) {
          if (!now.emplace(std::pair(sample.name, sample.labels), sample.value).second) ++problems;
        }
        for (const auto& [key, value] : last) {
          if (!key.first.ends_with("_total") && !key.first.ends_with("_count")) continue;
          const auto found = now.find(key);
          if (found == now.end() || found->second < value) ++problems;
        }
        for (const auto& [key, value] : now) {
          const auto inf = key.second.find("le");
          if (inf == key.second.end() || inf->second != "+Inf") continue;
          live::Labels plain = key.second;
          plain.erase("le");
          std::string count = key.first;
          count.replace(count.size() - 7, 7, "_count");
          if (now[{count, plain}] != value) ++problems;
        }
        last = std::move(now);
      }
    });
  }
  for (std::thread& scraper : scrapers) scraper.join();
  EXPECT_EQ(problems, 0);
}

TEST_F(DaemonTest, TenScrapersOfAQuietNodeGetEqualSamples) {
  const Daemon daemon;
  const std::string comm = "quiet-" + std::to_string(::getpid() % 10'000);
  live::as(comm, [] {
    for (int i = 0; i < 13; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in nobody{};
      nobody.sin_family = AF_INET;
      nobody.sin_port = htons(1);
      nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      (void)::connect(fd, reinterpret_cast<sockaddr*>(&nobody), sizeof nobody);
      ::close(fd);
    }
  });
  // Its connections do not move any more; its CPU time may, until the kernel has freed it.
  ASSERT_TRUE(daemon.becomes("tarsier_tcp_connect_failures_total", {{"comm", comm}}, 13));
  ASSERT_TRUE(daemon.becomes("tarsier_process_exits_total", {{"comm", comm}}, 1));
  std::vector<std::string> seen(10);
  std::vector<std::thread> scrapers;
  for (std::string& one : seen) {
    scrapers.emplace_back([&] { one = tcp_samples_of(daemon.scrape(), comm); });
  }
  for (std::thread& scraper : scrapers) scraper.join();
  EXPECT_NE(seen[0].find("tarsier_tcp_connect_failures_total"), std::string::npos) << seen[0];
  for (const std::string& one : seen) EXPECT_EQ(one, seen[0]);
}

TEST_F(DaemonTest, WithoutRightsItSaysSoAndExitsWithThree) {
  // A child without capabilities.
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) ::_exit(99);
    const Ended ended = run({"run", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--socket",
                             "off", "--set", "api.auth=none"});
    const bool says = ended.output.find("CAP_BPF") != std::string::npos ||
                      ended.output.find("BTF") != std::string::npos;
    if (!says) std::fprintf(stderr, "%s\n", ended.output.c_str());
    ::_exit(ended.code == 3 && says ? 0 : 1);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(DaemonTest, AMissingBtfIsAClearErrorAndCanBeDoneWithout) {
  const Ended ended = run({"run", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--socket",
                           "off", "--set", "kernel.btf=/nonexistent/btf"});
  EXPECT_EQ(ended.code, 3) << ended.output;
  EXPECT_NE(ended.output.find("/nonexistent/btf"), std::string::npos) << ended.output;
  const Daemon daemon({"--set", "kernel.btf=/nonexistent/btf", "--set", "daemon.without_bpf=true"});
  const live::Scrape scrape = daemon.scrape();
  EXPECT_EQ(scrape.sum("tarsier_probe_up", {{"probe", "node"}}), 1);
  EXPECT_EQ(scrape.sum("tarsier_probe_up", {{"probe", "tcp"}}), 0);
  EXPECT_TRUE(scrape.has("tarsier_probe_state_info", {{"probe", "tcp"}, {"state", "failed"}}));
}

// A daemon whose output nobody can read: found through its control socket.
class MuteDaemon {
 public:
  // `prepare` runs in the daemon's process before its program.
  explicit MuteDaemon(const std::function<void()>& prepare) {
    std::string pattern = testing::TempDir() + "/tarsier-mute-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    const std::string socket = directory_ + "/control.sock";
    pid_ = ::fork();
    if (pid_ == 0) {
      prepare();
      ::execl(std::getenv("TARSIER_BIN"), "tarsier", "run", "--listen", "127.0.0.1:0", "--api",
              "127.0.0.1:0", "--socket", socket.c_str(), nullptr);
      ::_exit(126);
    }
    const auto deadline = std::chrono::steady_clock::now() + live::kDeadline;
    while (metrics_.empty() && std::chrono::steady_clock::now() < deadline) {
      const std::string status = http(socket, "GET", "/api/v1/status").body;
      const auto at = status.find("127.0.0.1:");
      if (status.find("\"ready\": true") != std::string::npos && at != std::string::npos) {
        metrics_ = status.substr(at, status.find('"', at) - at);
      } else {
        ::usleep(20'000);
      }
    }
  }
  ~MuteDaemon() {
    if (pid_ > 0) stop();
    std::filesystem::remove_all(directory_);
  }
  MuteDaemon(const MuteDaemon&) = delete;
  MuteDaemon& operator=(const MuteDaemon&) = delete;

  [[nodiscard]] const std::string& metrics_address() const { return metrics_; }
  [[nodiscard]] live::Scrape scrape() const {
    return live::Scrape(http(metrics_, "GET", "/metrics").body);
  }
  int stop() {
    ::kill(pid_, SIGTERM);
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  std::string directory_, metrics_;
  pid_t pid_ = -1;
};

bool counts_lost_lines(const MuteDaemon& daemon) {
  const auto deadline = std::chrono::steady_clock::now() + live::kDeadline;
  while (std::chrono::steady_clock::now() < deadline) {
    if (daemon.scrape().sum("tarsier_log_lines_lost_total", {{"reason", "write"}}) > 0) return true;
    ::usleep(20'000);
  }
  return false;
}

TEST_F(DaemonTest, ClosedOutputDoesNotStopIt) {
  EXPECT_EQ(run({"metrics"}, true).code, 0);
  MuteDaemon daemon([] {
    ::close(STDIN_FILENO);
    ::close(STDOUT_FILENO);
    ::close(STDERR_FILENO);
  });
  ASSERT_NE(daemon.metrics_address(), "");
  EXPECT_EQ(daemon.scrape().sum("tarsier_probe_up", {{"probe", "tcp"}}), 1);
  EXPECT_TRUE(counts_lost_lines(daemon));
  EXPECT_EQ(daemon.stop(), 0);
}

// A log on a full disk loses its lines, and a token that cannot be kept closes the API; the numbers
// go on.
TEST_F(DaemonTest, AFullDiskCostsLinesAndNotNumbers) {
  const bool ours = ::mkdir("/run/tarsier", 0755) == 0;
  ASSERT_TRUE(ours || errno == EEXIST);
  MuteDaemon daemon([] {
    // Only this process sees the small file system.
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", "", MS_REC | MS_PRIVATE, "") != 0 ||
        ::mount("none", "/run/tarsier", "tmpfs", 0, "size=8k") != 0) {
      ::_exit(125);
    }
    const std::string page(4096, 'x');
    const int filler = ::open("/run/tarsier/filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (::write(filler, page.data(), page.size()) > 0) {
    }
    const int log = ::open("/run/tarsier/log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ::dup2(log, STDERR_FILENO);
  });
  ASSERT_NE(daemon.metrics_address(), "");
  EXPECT_EQ(daemon.scrape().sum("tarsier_probe_up", {{"probe", "tcp"}}), 1);
  EXPECT_TRUE(counts_lost_lines(daemon));
  EXPECT_EQ(daemon.stop(), 0);
  if (ours) ::rmdir("/run/tarsier");
}

// The walk of the hierarchy is bounded work before the first scrape, and no reason not to start.
TEST_F(DaemonTest, AHundredThousandCgroupsAreNoTrouble) {
  namespace fs = std::filesystem;
  constexpr int kSlices = 317, kScopes = 317;  // 100,806 with their parents
  const fs::path root = testing::TempDir() + "/tarsier-cgroups-" + std::to_string(::getpid());
  // The hierarchy as the machine has it, with as many directories in place of the real ones.
  fs::path mount;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string word, type;
    for (int i = 0; i < 5; ++i) fields >> word;
    if (word.find(' ') != std::string::npos) continue;
    while (fields >> type && type != "-") {
    }
    fields >> type;
    const bool memory = type == "cgroup" && word.find("memory") != std::string::npos;
    if (memory || (type == "cgroup2" && mount.empty())) mount = word;
  }
  ASSERT_FALSE(mount.empty()) << "this machine has no cgroups";
  const fs::path hierarchy = root.string() + mount.string();
  fs::create_directories(hierarchy);
  fs::create_directory_symlink("/proc", root / "proc");
  for (int slice = 0; slice < kSlices; ++slice) {
    const fs::path parent = hierarchy / ("pod" + std::to_string(slice) + ".slice");
    fs::create_directory(parent);
    for (int scope = 0; scope < kScopes; ++scope) {
      fs::create_directory(parent / ("docker-" + std::to_string(scope) + ".scope"));
    }
  }
  {
    const Daemon daemon({"--set", "node.root=" + root.string()});
    EXPECT_TRUE(daemon.becomes_at_least("tarsier_table_entries", {{"table", "cgroups"}},
                                        kSlices * kScopes));
    const live::Scrape scrape = daemon.scrape();
    EXPECT_EQ(scrape.sum("tarsier_table_refused_total", {{"table", "cgroups"}}), 0);
    EXPECT_EQ(scrape.sum("tarsier_probe_up", {{"probe", "tcp"}}), 1);
    EXPECT_LT(scrape.sum("process_resident_memory_bytes"), 100e6);
  }
  fs::remove_all(root);
}

TEST_F(DaemonTest, DoctorSpeaksJson) {
  const Ended ended = run({"doctor", "--json"});
  EXPECT_EQ(ended.code, 0) << ended.output;
  EXPECT_EQ(ended.output.front(), '{');
  EXPECT_NE(ended.output.find("\"hooks\""), std::string::npos);
}

}  // namespace
}  // namespace tarsier
