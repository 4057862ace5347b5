// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Real processes, counted by hand, by wait4() and by the daemon. Each test has processes with names
// of their own, so that nothing else on the machine can be in its numbers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tarsier/livekit.h"

extern char** environ;

namespace tarsier {
namespace {

using live::Child;
using live::Labels;
using live::Signal;

// A name that no other run of this test has, should two run at a time; at most 15 characters.
const pid_t kRun = ::getpid();
std::string own(const std::string& name) {
  std::string text;
  for (auto rest = static_cast<unsigned>(kRun); rest != 0; rest /= 36) {
    text += "0123456789abcdefghijklmnopqrstuvwxyz"[rest % 36];
  }
  return "p" + text + "-" + name;
}

// A process of its own name, and what the kernel says it used, its waited-for children included.
struct Ended {
  int status = -1;
  rusage usage{};
};
Ended run(const std::string& comm, const std::function<int()>& work) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_NAME, comm.c_str());
    ::_exit(work());
  }
  Ended ended;
  while (::wait4(pid, &ended.status, 0, &ended.usage) < 0 && errno == EINTR) {
  }
  return ended;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}
double cpu_of(const rusage& usage) {
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void burn(double cpu_seconds) {
  rusage usage{};
  do {
    ::getrusage(RUSAGE_THREAD, &usage);
  } while (cpu_of(usage) < cpu_seconds);
}

void touch_pages(std::size_t count) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* memory =
      ::mmap(nullptr, count * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ::madvise(memory, count * page, MADV_NOHUGEPAGE);
  for (std::size_t i = 0; i < count; ++i) static_cast<volatile char*>(memory)[i * page] = 1;
}

// A folder that goes away with its content.
class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "tarsier-live-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// A figure of "name: value" lines, as in /proc/PID/io; -1: not there.
long long figure(const std::string& file, const std::string& name) {
  std::ifstream lines(file);
  std::string word;
  long long value = -1;
  while (lines >> word) {
    if (word == name + ":") lines >> value;
  }
  return value;
}

class ProcessLive : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (live::unavailable().empty()) {
      daemon_ = std::make_unique<live::Daemon>(
          std::vector<std::string>{"--set", "probes.process.interval=1s"});
    }
  }
  static void TearDownTestSuite() { daemon_.reset(); }
  void SetUp() override {
    if (const std::string why = live::unavailable(); !why.empty()) GTEST_SKIP() << why;
  }

  static bool becomes(const std::string& metric, const Labels& labels, double value) {
    return daemon_->becomes("tarsier_process_" + metric, labels, value);
  }
  static double sum(const std::string& metric, const Labels& labels) {
    return daemon_->scrape().sum("tarsier_process_" + metric, labels);
  }

  // All figures of a group whose last process has ended, against what wait4() said.
  static void expect_usage(const std::string& comm, const Ended& ended, long processes) {
    const auto& usage = ended.usage;
    const double cpu = cpu_of(usage);
    const std::string prefix = "tarsier_process_";
    const auto figure = [&](const live::Scrape& scrape, const char* metric, const char* type) {
      Labels labels{{"comm", comm}};
      if (type != nullptr) labels["type"] = type;
      return scrape.sum(prefix + metric, labels);
    };
    // A look in the middle of its life may show one figure whole and another one not.
    std::string last;
    const bool equal = daemon_->eventually([&](const live::Scrape& scrape) {
      const double minor = figure(scrape, "faults_total", "minor");
      const double major = figure(scrape, "faults_total", "major");
      const double voluntary = figure(scrape, "context_switches_total", "voluntary");
      const double involuntary = figure(scrape, "context_switches_total", "involuntary");
      const double seconds = figure(scrape, "cpu_seconds_total", nullptr);
      std::ostringstream words;
      words << "minor faults " << minor << ", major " << major << ", voluntary switches "
            << voluntary << ", involuntary " << involuntary << ", CPU seconds " << seconds;
      last = words.str();
      // wait4() can come before or after the very last switch, away from the dead task.
      const auto slack = static_cast<double>(processes);
      return minor == static_cast<double>(usage.ru_minflt) &&
             major == static_cast<double>(usage.ru_majflt) &&
             std::abs(voluntary - static_cast<double>(usage.ru_nvcsw)) <= slack &&
             std::abs(involuntary - static_cast<double>(usage.ru_nivcsw)) <= slack &&
             std::abs(seconds - cpu) <= 0.02 * cpu + 0.002;
    });
    EXPECT_TRUE(equal) << "wait4 says: minor faults " << usage.ru_minflt << ", major "
                       << usage.ru_majflt << ", voluntary switches " << usage.ru_nvcsw
                       << ", involuntary " << usage.ru_nivcsw << ", CPU seconds " << cpu
                       << "\nthe daemon: " << last;
  }

  static std::unique_ptr<live::Daemon> daemon_;
};

