// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One request to the API server or the kubelet, driven by curl_multi. Its answer is handed on as it
// streams in. All calls on the cluster's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net/kubernetes/credentials.h"
#include "tarsier/result.h"

namespace tarsier::net::kubernetes {

inline constexpr std::size_t kMaxRefusal = 4U << 10U;  // kept of the body of an answer but 200

struct Request {
  std::string url;
  std::string accept = "application/json";
  bool compressed = false;  // gzip may be used; lists shrink to a tenth
  bool verify = true;
  int connect_timeout_ms = 10'000;
  int silence_ms = 30'000;         // before the header
  int deadline_ms = 600'000;       // for all of it
  int stream_silence_ms = 30'000;  // between two pieces of the body
};

// How a request ended.
struct Outcome {
  int status = 0;       // 0: no answer
  std::string problem;  // empty: the server answered, and to the end; else one clear sentence
  std::string refusal;  // the server's own words where the status is not 200
  std::int64_t retry_after_s = 0;  // what the server asks for; 0: nothing
  std::int64_t duration_ms = 0;
  std::uint64_t bytes = 0;
};

// "a b/c" as a part of a URL: "a%20b%2Fc".
[[nodiscard]] std::string percent_encode(std::string_view text);

class Transfer {
 public:
  using Receive = std::function<bool(std::string_view)>;

  explicit Transfer(void* multi);  // a CURLM*, which outlives it
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // An answer with status 200 goes to `receive`: first an empty piece, which says that it began,
  // then its body. false from it ends the transfer.
  [[nodiscard]] Status start(const Request& request, const Secrets& secrets, Receive receive,
                             std::int64_t now_ms);
  [[nodiscard]] bool running() const;
  [[nodiscard]] bool owns(void* handle) const;
  // The end, as curl_multi told it.
  [[nodiscard]] Outcome finish(int curl_code, std::int64_t now_ms);
  // Ends a transfer whose time is over; empty: it is not.
  [[nodiscard]] std::string overdue(std::int64_t now_ms) const;
  // When overdue() has to be asked next.
  [[nodiscard]] std::int64_t due_ms() const;
  // Ends it from this side; `problem` becomes that of the outcome.
  [[nodiscard]] Outcome abort(const std::string& problem, std::int64_t now_ms);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tarsier::net::kubernetes
