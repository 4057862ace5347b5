// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/docker.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <random>

#include "net/test_server.h"

namespace tarsier::net {
namespace {

using Clock = std::chrono::steady_clock;
const std::string kId = "3b5a1f0e9c8d7b6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa0099";

const std::string kDigest = "sha256:" + kId;

std::string list_of_two() {
  return R"([{"Id":")" + kId + R"(","Names":["/other/alias","/web"],"Image":"nginx:1.25",
    "ImageID":"sha256:)" +
         kId + R"(","Created":1700000000,
    "Labels":{"a":"b"},"State":"running","Ports":[{"PrivatePort":80}],"Names2":["/no"]},
    {"Id":"abc","Names":["/k8s_app_web-0_shop_uid_0"],"Image":"sha256:12",
    "Labels":{"io.kubernetes.container.name":"app"}}])";
}
std::string one() {
  return R"({"Id":")" + kId + R"(","Name":"/web","Image":"sha256:)" + kId +
         R"(","Mounts":[{"Name":"/x"}],"Created":"2023-11-14T22:13:20.5Z","RestartCount":2,
    "State":{"Status":"running","StartedAt":"2023-11-14T23:13:21+01:00","ExitCode":0,
             "FinishedAt":"0001-01-01T00:00:00Z","OOMKilled":false},
    "Config":{"Image":"nginx:1.25","Labels":{"b":"2","a":"1"}},
    "HostConfig":{"Memory":33554432,"NanoCpus":1500000000,"Config":{"Image":"no"}}})";
}
std::string ended(std::string_view state) {
  return R"({"Id":"a","Name":"/job","State":)" + std::string(state) +
         R"(,"HostConfig":{"CpuQuota":50000,"CpuPeriod":100000}})";
}

TEST(DockerJson, ReadsAList) {
  const auto list = parse_docker_list(list_of_two());
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->size(), 2U);
  RuntimeContainer web;
  web.id = kId;
  web.name = "web";
  web.image = "nginx:1.25";
  web.image_digest = kDigest;
  web.labels = {{"a", "b"}};
  web.created_ns = 1'700'000'000'000'000'000;
  EXPECT_EQ(list->at(0), web);
  EXPECT_EQ(list->at(1).id, "abc");
  EXPECT_EQ(list->at(1).name, "app");
  EXPECT_EQ(list->at(1).image, "sha256:12");
  EXPECT_TRUE(parse_docker_list("[]")->empty());
}

TEST(DockerJson, ReadsOne) {
  const auto container = parse_docker_container(one());
  ASSERT_TRUE(container) << container.error().message;
  RuntimeContainer web;
  web.id = kId;
  web.name = "web";
  web.image = "nginx:1.25";
  web.image_digest = kDigest;
  web.labels = {{"a", "1"}, {"b", "2"}};
  web.created_ns = 1'700'000'000'500'000'000;
  web.complete = true;
  web.started_ns = 1'700'000'001'000'000'000;
  web.restart_count = 2;
  web.limits = {33'554'432, 1.5};
  EXPECT_EQ(*container, web);
}

TEST(DockerJson, ReadsHowOneEnded) {
  const auto failed = parse_docker_container(
      ended(R"({"Status":"exited","ExitCode":3,"FinishedAt":"2023-11-14T22:13:20Z"})"));
  ASSERT_TRUE(failed) << failed.error().message;
  EXPECT_EQ(failed->state, RuntimeState::exited);
  EXPECT_EQ(failed->exit, (RuntimeExit{3, "Error", 1'700'000'000'000'000'000}));
  EXPECT_EQ(failed->limits.cpu_cores, 0.5);
  const auto killed =
      parse_docker_container(ended(R"({"OOMKilled":true,"Status":"dead","ExitCode":137})"));
  EXPECT_EQ(killed->exit, (RuntimeExit{137, "OOMKilled", 0}));
  const auto done = parse_docker_container(ended(R"({"Status":"exited","ExitCode":0})"));
  EXPECT_EQ(done->exit, (RuntimeExit{0, "Completed", 0}));
  const auto made = parse_docker_container(ended(R"({"Status":"created","ExitCode":0})"));
  EXPECT_EQ(made->state, RuntimeState::created);
  EXPECT_FALSE(made->exit);
}

TEST(DockerJson, KeepsAPodsFactsAndABoundedNumberOfLabels) {
  std::string labels = R"("io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop",
    "io.kubernetes.pod.uid":"u1","io.kubernetes.sandbox.id":"s1","annotation.x":"no")";
  for (int i = 0; i < 100; ++i) labels += ",\"z" + std::to_string(i) + "\":\"v\"";
  const auto container =
      parse_docker_container(R"({"Id":"a","Config":{"Labels":{)" + labels + "}}}");
  ASSERT_TRUE(container) << container.error().message;
  EXPECT_EQ(container->pod, (RuntimePod{"u1", "web-0", "shop"}));
  EXPECT_EQ(container->sandbox_id, "s1");
  EXPECT_EQ(container->labels.size(), kMaxLabels);
  EXPECT_EQ(container->labels_refused, 104 - kMaxLabels);
  const auto sandbox = parse_docker_container(
      R"({"Id":"s1","Config":{"Labels":{"io.kubernetes.docker.type":"podsandbox"}}})");
  EXPECT_EQ(sandbox->sandbox_id, "s1");
}