std::unique_ptr<live::Daemon> ProcessLive::daemon_;

TEST_F(ProcessLive, CountsExecsUnderTheNewName) {
  const Folder folder;
  const std::string program = folder / own("exec");
  std::filesystem::create_symlink(std::filesystem::read_symlink("/proc/self/exe"), program);
  const Ended starter = run(own("starter"), [&] {
    std::string name = own("exec"), list = "--gtest_list_tests";
    char* arguments[] = {name.data(), list.data(), nullptr};
    posix_spawn_file_actions_t quiet;
    ::posix_spawn_file_actions_init(&quiet);
    ::posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    for (int i = 0; i < 13; ++i) {
      pid_t pid = -1;
      if (::posix_spawn(&pid, program.c_str(), &quiet, nullptr, arguments, environ) != 0) return 1;
      int status = 0;
      if (::waitpid(pid, &status, 0) != pid || status != 0) return 2;
    }
    return 0;
  });
  ASSERT_EQ(starter.status, 0);
  EXPECT_TRUE(becomes("execs_total", {{"comm", own("exec")}}, 13));
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("exec")}, {"code", "0"}}, 13));
  EXPECT_EQ(sum("exits_total", {{"comm", own("exec")}}), 13);
  EXPECT_EQ(sum("execs_total", {{"comm", own("starter")}}), 0);
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("starter")}}, 1));
}

TEST_F(ProcessLive, SaysHowProcessesEnded) {
  for (int i = 0; i < 7; ++i) EXPECT_EQ(run(own("ends"), [] { return 3; }).status, 3 << 8);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(run(own("ends"), [] { return ::raise(SIGKILL); }).status, SIGKILL);
  }
  const Ended crash = run(own("ends"), [] {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::signal(SIGSEGV, SIG_DFL);
    return ::raise(SIGSEGV);
  });
  EXPECT_EQ(WTERMSIG(crash.status), SIGSEGV);
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("ends")}, {"code", "3"}}, 7));
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("ends")}, {"signal", "SIGKILL"}}, 5));
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("ends")}, {"signal", "SIGSEGV"}}, 1));
  EXPECT_EQ(sum("exits_total", {{"comm", own("ends")}}), 13);
  EXPECT_FALSE(
      daemon_->scrape().has("tarsier_process_exits_total",
                            {{"comm", own("ends")}, {"code", "3"}, {"signal", "SIGKILL"}}));
}

// A process is its threads: one exit, whoever goes last, and the code that the parent gets.
TEST_F(ProcessLive, AThreadedProcessEndsOnce) {
  const Ended by_call = run(own("thr1"), [] {
    for (int i = 0; i < 11; ++i) std::thread([] { ::pause(); }).detach();
    return 5;
  });
  EXPECT_EQ(by_call.status, 5 << 8);
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("thr1")}, {"code", "5"}}, 1));
  // The leader goes first and does not come back.
  const Ended leaderless = run(own("thr2"), [] {
    std::thread([] {
      burn(0.05);
      ::_exit(9);
    }).detach();
    ::syscall(SYS_exit, 0);  // pthread_exit() would unwind through the test framework
    return 1;
  });
  EXPECT_EQ(leaderless.status, 9 << 8);
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("thr2")}, {"code", "9"}}, 1));
  EXPECT_EQ(sum("exits_total", {{"comm", own("thr2")}}), 1);
  expect_usage(own("thr2"), leaderless, 2);
}

TEST_F(ProcessLive, UsageIsWhatWaitSays) {
  const Ended ended = run(own("use"), [] {
    touch_pages(1009);
    std::vector<std::thread> threads;
    for (int i = 0; i < 5; ++i) threads.emplace_back([] { burn(0.023); });
    for (auto& thread : threads) thread.join();
    burn(0.2);
    for (int i = 0; i < 17; ++i) ::usleep(1000);
    return 0;
  });
  ASSERT_EQ(ended.status, 0);
  EXPECT_GE(ended.usage.ru_minflt, 1009);
  expect_usage(own("use"), ended, 6);
}

