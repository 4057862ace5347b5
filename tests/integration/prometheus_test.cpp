// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A real Prometheus scrapes the daemon; promtool reads what it says.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tarsier/livekit.h"

extern char** environ;

namespace tarsier {
namespace {

constexpr const char* kPrometheus = "/usr/bin/prometheus";
constexpr const char* kPromtool = "/usr/bin/promtool";

pid_t spawn(std::vector<std::string> words, int input, const std::string& output) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  if (input >= 0) ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = -1;
  if (::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid = -1;
  ::posix_spawn_file_actions_destroy(&actions);
  return pid;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A port that was free a moment ago; the caller tries again if somebody else took it.
std::string free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  (void)::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return std::to_string(ntohs(address.sin_port));
}

class PrometheusTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = live::unavailable(); !why.empty()) GTEST_SKIP() << why;
    if (::access(kPrometheus, X_OK) != 0 || ::access(kPromtool, X_OK) != 0) {
      GTEST_SKIP() << "prometheus and promtool are not installed (scripts/deps test)";
    }
    std::string pattern = testing::TempDir() + "/tarsier-prometheus-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    if (prometheus_ > 0) {
      ::kill(prometheus_, SIGKILL);
      ::waitpid(prometheus_, nullptr, 0);
    }
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }

  void start_prometheus(const std::string& target) {
    // The scrape configuration of the README.
    std::ofstream(directory_ + "/prometheus.yml")
        << "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
           "scrape_configs:\n"
           "  - job_name: tarsier\n"
           "    honor_labels: true\n"
           "    static_configs:\n"
           "      - targets: ['"
        << target << "']\n        labels: {container: target-container}\n";
    address_ = "127.0.0.1:" + free_port();
    prometheus_ = spawn({kPrometheus, "--config.file=" + directory_ + "/prometheus.yml",
                         "--storage.tsdb.path=" + directory_ + "/data",
                         "--web.listen-address=" + address_, "--log.level=error"},
                        -1, directory_ + "/log");
    ASSERT_GT(prometheus_, 0);
  }

  // The body of an instant query, once it has a result.
  std::string query(const std::string& expression) const {
    const auto deadline = std::chrono::steady_clock::now() + live::kDeadline;
    while (std::chrono::steady_clock::now() < deadline) {
      const live::Answer answer = live::http(address_, "GET", "/api/v1/query?query=" + expression);
      if (answer.status == 200 && answer.body.find("\"metric\"") != std::string::npos) {
        return answer.body;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return "no answer:\n" + read_file(directory_ + "/log");
  }

  std::string directory_, address_;
  pid_t prometheus_ = -1;
};

TEST_F(PrometheusTest, ScrapesAndAnswers) {
  const live::Daemon daemon;
  start_prometheus(daemon.metrics_address());
  EXPECT_NE(query("up==1").find("\"1\""), std::string::npos);
  EXPECT_NE(query("tarsier_probe_up%7Bprobe=%22tcp%22%7D==1").find("tcp"), std::string::npos);
  EXPECT_NE(query("tarsier_node_info").find("kernel"), std::string::npos);
  // Prometheus scrapes over TCP: that very connection is in the numbers.
  EXPECT_NE(query("tarsier_tcp_connections_active%7Bcomm=%22prometheus%22%7D%3E0").find("client"),
            std::string::npos);
}

TEST_F(PrometheusTest, PromtoolFindsNothingToSay) {
  const live::Daemon daemon;
  const std::string text = directory_ + "/metrics.txt";
  std::ofstream(text) << daemon.scrape().text();
  const int input = ::open(text.c_str(), O_RDONLY | O_CLOEXEC);
  const pid_t pid = spawn({kPromtool, "check", "metrics"}, input, directory_ + "/promtool");
  ::close(input);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0) << read_file(directory_ + "/promtool");
}

}  // namespace
}  // namespace tarsier
