// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/cgroups.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <vector>

#include "enrich/test_root.h"

namespace tarsier::enrich {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
const std::string kId = "3b5a1f0e9c8d7b6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa0099";

constexpr std::string_view kCgroups =
    "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
    "cpu\t1\t1\t1\nblkio\t7\t1\t1\nmemory\t4\t11\t1\npids\t8\t1\t1\n";
constexpr std::string_view kUnified =
    "23 1 0:20 / /proc rw - proc proc rw\n"
    "35 23 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr std::string_view kHybrid =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw shared:3 master:4 - cgroup cgroup rw,memory\n"
    "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

TEST(ChooseHierarchy, TakesV2WhereItIsAlone) {
  const auto found = choose_hierarchy(kUnified, kCgroups);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->version, 2);
  EXPECT_EQ(found->mount_point, "/sys/fs/cgroup");
  EXPECT_EQ(found->subsystem_enumerator(), "");
  EXPECT_EQ(found->id, 0U);
}

TEST(ChooseHierarchy, TakesTheMemoryControllerOfAHybridHost) {
  const auto found = choose_hierarchy(kHybrid, kCgroups);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->version, 1);
  EXPECT_EQ(found->mount_point, "/sys/fs/cgroup/memory");
  EXPECT_EQ(found->controller, "memory");
  EXPECT_EQ(found->subsystem_enumerator(), "memory_cgrp_id");
  EXPECT_EQ(found->id, 4U);
}

TEST(ChooseHierarchy, TakesPidsWhereMemoryIsSwitchedOff) {
  std::string text(kHybrid);
  text.erase(text.find("35 31"), text.find("39 31") - text.find("35 31"));
  const auto found = choose_hierarchy(text, kCgroups);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->controller, "pids");
  EXPECT_EQ(found->id, 8U);
}

TEST(ChooseHierarchy, AStrayV1MountDoesNotHideV2) {
  const std::string text =
      std::string(kUnified) + "50 23 0:40 / /run/net_cls rw - cgroup none rw,net_cls\n";
  EXPECT_EQ(choose_hierarchy(text, kCgroups)->version, 2);
}

TEST(ChooseHierarchy, ReadsEscapesAndPrefersTheWholeHierarchy) {
  const std::string text =
      "35 23 0:30 /part /part rw - cgroup2 cgroup2 rw\n"
      "36 23 0:30 / /my\\040cgroups rw - cgroup2 cgroup2 rw\n";
  const auto found = choose_hierarchy(text, "");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->mount_point, "/my cgroups");
}

TEST(ChooseHierarchy, TakesBlkioUnderItsKernelName) {
  const auto found =
      choose_hierarchy("35 23 0:30 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n", kCgroups);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->subsystem_enumerator(), "io_cgrp_id");
  EXPECT_EQ(found->id, 7U);
}

TEST(ChooseHierarchy, SaysThatThereIsNone) {
  for (const std::string_view text : {"", "garbage\n - \n", "1 2 3 4 5 6 - cgroup2\n"}) {
    const auto found = choose_hierarchy(text, kCgroups);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, ErrorCode::not_found);
  }
}

TEST(PathIn, FindsTheLineOfTheHierarchy) {
  constexpr std::string_view kText =
      "12:cpu,cpuacct:/a\n4:memory:/docker/x:y\n1:name=systemd:/s\n0::/unified\n";
  EXPECT_EQ(path_in({1, "/", "/", "memory", 4}, kText), "/docker/x:y");
  EXPECT_EQ(path_in({1, "/", "/", "cpuacct", 2}, kText), "/a");
  EXPECT_EQ(path_in({2, "/", "/", "", 0}, kText), "/unified");
  EXPECT_EQ(path_in({1, "/", "/", "pids", 8}, kText), std::nullopt);
  EXPECT_EQ(path_in({2, "/", "/", "", 0}, "no colons"), std::nullopt);
}

class Cgroups : public testing::Test {
 protected:
  Cgroups() : host_(root_.path()) { root_.directory("cg"); }
  CgroupTable table(CgroupLimits limits = {}) { return {hierarchy_, host_, limits}; }
  std::uint64_t inode(std::string_view path) {
    struct stat status = {};
    EXPECT_EQ(::stat(root_.path("cg").append(path).c_str(), &status), 0) << path;
    return status.st_ino;
  }

