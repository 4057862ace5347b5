// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Records in, numbers out; no kernel.
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <vector>

#include "accounts.h"
#include "tarsier/testkit.h"

namespace tarsier {

extern const ProbeSpec process_probe;

namespace {

using process::Accounts;
using process::CpuTime;
using testkit::CaptureSinks;
using testkit::FakeMaps;

constexpr std::uint64_t kMs = 1'000'000, kSec = 1'000 * kMs;
constexpr std::uint64_t kBegan = 100 * kSec;
constexpr std::uint64_t kBorn = kBegan + kSec;  // of process 42, unless said otherwise

process_usage usage(std::uint64_t factor) {
  process_usage made{};
  made.user_ns = 2 * factor * kMs;
  made.system_ns = factor * kMs;
  made.runtime_ns = 3 * factor * kMs;
  made.minor_faults = 5 * factor;
  made.major_faults = 7 * factor;
  made.voluntary_switches = 11 * factor;
  made.involuntary_switches = 13 * factor;
  return made;
}

process_bytes bytes(std::uint64_t factor) {
  return {17 * factor, 19 * factor};
}

class ProcessTest : public testing::Test {
 protected:
  static process_sample sample(std::uint64_t factor, std::uint32_t tgid = 42,
                               std::uint64_t start_ns = kBorn) {
    process_sample made{};
    made.header = {0, PROCESS_SAMPLE, 0, tgid, start_ns};
    made.thread = usage(factor);
    made.io = bytes(factor);
    made.flags = PROCESS_HAS_GONE | PROCESS_HAS_GAUGES;
    made.resident_pages = 1009;
    made.open_fds = 23;
    made.threads = 1;
    return made;
  }
  static process_end end(std::uint16_t type, std::uint64_t factor, std::uint32_t status = 0,
                         std::uint64_t time_ns = kBegan + 20 * kSec,
                         std::uint64_t start_ns = kBorn) {
    process_end made{};
    made.header = {time_ns, type, 0, 42, start_ns};
    made.usage = usage(factor);
    made.exit_code = status;
    return made;
  }
  static process_io thread_io(std::uint64_t factor, std::uint64_t start_ns = kBorn) {
    process_io made{};
    made.header = {kBegan + 20 * kSec, PROCESS_THREAD_IO, 0, 42, start_ns};
    made.io = bytes(factor);
    return made;
  }
  void look(const std::vector<process_sample>& samples, std::uint64_t now_ns = kBegan + 5 * kSec,
            bool complete = true) {
    accounts_.begin_look();
    for (const process_sample& one : samples) accounts_.add_sample(one, now_ns, sinks_);
    accounts_.finish_look(complete, now_ns, sinks_);
  }
  double value(const std::string& metric, const std::string& whom = "42") {
    return sinks_.value("tarsier_process_" + metric, whom);
  }

  CaptureSinks sinks_;
  Accounts accounts_{kBegan, 4096, 3};
};

TEST_F(ProcessTest, ALookShowsEverything) {
  look({sample(10)});
  EXPECT_EQ(sinks_.text(),
            "tarsier_process_context_switches_total{type=\"involuntary\"} 130 @42\n"
            "tarsier_process_context_switches_total{type=\"voluntary\"} 110 @42\n"
            "tarsier_process_cpu_seconds_total{mode=\"system\"} 0.01 @42\n"
            "tarsier_process_cpu_seconds_total{mode=\"user\"} 0.02 @42\n"
            "tarsier_process_faults_total{type=\"major\"} 70 @42\n"
            "tarsier_process_faults_total{type=\"minor\"} 50 @42\n"
            "tarsier_process_io_bytes_total{direction=\"read\"} 170 @42\n"
            "tarsier_process_io_bytes_total{direction=\"write\"} 190 @42\n"
            "tarsier_process_oom_kills_total 0 @42\n"
            "tarsier_process_open_fds 23 @42\n"
            "tarsier_process_resident_bytes 4132864 @42\n"
            "tarsier_process_threads 1 @42\n"
            "tarsier_processes 1 @42");
}

TEST_F(ProcessTest, WhatWasBeforeIsNotCounted) {
  constexpr std::uint64_t kOld = kBegan - kSec;
  look({sample(1000, 42, kOld)});
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 0);
  EXPECT_EQ(value("cpu_seconds_total{mode=\"user\"}"), 0);
  EXPECT_EQ(value("open_fds"), 23);
  look({sample(1003, 42, kOld)}, kBegan + 10 * kSec);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 15);
  EXPECT_DOUBLE_EQ(value("cpu_seconds_total{mode=\"user\"}"), 0.006);
  // Before the first look nobody knows where it stood.
  accounts_.on_exit(end(PROCESS_EXIT, 5000, 0, kBegan + kSec, kOld + 1), sinks_);
  EXPECT_EQ(value("exits_total{code=\"0\"}"), 1);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 15);
}

