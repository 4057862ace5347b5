// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <gtest/gtest.h>

#include <chrono>
#include <optional>

#include "net/docker.h"
#include "net/http_stream.h"
#include "net/test_server.h"

namespace tarsier::net {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = RuntimeEvent::Kind;
const std::string kId = "3b5a1f0e9c8d7b6a5f4e3d2c1b0a99887766554433221100ffeeddccbbaa0099";

std::string event(std::string_view action, std::string_view attributes = "") {
  return R"({"status":"x","id":"x","Type":"container","Action":")" + std::string(action) +
         R"(","Actor":{"ID":")" + kId + R"(","Attributes":{"image":"i")" + std::string(attributes) +
         R"(}},"time":1700000000,"timeNano":1700000000000000001})" + "\n";
}

TEST(DockerEvent, IsRead) {
  const auto died = parse_docker_event(event("die", R"(,"exitCode":"3")"));
  ASSERT_TRUE(died) << died.error().message;
  ASSERT_TRUE(*died);
  EXPECT_EQ((*died)->kind, Kind::ended);
  EXPECT_EQ((*died)->id, kId);
  EXPECT_EQ((*died)->exit_code, 3);
  EXPECT_EQ((*died)->time_ns, 1'700'000'000'000'000'001);
  EXPECT_EQ((*parse_docker_event(event("start")))->kind, Kind::started);
  EXPECT_EQ((*parse_docker_event(event("rename")))->kind, Kind::changed);
  EXPECT_EQ((*parse_docker_event(event("oom")))->kind, Kind::out_of_memory);
  EXPECT_EQ((*parse_docker_event(event("destroy")))->kind, Kind::removed);
  EXPECT_FALSE((*parse_docker_event(event("die", R"(,"exitCode":"3x")")))->exit_code);
}

TEST(DockerEvent, OthersAreNoError) {
  EXPECT_EQ(*parse_docker_event(event("exec_start: /bin/sh")), std::nullopt);
  EXPECT_EQ(*parse_docker_event(R"({"Type":"network","Action":"create","Actor":{"ID":"n"}})"),
            std::nullopt);
  EXPECT_EQ(*parse_docker_event("{}"), std::nullopt);
}

TEST(DockerEvent, GarbageIsRefused) {
  for (const std::string_view text :
       {"", "[]", "x", R"({"Action":"start")", R"("start")", R"({"Action":"start"})",
        R"({"Action":"start","Actor":{"ID":"../evil"}})"}) {
    EXPECT_FALSE(parse_docker_event(text)) << text;
  }
}

class DockerEvents : public testing::Test {
 protected:
  void serve(std::function<void(Connection&)> script) { server_.emplace(path_, std::move(script)); }
  static bool begin(Connection& connection) {
    return !connection.request().empty() &&
           connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  }
  static bool chunk(Connection& connection, std::string_view text) {
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", text.size());
    return connection.send(size + std::string(text) + "\r\n");
  }
  // Waits until as many events are there, or the stream is over; at most 5 s.
  Status wait(std::size_t count) {
    if (stream_ == nullptr) stream_ = std::move(*DockerClient(path_).watch());
    const auto deadline = Clock::now() + std::chrono::seconds(5);
    Status status;
    while (status && events_.size() < count && Clock::now() < deadline) {
      status = stream_->wait(100, events_);
    }
    return status;
  }
  TestDirectory directory_;
  std::string path_ = directory_.path("docker.sock");
  std::optional<TestServer> server_;
  std::unique_ptr<RuntimeEvents> stream_;
  std::vector<RuntimeEvent> events_;
};

TEST_F(DockerEvents, ComeOneByOneAndCutAnywhere) {
  std::string head;
  serve([&](Connection& connection) {
    head = connection.request();
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string both = event("create") + "\n" + event("start");
    for (const char c : both) chunk(connection, {&c, 1});
    connection.hang();
  });
  const auto status = wait(2);
  ASSERT_TRUE(status) << status.error().message;
  ASSERT_EQ(events_.size(), 2U);
  EXPECT_EQ(events_[0].kind, Kind::created);
  EXPECT_EQ(events_[1].kind, Kind::started);
  EXPECT_TRUE(stream_->answered());
  EXPECT_EQ(stream_->take_losses(), 0U);
  EXPECT_TRUE(head.starts_with("GET /events?filters=%7B%22type%22%3A%5B%22container%22%5D"));
  const auto before = Clock::now();
  stream_.reset();
  EXPECT_LT(Clock::now() - before, std::chrono::milliseconds(500));
}

TEST_F(DockerEvents, ABrokenStreamIsAnError) {
  serve([](Connection& connection) {
    begin(connection);
    chunk(connection, event("start") + event("die").substr(0, 40));
  });
  const auto status = wait(2);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::unavailable) << status.error().message;
  EXPECT_EQ(events_.size(), 1U);  // half an event is none
}

TEST_F(DockerEvents, AnOrderlyEndIsAnErrorToo) {
  serve([](Connection& connection) {
    begin(connection);
    connection.send("0\r\n\r\n");
    connection.hang();
  });
  const auto status = wait(1);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::unavailable) << status.error().message;
}

TEST_F(DockerEvents, GarbageAndLongLinesAreCounted) {
  serve([](Connection& connection) {
    begin(connection);
    chunk(connection, "garbage\n{\"Action\":\"start\"}\n" + std::string(kMaxLine + 1, 'x'));
    chunk(connection, std::string(100, 'x') + "\n" + event("start"));
    connection.hang();
  });
  const auto status = wait(1);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(events_.size(), 1U);
  EXPECT_EQ(stream_->take_losses(), 3U);
}

TEST_F(DockerEvents, AnEndlessStreamIsBounded) {
  serve([](Connection& connection) {
    begin(connection);
    std::string many;
    for (int i = 0; i < 200; ++i) many += event("start");
    while (chunk(connection, many)) {
    }
  });
  for (int i = 0; i < 20; ++i) {
    events_.clear();
    ASSERT_TRUE(wait(1));
    EXPECT_LE(events_.size(), kMaxEventsAtOnce);
  }
}

TEST_F(DockerEvents, NobodyThereAndNoSuchThing) {
  const auto nobody = wait(1);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, ErrorCode::unavailable) << nobody.error().message;
  EXPECT_NE(nobody.error().message.find(path_), std::string::npos);
  stream_.reset();
  serve([](Connection& connection) {
    while (!connection.request().empty()) connection.answer(404, event("start"));
  });
  const auto status = wait(1);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::not_found) << status.error().message;
  EXPECT_TRUE(events_.empty());
}

TEST_F(DockerEvents, ASilentRuntimeHasNotAnswered) {
  serve([](Connection& connection) { connection.hang(); });
  stream_ = std::move(*DockerClient(path_).watch());
  EXPECT_TRUE(stream_->wait(50, events_));
  EXPECT_FALSE(stream_->answered());
}

}  // namespace
}  // namespace tarsier::net
