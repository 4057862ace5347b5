// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "integration/churn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/files.h"
#include "enrich/cgroups.h"

namespace tarsier::test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShortEvery = 10;
constexpr std::chrono::milliseconds kStep{2};

}  // namespace

Churn::Churn(std::string directory, const ChurnOptions& options)
    : directory_(std::move(directory)), options_(options) {
  problem_ = make_cgroups();
  if (!problem_.empty()) return;
  fs::create_directories(fs::path(directory_) / "var/run");
  for (const char* folder : {"proc", "sys", "etc"}) {
    fs::create_directory_symlink(fs::path("/") / folder, fs::path(directory_) / folder);
  }
  fs::create_symlink("/bin/sleep", fs::path(directory_) / kChurnComm);
  docker_ = std::make_unique<FakeDocker>(directory_ + "/var/run/docker.sock");
}

Churn::~Churn() {
  for (Job& job : jobs_) {
    if (job.pid > 0) {
      ::kill(job.pid, SIGKILL);
      reap(job, 0);
    }
    // The kernel may need a moment after the last process.
    for (int i = 0; i < 500 && !job.removed; ++i) {
      job.removed = ::rmdir(job.cgroup.c_str()) == 0 || errno != EBUSY;
      if (!job.removed) std::this_thread::sleep_for(kStep);
    }
  }
  if (made_parent_) ::rmdir(parent_.c_str());
}

std::string Churn::make_cgroups() {
  if (::geteuid() != 0) return "makes cgroups, which needs root";
  const auto hierarchy = enrich::find_hierarchy(base::HostFiles("/"));
  if (!hierarchy) return hierarchy.error().message;
  parent_ = hierarchy->mount_point + "/docker";
  made_parent_ = ::mkdir(parent_.c_str(), 0755) == 0;
  if (!made_parent_ && errno != EEXIST) {
    return fmt::format("make {}: {}", parent_, std::strerror(errno));
  }
  return {};
}

std::string Churn::id_of(std::size_t number) {
  return fmt::format("c0ffee{:06x}{:08x}{:044x}", number, ::getpid(), 0);
}

// As a runtime does it: the process moves into the cgroup and only then becomes the container's
// program.
bool Churn::start(std::size_t number) {
  Job job;
  job.id = id_of(number);
  job.cgroup = parent_ + "/" + job.id;
  docker_->create(job.id, fmt::format("job-{}", number % options_.names));
  if (::mkdir(job.cgroup.c_str(), 0755) != 0) {
    problem_ = fmt::format("make {}: {}", job.cgroup, std::strerror(errno));
    return false;
  }
  const auto life = number % kShortEvery == kShortEvery - 1 ? options_.short_life : options_.life;
  const std::string seconds = fmt::format("{:.3f}", static_cast<double>(life.count()) / 1000);
  const std::string program = directory_ + "/" + std::string(kChurnComm);
  const std::string procs = job.cgroup + "/cgroup.procs";
  job.pid = ::fork();
  if (job.pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int fd = ::open(procs.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, "0", 1) != 1) ::_exit(126);
    ::execl(program.c_str(), program.c_str(), seconds.c_str(), nullptr);
    ::_exit(127);
  }
  if (job.pid < 0) problem_ = fmt::format("fork: {}", std::strerror(errno));
  docker_->start(job.id);
  jobs_.push_back(std::move(job));
  return problem_.empty();
}

bool Churn::reap(Job& job, int flags) {
  if (::waitpid(job.pid, &job.status, flags) != job.pid) return false;
  job.pid = -1;
  return true;
}

void Churn::step(Job& job) {
  if (job.pid > 0 && reap(job, WNOHANG)) {
    if (WIFEXITED(job.status) && WEXITSTATUS(job.status) == 0) ++ended_well_;
    docker_->die(job.id);
    job.forget_at = Clock::now() + options_.forgotten_after;
  }
  if (job.pid < 0 && !job.removed) job.removed = ::rmdir(job.cgroup.c_str()) == 0;
}

std::size_t Churn::run(const std::function<bool()>& stop) {
  const auto began = Clock::now();
  std::size_t started = 0;
  while (!stop() && (started < options_.containers || !jobs_.empty())) {
    const std::chrono::duration<double> since = Clock::now() - began;
    while (started < options_.containers &&
           static_cast<double>(started) <= since.count() * options_.per_second) {
      if (!start(started++)) return ended_well_;
    }
    for (Job& job : jobs_) step(job);
    std::erase_if(jobs_, [&](const Job& job) {
      if (!job.removed || Clock::now() < job.forget_at) return false;
      docker_->destroy(job.id);
      return true;
    });
    std::this_thread::sleep_for(kStep);
  }
  return ended_well_;
}

}  // namespace tarsier::test
