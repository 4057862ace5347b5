// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/proc_snapshot.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace tarsier::enrich {
namespace {

constexpr std::string_view kRest =
    " S 1 812 812 0 -1 4194560 1200 0 3 0 15 9 0 0 20 0 1 0 1523 12345678 900\n";

TEST(ProcStat, ReadsTheFields) {
  const auto stat = parse_proc_stat("812 (nginx)" + std::string(kRest));
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, 812U);
  EXPECT_EQ(stat->parent, 1U);
  EXPECT_EQ(stat->start_ticks, 1523U);
  EXPECT_EQ(text_of(stat->comm), "nginx");
}

TEST(ProcStat, ANameMayHoldAnything) {
  EXPECT_EQ(text_of(parse_proc_stat("812 (a) S (b c)" + std::string(kRest))->comm), "a) S (b c");
  EXPECT_EQ(text_of(parse_proc_stat("812 ()" + std::string(kRest))->comm), "");
}

TEST(ProcStat, RefusesWhatIsNone) {
  for (const std::string_view text :
       {"", "812", "812 (nginx", "812 (nginx) S 1 2", ") (", "x (nginx) S 1 812 812 0 -1"}) {
    EXPECT_FALSE(parse_proc_stat(text)) << text;
  }
}

class Snapshot : public testing::Test {
 protected:
  Snapshot()
      : host_(TARSIER_SOURCE_DIR "/tests/testdata/root"),
        cgroups_(find_hierarchy(host_).value(), host_) {
    const auto entries = read_processes(host_, cgroups_, 100);
    EXPECT_TRUE(entries);
    for (const SnapshotEntry& entry : *entries) entries_[entry.tgid] = entry;
  }
  base::HostFiles host_;
  CgroupTable cgroups_;
  std::map<std::uint32_t, SnapshotEntry> entries_;
};

TEST_F(Snapshot, HoldsEveryProcess) {
  ASSERT_EQ(entries_.size(), 7U);
  const SnapshotEntry& nginx = entries_[812];
  EXPECT_EQ(text_of(nginx.comm), "nginx");
  EXPECT_EQ(nginx.start_ns, 15'230'000'000U);
  EXPECT_EQ(nginx.start_slack_ns, 10'000'000U);
  EXPECT_EQ(nginx.parent_tgid, 1U);
  EXPECT_EQ(nginx.cgroup_id, cgroups_.id_of("/system.slice/nginx.service").value());
  EXPECT_EQ(text_of(entries_[900].comm), "bad) (name");
}

TEST_F(Snapshot, WorkersHaveTheNameThatEventsGiveThem) {
  EXPECT_EQ(text_of(entries_[17].comm), "kworker/0:1");
  EXPECT_EQ(text_of(entries_[18].comm), "kworker/R-netns");
}

TEST_F(Snapshot, LeadsToTheContainer) {
  const Cgroup* docker = cgroups_.find(entries_[900].cgroup_id, 0, 900);
  ASSERT_NE(docker, nullptr);
  EXPECT_EQ(docker->info.runtime, Runtime::docker);
  const Cgroup* pod = cgroups_.find(entries_[901].cgroup_id, 0, 901);
  ASSERT_NE(pod, nullptr);
  EXPECT_EQ(pod->info.pod_uid, "5a2c3b1d-0f9e-4d8c-b7a6-123456789abc");
}

TEST_F(Snapshot, TheProgramOfAProcess) {
  EXPECT_EQ(read_exe(host_, 812), "/usr/sbin/nginx");
  EXPECT_EQ(read_exe(host_, 900), "/opt/odd name");
  EXPECT_EQ(read_exe(host_, 2), "");
}

TEST(SnapshotOfNothing, SaysWhy) {
  const base::HostFiles host("/nowhere/at/all");
  const CgroupTable cgroups(Hierarchy{2, "/cg", "/", "", 0}, host);
  const auto entries = read_processes(host, cgroups, 100);
  ASSERT_FALSE(entries);
  EXPECT_NE(entries.error().message.find("/nowhere/at/all/proc"), std::string::npos);
}

}  // namespace
}  // namespace tarsier::enrich