TEST(DockerJson, RefusesWhatTheApiDoesNotPromise) {
  for (const std::string_view text :
       {"", "no json", "{}", "null", "7", "[1]", "[[]]", R"(["a"])", "[{]", "[{}", "[{}] x"}) {
    const auto list = parse_docker_list(text);
    ASSERT_FALSE(list) << text;
    EXPECT_EQ(list.error().code, ErrorCode::invalid);
  }
  for (const std::string_view text : {"", "[]", "{}", R"({"Id":7})", R"({"Id":""})", R"("x")",
                                      R"({"Id":"../../etc"})", R"({"Id":"a","Name":)"}) {
    const auto container = parse_docker_container(text);
    ASSERT_FALSE(container) << text;
    EXPECT_EQ(container.error().code, ErrorCode::invalid);
  }
}

TEST(DockerJson, SkipsMembersOfOtherTypes) {
  const auto list = parse_docker_list(
      R"([{"Id":"a","Names":null,"Image":["x"],"Labels":[{"io.kubernetes.container.name":"no"}]},
          {"Id":{"Id":"no"}},{"Names":["/noid"]},{"Id":"b","Names":"text","Image":1e999}])");
  EXPECT_FALSE(list);  // a number that no double holds
  const auto good =
      parse_docker_list(R"([{"Id":"a","Names":null,"Image":["x"]},{"Names":["/x"]}])");
  ASSERT_TRUE(good);
  ASSERT_EQ(good->size(), 1U);
  EXPECT_EQ(good->front().id, "a");
  EXPECT_EQ(good->front().name + good->front().image, "");
}

TEST(DockerJson, DepthAndLengthAreBounded) {
  const auto deep = parse_docker_list("[" + std::string(1'000'000, '['));
  ASSERT_FALSE(deep);
  const auto nested = parse_docker_list("[{\"a\":" + std::string(1'000'000, '[') + "}]");
  ASSERT_FALSE(nested);
  EXPECT_NE(nested.error().message.find("64"), std::string::npos);
  const std::string name(100'000, 'n');
  const auto container = parse_docker_container(R"({"Id":"a","Name":")" + name + "\"}");
  ASSERT_TRUE(container);
  EXPECT_EQ(container->name.size(), 512U);
}

TEST(DockerJson, AMutatedAnswerNeverCrashes) {
  std::mt19937 random(11);
  for (int i = 0; i < 20'000; ++i) {
    std::string text = i % 2 == 0 ? list_of_two() : one();
    for (auto edits = random() % 6; edits > 0; --edits) {
      text[random() % text.size()] = static_cast<char>(random() % 256);
    }
    (void)parse_docker_list(text);
    (void)parse_docker_container(text);
  }
}

class Docker : public testing::Test {
 protected:
  void serve(std::function<void(Connection&)> script) { server_.emplace(path_, std::move(script)); }
  // An API that knows the one container.
  static void api(Connection& connection) {
    while (true) {
      const std::string head = connection.request();
      if (head.empty()) return;
      if (head.starts_with("GET /containers/json ")) {
        connection.answer(200, list_of_two());
      } else if (head.starts_with("GET /containers/" + kId + "/json ")) {
        connection.answer(200, one());
      } else {
        connection.answer(404, R"({"message":"No such container: x"})");
      }
    }
  }
  TestDirectory directory_;
  std::string path_ = directory_.path("docker.sock");
  std::optional<TestServer> server_;
};

TEST_F(Docker, AnswersOverOneConnection) {
  serve(api);
  DockerClient client(path_);
  EXPECT_TRUE(client.present());
  for (int i = 0; i < 3; ++i) {
    const auto list = client.list();
    ASSERT_TRUE(list) << list.error().message;
    EXPECT_EQ(list->size(), 2U);
    const auto container = client.get(kId);
    ASSERT_TRUE(container) << container.error().message;
    EXPECT_EQ(container->name, "web");
  }
  EXPECT_EQ(server_->connections(), 1);
}

TEST_F(Docker, SaysThatThereIsNoSuchContainer) {
  serve(api);
  DockerClient client(path_);
  const auto container = client.get(std::string(64, '0'));
  ASSERT_FALSE(container);
  EXPECT_EQ(container.error().code, ErrorCode::not_found);
  EXPECT_NE(container.error().message.find("No such container"), std::string::npos);
  EXPECT_EQ(client.get("../version").error().code, ErrorCode::not_found);
  EXPECT_EQ(client.get("a/json?x=1 HTTP/1.1\r\n").error().code, ErrorCode::not_found);
}

TEST_F(Docker, PodmansWordsForNoSuchContainer) {
  serve([](Connection& connection) {
    while (!connection.request().empty()) {
      connection.answer(500, R"({"cause":"no such container","message":"x","response":500})");
    }
  });
  EXPECT_EQ(DockerClient(path_).get(kId).error().code, ErrorCode::not_found);
  EXPECT_EQ(DockerClient(path_).list().error().code, ErrorCode::unavailable);
}