TEST_F(ProcessTest, AProcessThatNoLookSawCountsWhole) {
  accounts_.on_exit(end(PROCESS_EXIT, 3, 0), sinks_);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 15);
  accounts_.on_gone(end(PROCESS_GONE, 4), sinks_);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 20);
  EXPECT_DOUBLE_EQ(value("cpu_seconds_total{mode=\"user\"}"), 0.008);
  EXPECT_EQ(accounts_.size(), 0U);
}

TEST_F(ProcessTest, AnEndToldTwiceCountsOnce) {
  look({sample(1)});
  for (int i = 0; i < 2; ++i) accounts_.on_exit(end(PROCESS_EXIT, 2, 3U << 8U), sinks_);
  EXPECT_EQ(value("exits_total{code=\"3\"}"), 1);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 10);
  accounts_.on_gone(end(PROCESS_GONE, 2), sinks_);
  EXPECT_EQ(accounts_.size(), 0U);
}

TEST_F(ProcessTest, ThreadsAndWhatTheyLeftBehindAddUp) {
  process_sample leader = sample(1);
  leader.gone = usage(100);
  leader.threads = 3;
  process_sample other = sample(10);
  other.flags = 0;
  look({leader, other, other});
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 5 * 121);
  EXPECT_EQ(value("threads"), 3);
  EXPECT_EQ(sinks_.value("tarsier_processes", "42"), 1);
  // A thread ends: its figures move from one place to the other, and nothing is counted again.
  leader.gone = usage(110);
  look({leader, other}, kBegan + 10 * kSec);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 5 * 121);
}

// Two threads with I/O, one of which ends: its bytes move, and nothing is counted again.
TEST_F(ProcessTest, BytesOfEndedThreadsAreKept) {
  const auto read = [&] { return value("io_bytes_total{direction=\"read\"}"); };
  process_sample other = sample(10);
  other.flags = 0;
  look({sample(1), other});
  EXPECT_EQ(read(), 17 * 11);
  accounts_.on_thread_io(thread_io(12), sinks_);
  EXPECT_EQ(read(), 17 * 11) << "how much of it is new, the next look tells";
  look({sample(2)}, kBegan + 10 * kSec);
  EXPECT_EQ(read(), 17 * 14);
  accounts_.on_thread_io(thread_io(3), sinks_);
  accounts_.on_exit(end(PROCESS_EXIT, 30), sinks_);
  EXPECT_EQ(read(), 17 * 15);
  accounts_.on_thread_io(thread_io(4), sinks_);  // was not yet out when the last one went
  EXPECT_EQ(read(), 17 * 19);
  EXPECT_EQ(value("io_bytes_total{direction=\"write\"}"), 19 * 19);
}

TEST_F(ProcessTest, BytesOfAProcessThatNoLookSaw) {
  accounts_.on_thread_io(thread_io(5), sinks_);
  accounts_.on_exit(end(PROCESS_EXIT, 1), sinks_);
  EXPECT_EQ(value("io_bytes_total{direction=\"read\"}"), 17 * 5);
}

