// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which handler serves which path: data, and one pure function that looks it up.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/http.h"

namespace tarsier::api {

class Routes {
 public:
  struct Match {
    const Handler* handler = nullptr;  // null: no such path, or not by this method
    std::vector<std::pair<std::string, std::string>> params;
    std::string allow;  // the methods that the path knows, "GET, HEAD, PATCH"; empty: no such path
  };

  // "/api/v1/probes/{name}": literal segments, and whole segments in braces that match any one
  // non-empty segment. A GET route serves HEAD too. Adding the same method and pattern again
  // replaces the handler. A malformed pattern is a programmer's error and aborts.
  void add(std::string_view method, std::string_view pattern, Handler handler);

  // Of several routes that fit, the one with a literal at the first difference is taken. The
  // handler is owned by this object.
  [[nodiscard]] Match match(std::string_view method, std::span<const std::string> segments) const;

 private:
  struct Segment {
    std::string text;  // the literal, or the parameter's name
    bool parameter = false;
    bool operator==(const Segment&) const = default;
  };
  struct Route {
    std::string method;
    std::vector<Segment> segments;
    Handler handler;
  };
  [[nodiscard]] static bool fits(const Route& route, std::span<const std::string> segments);
  [[nodiscard]] static bool more_specific(const Route& a, const Route& b);
  [[nodiscard]] std::string allowed_methods(std::span<const std::string> segments) const;

  std::vector<Route> routes_;
};

}  // namespace tarsier::api
