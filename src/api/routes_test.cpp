// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tarsier::api {
namespace {

using Strings = std::vector<std::string>;

std::string query_of(std::string_view raw, const std::string& key) {
  const auto target = parse_target(raw);
  if (!target) return "error: " + target.error().message;
  const auto found = target->query.find(key);
  return found == target->query.end() ? "absent" : found->second;
}

TEST(ParseTarget, SplitsBeforeItDecodes) {
  EXPECT_EQ(parse_target("/a/b")->segments, (Strings{"a", "b"}));
  EXPECT_EQ(parse_target("/a%2Fb/c")->segments, (Strings{"a/b", "c"}));
  EXPECT_EQ(parse_target("/")->segments, Strings{});
  EXPECT_EQ(parse_target("/a/")->segments, (Strings{"a", ""}));
  EXPECT_EQ(parse_target("//a")->segments, (Strings{"", "a"}));
  EXPECT_EQ(parse_target("/a/../b/%2e%2E")->segments, (Strings{"a", "..", "b", ".."}));
  EXPECT_EQ(parse_target("/a+b")->segments, (Strings{"a+b"}));  // a plus is a space in queries only
  EXPECT_EQ(parse_target("/%e2%82%ac")->segments, (Strings{"€"}));
}

TEST(ParseTarget, DecodesTheQuery) {
  EXPECT_EQ(query_of("/?a=1&b=2", "b"), "2");
  EXPECT_EQ(query_of("/?a=x%26b%3D9&c", "a"), "x&b=9");
  EXPECT_EQ(query_of("/?a=x%26b%3D9&c", "b"), "absent");
  EXPECT_EQ(query_of("/?a=x%26b%3D9&c", "c"), "");
  EXPECT_EQ(query_of("/?a=b+c%2Bd", "a"), "b c+d");
  EXPECT_EQ(query_of("/?a=b=c?d/e", "a"), "b=c?d/e");
  EXPECT_EQ(query_of("/?&&a=1&", "a"), "1");
  EXPECT_EQ(parse_target("/?a=1&a=2")->query.count("a"), 2U);
}

TEST(ParseTarget, RefusesWhatIsMalformed) {
  for (const std::string_view bad : {"", "a", "*", "http://host/a", "/%", "/%4", "/%zz", "/%00",
                                     "/?a=%", "/?%f=1", "/?a=%00", "/%%32"}) {
    const auto target = parse_target(bad);
    ASSERT_FALSE(target.has_value()) << bad;
    EXPECT_EQ(target.error().code, ErrorCode::invalid) << bad;
  }
}

TEST(ParseTarget, RefusesZeroBytes) {
  EXPECT_FALSE(parse_target(std::string_view("/a\0b", 4)).has_value());
}

TEST(ParseTarget, HasLimits) {
  const std::string fits = "/" + std::string(kMaxTargetBytes - 1, 'a');
  EXPECT_TRUE(parse_target(fits).has_value());
  EXPECT_EQ(parse_target(fits + "a").error().code, ErrorCode::limit_reached);

  std::string deep, wide = "/?a";
  for (std::size_t i = 0; i < kMaxPathSegments; ++i) deep += "/a";
  for (std::size_t i = 1; i < kMaxQueryParameters; ++i) wide += "&a";
  EXPECT_EQ(parse_target(deep)->segments.size(), kMaxPathSegments);
  EXPECT_FALSE(parse_target(deep + "/a").has_value());
  EXPECT_EQ(parse_target(wide)->query.size(), kMaxQueryParameters);
  EXPECT_FALSE(parse_target(wide + "&a").has_value());
}

Handler says(std::string text) {
  return [text](const Request&) { return json(text); };
}

class RoutesTest : public ::testing::Test {
 protected:
  RoutesTest() {
    routes_.add("GET", "/", says("root"));
    routes_.add("GET", "/api/v1/probes", says("all"));
    routes_.add("GET", "/api/v1/probes/{name}", says("one"));
    routes_.add("PATCH", "/api/v1/probes/{name}", says("patch"));
    routes_.add("GET", "/api/v1/probes/summary", says("summary"));
    routes_.add("GET", "/{first}/v1/{second}", says("wild"));
    routes_.add("POST", "/only", says("post"));
  }
  std::string served(std::string_view method, const Strings& segments) {
    const auto match = routes_.match(method, segments);
    return match.handler == nullptr ? "none" : (*match.handler)({}).body;
  }
  Routes routes_;
};

TEST_F(RoutesTest, FindsLiteralsFirst) {
  EXPECT_EQ(served("GET", {}), "root");
  EXPECT_EQ(served("GET", {"api", "v1", "probes"}), "all");
  EXPECT_EQ(served("GET", {"api", "v1", "probes", "tcp"}), "one");
  EXPECT_EQ(served("GET", {"api", "v1", "probes", "summary"}), "summary");
  EXPECT_EQ(served("PATCH", {"api", "v1", "probes", "summary"}), "patch");
  EXPECT_EQ(served("GET", {"other", "v1", "probes"}), "wild");
}

TEST_F(RoutesTest, GivesTheParameters) {
  const auto match = routes_.match("GET", Strings{"x/y", "v1", "z"});
  EXPECT_THAT(match.params,
              ::testing::ElementsAre(std::pair<std::string, std::string>("first", "x/y"),
                                     std::pair<std::string, std::string>("second", "z")));
}

TEST_F(RoutesTest, ServesHeadWhereItServesGet) {
  EXPECT_EQ(served("HEAD", {"api", "v1", "probes"}), "all");
  EXPECT_EQ(served("HEAD", {"only"}), "none");
}

TEST_F(RoutesTest, TellsAllowedMethods) {
  EXPECT_EQ(routes_.match("PUT", Strings{"api", "v1", "probes", "tcp"}).allow, "GET, HEAD, PATCH");
  EXPECT_EQ(routes_.match("GET", Strings{"only"}).allow, "POST");
  EXPECT_EQ(routes_.match("GET", Strings{"nowhere"}).allow, "");
  EXPECT_EQ(routes_.match("get", Strings{"only"}).handler, nullptr);  // methods have a case
}

TEST_F(RoutesTest, AParameterIsNeverEmpty) {
  EXPECT_EQ(served("GET", {"api", "v1", "probes", ""}), "none");
}

TEST_F(RoutesTest, AddingAgainReplaces) {
  routes_.add("POST", "/only", says("new"));
  EXPECT_EQ(served("POST", {"only"}), "new");
}

TEST(RoutesDeath, AMalformedPatternIsABug) {
  Routes routes;
  for (const char* pattern : {"", "a", "/a//b", "/a{b}", "/{}", "/a/"}) {
    EXPECT_DEATH(routes.add("GET", pattern, says("")), "malformed") << pattern;
  }
}

TEST(Problem, IsEscapedJson) {
  const Response response = problem(404, "", "a \"quoted\"\nthing");
  EXPECT_EQ(response.content_type, "application/problem+json");
  EXPECT_EQ(response.body,
            "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
            "\"detail\":\"a \\\"quoted\\\"\\u000athing\"}\n");
}

}  // namespace
}  // namespace tarsier::api
