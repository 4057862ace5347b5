// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <set>

#include "api/test_server.h"

namespace tarsier::api {
namespace {

using namespace std::chrono_literals;
using testing::Client;
using testing::eventually;
using ::testing::HasSubstr;
using testing::is_pattern;
using testing::Reply;
using testing::seconds_since;
using testing::TemporaryDirectory;
using testing::TestClock;
using testing::TestServer;

TEST(Server, ServesAndKeepsTheConnection) {
  const TestServer test;
  Client client = test.client();
  for (int i = 0; i < 3; ++i) {
    const Reply reply = client.get("/hello");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "hello");
    EXPECT_TRUE(reply.has("Content-Type: text/plain; charset=utf-8"));
    EXPECT_TRUE(reply.has("X-Content-Type-Options: nosniff"));
  }
  const ServerStats stats = test.server->stats();
  EXPECT_EQ(stats.accepted, 1U);
  EXPECT_EQ(stats.connections, 1U);
  EXPECT_EQ(stats.requests[2], 3U);
}

TEST(Server, ForgetsAConnectionThatTheClientClosed) {
  const TestServer test;
  {
    Client client = test.client();
    EXPECT_EQ(client.get("/hello").status, 200);
  }
  EXPECT_TRUE(eventually([&] { return test.server->stats().connections == 0; }));
}

TEST(Server, DecodesPathAndQueryOnce) {
  const TestServer test;
  Client client = test.client();
  EXPECT_EQ(client.get("/echo/a%2Fb%2525?q=x+y%26").body, "a/b%25|x y&|127.0.0.1");
  EXPECT_EQ(client.get("/echo/..").body, "..|-|127.0.0.1");
  EXPECT_EQ(client.get("/echo/../hello").status, 404);
  EXPECT_EQ(client.get("/echo/%2e%2e%2f%2e%2e%2fetc%2fpasswd").body,
            "../../etc/passwd|-|127.0.0.1");
  EXPECT_EQ(client.get("/echo/%").status, 400);
  EXPECT_EQ(client.get("/echo/%00").status, 400);
}

TEST(Server, AnswersWithProblemDetails) {
  const TestServer test;
  Client client = test.client();
  Reply reply = client.get("/nothing");
  EXPECT_EQ(reply.status, 404);
  EXPECT_TRUE(reply.has("Content-Type: application/problem+json"));
  EXPECT_THAT(reply.body, HasSubstr("\"detail\":\"there is nothing at /nothing\""));

  reply = client.ask("DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(reply.status, 405);
  EXPECT_TRUE(reply.has("Allow: GET, HEAD"));

  reply = client.get("/throw");
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(reply.body.find("oops"), std::string::npos);
  EXPECT_EQ(client.get("/hello").status, 200);  // all on one connection
  EXPECT_EQ(test.server->stats().requests[4], 2U);
  EXPECT_EQ(test.server->stats().requests[5], 1U);
}

TEST(Server, AnswersHeadWithoutABody) {
  const TestServer test;
  Client client = test.client();
  const Reply head = client.ask("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(head.status, 200);
  EXPECT_TRUE(head.has("Content-Length: 5"));
  EXPECT_EQ(client.ask("HEAD /whole?bytes=1000000 HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
  EXPECT_EQ(client.get("/hello").body, "hello");  // no byte of a body came before it

  client.send("HEAD /stream?bytes=1000000 HTTP/1.1\r\nHost: a\r\n\r\n");
  const Reply streamed = client.receive();  // no length: what follows the head is its body
  EXPECT_EQ(streamed.status, 200);
  EXPECT_TRUE(streamed.has("Connection: close"));
  EXPECT_EQ(streamed.body, "");
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(test.probe.generated, 0U);
}

TEST(Server, TakesBodies) {
  const TestServer test;
  Client client = test.client();
  const std::string body(300'000, 'b');
  EXPECT_EQ(
      client.ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + body).body,
      body);
  EXPECT_EQ(client
                .ask("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n")
                .body,
            "abcdefg");
  EXPECT_EQ(client.ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status, 200);
}

TEST(Server, SaysContinueToThoseWhoAsk) {
  const TestServer test;
  Client client = test.client();
  const Reply first = client.ask(
      "POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(first.status, 100);
  EXPECT_EQ(client.ask("ok").body, "ok");
}

TEST(Server, RefusesBodiesThatAreTooLarge) {
  const TestServer test;
  Client announced = test.client();
  const Reply early = announced.ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: " +
                                    std::to_string(kMaxBodyBytes + 1) + "\r\n\r\n");
  EXPECT_EQ(early.status, 413);

  Client chunked = test.client();
  std::string request = "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string piece = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  for (std::size_t sent = 0; sent <= kMaxBodyBytes; sent += 0x10000) request += piece;
  EXPECT_EQ(chunked.ask(request + "0\r\n\r\n").status, 413);

  Client fits = test.client();
  EXPECT_EQ(fits.ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: " +
                     std::to_string(kMaxBodyBytes) + "\r\n\r\n" + std::string(kMaxBodyBytes, 'x'))
                .body.size(),
            kMaxBodyBytes);
}

TEST(Server, AnswersPipelinedRequestsInOrder) {
  const TestServer test;
  Client client = test.client();
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += "GET /echo/" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  }
  client.send(requests);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(client.receive().body, std::to_string(i) + "|-|127.0.0.1");
  }
}

TEST(Server, AnswersAClientThatOnlyListens) {
  const TestServer test;
  Client client = test.client();
  client.send("GET /stream?bytes=3000000 HTTP/1.1\r\nHost: a\r\n\r\n");
  client.finish_sending();
  EXPECT_TRUE(is_pattern(client.receive().body, 3'000'000));
}

TEST(Server, StreamsWithoutHolding) {
  const TestServer test;
  Client client = test.client();
  constexpr std::size_t kSize = 20'000'003;
  const Reply reply = client.get("/stream?bytes=" + std::to_string(kSize));
  EXPECT_TRUE(reply.complete);
  EXPECT_TRUE(is_pattern(reply.body, kSize));
  EXPECT_EQ(client.get("/hello").body, "hello");
  EXPECT_TRUE(is_pattern(client.get("/whole?bytes=1000003").body, 1'000'003));
  EXPECT_TRUE(is_pattern(client.get("/stream?bytes=1").body, 1));
  EXPECT_EQ(client.get("/stream?bytes=0").body, "");
  EXPECT_TRUE(eventually([&] { return test.probe.streams == 0; }));
}

TEST(Server, StreamsToHttp10) {
  const TestServer test;
  Client client = test.client();
  const Reply reply = client.ask("GET /stream?bytes=500000 HTTP/1.0\r\n\r\n");
  EXPECT_FALSE(reply.has("chunked"));
  EXPECT_TRUE(is_pattern(reply.body, 500'000));
}

TEST(Server, CutsABodyWhoseGeneratorFails) {
  const TestServer test;
  Client client = test.client();
  const Reply reply = client.get("/cut");
  EXPECT_EQ(reply.status, 200);
  EXPECT_FALSE(reply.complete);
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(test.server->stats().aborted_streams, 1U);
}

TEST(Server, WaitsForAStreamWithoutHoldingTheWorker) {
  ServerOptions options = TestServer::quick();
  options.workers = 1;
  options.write_stall_ms = 50;  // waiting is not the client's fault
  TestServer test(options);
  Client waiting = test.client();
  waiting.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return test.probe.asked > 5; }));
  const auto start = TestClock::now();
  EXPECT_EQ(test.client().get("/hello").body, "hello");
  EXPECT_LT(seconds_since(start), 0.1 * testing::kPatience);
  const int asked = test.probe.asked;
  std::this_thread::sleep_for(100ms);
  EXPECT_LT(test.probe.asked - asked, 15);  // asked by the clock, not in a loop
  test.probe.ready = true;
  EXPECT_EQ(waiting.receive().body, "now");
}

TEST(Server, ListensOnAllFamiliesAtOnce) {
  const TemporaryDirectory directory;
  testing::Probe probe;
  std::vector<Listener> listeners;
  auto tcp = listen_tcp("[::]:0");
  if (!tcp && tcp.error().errno_value == EAFNOSUPPORT) GTEST_SKIP() << "no IPv6 here";
  ASSERT_TRUE(tcp.has_value());
  const std::string port = std::to_string(tcp->port());
  listeners.push_back(std::move(*tcp));
  listeners.push_back(std::move(*listen_unix(directory / "s")));
  const auto server = Server::start(std::move(listeners), test_routes(probe), {});
  ASSERT_TRUE(server.has_value()) << server.error().message;
  EXPECT_EQ(Client("[::1]:" + port).get("/echo/6").body, "6|-|::1");
  EXPECT_EQ(Client("127.0.0.1:" + port).get("/echo/4").body, "4|-|127.0.0.1");
  EXPECT_EQ(Client(directory / "s").get("/echo/u").body, "u|-|");
}

TEST(Server, GivesItsListenersBack) {
  TestServer test;
  const std::string address = test.address();
  Client before(address);
  EXPECT_EQ(before.get("/hello").status, 200);
  auto listeners = test.server->stop_and_release();
  EXPECT_TRUE(before.ended_within(1s));
  Client between(address);  // the kernel keeps it for the next server
  EXPECT_TRUE(between.connected());
  auto next = Server::start(std::move(listeners), testing::test_routes(test.probe), {});
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(between.get("/hello").status, 200);
}

TEST(Server, LeaksNoDescriptorToChildren) {
  const TemporaryDirectory directory;
  const auto inheritable = [] {
    std::set<std::string> numbers;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      const int fd = std::atoi(entry.path().filename().c_str());
      const int flags = ::fcntl(fd, F_GETFD);
      if (flags >= 0 && (flags & FD_CLOEXEC) == 0) numbers.insert(entry.path().filename());
    }
    return numbers;
  };
  const auto before = inheritable();
  const TestServer tcp;
  const TestServer local(TestServer::quick(), directory / "s");
  Client a = tcp.client();
  Client b = local.client();
  EXPECT_EQ(a.get("/hello").status, 200);
  EXPECT_EQ(b.get("/hello").status, 200);
  EXPECT_EQ(inheritable(), before);
}

