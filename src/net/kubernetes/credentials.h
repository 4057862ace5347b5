// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Where the API server is and as whom we ask it. No secret ever stands in an error, a log or a
// state.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "tarsier/result.h"

namespace tarsier::net::kubernetes {

inline constexpr std::string_view kServiceAccountDirectory =
    "/var/run/secrets/kubernetes.io/serviceaccount";
inline constexpr std::size_t kMaxTokenBytes = 64U << 10U;
inline constexpr std::size_t kMaxPemBytes = 1U << 20U;
inline constexpr std::size_t kMaxKubeconfigBytes = 1U << 20U;

// A text, or the file that holds it. A file is read for every request, so that a rotated one is
// used by the next request; requests are rare (docs/kubernetes.md, "Load").
struct Source {
  std::string text;
  std::string file;
  [[nodiscard]] bool given() const { return !text.empty() || !file.empty(); }
};

struct Credentials {
  std::string server;  // "https://10.96.0.1:443", without a path of its own
  Source token;
  Source ca;  // not given: the CAs that the system trusts
  Source client_certificate;
  Source client_key;
  bool verify = true;  // false: any server is believed
};

// What stands in the sources now. A bearer token is sent over TLS alone.
struct Secrets {
  std::string token;
  std::string ca;
  std::string client_certificate;
  std::string client_key;
};
// Errors name the file and never its content.
[[nodiscard]] Result<Secrets> read_secrets(const Credentials& credentials);

// The value of an environment variable; empty: not set.
using Environment = std::function<std::string(const char* name)>;

// As a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, token and ca.crt in `directory`.
// not_found: this is no pod, because the variables are missing.
[[nodiscard]] Result<Credentials> in_cluster_credentials(
    const Environment& environment, std::string_view directory = kServiceAccountDirectory);

// By a kubeconfig file and its current-context. `exec` and auth-provider plug-ins are refused.
[[nodiscard]] Result<Credentials> kubeconfig_credentials(const std::string& path);

// At an explicit URL, with the token and the CA in `directory` where they are there and the URL is
// https.
[[nodiscard]] Result<Credentials> url_credentials(
    std::string_view url, std::string_view directory = kServiceAccountDirectory);

// `url` as it is used: http or https, a host, no user, path or query. Errors: invalid.
[[nodiscard]] Result<std::string> clean_server(std::string_view url);

}  // namespace tarsier::net::kubernetes
