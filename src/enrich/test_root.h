// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A directory that goes away with the test, to play the root of a node. For tests only.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <stdlib.h>

namespace tarsier::enrich {

class TestRoot {
 public:
  TestRoot() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tarsier-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TestRoot() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestRoot(const TestRoot&) = delete;
  TestRoot& operator=(const TestRoot&) = delete;

  [[nodiscard]] std::string path(std::string_view relative = "") const {
    return (path_ / relative).string();
  }
  void directory(std::string_view relative) const {
    std::filesystem::create_directories(path_ / relative);
  }
  void remove(std::string_view relative) const { std::filesystem::remove_all(path_ / relative); }
  void file(std::string_view relative, std::string_view content) const {
    std::filesystem::create_directories((path_ / relative).parent_path());
    std::ofstream(path_ / relative) << content;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace tarsier::enrich