// Short processes that no look ever saw: nothing of them may be missing.
TEST_F(ProcessLive, ShortProcessesCountWhole) {
  const Ended ended = run(own("short"), [] {
    for (int i = 0; i < 499; ++i) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        touch_pages(3);
        ::_exit(0);
      }
      if (::waitpid(pid, nullptr, 0) != pid) return 1;
    }
    return 0;
  });
  ASSERT_EQ(ended.status, 0);
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("short")}, {"code", "0"}}, 500));
  expect_usage(own("short"), ended, 500);
  EXPECT_EQ(daemon_->lost(), 0);
}

TEST_F(ProcessLive, ShowsWhatARunningProcessHolds) {
  Signal ready, finish;
  Child child(own("live"), [&] {
    touch_pages(5003);
    for (int i = 0; i < 17; ++i) (void)::open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 6; ++i) std::thread([] { ::pause(); }).detach();
    burn(0.2);
    ready.send();
    finish.await();
    return 0;
  });
  ready.await();
  const std::string proc = "/proc/" + std::to_string(child.pid());
  const auto fds = std::distance(std::filesystem::directory_iterator(proc + "/fd"), {});
  const Labels who{{"comm", own("live")}};
  EXPECT_TRUE(becomes("threads", who, 7));
  EXPECT_TRUE(becomes("open_fds", who, static_cast<double>(fds)));
  EXPECT_TRUE(daemon_->becomes("tarsier_processes", who, 1));
  EXPECT_TRUE(daemon_->becomes_at_least("tarsier_process_cpu_seconds_total", who, 0.2));
  // An emulated CPU needs a while for the pages and threads; a wrong unit would be far beyond.
  EXPECT_LT(sum("cpu_seconds_total", who), 2);
  // Each CPU may hold back some pages of each kind: see resident_pages() in process.bpf.c.
  const double resident = static_cast<double>(figure(proc + "/status", "VmRSS")) * 1024;
  EXPECT_GE(resident, 5003.0 * 4096);
  const double slack = 3.0 * 32 * 4096 * static_cast<double>(::sysconf(_SC_NPROCESSORS_CONF));
  EXPECT_NEAR(sum("resident_bytes", who), resident, slack);
  EXPECT_EQ(sum("oom_kills_total", who), 0);
  finish.send();
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(daemon_->becomes("tarsier_processes", who, 0));
  EXPECT_TRUE(becomes("threads", who, 0));
  EXPECT_TRUE(becomes("resident_bytes", who, 0));
}

TEST_F(ProcessLive, EqualNamesAddUp) {
  Signal finish;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 3; ++i) {
    children.push_back(std::make_unique<Child>(own("equal"), [&] {
      finish.await();
      return 0;
    }));
  }
  EXPECT_TRUE(daemon_->becomes("tarsier_processes", {{"comm", own("equal")}}, 3));
  EXPECT_TRUE(becomes("threads", {{"comm", own("equal")}}, 3));
  for (int i = 0; i < 3; ++i) finish.send();
  for (auto& child : children) EXPECT_EQ(child->wait(), 0);
  EXPECT_TRUE(daemon_->becomes("tarsier_processes", {{"comm", own("equal")}}, 0));
}

TEST_F(ProcessLive, ARenamedProcessMovesOn) {
  Signal rename, renamed, finish;
  Child child(own("before"), [&] {
    rename.await();
    ::prctl(PR_SET_NAME, own("after").c_str());
    finish.await();
    return 3;
  });
  EXPECT_TRUE(daemon_->becomes("tarsier_processes", {{"comm", own("before")}}, 1));
  rename.send();
  EXPECT_TRUE(daemon_->becomes("tarsier_processes", {{"comm", own("after")}}, 1));
  EXPECT_TRUE(daemon_->becomes("tarsier_processes", {{"comm", own("before")}}, 0));
  finish.send();
  EXPECT_EQ(child.wait(), 3);
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("after")}, {"code", "3"}}, 1));
  EXPECT_EQ(sum("exits_total", {{"comm", own("before")}}), 0);
}

