// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/routes.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "base/text.h"

namespace tarsier::api {
namespace {

// Patterns are written by us, never read from outside: a bad one is a bug and stops the program
// in the first test that starts it.
[[noreturn]] void bad_pattern(std::string_view pattern) {
  std::fprintf(stderr, "tarsier: the route pattern \"%.*s\" is malformed\n",
               static_cast<int>(pattern.size()), pattern.data());
  std::abort();
}

}  // namespace

void Routes::add(std::string_view method, std::string_view pattern, Handler handler) {
  if (!pattern.starts_with('/') || method.empty() || !handler) bad_pattern(pattern);
  Route route{std::string(method), {}, std::move(handler)};
  if (pattern.size() > 1) {
    for (const std::string_view piece : base::split(pattern.substr(1), '/')) {
      if (piece.empty()) bad_pattern(pattern);
      const bool parameter = piece.starts_with('{') && piece.ends_with('}') && piece.size() > 2;
      if (!parameter && piece.find_first_of("{}%") != piece.npos) bad_pattern(pattern);
      route.segments.push_back(
          {std::string(parameter ? piece.substr(1, piece.size() - 2) : piece), parameter});
    }
  }
  const auto same = std::ranges::find_if(routes_, [&](const Route& other) {
    return other.method == route.method && other.segments == route.segments;
  });
  if (same != routes_.end()) {
    *same = std::move(route);
  } else {
    routes_.push_back(std::move(route));
  }
}

bool Routes::fits(const Route& route, std::span<const std::string> segments) {
  return std::ranges::equal(route.segments, segments, [](const Segment& want, const auto& have) {
    return want.parameter ? !have.empty() : want.text == have;
  });
}

bool Routes::more_specific(const Route& a, const Route& b) {
  for (std::size_t i = 0; i < a.segments.size(); ++i) {
    if (a.segments[i].parameter != b.segments[i].parameter) return b.segments[i].parameter;
  }
  return false;
}

std::string Routes::allowed_methods(std::span<const std::string> segments) const {
  std::set<std::string> methods;
  for (const Route& route : routes_) {
    if (!fits(route, segments)) continue;
    methods.insert(route.method);
    if (route.method == "GET") methods.insert("HEAD");
  }
  std::string allow;
  for (const std::string& method : methods) {
    if (!allow.empty()) allow.append(", ");
    allow.append(method);
  }
  return allow;
}

Routes::Match Routes::match(std::string_view method, std::span<const std::string> segments) const {
  const std::string_view served = method == "HEAD" ? "GET" : method;
  const Route* best = nullptr;
  for (const Route& route : routes_) {
    if (route.method != served || !fits(route, segments)) continue;
    if (best == nullptr || more_specific(route, *best)) best = &route;
  }
  Match match;
  match.allow = allowed_methods(segments);
  if (best == nullptr) return match;
  match.handler = &best->handler;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    if (best->segments[i].parameter) match.params.emplace_back(best->segments[i].text, segments[i]);
  }
  return match;
}

}  // namespace tarsier::api
