// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "enrich/cgroup_watch.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "enrich/test_root.h"

namespace tarsier::enrich {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

class CgroupWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    root_.directory("cg/docker");
    table_.emplace(Hierarchy{2, "/cg", "/", "", 0}, host_);
    auto watch = CgroupWatch::open(*table_);
    ASSERT_TRUE(watch) << watch.error().message;
    watch_.emplace(std::move(*watch));
    look();
    look();  // the first look watches, the second one knows that nothing was missed in between
  }
  void look() { watch_->poll(now_ += kWatchWalkNs); }
  std::uint64_t inode(std::string_view path) {
    struct stat status = {};
    EXPECT_EQ(::stat(root_.path("cg").append(path).c_str(), &status), 0) << path;
    return status.st_ino;
  }
  std::string path_of(std::uint64_t id) {
    const Cgroup* cgroup = table_->find(id, now_);
    return cgroup == nullptr ? "nobody" : cgroup->path;
  }

  TestRoot root_;
  base::HostFiles host_{root_.path()};
  std::optional<CgroupTable> table_;
  std::optional<CgroupWatch> watch_;
  std::uint64_t now_ = kSecond;
};

TEST_F(CgroupWatchTest, FindsWhatIsMadeAtAnyDepth) {
  root_.directory("cg/docker/a/inner");
  look();
  EXPECT_EQ(path_of(inode("/docker/a")), "/docker/a");
  EXPECT_EQ(path_of(inode("/docker/a/inner")), "/docker/a/inner");
  look();
  root_.directory("cg/docker/a/inner/deep");
  look();
  EXPECT_EQ(path_of(inode("/docker/a/inner/deep")), "/docker/a/inner/deep");
}

TEST_F(CgroupWatchTest, TellsWhatWasRemoved) {
  root_.directory("cg/docker/a");
  look();
  look();
  root_.remove("cg/docker/a");
  look();
  std::vector<std::string> removed;
  table_->each_new_removal([&](const std::string& path) { removed.push_back(path); });
  EXPECT_EQ(removed, std::vector<std::string>{"/docker/a"});
  EXPECT_EQ(watch_->watches(), 2U) << "the root and docker";
}

TEST_F(CgroupWatchTest, WalksOnlyWhereSomethingChanged) {
  const std::uint64_t walks = table_->stats().walks;
  for (int i = 0; i < 5; ++i) look();
  EXPECT_EQ(table_->stats().walks, walks);
  root_.directory("cg/docker/a");
  look();
  EXPECT_EQ(table_->stats().walks, walks + 1);
  root_.directory("cg/docker/b");
  watch_->poll(now_);
  EXPECT_EQ(table_->stats().walks, walks + 1) << "the last walk is not long enough ago";
  look();
  EXPECT_EQ(table_->stats().walks, walks + 2);
  EXPECT_EQ(path_of(inode("/docker/b")), "/docker/b");
}

}  // namespace
}  // namespace tarsier::enrich