TEST_F(ProcessTest, BytesFromBeforeAreNotCounted) {
  constexpr std::uint64_t kOld = kBegan - kSec;
  look({sample(100, 42, kOld)});
  accounts_.on_thread_io(thread_io(103, kOld), sinks_);
  accounts_.on_exit(end(PROCESS_EXIT, 103, 0, kBegan + 20 * kSec, kOld), sinks_);
  EXPECT_EQ(value("io_bytes_total{direction=\"read\"}"), 17 * 3);
}

// Thread ids have wrapped around: a thread comes before its leader, and what is gone comes twice.
TEST_F(ProcessTest, WhatIsGoneCountsOnceALook) {
  process_sample early = sample(1);
  early.flags = PROCESS_HAS_GONE;
  early.gone = usage(100);
  process_sample leader = sample(2);
  leader.gone = usage(101);  // the early thread ended in between
  look({early, leader});
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 5 * 103);
}

TEST_F(ProcessTest, AnIncompleteLookAddsNothingTwice) {
  look({sample(10)});
  look({sample(6)}, kBegan + 10 * kSec);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 50);
  look({sample(11)}, kBegan + 15 * kSec);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 55);
  EXPECT_NEAR(value("cpu_seconds_total{mode=\"user\"}"), 0.022, 1e-9);
}

// The reason why a look without the leader is not shown: what is gone would be missing.
TEST_F(ProcessTest, ALookWithoutTheLeaderWaits) {
  process_sample other = sample(10);
  other.flags = 0;
  look({other});
  EXPECT_EQ(sinks_.text(), "");
}

TEST_F(ProcessTest, AnEndedProcessHasNoGauges) {
  look({sample(1)});
  accounts_.on_exit(end(PROCESS_EXIT, 1, 0, kBegan + 6 * kSec), sinks_);
  sinks_.clear();
  process_sample zombie = sample(2);
  zombie.flags |= PROCESS_ENDED;
  look({zombie}, kBegan + 7 * kSec);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 5);
  EXPECT_TRUE(std::isnan(value("open_fds")));
  EXPECT_TRUE(std::isnan(sinks_.value("tarsier_processes", "42")));
  // Nobody knows its name any more.
  zombie.thread = usage(9);
  sinks_.clear();
  look({zombie}, kBegan + 60 * kSec);
  accounts_.on_gone(end(PROCESS_GONE, 10, 0, kBegan + 61 * kSec), sinks_);
  EXPECT_EQ(sinks_.text(), "");
  EXPECT_EQ(accounts_.size(), 0U);
}

// The record of its end is on its way; the framework has taken its gauges back already.
TEST_F(ProcessTest, AnEndThatIsNotToldYetShowsNoGauges) {
  look({sample(1)});
  sinks_.clear();
  process_sample zombie = sample(2);
  zombie.flags |= PROCESS_ENDED;
  look({zombie}, kBegan + 10 * kSec);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 5);
  EXPECT_TRUE(std::isnan(value("open_fds")));
  EXPECT_TRUE(std::isnan(sinks_.value("tarsier_processes", "42")));
}

TEST_F(ProcessTest, AZombieFromBeforeIsNobody) {
  process_sample zombie = sample(2, 42, kBegan - kSec);
  zombie.flags |= PROCESS_ENDED;
  look({zombie});
  EXPECT_EQ(sinks_.text(), "");
  EXPECT_EQ(accounts_.size(), 0U);
}

TEST_F(ProcessTest, ALostEndIsForgottenLate) {
  look({sample(1)});
  look({}, kBegan + 10 * kSec);
  look({}, kBegan + 15 * kSec);
  EXPECT_EQ(accounts_.size(), 1U);
  look({}, kBegan + 80 * kSec, false);
  EXPECT_EQ(accounts_.size(), 1U) << "a look that failed proves nothing";
  look({}, kBegan + 80 * kSec);
  EXPECT_EQ(accounts_.size(), 0U);
}

