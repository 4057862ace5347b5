// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/processes.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tarsier::enrich {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

class Processes : public testing::Test {
 protected:
  void fork(std::uint32_t tgid, std::uint64_t start_ns, std::string_view comm,
            std::uint64_t cgroup_id = 1) {
    table_.on(ForkEvent{start_ns, tgid, start_ns, 1, to_comm(comm), cgroup_id});
  }
  void exec(std::uint32_t tgid, std::uint64_t start_ns, std::uint64_t time_ns,
            std::string_view comm) {
    table_.on(ExecEvent{time_ns, tgid, start_ns, to_comm(comm), 0});
  }
  void exit(std::uint32_t tgid, std::uint64_t start_ns, std::uint64_t time_ns,
            std::string_view comm = "") {
    table_.on(ExitEvent{time_ns, tgid, start_ns, to_comm(comm), 0});
  }
  std::string name(std::uint32_t tgid, std::uint64_t start_ns, std::uint64_t time_ns) {
    const ProcessVersion* version = table_.at(tgid, start_ns, time_ns);
    return version == nullptr ? "nobody" : std::string(text_of(version->comm));
  }

  ProcessTable table_;
};

TEST_F(Processes, ForkExecExitInOneRoundKeepTheirNames) {
  fork(100, 1000, "bash");
  exec(100, 1000, 2000, "curl");
  exit(100, 1000, 3000);
  EXPECT_EQ(name(100, 1000, 1000), "bash");
  EXPECT_EQ(name(100, 1000, 1999), "bash");
  EXPECT_EQ(name(100, 1000, 2000), "curl");
  EXPECT_EQ(name(100, 1000, 3000), "curl");
  EXPECT_EQ(name(100, 1000, 9000), "curl");
  EXPECT_EQ(table_.live(), 0U);
}

TEST_F(Processes, ATimeBeforeTheFirstVersionGivesTheFirst) {
  fork(100, 1000, "bash");
  exec(100, 1000, 2000, "curl");
  EXPECT_EQ(name(100, 1000, 5), "bash");
}

TEST_F(Processes, AnEndedOneResolvesForTheGraceTime) {
  fork(100, 1000, "job");
  exit(100, 1000, kSecond);
  table_.expire(kSecond + 10 * kSecond - 1);
  EXPECT_EQ(name(100, 1000, 1000), "job");
  EXPECT_EQ(table_.ended(), 1U);
  table_.expire(kSecond + 10 * kSecond);
  EXPECT_EQ(name(100, 1000, 1000), "nobody");
  EXPECT_EQ(table_.ended(), 0U);
}

TEST_F(Processes, AReusedTgidIsSomebodyElse) {
  fork(100, 1000, "old");
  exit(100, 1000, 2000);
  fork(100, 3000, "new");
  EXPECT_EQ(name(100, 1000, 1500), "old");
  EXPECT_EQ(name(100, 3000, 3500), "new");
  EXPECT_EQ(name(100, 0, 3500), "new");
  EXPECT_EQ(name(100, 2222, 2222), "nobody");
  EXPECT_EQ(table_.live(), 1U);
  EXPECT_EQ(table_.ended(), 1U);
  EXPECT_EQ(table_.stats().unseen_ends, 0U);
  table_.expire(2000 + 10 * kSecond);
  EXPECT_EQ(name(100, 1000, 1500), "nobody");
  EXPECT_EQ(name(100, 3000, 3500), "new");
}

TEST_F(Processes, ALostExitIsSeenWhenTheTgidIsReused) {
  fork(100, 1000, "old");
  fork(100, 3000, "new");
  EXPECT_EQ(table_.live(), 1U);
  EXPECT_EQ(table_.stats().unseen_ends, 1U);
  EXPECT_EQ(name(100, 1000, 1500), "old");
}

TEST_F(Processes, LateWordsAboutAForgottenOneDoNotDisplaceTheOwner) {
  fork(100, 3000, "new");
  exec(100, 1000, 1500, "old");
  exit(100, 1000, 2000, "old");
  EXPECT_EQ(name(100, 0, 4000), "new");
  EXPECT_EQ(table_.live(), 1U);
}