// --- stopping ---------------------------------------------------------------------------------

TEST(ServerStop, WaitsForNoClient) {
  TestServer test;
  Client streaming = test.client(4096);
  streaming.send("GET /stream?bytes=100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
  Client waiting = test.client();
  waiting.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  Client half = test.client();
  half.send("GET /hel");
  Client idle = test.client();
  EXPECT_EQ(idle.get("/hello").status, 200);
  ASSERT_TRUE(eventually([&] { return test.probe.streams == 2 && test.probe.asked > 0; }));
  const auto start = TestClock::now();
  test.server->stop();
  EXPECT_LT(seconds_since(start), 1.0 * testing::kPatience);
  EXPECT_EQ(test.probe.streams, 0);
  EXPECT_TRUE(idle.ended_within(1s));
  EXPECT_TRUE(half.ended_within(1s));
  EXPECT_TRUE(waiting.ended_within(1s));
  EXPECT_TRUE(streaming.ended_within(5s));
  test.server->stop();  // a second time does nothing
}

TEST(ServerStop, RemovesTheSocketFile) {
  const TemporaryDirectory directory;
  const std::string path = directory / "s";
  {
    const TestServer test(TestServer::quick(), path);
    struct stat info{};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0);
  }
  struct stat info{};
  EXPECT_NE(::lstat(path.c_str(), &info), 0);
}

