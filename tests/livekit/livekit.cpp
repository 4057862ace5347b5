// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tarsier/livekit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

extern char** environ;

namespace tarsier::live {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kPoll{50};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "livekit: %s\n", why.c_str());
  std::abort();
}

std::string read_all(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

int connect_to(const std::string& address) {
  if (address.starts_with('/')) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::strncpy(to.sun_path, address.c_str(), sizeof to.sun_path - 1);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return fd;
    ::close(fd);
    return -1;
  }
  const auto colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host == "[::]") host = "::1";
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found) != 0)
    return -1;
  int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
    ::close(fd);
    fd = -1;
  }
  ::freeaddrinfo(found);
  return fd;
}

std::string unchunk(std::string_view body) {
  std::string whole;
  while (true) {
    const auto end = body.find("\r\n");
    if (end == std::string_view::npos) return whole;
    std::size_t size = 0;
    std::from_chars(body.data(), body.data() + end, size, 16);
    if (size == 0 || end + 2 + size + 2 > body.size()) return whole;
    whole.append(body.substr(end + 2, size));
    body.remove_prefix(end + 2 + size + 2);
  }
}

// name{a="x",b="y"} value
bool parse_line(std::string_view line, Sample& sample) {
  const auto name_end = line.find_first_of("{ ");
  if (line.empty() || line[0] == '#' || name_end == std::string_view::npos) return false;
  sample.name = line.substr(0, name_end);
  line.remove_prefix(name_end);
  if (line[0] == '{') {
    line.remove_prefix(1);
    while (!line.empty() && line[0] != '}') {
      const auto equals = line.find("=\"");
      std::string label(line.substr(0, equals)), value;
      line.remove_prefix(equals + 2);
      while (line[0] != '"') {
        if (line[0] == '\\') {
          line.remove_prefix(1);
          value += line[0] == 'n' ? '\n' : line[0];
        } else {
          value += line[0];
        }
        line.remove_prefix(1);
      }
      line.remove_prefix(line.size() > 1 && line[1] == ',' ? 2 : 1);
      sample.labels[label] = value;
    }
    line.remove_prefix(1);
  }
  line.remove_prefix(1);
  if (line.starts_with('+')) line.remove_prefix(1);
  return std::from_chars(line.data(), line.data() + line.size(), sample.value).ec == std::errc();
}

}  // namespace

std::string unavailable() {
  if (!environment("TARSIER_METRICS").empty()) return {};
  if (::geteuid() != 0) return "live tests load BPF programs and need root";
  const std::string binary = environment("TARSIER_BIN");
  if (binary.empty() || ::access(binary.c_str(), X_OK) != 0) {
    return "TARSIER_BIN does not name the built daemon";
  }
  return {};
}

Scrape::Scrape(std::string text) : text_(std::move(text)) {
  std::string_view left = text_;
  while (!left.empty()) {
    const auto end = left.find('\n');
    Sample sample;
    if (parse_line(left.substr(0, end), sample)) samples_.push_back(std::move(sample));
    if (end == std::string_view::npos) break;
    left.remove_prefix(end + 1);
  }
}

double Scrape::sum(std::string_view name, const Labels& labels) const {
  double total = 0;
  for (const Sample& sample : samples_) {
    if (sample.name != name) continue;
    bool matches = true;
    for (const auto& [label, value] : labels) {
      const auto found = sample.labels.find(label);
      matches = matches && (found == sample.labels.end() ? value.empty() : found->second == value);
    }
    if (matches) total += sample.value;
  }
  return total;
}

bool Scrape::has(std::string_view name, const Labels& labels) const {
  for (const Sample& sample : samples_) {
    if (sample.name != name) continue;
    bool matches = true;
    for (const auto& [label, value] : labels) {
      const auto found = sample.labels.find(label);
      matches = matches && found != sample.labels.end() && found->second == value;
    }
    if (matches) return true;
  }
  return false;
}

Daemon::Daemon(std::vector<std::string> arguments) {
  metrics_ = environment("TARSIER_METRICS");
  if (!metrics_.empty()) return;
  start(std::move(arguments));
}

