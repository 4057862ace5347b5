// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/auth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "api/test_client.h"

namespace tarsier::api {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using namespace std::chrono_literals;
using testing::TemporaryDirectory;
using Verdict = PasswordCheck::Verdict;

unsigned mode_of(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
}

TEST(Token, IsMadeOnceAndPrivate) {
  const TemporaryDirectory directory;
  const std::string path = directory / "made_as_well/token";
  const auto first = shared_token(path);
  ASSERT_TRUE(first.has_value()) << first.error().message;
  EXPECT_THAT(*first, MatchesRegex("[0-9a-f]{64}"));
  EXPECT_EQ(mode_of(path), 0600U);
  EXPECT_EQ(*shared_token(path), *first);
  EXPECT_EQ(*token_from_file(path), *first);
  EXPECT_NE(*shared_token(directory / "other"), *first);
}

// A token that others could have read, or planted, is not used.
TEST(Token, IsMadeAnewWhereTheFileIsNotToBeTrusted) {
  const TemporaryDirectory directory;
  const std::string path = directory / "token";
  const std::string known(2 * kTokenBytes, 'a');
  std::ofstream(path) << known;
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_NE(*shared_token(path), known);
  EXPECT_EQ(mode_of(path), 0600U);

  const std::string planted = directory / "planted";
  std::ofstream(planted) << known;
  ASSERT_EQ(::chmod(planted.c_str(), 0600), 0);
  EXPECT_EQ(*shared_token(planted), known);  // private and ours
  const std::string link = directory / "link";
  ASSERT_EQ(::symlink(planted.c_str(), link.c_str()), 0);
  EXPECT_NE(*shared_token(link), known);

  std::ofstream(planted) << "short";
  EXPECT_THAT(*shared_token(planted), MatchesRegex("[0-9a-f]{64}"));
}

TEST(Token, SaysWhereItCannotBeKept) {
  const auto token = shared_token("/proc/tarsier-token");
  ASSERT_FALSE(token.has_value());
  EXPECT_THAT(token.error().message, HasSubstr("keep the API token: create /proc/tarsier-token"));
}

TEST(Token, FromTheUserIsTheFirstLine) {
  const TemporaryDirectory directory;
  const std::string path = directory / "token";
  std::ofstream(path) << "  0123456789abcdef \r\nsecond line\n";
  EXPECT_EQ(*token_from_file(path), "0123456789abcdef");
  std::ofstream(path) << "too short\n";
  EXPECT_THAT(token_from_file(path).error().message, HasSubstr("at least 16"));
  std::ofstream(path) << "0123456789 abcdef0123\n";
  EXPECT_FALSE(token_from_file(path).has_value());
  EXPECT_THAT(token_from_file(directory / "none").error().message, HasSubstr("No such file"));
}

TEST(Secrets, AreComparedWhole) {
  EXPECT_TRUE(equal_secrets("abc", "abc"));
  EXPECT_FALSE(equal_secrets("abc", "abd"));
  EXPECT_FALSE(equal_secrets("abc", "ab"));
  EXPECT_FALSE(equal_secrets("", "a"));
}

TEST(Host, NamesOfThisServerPass) {
  const std::vector<std::string> names{"tarsier.example.org"};
  for (const char* good : {"localhost", "localhost:9921", "LOCALHOST", "localhost.", "127.0.0.1",
                           "127.9.9.9:1", "[::1]", "[::1]:9921", "[0:0::1]:80", "10.1.2.3:9921",
                           "10.1.2.3", "Tarsier.Example.org:1"}) {
    EXPECT_TRUE(host_allowed(good, "10.1.2.3", names)) << good;
  }
  for (const char* bad :
       {"", ":9921", "evil.example", "localhost.evil.example", "10.1.2.4", "127.0.0.1.evil.example",
        "[::2]", "[::1", "evil.example:127.0.0.1", "localhost@evil.example", "127.1"}) {
    EXPECT_FALSE(host_allowed(bad, "10.1.2.3", names)) << bad;
  }
  EXPECT_TRUE(host_allowed("[fd00::1]:80", "fd00:0::1", {}));
}

TEST(Origin, HasToBeTheHost) {
  EXPECT_TRUE(origin_allowed("http://localhost:9921", "localhost:9921", false));
  EXPECT_TRUE(origin_allowed("HTTP://LocalHost", "localhost:80", false));
  EXPECT_TRUE(origin_allowed("https://[::1]:443", "[::1]", true));
  for (const char* bad :
       {"", "null", "http://localhost", "http://localhost:3000", "https://localhost:9921",
        "http://evil.example", "http://localhost:9921.evil.example", "file://"}) {
    EXPECT_FALSE(origin_allowed(bad, "localhost:9921", false)) << bad;
  }
  EXPECT_FALSE(origin_allowed("http://", "", false));
}

// sha512crypt of "secret" with 1,000 rounds, the fewest there are.
constexpr const char* kSecretHash =
    "$6$rounds=1000$saltsalt$"
    "LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/";

std::unique_ptr<PasswordCheck> make_check() {
  auto check = PasswordCheck::make({{"prometheus", kSecretHash}});
  if (!check) {
    ADD_FAILURE() << check.error().message;
    return nullptr;
  }
  return std::move(*check);
}

TEST(Passwords, AreCheckedAndRemembered) {
  const auto check = make_check();
  const testing::TestClock::time_point now{1h};
  EXPECT_EQ(check->check("prometheus", "secret", now), Verdict::right);
  EXPECT_EQ(check->verifications(), 1U);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(check->check("prometheus", "secret", now), Verdict::right);
  }
  EXPECT_EQ(check->verifications(), 1U);
  EXPECT_EQ(check->check("prometheus", "Secret", now), Verdict::wrong);
  EXPECT_EQ(check->check("nobody", "secret", now), Verdict::wrong);
  EXPECT_EQ(check->check("", "", now), Verdict::wrong);
  // The separator is part of what is remembered.
  EXPECT_EQ(check->check("prometheussecret", "", now), Verdict::wrong);
}

TEST(Passwords, GuessingIsLimitedAndHurtsNobodyElse) {
  const auto check = make_check();
  testing::TestClock::time_point now{1h};
  EXPECT_EQ(check->check("prometheus", "secret", now), Verdict::right);
  int wrong = 0;
  int not_now = 0;
  for (int i = 0; i < 100; ++i) {
    const auto verdict = check->check("prometheus", "guess" + std::to_string(i), now);
    wrong += verdict == Verdict::wrong ? 1 : 0;
    not_now += verdict == Verdict::not_now ? 1 : 0;
  }
  EXPECT_EQ(wrong, static_cast<int>(PasswordCheck::kVerifyBurst));
  EXPECT_EQ(not_now, 100 - wrong);
  EXPECT_EQ(check->check("prometheus", "secret", now), Verdict::right);
  now += 1s;
  for (int i = 0; i < static_cast<int>(PasswordCheck::kVerifyPerSecond); ++i) {
    EXPECT_EQ(check->check("prometheus", "again", now), Verdict::wrong);
  }
  EXPECT_EQ(check->check("prometheus", "again", now), Verdict::not_now);
}

TEST(Passwords, WeakHashesAreRefused) {
  for (const char* hash :
       {"", "secret", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "ab1234567890.", "*", "$nonsense$x"}) {
    const auto check = PasswordCheck::make({{"user", hash}});
    ASSERT_FALSE(check.has_value()) << hash;
    EXPECT_THAT(check.error().message, HasSubstr("\"user\"")) << hash;
  }
  EXPECT_FALSE(PasswordCheck::make({}).has_value());
}

}  // namespace
}  // namespace tarsier::api