// --- who may ask --------------------------------------------------------------------------------

TEST(ServerAuth, AsksForTheToken) {
  ServerOptions options = TestServer::quick();
  options.auth = {Auth::Kind::token, "0123456789abcdef", {}};
  const TestServer test(options);
  Client client = test.client();
  const Reply none = client.get("/hello");
  EXPECT_EQ(none.status, 401);
  EXPECT_TRUE(none.has("WWW-Authenticate: Bearer"));
  for (const char* bad : {"Bearer 0123456789abcdeF", "Bearer 0123456789abcde", "Bearer ", "Bearer",
                          "Basic 0123456789abcdef", "0123456789abcdef"}) {
    EXPECT_EQ(client.get("/hello", std::string("Authorization: ") + bad + "\r\n").status, 401)
        << bad;
  }
  EXPECT_EQ(client.get("/nothing").status, 401);  // routes are not told to strangers
  EXPECT_EQ(client.get("/hello", "authorization: bearer 0123456789abcdef\r\n").status, 200);
  EXPECT_EQ(test.server->stats().auth_failures, 8U);
}

// A stranger's body is not read, whatever its length.
TEST(ServerAuth, AnswersStrangersBeforeTheirBody) {
  ServerOptions options = TestServer::quick();
  options.auth = {Auth::Kind::token, "0123456789abcdef", {}};
  const TestServer test(options);
  Client client = test.client();
  EXPECT_EQ(client.ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n").status,
            401);
}

