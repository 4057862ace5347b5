// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Tokens and certificates, over HTTPS as in the field.
#include <gmock/gmock.h>

#include <fstream>

#include "net/kubernetes/test_consumer.h"
#include "net/test_server.h"

namespace tarsier::net::kubernetes {
namespace {

using fake::FakeCluster;
using fake::Kind;
using ::testing::HasSubstr;
using ::testing::Not;

class ClusterTls : public ClusterTest {
 protected:
  ClusterTls() { fake_.put(Kind::pods, fake::pod_json({})); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(directory_.path(name)) << text;
  }
  ClusterOptions in_cluster() {
    write("ca.crt", identity_.ca);
    const std::string url = fake_.url();
    auto credentials = in_cluster_credentials(
        [&](const std::string_view name) {
          return name.ends_with("HOST") ? std::string("127.0.0.1") : url.substr(url.rfind(':') + 1);
        },
        directory_.path(""));
    ClusterOptions options = options_for(fake_);
    EXPECT_TRUE(credentials);
    if (credentials) options.credentials = *credentials;
    return options;
  }

  static inline const fake::Identity identity_ = fake::make_identity();
  TestDirectory directory_;
  FakeCluster fake_{identity_.server};
};

TEST_F(ClusterTls, ATokenThatRotatesIsUsedAtOnce) {
  write("token", "first\n");
  fake_.set_token("first");
  start(in_cluster());
  ASSERT_TRUE(wait([&] { return fake_.counts(Kind::pods).watches_now == 1; }));
  EXPECT_EQ(fake_.counts(Kind::pods).refused, 0U);
  // The server takes the new one alone before the file has it, as after a key rotation.
  fake_.set_token("second");
  fake_.end_watches();
  ASSERT_TRUE(wait([&] { return state(Resource::pods).state == TaskState::refused; }));
  EXPECT_THAT(state(Resource::pods).last_error, HasSubstr("401"));
  for (const char* token : {"first", "second"}) {
    EXPECT_THAT(state(Resource::pods).last_error, Not(HasSubstr(token)));
  }
  EXPECT_EQ(pods(), 1U);
  write("token", "second\n");
  ASSERT_TRUE(wait([&] { return fake_.counts(Kind::pods).watches_now == 1; }));
  EXPECT_EQ(fake_.counts(Kind::pods).lists, 1U);  // the watch went on where it was
  ASSERT_TRUE(wait([&] { return state(Resource::pods).last_error.empty(); }));
}

TEST_F(ClusterTls, ATokenThatRotatedMeanwhileCostsNoFailure) {
  write("token", "first\n");
  fake_.set_token("first");
  start(in_cluster());
  ASSERT_TRUE(wait([&] { return fake_.counts(Kind::pods).watches_now == 1; }));
  write("token", "second\n");
  fake_.set_token("second");
  fake_.end_watches();
  ASSERT_TRUE(wait([&] { return fake_.counts(Kind::pods).watches == 2; }));
  EXPECT_EQ(state(Resource::pods).failures, 0U);
}

TEST_F(ClusterTls, AWrongCaIsRefusedInWords) {
  write("token", "very-secret-token");
  ClusterOptions options = in_cluster();
  write("ca.crt", fake::make_identity().ca);
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures > 0; }));
  EXPECT_THAT(state(Resource::pods).last_error,
              HasSubstr("list /api/v1/pods: the server's certificate is not signed by our CA"));
  EXPECT_THAT(state(Resource::pods).last_error, HasSubstr("check the CA"));
  EXPECT_EQ(pods(), 0U);
  EXPECT_TRUE(fake_.requests().empty());  // nobody heard the token
  write("ca.crt", identity_.ca);          // a CA that is replaced is read again
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
}

TEST_F(ClusterTls, ACaThatIsNoneIsSaid) {
  write("token", "t");
  ClusterOptions options = in_cluster();
  write("ca.crt", "no certificate");
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures > 0; }));
  EXPECT_THAT(state(Resource::pods).last_error, HasSubstr("CA"));
}

TEST_F(ClusterTls, UnverifiedIsOnRequest) {
  write("token", "t");
  ClusterOptions options = in_cluster();
  write("ca.crt", fake::make_identity().ca);
  options.credentials.verify = false;
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
}

TEST_F(ClusterTls, AMissingTokenFileIsNamed) {
  start(in_cluster());
  ASSERT_TRUE(wait([&] { return state(Resource::pods).failures > 0; }));
  EXPECT_THAT(state(Resource::pods).last_error, HasSubstr(directory_.path("token")));
  EXPECT_THAT(state(Resource::pods).last_error, HasSubstr("No such file"));
  write("token", "late");
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
}

TEST_F(ClusterTls, AKubeletWithACertificateOfItsOwnIsAskedOnRequest) {
  write("token", "t");
  FakeCluster kubelet{fake::make_identity().server};
  kubelet.set_token("t");
  kubelet.put(Kind::pods, fake::pod_json({}));
  fake_.forbid(Kind::pods, 403);
  ClusterOptions options = in_cluster();
  options.kubelet_url = kubelet.url();
  start(options);
  ASSERT_TRUE(wait([&] { return cluster_->state().kubelet.failures > 0; }));
  EXPECT_THAT(cluster_->state().kubelet.last_error, HasSubstr("certificate"));
  EXPECT_EQ(pods(), 0U);
  options.verify_kubelet = false;
  start(options);
  ASSERT_TRUE(wait([&] { return pods() == 1; }));
  ASSERT_TRUE(wait([&] { return cluster_->state().pods_from == "kubelet"; }));
}

TEST_F(ClusterTls, AServerThatRepeatsTheTokenDoesNotGetItIntoOurWords) {
  const std::string token = "eyJhbGciOiJSUzI1NiJ9." + std::string(2'000, 'x') + ".sig";
  write("token", token);
  fake_.refuse_with(Kind::pods, 403, R"({"kind":"Status","message":"who is )" + token + R"(?"})");
  start(in_cluster());
  ASSERT_TRUE(wait([&] { return state(Resource::pods).state == TaskState::refused; }));
  EXPECT_THAT(state(Resource::pods).last_error, HasSubstr("403: who is (secret)?"));
  // A token that is a part of what it is replaced by.
  write("token", "secret");
  fake_.refuse_with(Kind::pods, 403, "secret, secret");
  ASSERT_TRUE(
      wait([&] { return state(Resource::pods).last_error.contains("(secret), (secret)"); }));
}

TEST_F(ClusterTls, NoTokenGoesOverAPlainConnection) {
  FakeCluster plain;
  plain.put(Kind::pods, fake::pod_json({}));
  plain.set_token("t");
  write("token", "t");
  ClusterOptions options = in_cluster();
  options.credentials.server = plain.url();
  start(std::move(options));
  ASSERT_TRUE(wait([&] { return state(Resource::pods).state == TaskState::refused; }));
  EXPECT_EQ(pods(), 0U);
}

}  // namespace
}  // namespace tarsier::net::kubernetes