TEST_F(Docker, NobodyThereIsSaid) {
  DockerClient client(path_);
  EXPECT_FALSE(client.present());
  const auto list = client.list();
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::unavailable);
  EXPECT_NE(list.error().message.find("No such file"), std::string::npos) << list.error().message;
  EXPECT_NE(list.error().message.find(path_), std::string::npos);
}

TEST_F(Docker, AHangingRuntimeCostsTheTimeoutAndNoMore) {
  serve([](Connection& connection) { connection.hang(); });
  DockerClient client(path_, 200);
  const auto start = Clock::now();
  const auto list = client.list();
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(800));
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::unavailable);
}

TEST_F(Docker, ARuntimeThatDripsCostsTheTimeoutAndNoMore) {
  serve([](Connection& connection) {
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n[");
    while (connection.send(" ")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  DockerClient client(path_, 200);
  const auto start = Clock::now();
  EXPECT_EQ(client.list().error().code, ErrorCode::unavailable);
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(800));
}

TEST_F(Docker, AnEndlessBodyIsCut) {
  serve([](Connection& connection) {
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string chunk = "10000\r\n" + std::string(0x10000, ' ') + "\r\n";
    while (connection.send(chunk)) {
    }
  });
  DockerClient client(path_, 5'000);
  const auto list = client.list();
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::limit_reached) << list.error().message;
}

TEST_F(Docker, AnEndlessHeaderIsCut) {
  serve([](Connection& connection) {
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\n");
    while (connection.send("X-Long: " + std::string(1000, 'x') + "\r\n")) {
    }
  });
  DockerClient client(path_, 5'000);
  const auto list = client.list();
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::limit_reached) << list.error().message;
}

TEST_F(Docker, GarbageIsAnError) {
  serve([](Connection& connection) {
    connection.request();
    connection.send("\x16\x03\x01 this is not HTTP\r\n\r\n");
  });
  EXPECT_FALSE(DockerClient(path_).list());
  EXPECT_FALSE(DockerClient(path_).get(kId));
}

TEST_F(Docker, AnAnswerThatEndsEarlyIsAnError) {
  serve([](Connection& connection) {
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[{\"Id\":\"a\"");
  });
  const auto list = DockerClient(path_).list();
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::failed) << list.error().message;
}

TEST_F(Docker, ARedirectIsNotFollowed) {
  serve([](Connection& connection) {
    while (!connection.request().empty()) {
      connection.send(
          "HTTP/1.1 302 Found\r\nLocation: http://localhost/elsewhere\r\n"
          "Content-Length: 0\r\n\r\n");
    }
  });
  const auto list = DockerClient(path_).list();
  ASSERT_FALSE(list);
  EXPECT_NE(list.error().message.find("302"), std::string::npos);
  EXPECT_EQ(server_->connections(), 1);
}

TEST_F(Docker, ItsWordsStayOnOneLine) {
  serve([](Connection& connection) {
    while (!connection.request().empty()) connection.answer(500, "bad\nforged line\x01\xff");
  });
  const auto container = DockerClient(path_).get(kId);
  ASSERT_FALSE(container);
  EXPECT_EQ(container.error().code, ErrorCode::unavailable);
  EXPECT_EQ(container.error().message.find('\n'), std::string::npos);
}

TEST_F(Docker, AProxyOfTheEnvironmentIsNotUsed) {
  ::setenv("http_proxy", "http://proxy.invalid:1", 1);
  HttpClient client;
  HttpRequest request;
  request.url = "http://127.0.0.1:1/";  // nobody listens on tcpmux
  const auto response = client.send(request);
  ::unsetenv("http_proxy");
  ASSERT_FALSE(response);
  EXPECT_NE(response.error().message.find("Connection refused"), std::string::npos)
      << response.error().message;
}

TEST_F(Docker, SendsAMethodAndABody) {
  std::string seen;
  serve([&](Connection& connection) {
    seen = connection.request();
    connection.answer(200, "ok");
  });
  HttpClient client;
  HttpRequest request;
  request.method = "PATCH";
  request.unix_socket = path_;
  request.url = "http://localhost/api/v1/probes/tcp";
  request.headers = {"Content-Type: application/json"};
  request.body = R"({"enabled":true})";
  const auto response = client.send(request);
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "ok");
  EXPECT_EQ(response->content_type, "application/json");
  server_.reset();
  EXPECT_TRUE(seen.starts_with("PATCH /api/v1/probes/tcp HTTP/1.1\r\n")) << seen;
  EXPECT_NE(seen.find("Content-Length: 16\r\n"), std::string::npos) << seen;
}

TEST_F(Docker, OtherProtocolsAreRefused) {
  HttpClient client;
  for (const std::string url : {"file:///etc/passwd", "ftp://localhost/", "gopher://localhost/"}) {
    HttpRequest request;
    request.url = url;
    const auto response = client.send(request);
    ASSERT_FALSE(response) << url;
    EXPECT_EQ(response.error().code, ErrorCode::invalid) << response.error().message;
  }
}

}  // namespace
}  // namespace tarsier::net
