// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "integration/peer.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/text.h"

namespace tarsier::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
constexpr auto kStep = std::chrono::milliseconds(10);

// Standard output and error go to `log`; -1: it could not be started.
pid_t start(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& argument : command)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = -1;
  if (::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ) != 0)
    pid = -1;
  ::posix_spawn_file_actions_destroy(&actions);
  return pid;
}

// Reaps the child if it has ended by then.
std::optional<int> wait_until(pid_t pid, Clock::time_point deadline) {
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (Clock::now() > deadline) return std::nullopt;
    std::this_thread::sleep_for(kStep);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

Directory::Directory() {
  std::string pattern = (fs::temp_directory_path() / "tarsier-XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}

Directory::~Directory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string Directory::path(std::string_view name) const {
  return (fs::path(path_) / name).string();
}

std::optional<std::string> find_program(std::string_view name) {
  const char* path = ::getenv("PATH");
  for (const std::string_view folder : base::split(path == nullptr ? "/usr/bin" : path, ':')) {
    std::string file = (fs::path(folder) / name).string();
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return std::nullopt;
}

Outcome run(const std::vector<std::string>& command) {
  const Directory directory;
  Outcome outcome;
  const pid_t pid = start(command, directory.path("output"));
  if (pid < 0) return outcome;
  if (const auto status = wait_until(pid, Clock::now() + std::chrono::seconds(60))) {
    outcome.status = *status;
  } else {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  outcome.output = content_of(directory.path("output"));
  return outcome;
}

Peer::Peer(const std::vector<std::string>& command, const std::string& log)
    : pid_(start(command, log)) {}

Peer::~Peer() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  if (wait_until(pid_, Clock::now() + std::chrono::seconds(5))) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool wait_for(const std::function<bool()>& condition) {
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(kStep);
  }
  return true;
}

std::string tail(const std::string& path) {
  const std::string text = content_of(path);
  return text.substr(text.size() - std::min<std::size_t>(text.size(), 2'000));
}

}  // namespace tarsier::test
