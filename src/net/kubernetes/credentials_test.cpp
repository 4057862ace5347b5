// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/credentials.h"

#include <gmock/gmock.h>

#include <fstream>

#include "net/test_server.h"

namespace tarsier::net::kubernetes {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CredentialsTest : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(directory_.path(name)) << text;
    return directory_.path(name);
  }
  // A kubeconfig whose cluster and user have these lines.
  std::string config(const std::string& cluster, const std::string& user) {
    return write("config",
                 "apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts:\n"
                 "- name: there\n  context: {cluster: x, user: y}\n"
                 "- name: here\n  context:\n    cluster: c\n    user: u\n"
                 "clusters:\n- name: c\n  cluster:\n" +
                     cluster + "users:\n- name: u\n  user:\n" + user);
  }
  std::string refusal(const std::string& path) {
    const auto credentials = kubeconfig_credentials(path);
    EXPECT_FALSE(credentials);
    return credentials ? "" : credentials.error().message;
  }
  TestDirectory directory_;
};

constexpr const char* kServer = "    server: https://api.example.com:6443/\n";

TEST_F(CredentialsTest, InAPod) {
  const auto environment = [](std::string host) {
    return [host](const std::string_view name) {
      return name == "KUBERNETES_SERVICE_HOST"   ? host
             : name == "KUBERNETES_SERVICE_PORT" ? std::string("443")
                                                 : std::string();
    };
  };
  const auto credentials = in_cluster_credentials(environment("10.96.0.1"), "/x");
  ASSERT_TRUE(credentials) << credentials.error().message;
  EXPECT_EQ(credentials->server, "https://10.96.0.1:443");
  EXPECT_EQ(credentials->token.file, "/x/token");
  EXPECT_EQ(credentials->ca.file, "/x/ca.crt");
  EXPECT_TRUE(credentials->verify);
  EXPECT_EQ(in_cluster_credentials(environment("fd00::1"))->server, "https://[fd00::1]:443");
  EXPECT_EQ(in_cluster_credentials(environment("")).error().code, ErrorCode::not_found);
}

TEST_F(CredentialsTest, AUrl) {
  write("token", "t");
  const auto tls = url_credentials("https://api:6443/", directory_.path(""));
  ASSERT_TRUE(tls);
  EXPECT_EQ(tls->server, "https://api:6443");
  EXPECT_TRUE(tls->token.given());
  EXPECT_FALSE(tls->ca.given());
  EXPECT_FALSE(url_credentials("http://127.0.0.1:8001", directory_.path(""))->token.given());
  for (const char* url : {"", "api:6443", "ftp://a", "https://", "https:///x", "https://a b",
                          "https://a?x=1", "https://a\r\nX: y"}) {
    EXPECT_FALSE(url_credentials(url)) << url;
  }
  const auto user = url_credentials("https://me:hunter2@api");
  ASSERT_FALSE(user);
  EXPECT_THAT(user.error().message, Not(HasSubstr("hunter2")));
}

TEST_F(CredentialsTest, KubeconfigWithTexts) {
  const auto credentials = kubeconfig_credentials(
      config(std::string(kServer) + "    certificate-authority-data: Q0E=\n",
             "    client-certificate-data: Q0VSVA==\n    client-key-data: S0VZ\n    token: abc\n"));
  ASSERT_TRUE(credentials) << credentials.error().message;
  EXPECT_EQ(credentials->server, "https://api.example.com:6443");
  const auto secrets = read_secrets(*credentials);
  ASSERT_TRUE(secrets) << secrets.error().message;
  EXPECT_EQ(secrets->ca, "CA");
  EXPECT_EQ(secrets->client_certificate, "CERT");
  EXPECT_EQ(secrets->client_key, "KEY");
  EXPECT_EQ(secrets->token, "abc");
}