TEST_F(ProcessTest, AProcessOfThisMomentWaitsForTheNextLook) {
  look({sample(1, 42, kBegan + 5 * kSec - 9 * kMs)});
  EXPECT_EQ(sinks_.text(), "");
  EXPECT_EQ(accounts_.size(), 0U);
  look({sample(1, 42, kBegan + 5 * kSec - 10 * kMs)});
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 5);
}

TEST_F(ProcessTest, TooManyAreRefusedAndCounted) {
  look({sample(1, 1), sample(1, 2), sample(1, 3), sample(1, 4)});
  EXPECT_EQ(accounts_.size(), 3U);
  EXPECT_EQ(value("unfollowed_total", "node"), 1);
  EXPECT_TRUE(std::isnan(value("faults_total{type=\"minor\"}", "4")));
  // What is an event is counted all the same.
  process_end over = end(PROCESS_EXIT, 1, SIGKILL);
  over.header.tgid = 4;
  accounts_.on_exit(over, sinks_);
  EXPECT_EQ(value("exits_total{signal=\"SIGKILL\"}", "4"), 1);
}

TEST_F(ProcessTest, AReusedIdIsAnotherProcess) {
  look({sample(10)});
  look({sample(1, 42, kBorn + kSec)}, kBegan + 10 * kSec);
  EXPECT_EQ(value("faults_total{type=\"minor\"}"), 55);
}

TEST(ProcessExit, ReasonsAsWaitGivesThem) {
  const auto text = [](std::uint32_t status) {
    const auto reason = process::exit_reason(status);
    return reason.code + "|" + reason.signal;
  };
  EXPECT_EQ(text(0), "0|");
  EXPECT_EQ(text(3U << 8U), "3|");
  EXPECT_EQ(text(255U << 8U), "255|");
  EXPECT_EQ(text(SIGKILL), "|SIGKILL");
  EXPECT_EQ(text(SIGSEGV | 0x80U), "|SIGSEGV");
  EXPECT_EQ(text(SIGTERM), "|SIGTERM");
  EXPECT_EQ(text(SIGSYS), "|SIGSYS");
  EXPECT_EQ(text(32), "|SIG32");
  EXPECT_EQ(text(34), "|SIGRTMIN");
  EXPECT_EQ(text(37), "|SIGRTMIN+3");
  EXPECT_EQ(text(64), "|SIGRTMIN+30");
  EXPECT_EQ(text(127), "|SIG127");
}

// All names against the C library's.
TEST(ProcessExit, SignalNamesAreTheSystems) {
  for (unsigned number = 1; number < 32; ++number) {
    const std::string name = process::signal_name(number);
    ASSERT_TRUE(name.starts_with("SIG"));
    if (number == SIGIO) continue;  // glibc says POLL, everybody else IO
    EXPECT_EQ(name.substr(3), ::sigabbrev_np(static_cast<int>(number)));
  }
  EXPECT_EQ(process::signal_name(SIGIO), "SIGIO");
}

TEST(ProcessCpu, ScalesTheTicksToTheRuntime) {
  process_usage seen{};
  seen.runtime_ns = 900;
  EXPECT_EQ(process::scale({}, seen), (CpuTime{900, 0})) << "no tick has come yet";
  seen.system_ns = 100;
  EXPECT_EQ(process::scale({}, seen), (CpuTime{0, 900}));
  seen.user_ns = 200;
  EXPECT_EQ(process::scale({}, seen), (CpuTime{600, 300}));
  // Neither goes back when the ticks fall otherwise, and together they stay the runtime.
  EXPECT_EQ(process::scale({100, 500}, seen), (CpuTime{400, 500}));
  EXPECT_EQ(process::scale({800, 50}, seen), (CpuTime{800, 100}));
  EXPECT_EQ(process::scale({800, 150}, seen), (CpuTime{800, 150})) << "an incomplete look";
}

