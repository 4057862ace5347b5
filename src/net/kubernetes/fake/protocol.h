// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the fake cluster's requests ask for, and small answers. For tests.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "net/kubernetes/fake/fake_cluster.h"

namespace tarsier::net::kubernetes::fake {

using Query = std::map<std::string, std::string>;

struct Asked {
  Kind kind = Kind::pods;
  std::string object;  // "namespace/name" of a GET of one
  Query query;
  std::string head;
};

// nullopt: a path that the fake does not know.
[[nodiscard]] std::optional<Asked> parse_request(std::string_view head);
[[nodiscard]] std::string status_json(int code, std::string_view message);
[[nodiscard]] std::string gzip(const std::string& text);

}  // namespace tarsier::net::kubernetes::fake