TEST_F(CredentialsTest, KubeconfigWithFiles) {
  write("ca.pem", "CA");
  write("c.pem", "CERT");
  write("k.pem", "KEY");
  write("t", " rotating\n");
  const auto credentials =
      kubeconfig_credentials(config(std::string(kServer) + "    certificate-authority: ca.pem\n"
                                                           "    insecure-skip-tls-verify: true\n",
                                    "    client-certificate: " + directory_.path("c.pem") +
                                        "\n    client-key: k.pem\n"
                                        "    token: old\n    tokenFile: t\n"));
  ASSERT_TRUE(credentials) << credentials.error().message;
  EXPECT_FALSE(credentials->verify);
  auto secrets = read_secrets(*credentials);
  ASSERT_TRUE(secrets) << secrets.error().message;
  EXPECT_EQ(secrets->ca, "CA");
  EXPECT_EQ(secrets->client_certificate, "CERT");
  EXPECT_EQ(secrets->client_key, "KEY");
  EXPECT_EQ(secrets->token, "rotating");
  write("t", "next");
  EXPECT_EQ(read_secrets(*credentials)->token, "next");
}

TEST_F(CredentialsTest, AKubeconfigInJson) {
  const auto credentials = kubeconfig_credentials(
      write("json", R"({"current-context":"a","contexts":[{"name":"a","context":{"cluster":"c"}}],
                  "clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:8001"}}]})"));
  ASSERT_TRUE(credentials) << credentials.error().message;
  EXPECT_EQ(credentials->server, "http://127.0.0.1:8001");
}

TEST_F(CredentialsTest, PluginsAreRefusedInASentence) {
  for (const std::string plugin : {"exec", "auth-provider"}) {
    const auto credentials = kubeconfig_credentials(config(
        kServer, "    " + plugin + ":\n      command: aws\n      args: [--secret, hunter2]\n"));
    ASSERT_FALSE(credentials);
    EXPECT_EQ(credentials.error().code, ErrorCode::refused);
    EXPECT_THAT(credentials.error().message,
                AllOf(HasSubstr("logs in by " + plugin), HasSubstr("service account"),
                      Not(HasSubstr("hunter2"))));
  }
}

TEST_F(CredentialsTest, AKubeconfigThatIsNone) {
  EXPECT_THAT(refusal(directory_.path("none")), HasSubstr("No such file"));
  EXPECT_THAT(refusal(write("a", "")), HasSubstr("not a kubeconfig"));
  EXPECT_THAT(refusal(write("a", "[1, 2]")), HasSubstr("not a kubeconfig"));
  EXPECT_THAT(refusal(write("a", "a: b")), HasSubstr("current-context"));
  EXPECT_THAT(refusal(write("a", "current-context: z\ncontexts: []")),
              HasSubstr("\"contexts\" has no context called \"z\""));
  EXPECT_THAT(refusal(write("a", "token: \"hunter2\nx: [")),
              AllOf(HasSubstr("not valid YAML"), HasSubstr("line "), Not(HasSubstr("hunter2"))));
  EXPECT_THAT(refusal(config("    server: nonsense\n", "    token: a\n")), HasSubstr("https://"));
  EXPECT_THAT(refusal(config(std::string(kServer) + "    certificate-authority-data: '#'\n",
                             "    token: a\n")),
              HasSubstr("certificate-authority-data is not base64"));
  EXPECT_THAT(refusal(config(kServer, "    username: me\n    password: hunter2\n")),
              AllOf(HasSubstr("password"), Not(HasSubstr("hunter2"))));
}

TEST_F(CredentialsTest, ADeepKubeconfigIsRefused) {
  EXPECT_THAT(refusal(write("a", std::string(500'000, '['))), HasSubstr("not valid YAML"));
  std::string dashes;
  for (int i = 0; i < 100'000; ++i) dashes += "- ";
  EXPECT_FALSE(kubeconfig_credentials(write("a", dashes)));
}

TEST_F(CredentialsTest, ATokenThatWouldForgeAHeaderIsRefused) {
  Credentials credentials;
  credentials.server = "https://api";
  credentials.token.file = write("token", "abc\r\nX-Remote-User: admin");
  const auto secrets = read_secrets(credentials);
  ASSERT_FALSE(secrets);
  EXPECT_THAT(secrets.error().message,
              AllOf(HasSubstr(directory_.path("token")), Not(HasSubstr("abc"))));
}

}  // namespace
}  // namespace tarsier::net::kubernetes
