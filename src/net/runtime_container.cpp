// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/runtime_container.h"

#include <sys/stat.h>

#include <algorithm>

namespace tarsier::net {

bool is_socket(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

bool is_container_id(std::string_view id) {
  const auto letter_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !id.empty() && id.size() <= 128 && letter_or_digit(id.front()) &&
         std::ranges::all_of(
             id, [&](char c) { return letter_or_digit(c) || c == '_' || c == '.' || c == '-'; });
}

}  // namespace tarsier::net