  TestRoot root_;
  base::HostFiles host_;
  Hierarchy hierarchy_{2, "/cg", "/", "", 0};
};

TEST_F(Cgroups, TheWalkFindsEveryDirectory) {
  root_.directory("cg/docker/" + kId + "/init");
  root_.directory("cg/system.slice/nginx.service");
  root_.file("cg/cgroup.procs", "");
  CgroupTable cgroups = table();
  ASSERT_TRUE(cgroups.walk(0));
  EXPECT_EQ(cgroups.size(), 6U);
  EXPECT_EQ(cgroups.find(inode("/docker/" + kId + "/init"), 0)->path, "/docker/" + kId + "/init");
  EXPECT_EQ(cgroups.find(inode("/docker/" + kId), 0)->info.container_id, kId);
  EXPECT_EQ(cgroups.find(inode("/system.slice/nginx.service"), 0)->info.unit, "nginx.service");
  EXPECT_EQ(cgroups.find(inode("/"), 0)->path, "/");
}

TEST_F(Cgroups, EventsAreEnough) {
  CgroupTable cgroups = table();
  cgroups.made(77'000'000'001, "/docker/" + kId, 0);
  EXPECT_EQ(cgroups.find(77'000'000'001, 0)->info.container_id, kId);
  cgroups.renamed(77'000'000'001, "/system.slice/a.service", 0);
  EXPECT_EQ(cgroups.find(77'000'000'001, 0)->info.unit, "a.service");
}

TEST_F(Cgroups, ARemovedOneStaysForTheGraceTime) {
  CgroupTable cgroups = table();
  cgroups.made(77'000'000'001, "/docker/" + kId, 0);
  cgroups.removed(77'000'000'001, kSecond);
  std::vector<std::string> gone;
  const auto take = [&](const CgroupTable::Gone& one) { gone.push_back(one.path); };
  cgroups.expire(11 * kSecond - 1, take);
  EXPECT_NE(cgroups.find(77'000'000'001, 11 * kSecond - 1), nullptr);
  EXPECT_TRUE(gone.empty());
  cgroups.expire(11 * kSecond, take);
  EXPECT_EQ(gone, std::vector<std::string>{"/docker/" + kId});
  EXPECT_EQ(cgroups.find(77'000'000'001, 11 * kSecond), nullptr);
}

TEST_F(Cgroups, AWalkSeesWhatEventsDidNotTell) {
  root_.directory("cg/a/b");
  CgroupTable cgroups = table();
  ASSERT_TRUE(cgroups.walk(0));
  const std::uint64_t id = inode("/a/b");
  root_.remove("cg/a");
  ASSERT_TRUE(cgroups.walk(kSecond));
  EXPECT_EQ(cgroups.find(id, kSecond)->path, "/a/b");
  std::vector<std::string> gone;
  cgroups.expire(11 * kSecond, [&](const CgroupTable::Gone& one) { gone.push_back(one.path); });
  EXPECT_EQ(gone.size(), 2U);
  EXPECT_EQ(cgroups.size(), 1U);
}

TEST_F(Cgroups, AnUnknownIdStartsAWalkAtABoundedRate) {
  CgroupTable cgroups = table();
  ASSERT_TRUE(cgroups.walk(0));
  root_.directory("cg/late");
  const std::uint64_t id = inode("/late");
  EXPECT_EQ(cgroups.find(id, 9 * kSecond), nullptr);
  EXPECT_EQ(cgroups.stats().walks, 1U);
  EXPECT_EQ(cgroups.find(id, 10 * kSecond)->path, "/late");
  EXPECT_EQ(cgroups.stats().walks, 2U);
}

TEST_F(Cgroups, AProcessKnowsItsOwn) {
  CgroupTable cgroups = table();
  ASSERT_TRUE(cgroups.walk(0));
  root_.directory("cg/late");
  root_.directory("cg/other");
  root_.file("proc/55/cgroup", "0::/late\n");
  EXPECT_EQ(cgroups.find(inode("/late"), kSecond, 55)->path, "/late");
  EXPECT_EQ(cgroups.stats().by_process, 1U);
  // The process has moved on: its cgroup is not the one that is asked for.
  EXPECT_EQ(cgroups.find(inode("/other"), kSecond, 55), nullptr);
}

TEST_F(Cgroups, AnUnknownIdIsNotAskedForAgainAtOnce) {
  CgroupTable cgroups = table();
  ASSERT_TRUE(cgroups.walk(0));
  root_.directory("cg/late");
  const std::uint64_t id = inode("/late");
  EXPECT_EQ(cgroups.find(id, kSecond, 55), nullptr);
  root_.file("proc/55/cgroup", "0::/late\n");
  EXPECT_EQ(cgroups.find(id, 2 * kSecond - 1, 55), nullptr);
  EXPECT_EQ(cgroups.find(id, 2 * kSecond, 55)->path, "/late");
  EXPECT_EQ(cgroups.stats().unknown, 1U);
}

TEST_F(Cgroups, TheLimitBitesAndIsCounted) {
  for (int i = 0; i < 10; ++i) root_.directory("cg/d" + std::to_string(i));
  CgroupTable cgroups = table({.cgroups = 4});
  ASSERT_TRUE(cgroups.walk(0));
  EXPECT_EQ(cgroups.size(), 4U);
  EXPECT_EQ(cgroups.stats().refused, 7U);
}

TEST_F(Cgroups, HoldsAHundredThousand) {
  CgroupTable cgroups = table();
  const std::uint64_t first = 77'000'000'001;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    cgroups.made(first + i, "/system.slice/s" + std::to_string(i) + ".service", 0);
  }
  EXPECT_EQ(cgroups.size(), 100'000U);
  EXPECT_EQ(cgroups.stats().refused, 0U);
  EXPECT_EQ(cgroups.find(first + 99'999, 0)->info.unit, "s99999.service");
  for (std::uint64_t i = 0; i < 100'000; ++i) cgroups.removed(first + i, kSecond);
  int gone = 0;
  cgroups.expire(11 * kSecond, [&](const CgroupTable::Gone&) { ++gone; });
  EXPECT_EQ(gone, 100'000);
  EXPECT_EQ(cgroups.size(), 0U);
}

TEST_F(Cgroups, AMountThatIsNotThereIsSaid) {
  hierarchy_.mount_point = "/nowhere";
  CgroupTable cgroups = table();
  const Status walked = cgroups.walk(0);
  ASSERT_FALSE(walked);
  EXPECT_NE(walked.error().message.find("/nowhere"), std::string::npos);
  EXPECT_EQ(cgroups.find(5, 0), nullptr);
}

TEST_F(Cgroups, APartOfTheHierarchyKeepsItsPlace) {
  root_.directory("cg/inner");
  hierarchy_.mount_root = "/docker/" + kId;
  CgroupTable cgroups = table();
  ASSERT_TRUE(cgroups.walk(0));
  EXPECT_EQ(cgroups.find(inode("/inner"), 0)->path, "/docker/" + kId + "/inner");
  EXPECT_EQ(cgroups.id_of("/docker/" + kId + "/inner").value_or(0), inode("/inner"));
  EXPECT_FALSE(cgroups.id_of("/../x"));
}

TEST_F(Cgroups, ALinkIsNotFollowed) {
  root_.directory("elsewhere/deep");
  std::filesystem::create_symlink(root_.path("elsewhere"), root_.path("cg/link"));
  CgroupTable cgroups = table();
  ASSERT_TRUE(cgroups.walk(0));
  EXPECT_EQ(cgroups.size(), 1U);
}

// The real hierarchy of this machine, where one is mounted and its handles can be opened.
TEST(CgroupsOfThisNode, OpensACgroupByItsId) {
  const base::HostFiles host("/");
  const auto hierarchy = find_hierarchy(host);
  if (!hierarchy) GTEST_SKIP() << hierarchy.error().message;
  CgroupTable cgroups(*hierarchy, host);
  const auto text = host.read("proc/self/cgroup");
  ASSERT_TRUE(text);
  const auto path = path_in(*hierarchy, *text);
  ASSERT_TRUE(path);
  const auto id = cgroups.id_of(*path);
  if (!id) GTEST_SKIP() << id.error().message;
  const Cgroup* found = cgroups.find(*id, 0);
  if (cgroups.stats().walks > 0) GTEST_SKIP() << "open_by_handle_at needs CAP_DAC_READ_SEARCH";
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->path, *path);
  EXPECT_EQ(cgroups.stats().by_handle, 1U);
  EXPECT_EQ(cgroups.find(*id + 1'000'000'000'000, 0), nullptr);
}

}  // namespace
}  // namespace tarsier::enrich
