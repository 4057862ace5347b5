// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The kubeconfig file. The only file that uses yaml-cpp, whose exceptions are caught here.
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "net/kubernetes/credentials.h"

namespace tarsier::net::kubernetes {
namespace {

std::unexpected<Error> broken(std::string message) {
  return fail(ErrorCode::invalid, std::move(message));
}

// Names stand in messages; they come from a file.
std::string quoted(const std::string& name) {
  return fmt::format("\"{}\"", base::escape_control(base::clean_utf8(name).text));
}

std::string text_at(const YAML::Node& node, const char* key) {
  const YAML::Node value = node[key];
  return value && value.IsScalar() ? value.Scalar() : std::string();
}

// The `member` of the entry called `name` in the list `list` ("clusters", "cluster").
Result<YAML::Node> entry(const YAML::Node& root, const char* list, const char* member,
                         const std::string& name) {
  const YAML::Node entries = root[list];
  if (entries && entries.IsSequence()) {
    for (const YAML::Node& candidate : entries) {
      if (!candidate.IsMap() || text_at(candidate, "name") != name) continue;
      YAML::Node found = candidate[member];
      if (found && found.IsMap()) return found;
    }
  }
  return broken(fmt::format("\"{}\" has no {} called {}", list, member, quoted(name)));
}

Result<std::string> from_base64(const std::string& text, const char* key) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=' || c == '\n' || c == '\r' || c == ' ') continue;
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return broken(fmt::format("{} is not base64", key));
    bits = (bits << 6U) | static_cast<std::uint32_t>(digit);
    if (++count == 4) count = 0;
    if (count == 0 || count == 2 || count == 3) {
      // After 2, 3 and 4 digits (12, 18, 24 bits) one more byte is whole.
      const unsigned spare = count == 2 ? 4U : count == 3 ? 2U : 0U;
      out.push_back(static_cast<char>((bits >> spare) & 0xffU));
    }
  }
  return out;
}

class Reader {
 public:
  explicit Reader(const std::string& path)
      : directory_(std::filesystem::path(path).parent_path()) {}

  Result<Credentials> read(const YAML::Node& root) {
    if (!root.IsMap()) return broken("it is not a kubeconfig");
    const std::string context_name = text_at(root, "current-context");
    if (context_name.empty()) {
      return broken("it has no current-context; set one with kubectl config use-context");
    }
    const auto context = entry(root, "contexts", "context", context_name);
    if (!context) return std::unexpected(context.error());
    const auto cluster = entry(root, "clusters", "cluster", text_at(*context, "cluster"));
    if (!cluster) return std::unexpected(cluster.error());
    if (auto done = take_cluster(*cluster); !done) return std::unexpected(done.error());
    const std::string user_name = text_at(*context, "user");
    if (user_name.empty()) return std::move(credentials_);
    const auto user = entry(root, "users", "user", user_name);
    if (!user) return std::unexpected(user.error());
    if (auto done = take_user(*user, user_name); !done) return std::unexpected(done.error());
    return std::move(credentials_);
  }

 private:
  Status take_cluster(const YAML::Node& cluster) {
    auto server = clean_server(text_at(cluster, "server"));
    if (!server) return std::unexpected(server.error());
    credentials_.server = std::move(*server);
    credentials_.verify = text_at(cluster, "insecure-skip-tls-verify") != "true";
    if (!text_at(cluster, "proxy-url").empty() || !text_at(cluster, "tls-server-name").empty()) {
      return broken("proxy-url and tls-server-name are not supported");
    }
    return take(cluster, "certificate-authority", credentials_.ca);
  }
  Status take_user(const YAML::Node& user, const std::string& name) {
    for (const char* plugin : {"exec", "auth-provider"}) {
      if (!user[plugin]) continue;
      return fail(ErrorCode::refused,
                  fmt::format("user {} logs in by {}, which runs other programs, and we run none; "
                              "use a service account's token or a client certificate",
                              quoted(name), plugin));
    }
    if (user["username"]) {
      return broken(fmt::format("user {} logs in by a password, which API servers no longer take",
                                quoted(name)));
    }
    credentials_.token.text = text_at(user, "token");
    // As in kubectl, the file wins over the text.
    if (const std::string file = text_at(user, "tokenFile"); !file.empty()) {
      credentials_.token = {"", resolve(file)};
    }
    if (auto done = take(user, "client-certificate", credentials_.client_certificate); !done) {
      return done;
    }
    return take(user, "client-key", credentials_.client_key);
  }
  // KEY names a file, KEY-data holds the text in base64 and wins.
  Status take(const YAML::Node& node, const std::string& key, Source& into) {
    if (const std::string data = text_at(node, (key + "-data").c_str()); !data.empty()) {
      auto text = from_base64(data, (key + "-data").c_str());
      if (!text) return std::unexpected(text.error());
      into.text = std::move(*text);
    } else if (const std::string file = text_at(node, key.c_str()); !file.empty()) {
      into.file = resolve(file);
    }
    return {};
  }
  // Relative paths start where the kubeconfig lies.
  [[nodiscard]] std::string resolve(const std::string& file) const {
    return (directory_ / file).string();
  }

  std::filesystem::path directory_;
  Credentials credentials_;
};

}  // namespace

Result<Credentials> kubeconfig_credentials(const std::string& path) {
  const std::string what = "read the kubeconfig " + path;
  const auto text = base::read_file(path, kMaxKubeconfigBytes);
  if (!text) return std::unexpected(Error(text.error()).in(what));
  try {
    auto credentials = Reader(path).read(YAML::Load(*text));
    if (!credentials) return std::unexpected(std::move(credentials.error()).in(what));
    return credentials;
  } catch (const YAML::Exception& problem) {
    // Its own words can repeat the text, and so a secret: only the place is told.
    return std::unexpected(
        broken(fmt::format("line {}: it is not valid YAML", problem.mark.line + 1))
            .error()
            .in(what));
  }
}

}  // namespace tarsier::net::kubernetes
