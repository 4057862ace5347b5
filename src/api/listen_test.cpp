// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/listen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "api/test_client.h"

namespace tarsier::api {
namespace {

using testing::Client;
using ::testing::HasSubstr;
using testing::TemporaryDirectory;

bool close_on_exec(int fd) {
  return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

bool exists(const std::string& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0;
}

TEST(ListenTcp, TakesAFreePortAndSaysWhich) {
  const auto listener = listen_tcp("127.0.0.1:0");
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  EXPECT_NE(listener->port(), 0);
  EXPECT_EQ(listener->address(), "127.0.0.1:" + std::to_string(listener->port()));
  EXPECT_TRUE(listener->is_loopback());
  EXPECT_TRUE(close_on_exec(listener->fd()));
  EXPECT_TRUE(Client(*listener).connected());
}

TEST(ListenTcp, AnyAddressOfIpv6TakesBothFamilies) {
  const auto listener = listen_tcp("[::]:0");
  if (!listener && listener.error().errno_value == EAFNOSUPPORT) GTEST_SKIP() << "no IPv6 here";
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  EXPECT_FALSE(listener->is_loopback());
  EXPECT_TRUE(Client("[::1]:" + std::to_string(listener->port())).connected());
  EXPECT_TRUE(Client("127.0.0.1:" + std::to_string(listener->port())).connected());
}

TEST(ListenTcp, SaysThatThePortIsInUse) {
  const auto first = listen_tcp("127.0.0.1:0");
  ASSERT_TRUE(first.has_value());
  const auto second = listen_tcp(first->address());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().errno_value, EADDRINUSE);
  EXPECT_THAT(second.error().message, HasSubstr(first->address()));
  EXPECT_THAT(second.error().message, HasSubstr("Address already in use: another process"));
}

TEST(ListenTcp, RefusesWhatIsNoAddress) {
  for (const char* bad :
       {"", "127.0.0.1", "127.0.0.1:", ":9920", "127.0.0.1:65536", "127.0.0.1:x", "example.org:80",
        "[::1:80", "::1:80", "[127.0.0.1]:80", "127.0.0.1:-1"}) {
    const auto listener = listen_tcp(bad);
    ASSERT_FALSE(listener.has_value()) << bad;
    EXPECT_EQ(listener.error().code, ErrorCode::invalid) << bad;
    EXPECT_THAT(listener.error().message, HasSubstr("a numeric host and a port")) << bad;
  }
  EXPECT_TRUE(listen_tcp("localhost:0")->is_loopback());
}

TEST(ListenTcp, SaysThatNoInterfaceHasTheAddress) {
  const auto listener = listen_tcp("192.0.2.1:0");
  ASSERT_FALSE(listener.has_value());
  EXPECT_THAT(listener.error().message, HasSubstr("no interface of this machine"));
}

TEST(ListenUnix, MakesAPrivateSocketAndRemovesIt) {
  const TemporaryDirectory directory;
  const std::string path = directory / "run/control.sock";
  {
    const auto listener = listen_unix(path);
    ASSERT_TRUE(listener.has_value()) << listener.error().message;
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0600U);
    ASSERT_EQ(::stat((directory / "run").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0755U);
    EXPECT_TRUE(close_on_exec(listener->fd()));
    EXPECT_TRUE(Client(*listener).connected());
  }
  EXPECT_FALSE(exists(path));
}

TEST(ListenUnix, NeverReplacesALiveSocket) {
  const TemporaryDirectory directory;
  const std::string path = directory / "control.sock";
  const auto first = listen_unix(path);
  ASSERT_TRUE(first.has_value());
  const auto second = listen_unix(path);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
  EXPECT_EQ(second.error().errno_value, EADDRINUSE);
  EXPECT_THAT(second.error().message, HasSubstr("--socket"));
  EXPECT_TRUE(Client(*first).connected());
}

// A daemon that does not get to its accepts is alive all the same.
TEST(ListenUnix, AFullQueueIsALife) {
  const TemporaryDirectory directory;
  const std::string path = directory / "control.sock";
  const auto first = listen_unix(path);
  ASSERT_TRUE(first.has_value());
  std::vector<base::UniqueFd> callers;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  bool full = false;
  for (int i = 0; i < 10 * kListenBacklog && !full; ++i) {
    callers.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    full =
        ::connect(callers.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0;
  }
  ASSERT_TRUE(full);
  const auto second = listen_unix(path);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().errno_value, EADDRINUSE);
}

TEST(ListenUnix, ReplacesTheSocketOfADeadProcess) {
  const TemporaryDirectory directory;
  const std::string path = directory / "control.sock";
  {
    const base::UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(dead.get(), 1), 0);
  }
  ASSERT_TRUE(exists(path));
  const auto listener = listen_unix(path);
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  EXPECT_TRUE(Client(*listener).connected());
}

TEST(ListenUnix, LeavesASocketThatIsNoLongerItsOwn) {
  const TemporaryDirectory directory;
  const std::string path = directory / "control.sock";
  auto first = listen_unix(path);
  ASSERT_TRUE(first.has_value());
  ASSERT_EQ(std::rename(path.c_str(), (directory / "aside").c_str()), 0);
  const auto second = listen_unix(path);
  ASSERT_TRUE(second.has_value());
  first->close();
  EXPECT_TRUE(exists(path));
  EXPECT_TRUE(Client(*second).connected());
}

TEST(ListenUnix, LeavesAFileThatIsNoSocket) {
  const TemporaryDirectory directory;
  const std::string path = directory / "control.sock";
  std::ofstream(path) << "precious";
  const auto listener = listen_unix(path);
  ASSERT_FALSE(listener.has_value());
  EXPECT_THAT(listener.error().message, HasSubstr("not a socket"));
  EXPECT_TRUE(exists(path));
}

TEST(ListenUnix, SaysWhyADirectoryDoesNotServe) {
  const auto listener = listen_unix("/proc/tarsier/control.sock");
  ASSERT_FALSE(listener.has_value());
  EXPECT_THAT(listener.error().message, HasSubstr("make the directory /proc/tarsier"));
  const auto unwritable = listen_unix("/proc/control.sock");
  ASSERT_FALSE(unwritable.has_value());
  EXPECT_THAT(unwritable.error().message, HasSubstr("/proc/control.sock"));
}

TEST(ListenUnix, RefusesAPathThatDoesNotFit) {
  const auto listener = listen_unix("/" + std::string(200, 'a'));
  ASSERT_FALSE(listener.has_value());
  EXPECT_THAT(listener.error().message, HasSubstr("1 to 107 bytes"));
  EXPECT_FALSE(listen_unix("").has_value());
}

}  // namespace
}  // namespace tarsier::api