TEST(ServerAuth, ChecksPasswords) {
  ServerOptions options = TestServer::quick();
  options.auth.kind = Auth::Kind::basic;
  options.auth.users = {{"prometheus",
                         "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/"
                         "Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/"}};
  const TestServer test(options);
  Client client = test.client();
  EXPECT_TRUE(client.get("/hello").has("WWW-Authenticate: Basic"));
  const auto with = [&](const char* value) {
    return client.get("/hello", std::string("Authorization: Basic ") + value + "\r\n").status;
  };
  EXPECT_EQ(with("cHJvbWV0aGV1czpzZWNyZXQ="), 200);  // prometheus:secret
  EXPECT_EQ(with("cHJvbWV0aGV1czpTZWNyZXQ="), 401);  // prometheus:Secret
  EXPECT_EQ(with("cHJvbWV0aGV1cw=="), 401);          // no colon
  EXPECT_EQ(with("!!!"), 401);
  int last = 0;
  for (int i = 0; i < 50 && last != 429; ++i) last = with("cHJvbWV0aGV1czpTZWNyZXQ=");
  EXPECT_EQ(last, 429);
  EXPECT_EQ(with("cHJvbWV0aGV1czpzZWNyZXQ="), 200);
}

TEST(ServerAuth, ChecksHostAndOrigin) {
  ServerOptions options = TestServer::quick();
  options.check_host = true;
  options.host_names = {"tarsier.example"};
  const TestServer test(options);
  const std::string self = test.address();
  Client client = test.client();
  const auto status = [&](const std::string& headers) {
    return client.ask("GET /hello HTTP/1.1\r\n" + headers + "\r\n").status;
  };
  EXPECT_EQ(status("Host: " + self + "\r\n"), 200);
  EXPECT_EQ(status("Host: localhost\r\n"), 200);
  EXPECT_EQ(status("Host: tarsier.example:80\r\n"), 200);
  EXPECT_EQ(status("Host: evil.example\r\n"), 403);
  EXPECT_EQ(status("Host: localhost\r\nHost: evil.example\r\n"), 403);
  EXPECT_EQ(status("Host: " + self + "\r\nOrigin: http://" + self + "\r\n"), 200);
  EXPECT_EQ(status("Host: " + self + "\r\nOrigin: http://evil.example\r\n"), 403);
  EXPECT_EQ(status("Host: " + self + "\r\nOrigin: https://" + self + "\r\n"), 403);
  EXPECT_EQ(status("Host: " + self + "\r\nOrigin: null\r\n"), 403);
  EXPECT_EQ(status("Host: " + self + "\r\nOrigin: http://" + self + "\r\nOrigin: null\r\n"), 403);
  EXPECT_EQ(Client(test.address()).ask("GET /hello HTTP/1.0\r\n\r\n").status, 403);
  EXPECT_EQ(test.server->stats().host_refused, 7U);
}