// The kernel adds a child's bytes to its parent when it waits; they must not be counted for both.
TEST_F(ProcessLive, BytesBelongToWhoMovedThem) {
  const Folder folder;
  const std::string file = folder / "data";
  auto* told = static_cast<long long*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(told, MAP_FAILED);
  const Ended parent = run(own("parent"), [&] {
    const Ended child = run(own("writer"), [&] {
      const int fd = ::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
      const std::string data(257 * 4096, 'x');
      if (::write(fd, data.data(), data.size()) != static_cast<ssize_t>(data.size())) return 1;
      ::fsync(fd);
      // A thread that is gone before the process is: its bytes stay.
      std::thread([&] {
        ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        std::string back(data.size(), '\0');
        (void)!::pread(fd, back.data(), back.size(), 0);
      }).join();
      told[0] = figure("/proc/self/io", "read_bytes");
      told[1] = figure("/proc/self/io", "write_bytes");
      return 0;
    });
    return child.status;
  });
  ASSERT_EQ(parent.status, 0);
  const auto read = static_cast<double>(told[0]), written = static_cast<double>(told[1]);
  ::munmap(told, 4096);
  if (written <= 0) GTEST_SKIP() << "the temporary folder is not on storage";
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("parent")}}, 1));
  EXPECT_TRUE(
      becomes("io_bytes_total", {{"comm", own("writer")}, {"direction", "write"}}, written));
  EXPECT_TRUE(becomes("io_bytes_total", {{"comm", own("writer")}, {"direction", "read"}}, read));
  EXPECT_GE(written, 257 * 4096);
  EXPECT_EQ(sum("io_bytes_total", {{"comm", own("parent")}, {"direction", "write"}}), 0);
}

TEST_F(ProcessLive, WhatWasBeforeTheDaemonIsNotCounted) {
  if (daemon_->foreign()) GTEST_SKIP() << "the daemon was started by somebody else";
  Signal burnt, go, again, finish;
  Child child(own("old"), [&] {
    burn(0.3);
    touch_pages(10'007);
    burnt.send();
    go.await();
    touch_pages(1009);
    again.send();
    finish.await();
    return 0;
  });
  burnt.await();
  live::Daemon late({"--set", "probes.process.interval=1s"});
  const Labels who{{"comm", own("old")}};
  EXPECT_EQ(late.scrape().sum("tarsier_processes", who), 1);
  EXPECT_LT(late.scrape().sum("tarsier_process_cpu_seconds_total", who), 0.05);
  EXPECT_LT(late.scrape().sum("tarsier_process_faults_total", who), 100);
  go.send();
  again.await();
  EXPECT_TRUE(late.becomes_at_least("tarsier_process_faults_total", who, 1009));
  EXPECT_LT(late.scrape().sum("tarsier_process_faults_total", who), 1109);
  finish.send();
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(late.becomes("tarsier_process_exits_total", who, 1));
  EXPECT_LT(late.scrape().sum("tarsier_process_faults_total", who), 1209);
}

// A cgroup with too little memory, in whichever hierarchy has the controller.
class TightCgroup {
 public:
  explicit TightCgroup(const std::string& limit) {
    for (const char* root : {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"}) {
      const std::string folder = std::string(root) + "/tarsier-live-" + std::to_string(::getpid());
      if (::mkdir(folder.c_str(), 0755) != 0) continue;
      put(std::string(root) + "/cgroup.subtree_control", "+memory");
      if (put(folder + "/memory.limit_in_bytes", limit) || put(folder + "/memory.max", limit)) {
        put(folder + "/memory.swap.max", "0");
        folder_ = folder;
        return;
      }
      ::rmdir(folder.c_str());
    }
  }
  ~TightCgroup() {
    if (!folder_.empty()) ::rmdir(folder_.c_str());
  }
  TightCgroup(const TightCgroup&) = delete;
  TightCgroup& operator=(const TightCgroup&) = delete;
  [[nodiscard]] bool made() const { return !folder_.empty(); }
  [[nodiscard]] bool enter() const { return put(folder_ + "/cgroup.procs", "0"); }

 private:
  static bool put(const std::string& file, const std::string& text) {
    const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::close(fd);
    return done;
  }
  std::string folder_;
};

TEST_F(ProcessLive, CountsWhoTheKernelKilledForMemory) {
  const TightCgroup tight("33554432");
  if (!tight.made()) GTEST_SKIP() << "no cgroup with a memory controller can be made here";
  for (int i = 0; i < 3; ++i) {
    const Ended ended = run(own("oom"), [&] {
      if (!tight.enter()) return 1;
      touch_pages(65'536);
      return 2;
    });
    EXPECT_EQ(ended.status & 0x7f, SIGKILL);
  }
  EXPECT_TRUE(becomes("oom_kills_total", {{"comm", own("oom")}}, 3));
  EXPECT_TRUE(becomes("exits_total", {{"comm", own("oom")}, {"signal", "SIGKILL"}}, 3));
}

}  // namespace
}  // namespace tarsier