TEST(ProcessCpu, TakesYearsOfManyCpus) {
  process_usage seen{};
  seen.user_ns = 6'000'000'000ULL * kSec;
  seen.system_ns = 3'000'000'000ULL * kSec;
  seen.runtime_ns = 9'000'000'000ULL * kSec;
  const CpuTime cpu = process::scale({}, seen);
  EXPECT_EQ(cpu.user_ns + cpu.system_ns, seen.runtime_ns);
  EXPECT_NEAR(static_cast<double>(cpu.system_ns) / 1e18, 3, 1e-9);
}

// The plate's probe: which bytes are records.
class ProcessPlate : public testing::Test {
 protected:
  testkit::DefaultOptions options_{process_probe.options};
  testkit::FakeHost host_;
  CaptureSinks sinks_;
  std::unique_ptr<Probe> probe_ = process_probe.make({options_, host_, kBegan});
};

TEST_F(ProcessPlate, DecodesItsRecords) {
  EXPECT_TRUE(probe_->on_event(bytes_of(tarsier_header{1, PROCESS_EXEC, 0, 42, kBorn}), sinks_));
  process_io io{};
  io.header = {1, PROCESS_THREAD_IO, 0, 42, kBorn};
  io.io.read = 4096;
  EXPECT_TRUE(probe_->on_event(bytes_of(io), sinks_));
  EXPECT_FALSE(probe_->on_event(bytes_of(io).first(sizeof io - 1), sinks_));
  EXPECT_TRUE(probe_->on_event(bytes_of(tarsier_header{1, PROCESS_OOM_KILL, 0, 42, 0}), sinks_));
  process_end end{};
  end.header = {kBegan + 2 * kSec, PROCESS_EXIT, 0, 42, kBorn};
  end.exit_code = SIGTERM;
  EXPECT_TRUE(probe_->on_event(bytes_of(end), sinks_));
  end.header.type = PROCESS_GONE;
  end.usage.minor_faults = 3;
  EXPECT_TRUE(probe_->on_event(bytes_of(end), sinks_));
  EXPECT_EQ(sinks_.value("tarsier_process_execs_total", "42"), 1);
  EXPECT_EQ(sinks_.value("tarsier_process_oom_kills_total", "42"), 1);
  EXPECT_EQ(sinks_.value("tarsier_process_exits_total{signal=\"SIGTERM\"}", "42"), 1);
  EXPECT_EQ(sinks_.value("tarsier_process_faults_total{type=\"minor\"}", "42"), 3);
  EXPECT_EQ(sinks_.value("tarsier_process_io_bytes_total{direction=\"read\"}", "42"), 4096);
}

TEST_F(ProcessPlate, RefusesWhatIsNone) {
  process_end end{};
  for (const int type : {0, 6, 7, 65535}) {
    end.header.type = static_cast<std::uint16_t>(type);
    EXPECT_FALSE(probe_->on_event(bytes_of(end), sinks_)) << type;
  }
  end.header.type = PROCESS_EXIT;
  EXPECT_FALSE(probe_->on_event(bytes_of(end).first(sizeof end - 1), sinks_));
  EXPECT_FALSE(probe_->on_event(bytes_of(end).first(23), sinks_));
  EXPECT_FALSE(probe_->on_event({}, sinks_));
  EXPECT_EQ(sinks_.text(), "");
}

TEST_F(ProcessPlate, LooksThroughTheIterator) {
  FakeMaps maps;
  process_sample one{};
  one.header = {0, PROCESS_SAMPLE, 0, 42, kBorn};
  one.flags = PROCESS_HAS_GONE | PROCESS_HAS_GAUGES;
  one.open_fds = 3;
  maps.yield("sample", one);
  probe_->on_tick(kBegan + 5 * kSec, maps, sinks_);
  EXPECT_EQ(sinks_.value("tarsier_process_open_fds", "42"), 3);
  EXPECT_EQ(sinks_.value("tarsier_processes", "42"), 1);
}

}  // namespace
}  // namespace tarsier