TEST(ServerAuth, RefusesOptionsThatDoNotFit) {
  const auto why = [](const char* address, ServerOptions options) {
    testing::Probe probe;
    std::vector<Listener> listeners;
    listeners.push_back(std::move(*listen_tcp(address)));
    const auto server = Server::start(std::move(listeners), test_routes(probe), std::move(options));
    return server ? std::string("started") : server.error().message;
  };
  ServerOptions options;
  options.auth.kind = Auth::Kind::loopback;
  EXPECT_THAT(why("0.0.0.0:0", options), HasSubstr("loopback address only"));
  EXPECT_EQ(why("127.0.0.1:0", options), "started");
  options.auth.kind = Auth::Kind::token;
  options.auth.token = "short";
  EXPECT_THAT(why("127.0.0.1:0", options), HasSubstr("token is shorter"));
  options.auth.kind = Auth::Kind::certificate;
  EXPECT_THAT(why("127.0.0.1:0", options), HasSubstr("client_ca"));
  options.auth = {Auth::Kind::basic, "", {{"u", "plain"}}};
  EXPECT_THAT(why("127.0.0.1:0", options), HasSubstr("not a hash"));
  options = {};
  options.workers = 0;
  EXPECT_THAT(why("127.0.0.1:0", options), HasSubstr("at least one worker"));
}

// The kernel's word counts even where the mode of the file was changed.
TEST(ServerAuth, OnlyRootAndTheDaemonsUserUseTheControlSocket) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  const TemporaryDirectory directory;
  const std::string path = directory / "s";
  const TestServer test(TestServer::quick(), path);
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  ASSERT_EQ(::chmod((directory / ".").c_str(), 0755), 0);
  EXPECT_EQ(test.client().get("/hello").status, 200);
  Reply reply;
  std::thread([&] {
    constexpr unsigned kNobody = 65534;
    // The bare call changes this thread alone, unlike the library's function.
    ASSERT_EQ(::syscall(SYS_setresuid, kNobody, kNobody, kNobody), 0);
    reply = test.client().get("/hello");
  }).join();
  EXPECT_EQ(reply.status, 403);
  EXPECT_THAT(reply.body, HasSubstr("you are uid 65534"));
}

// --- time-outs ----------------------------------------------------------------------------------

TEST(ServerTimeouts, ARequestHasToCome) {
  ServerOptions options = TestServer::quick();
  options.request_timeout_ms = 200;
  const TestServer test(options);
  Client silent = test.client();
  Client half = test.client();
  half.send("GET /hello HTTP/1.1\r\nHost: a\r\n");
  Client body = test.client();
  body.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  Client second = test.client();
  EXPECT_EQ(second.get("/hello").status, 200);
  second.send("GET /hello HTTP/1.1\r\nHost:");
  const auto start = TestClock::now();
  EXPECT_TRUE(silent.ended_within(2s));
  EXPECT_TRUE(half.ended_within(2s));
  EXPECT_TRUE(body.ended_within(2s));
  EXPECT_TRUE(second.ended_within(2s));
  EXPECT_GT(seconds_since(start), 0.15);
  EXPECT_EQ(test.server->stats().request_timeouts, 4U);
}

TEST(ServerTimeouts, AnIdleConnectionIsClosed) {
  ServerOptions options = TestServer::quick();
  options.request_timeout_ms = 100;
  options.idle_timeout_ms = 300;
  const TestServer test(options);
  Client client = test.client();
  EXPECT_EQ(client.get("/hello").status, 200);
  EXPECT_FALSE(client.ended_within(200ms));
  EXPECT_TRUE(client.ended_within(2s));
  EXPECT_EQ(test.server->stats().idle_timeouts, 1U);
}

TEST(ServerTimeouts, AClientThatStopsReadingIsCut) {
  ServerOptions options = TestServer::quick();
  options.write_stall_ms = 300;
  const TestServer test(options);
  Client client = test.client(4096);
  client.send("GET /stream?bytes=100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return test.server->stats().write_timeouts == 1; }));
  EXPECT_TRUE(eventually([&] { return test.probe.streams == 0; }));
  // What was generated for it sits in the kernel's buffers and in one piece of ours.
  EXPECT_LT(test.probe.generated, 2'000'000U);
  Client whole = test.client(4096);
  whole.send("GET /whole?bytes=10000000 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return test.server->stats().write_timeouts == 2; }));
}

TEST(ServerTimeouts, ASlowHandlerIsNotTheClientsFault) {
  ServerOptions options = TestServer::quick();
  options.write_stall_ms = options.request_timeout_ms = 100;
  const TestServer test(options);
  Client client = test.client();
  EXPECT_EQ(client.get("/slow?ms=500").body, "slow");
}

}  // namespace
}  // namespace tarsier::api
