// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a request and a response are to the rest of the daemon. No library shows through here.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tarsier/result.h"

namespace tarsier::api {

// Largest request body in bytes; a longer one is answered with 413 and not kept.
inline constexpr std::size_t kMaxBodyBytes = 1U << 20U;
// Longest request target (path and query) in bytes; a longer one is answered with 414.
inline constexpr std::size_t kMaxTargetBytes = 8U * 1024U;
// More path segments or query parameters than these are answered with 400.
inline constexpr std::size_t kMaxPathSegments = 32;
inline constexpr std::size_t kMaxQueryParameters = 64;
// What a stream may hand over at once, in bytes.
inline constexpr std::size_t kMaxChunkBytes = 64U * 1024U;

// Who sent a request.
struct Peer {
  bool local = false;  // over AF_UNIX: uid, gid and pid are the kernel's word (SO_PEERCRED)
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::string address;    // TCP: the numeric address, IPv4-mapped ones as IPv4; no port
  bool loopback = false;  // TCP: 127.0.0.0/8 or ::1
};

// The path and the query of a request target, percent-decoded after splitting, so that %2F inside a
// segment stays inside it and a decoded "&" separates nothing.
struct Target {
  std::vector<std::string> segments;  // "/a/b" is {"a", "b"}; "/" is {}; "/a/" is {"a", ""}
  std::multimap<std::string, std::string> query;
};

// Reads an origin-form target (RFC 9112 section 3.2.1). In the query "+" is a space. Refuses with
// ErrorCode::invalid: other forms, broken percent-encoding, %00, and more parts than the limits.
// Segments named "." and ".." are names like any other; nothing here is a file.
[[nodiscard]] Result<Target> parse_target(std::string_view raw);

struct Request {
  std::string method;  // as sent: "GET", "HEAD", "PATCH" …
  std::string path;    // as sent, still encoded, without the query; for messages
  std::multimap<std::string, std::string> query;             // decoded
  std::vector<std::pair<std::string, std::string>> params;   // {name} of the route, decoded
  std::vector<std::pair<std::string, std::string>> headers;  // in the order they came
  std::string body;                                          // at most kMaxBodyBytes
  Peer peer;

  // The first header of that name, compared without case.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
  // The first query parameter of that name.
  [[nodiscard]] std::optional<std::string_view> parameter(std::string_view name) const;
  // What stood for {name} in the route's pattern; empty if the pattern has no such name.
  [[nodiscard]] std::string_view param(std::string_view name) const;
};

// Gives a body piece by piece. It is called on a worker thread whenever the client has taken what
// came before, so it must not wait: it is handed an empty string, puts at most kMaxChunkBytes into
// it and returns whether there may be more. true with an empty string means "nothing yet": it is
// asked again after kStreamPollMs (server.h) without holding the worker; this is how a result that
// another thread prepares, or an endless stream, is served. What is in the string at false is still
// sent. It is destroyed when the response ends for whatever reason, on a worker thread.
using Stream = std::function<bool(std::string& chunk)>;

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  Stream stream;  // where set, it is the body and `body` is not looked at
};

// Runs on a worker thread and holds it, so it is short: it reads memory and formats. What takes
// longer than some ten milliseconds goes to another thread and is answered through a Stream. An
// exception that escapes becomes a logged 500.
using Handler = std::function<Response(const Request&)>;

// An error as RFC 9457 problem details. An empty title means the standard phrase of the status.
[[nodiscard]] Response problem(int status, std::string_view title, std::string_view detail);
// A JSON answer; `body` is finished JSON text.
[[nodiscard]] Response json(std::string body, int status = 200);

[[nodiscard]] std::string_view reason_phrase(int status);
// ASCII only, as header names and host names need it.
[[nodiscard]] bool equal_caseless(std::string_view a, std::string_view b);

}  // namespace tarsier::api