TEST_F(Processes, ARenameAndACgroupMoveAreVersions) {
  fork(100, 1000, "runc", 7);
  table_.on(CgroupMoveEvent{2000, 100, 1000, 8});
  table_.on(RenameEvent{3000, 100, 1000, to_comm("runc:[2:INIT]")});
  table_.on(RenameEvent{3500, 100, 1000, to_comm("runc:[2:INIT]")});  // no change, no version
  exec(100, 1000, 4000, "nginx");
  EXPECT_EQ(table_.at(100, 1000, 1500)->cgroup_id, 7U);
  EXPECT_EQ(table_.at(100, 1000, 2000)->cgroup_id, 8U);
  EXPECT_EQ(name(100, 1000, 2999), "runc");
  EXPECT_EQ(name(100, 1000, 3999), "runc:[2:INIT]");
  EXPECT_EQ(name(100, 1000, 4000), "nginx");
  EXPECT_EQ(table_.at(100, 1000, 4000)->cgroup_id, 8U);
  EXPECT_EQ(table_.find(100, 1000)->version_count, 4U);
  EXPECT_EQ(table_.stats().versions_dropped, 0U);
}

TEST_F(Processes, TheOldestVersionGoesAndIsCounted) {
  std::vector<std::string> gone;
  table_.set_on_gone([&](const Process&, const ProcessVersion& version) {
    gone.emplace_back(text_of(version.comm));
  });
  fork(100, 1000, "v0");
  table_.at(100, 1000, 1000)->state = LabelState::resolved;
  for (std::uint64_t i = 1; i <= 4; ++i) exec(100, 1000, 1000 + i, "v" + std::to_string(i));
  EXPECT_EQ(table_.stats().versions_dropped, 1U);
  EXPECT_EQ(gone, std::vector<std::string>{"v0"});
  EXPECT_EQ(name(100, 1000, 1000), "v1");
  EXPECT_EQ(name(100, 1000, 1004), "v4");
}

TEST_F(Processes, AnExecUnderTheSameNameGetsLabelsOfItsOwn) {
  fork(100, 1000, "python3");
  table_.at(100, 1000, 1000)->state = LabelState::resolved;
  exec(100, 1000, 2000, "python3");
  EXPECT_EQ(table_.at(100, 1000, 1500)->state, LabelState::resolved);
  EXPECT_EQ(table_.at(100, 1000, 2000)->state, LabelState::none);
}

TEST_F(Processes, AnExitUnderANameThatNobodyToldIsAVersion) {
  fork(100, 1000, "bash");
  exit(100, 1000, 3000, "renamed");
  EXPECT_EQ(name(100, 1000, 2999), "bash");
  EXPECT_EQ(name(100, 1000, 3000), "renamed");
}

TEST_F(Processes, AnExitOfAnUnknownOneStillResolves) {
  exit(100, 1000, 3000, "short");
  EXPECT_EQ(name(100, 1000, 3000), "short");
  EXPECT_EQ(table_.live(), 0U);
  EXPECT_EQ(table_.ended(), 1U);
}

TEST_F(Processes, TheOwnerHearsOfVersionsThatAreForgotten) {
  int gone = 0;
  table_.set_on_gone([&](const Process& process, const ProcessVersion& version) {
    EXPECT_EQ(process.tgid, 100U);
    EXPECT_EQ(version.identity, 42U);
    ++gone;
  });
  fork(100, 1000, "bash");
  ProcessVersion* version = table_.at(100, 1000, 1000);
  version->identity = 42;
  version->state = LabelState::pending;
  exec(100, 1000, 2000, "curl");  // this one was never asked for
  exit(100, 1000, 3000);
  EXPECT_EQ(gone, 0);
  table_.expire(3000 + 10 * kSecond);
  EXPECT_EQ(gone, 1);
}