void Daemon::start(std::vector<std::string> arguments) {
  std::string pattern = "/tmp/tarsier-live-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) give_up("no temporary directory");
  directory_ = pattern;
  socket_ = directory_ + "/control.sock";
  std::vector<std::string> words = {environment("TARSIER_BIN"),
                                    "run",
                                    "--listen",
                                    "127.0.0.1:0",
                                    "--api",
                                    "127.0.0.1:0",
                                    "--socket",
                                    socket_,
                                    "--set",
                                    "api.auth=none",
                                    "--log-level",
                                    "debug"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  const std::string log = directory_ + "/log";
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (::posix_spawn(&pid_, words[0].c_str(), &actions, nullptr, argv.data(), environ) != 0) {
    give_up("start " + words[0] + ": " + std::strerror(errno));
  }
  ::posix_spawn_file_actions_destroy(&actions);

  const auto deadline = Clock::now() + kDeadline;
  while (Clock::now() < deadline) {
    const std::string text = read_all(log);
    if (text.find("ready after") != std::string::npos) {
      std::vector<std::string> addresses;
      std::istringstream lines(text);
      for (std::string line; std::getline(lines, line);) {
        const auto at = line.find("listening ");
        if (at != std::string::npos) addresses.push_back(line.substr(at + 10));
      }
      if (addresses.size() < 2) give_up("the daemon listens nowhere:\n" + text);
      metrics_ = addresses[0];
      api_ = addresses[1];
      return;
    }
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_)
      give_up("the daemon ended at its start:\n" + text);
    std::this_thread::sleep_for(kPoll);
  }
  give_up("the daemon did not become ready:\n" + read_all(log));
}

Daemon::~Daemon() {
  if (pid_ > 0) stop();
  if (!directory_.empty()) {
    for (const char* name : {"/log", "/control.sock"}) ::unlink((directory_ + name).c_str());
    ::rmdir(directory_.c_str());
  }
}

int Daemon::stop() {
  if (pid_ <= 0) return 0;
  const auto began = Clock::now();
  ::kill(pid_, SIGTERM);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  stop_took_ = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string Daemon::log() const {
  return directory_.empty() ? "" : read_all(directory_ + "/log");
}

Scrape Daemon::scrape() const {
  const Answer answer = http(metrics_, "GET", "/metrics");
  if (answer.status != 200) {
    give_up("GET /metrics at " + metrics_ + " answered " + std::to_string(answer.status) + "\n" +
            log());
  }
  return Scrape(answer.body);
}

bool Daemon::eventually(const std::function<bool(const Scrape&)>& condition) const {
  const auto deadline = Clock::now() + kDeadline;
  while (true) {
    if (condition(scrape())) return true;
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(kPoll);
  }
}

bool Daemon::becomes(std::string_view name, const Labels& labels, double value) const {
  double last = 0;
  // A counter that is past the value only gets worse.
  const bool grows = name.ends_with("_total") || name.ends_with("_count");
  const bool reached = eventually([&](const Scrape& scrape) {
    last = scrape.sum(name, labels);
    return last == value || (grows && last > value);
  });
  if (reached && last == value) return true;
  std::fprintf(stderr, "livekit: %s is %.17g and not %.17g (lost: %.17g)\n",
               std::string(name).c_str(), last, value, lost());
  return false;
}

bool Daemon::becomes_at_least(std::string_view name, const Labels& labels, double value) const {
  return eventually([&](const Scrape& scrape) { return scrape.sum(name, labels) >= value; });
}

double Daemon::lost() const {
  return scrape().sum("tarsier_probe_events_lost_total");
}

Answer http(const std::string& address, std::string_view method, std::string_view path,
            std::string_view body, const std::vector<std::string>& headers) {
  Answer answer;
  const int fd = connect_to(address);
  if (fd < 0) return answer;
  std::string request =
      std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" +
      "Connection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  for (const std::string& header : headers) request += header + "\r\n";
  request += "\r\n";
  request += body;
  (void)::send(fd, request.data(), request.size(), MSG_NOSIGNAL);
  std::string raw;
  char buffer[65536];
  pollfd ready{fd, POLLIN, 0};
  while (::poll(&ready, 1, 10'000) > 0) {
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n <= 0) break;
    raw.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  const auto end = raw.find("\r\n\r\n");
  if (end == std::string::npos || raw.size() < 12) return answer;
  answer.status = std::atoi(raw.c_str() + 9);
  answer.headers = raw.substr(0, end);
  answer.body = raw.substr(end + 4);
  if (answer.headers.find("chunked") != std::string::npos) answer.body = unchunk(answer.body);
  return answer;
}

Child::Child(const std::string& comm, const std::function<int()>& work) {
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::prctl(PR_SET_NAME, comm.c_str());
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::_exit(work());
}

Child::~Child() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

int Child::wait() {
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int as(const std::string& comm, const std::function<void()>& work) {
  return Child(comm,
               [&] {
                 work();
                 return 0;
               })
      .wait();
}

Signal::Signal() {
  if (::pipe2(fds_, O_CLOEXEC) != 0) give_up("no pipe");
}

Signal::~Signal() {
  ::close(fds_[0]);
  ::close(fds_[1]);
}

void Signal::send() const {
  (void)!::write(fds_[1], "x", 1);
}

void Signal::await() const {
  pollfd ready{fds_[0], POLLIN, 0};
  if (::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kDeadline).count())) <= 0) {
    give_up("waited for a signal that never came");
  }
  char byte = 0;
  (void)!::read(fds_[0], &byte, 1);
}

}  // namespace tarsier::live
