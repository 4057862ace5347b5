// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/watch.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>

namespace tarsier::config {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

class FileWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tarsier-watch-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    file_ = directory_ / "tarsier.toml";
  }
  void TearDown() override { fs::remove_all(directory_); }

  FileWatch watch(const fs::path& path) {
    auto opened = FileWatch::open(path.string());
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }

  // Polls until a change is told or five seconds have passed.
  static bool told(FileWatch& watch) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd poll_fd{watch.fd(), POLLIN, 0};
      if (left.count() <= 0 || ::poll(&poll_fd, 1, static_cast<int>(left.count())) != 1) {
        return false;
      }
      if (watch.changed()) return true;
    }
  }
  // inotify queues before the system call that caused the event returns, so there is nothing to
  // wait for. Asks until the queue is empty.
  static bool quiet(FileWatch& watch) {
    for (pollfd poll_fd{watch.fd(), POLLIN, 0}; ::poll(&poll_fd, 1, 0) == 1;) {
      if (watch.changed()) return false;
    }
    return true;
  }

  fs::path directory_, file_;
};

TEST_F(FileWatchTest, AWriteIsToldOnce) {
  write(file_, "a");
  FileWatch watch = this->watch(file_);
  EXPECT_TRUE(quiet(watch));
  write(file_, "b");
  EXPECT_TRUE(told(watch));
  EXPECT_TRUE(quiet(watch));
}

TEST_F(FileWatchTest, TheSameContentIsNoChange) {
  write(file_, "a");
  FileWatch watch = this->watch(file_);
  write(file_, "a");
  write(directory_ / "other", "b");
  fs::permissions(file_, fs::perms::owner_read);
  EXPECT_TRUE(quiet(watch));
}

TEST_F(FileWatchTest, AnEditorsRenameIsSeenEachTime) {
  write(file_, "a");
  FileWatch watch = this->watch(file_);
  for (const char* text : {"b", "c", "d"}) {
    write(directory_ / ".tarsier.toml.swp", text);
    fs::rename(directory_ / ".tarsier.toml.swp", file_);
    EXPECT_TRUE(told(watch)) << text;
  }
}

TEST_F(FileWatchTest, ARemovedFileIsNoChangeAndItsReturnIsOne) {
  write(file_, "a");
  FileWatch watch = this->watch(file_);
  fs::remove(file_);
  EXPECT_TRUE(quiet(watch));
  write(file_, "a");
  EXPECT_TRUE(quiet(watch));
  fs::remove(file_);
  write(file_, "b");
  EXPECT_TRUE(told(watch));
}

TEST_F(FileWatchTest, AFileAndItsDirectoryMayComeLater) {
  const fs::path late = directory_ / "etc" / "tarsier" / "tarsier.toml";
  FileWatch watch = this->watch(late);
  fs::create_directory(directory_ / "etc");
  EXPECT_TRUE(quiet(watch));
  fs::create_directory(directory_ / "etc" / "tarsier");
  EXPECT_TRUE(quiet(watch));
  write(late, "");
  EXPECT_TRUE(told(watch));
}

// What the kubelet does with a ConfigMap: file -> ..data/file, ..data -> ..<time>, and on a change
// a new ..<time> and a rename over ..data.
TEST_F(FileWatchTest, TheSwapOfAConfigMapIsSeenEachTime) {
  fs::create_directory(directory_ / "..1");
  write(directory_ / "..1" / "tarsier.toml", "1");
  fs::create_symlink("..1", directory_ / "..data");
  fs::create_symlink("..data/tarsier.toml", file_);
  FileWatch watch = this->watch(file_);
  for (int version = 2; version < 5; ++version) {
    const std::string name = ".." + std::to_string(version);
    fs::create_directory(directory_ / name);
    write(directory_ / name / "tarsier.toml", name);
    EXPECT_TRUE(quiet(watch));
    fs::create_symlink(name, directory_ / "..data_tmp");
    fs::rename(directory_ / "..data_tmp", directory_ / "..data");
    EXPECT_TRUE(told(watch)) << name;
    fs::remove_all(directory_ / (".." + std::to_string(version - 1)));
    EXPECT_TRUE(quiet(watch));
  }
}

TEST_F(FileWatchTest, ALinkElsewhereAndALinkOfADirectoryAreFollowed) {
  fs::create_directories(directory_ / "release-1");
  fs::create_directories(directory_ / "release-2");
  fs::create_directories(directory_ / "store");
  write(directory_ / "store" / "real.toml", "1");
  fs::create_symlink(directory_ / "store" / "real.toml", directory_ / "release-1" / "tarsier.toml");
  write(directory_ / "release-2" / "tarsier.toml", "3");
  fs::create_symlink("release-1", directory_ / "current");
  FileWatch watch = this->watch(directory_ / "current" / "tarsier.toml");
  write(directory_ / "store" / "real.toml", "2");
  EXPECT_TRUE(told(watch));
  fs::create_symlink("release-2", directory_ / "next");
  fs::rename(directory_ / "next", directory_ / "current");
  EXPECT_TRUE(told(watch));
  write(directory_ / "store" / "real.toml", "4");
  EXPECT_TRUE(quiet(watch));
  write(directory_ / "release-2" / "tarsier.toml", "5");
  EXPECT_TRUE(told(watch));
}

TEST_F(FileWatchTest, ACircleOfLinksIsNoTrap) {
  fs::create_symlink("b", directory_ / "a");
  fs::create_symlink("a", directory_ / "b");
  FileWatch watch = this->watch(directory_ / "a");
  fs::remove(directory_ / "b");
  write(directory_ / "b", "x");
  EXPECT_TRUE(told(watch));
}

TEST_F(FileWatchTest, AFileThatIsTooLargeIsNoChange) {
  write(file_, "a");
  FileWatch watch = this->watch(file_);
  write(file_, std::string((1U << 20U) + 1, 'x'));
  EXPECT_TRUE(quiet(watch));
  write(file_, "b");
  EXPECT_TRUE(told(watch));
}

}  // namespace
}  // namespace tarsier::config