TEST_F(Processes, ASnapshotAndEventsAreOneProcess) {
  // /proc rounds the start down to a tick; the event is exact.
  const SnapshotEntry entry{100, 5'000'000'000, 10'000'000, 1, to_comm("nginx"), 9};
  table_.apply_snapshot({&entry, 1}, 20 * kSecond);
  EXPECT_EQ(name(100, 5'003'000'000, 20 * kSecond), "nginx");
  EXPECT_EQ(name(100, 5'010'000'000, 20 * kSecond), "nobody");  // a tick later is somebody else
  exit(100, 5'003'000'000, 21 * kSecond);
  EXPECT_EQ(table_.live(), 0U);
  EXPECT_EQ(table_.ended(), 1U);
}

TEST_F(Processes, TheFirstExactWordAboutASnapshotsProcessIsKept) {
  const SnapshotEntry entry{100, 5'000'000'000, 10'000'000, 1, to_comm("old"), 9};
  table_.apply_snapshot({&entry, 1}, 20 * kSecond);
  exec(100, 5'003'000'000, 21 * kSecond, "older");
  fork(100, 22 * kSecond, "new");
  EXPECT_EQ(name(100, 5'003'000'000, 21 * kSecond), "older");
  EXPECT_EQ(name(100, 5'004'000'000, 21 * kSecond), "nobody");
}

TEST_F(Processes, ASnapshotThatComesAfterTheEventsAddsNothing) {
  fork(100, 5'003'000'000, "nginx", 0);
  fork(101, 5'004'000'000, "gone");
  exit(101, 5'004'000'000, 6 * kSecond);
  const std::vector<SnapshotEntry> entries = {
      {100, 5'000'000'000, 10'000'000, 1, to_comm("nginx"), 9},
      {101, 5'000'000'000, 10'000'000, 1, to_comm("gone"), 9},
  };
  table_.apply_snapshot(entries, 5'005'000'000);
  EXPECT_EQ(table_.live(), 1U);
  EXPECT_EQ(table_.at(100, 5'003'000'000, 6 * kSecond)->cgroup_id, 9U);
  EXPECT_NE(table_.find(101, 5'004'000'000)->ended_ns, 0U);
}

TEST_F(Processes, ASnapshotEndsWhoIsNotInIt) {
  fork(100, kSecond, "lost");
  fork(101, 9'500'000'000, "young");
  table_.apply_snapshot({}, 10 * kSecond);
  EXPECT_EQ(table_.find(100, kSecond)->ended_ns, 10 * kSecond);
  EXPECT_EQ(table_.find(101, 9'500'000'000)->ended_ns, 0U);
  EXPECT_EQ(table_.stats().unseen_ends, 1U);
}

TEST_F(Processes, TheLimitsBiteAndAreCounted) {
  ProcessTable small(ProcessLimits{.live = 3, .ended = 2});
  for (std::uint32_t tgid = 1; tgid <= 5; ++tgid) {
    small.on(ForkEvent{1000, tgid, 1000, 0, to_comm("x"), 1});
  }
  EXPECT_EQ(small.live(), 3U);
  EXPECT_EQ(small.stats().refused, 2U);
  for (std::uint32_t tgid = 1; tgid <= 3; ++tgid) small.on(ExitEvent{2000, tgid, 1000, {}, 0});
  EXPECT_EQ(small.ended(), 2U);
  EXPECT_EQ(small.stats().ended_early, 1U);
  EXPECT_EQ(small.find(1, 1000), nullptr);
  EXPECT_NE(small.find(3, 1000), nullptr);
}

TEST_F(Processes, HoldsSixtyFiveThousandAndNoMore) {
  for (std::uint32_t tgid = 1; tgid <= 70'000; ++tgid) fork(tgid, 1000 + tgid, "x");
  EXPECT_EQ(table_.live(), 65'536U);
  EXPECT_EQ(table_.stats().refused, 70'000U - 65'536U);
  EXPECT_EQ(name(65'536, 1000 + 65'536, 99'999'999), "x");
}

TEST_F(Processes, AFullTableStillTakesAReusedTgid) {
  ProcessTable small(ProcessLimits{.live = 1});
  small.on(ForkEvent{1000, 1, 1000, 0, to_comm("a"), 1});
  small.on(ForkEvent{2000, 1, 2000, 0, to_comm("b"), 1});
  EXPECT_EQ(small.live(), 1U);
  EXPECT_EQ(text_of(small.at(1, 2000, 2000)->comm), "b");
}

TEST(Comm, NeedNotEndInZero) {
  Comm comm;
  comm.fill('x');
  EXPECT_EQ(text_of(comm), std::string(16, 'x'));
  EXPECT_EQ(text_of(to_comm("a name that is too long")), "a name that is ");
}

}  // namespace
}  // namespace tarsier::enrich
