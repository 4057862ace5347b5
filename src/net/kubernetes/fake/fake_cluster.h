// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// An API server and a kubelet in a box: they speak the real protocol over HTTP or HTTPS on
// 127.0.0.1 and misbehave as a test says. Any thread may call any method. For tests.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tarsier::net::kubernetes::fake {

enum class Kind : std::uint8_t { pods, nodes, services, slices, replica_sets, jobs, kubelet };

struct Tls {
  std::string certificate;  // PEM
  std::string key;
};
// A certificate for 127.0.0.1 and localhost with its authority, made on the spot.
struct Identity {
  std::string ca;  // PEM
  Tls server;
};
[[nodiscard]] Identity make_identity();

struct Counts {
  std::uint64_t lists = 0;  // answered first pages, tables and polls of the kubelet
  std::uint64_t pages = 0;  // answered pages behind a first one
  std::uint64_t watches = 0;
  std::uint64_t gets = 0;  // of single objects
  std::uint64_t refused = 0;
  int watches_now = 0;
  int watches_at_most = 0;  // at once
};

class FakeCluster {
 public:
  explicit FakeCluster(std::optional<Tls> tls = std::nullopt);
  ~FakeCluster();
  FakeCluster(const FakeCluster&) = delete;
  FakeCluster& operator=(const FakeCluster&) = delete;

  // "http://127.0.0.1:34567", of API server and kubelet alike.
  [[nodiscard]] std::string url() const;
  // Closes the port and all connections; start() opens the same port again, with all objects.
  void stop();
  void start();

  // Adds or changes an object; its resourceVersion is set.
  void put(Kind kind, const std::string& object);
  void remove(Kind kind, std::string_view namespace_name, std::string_view name);

  void set_token(std::string token);   // empty: anybody may ask
  void forbid(Kind kind, int status);  // 0: allow again
  void refuse_with(Kind kind, int status, std::string body);
  void page_from_cache(bool on);  // real servers give a list at version 0 whole, whatever the limit
  void gzip_lists(bool on);
  // Bookmarks to all watches, now.
  void send_bookmarks();
  // Watches from before now are answered with 410, as an HTTP status or as an event.
  void forget_history(bool as_event);
  void expire_pages(int count);  // answers the next requests with a continue token with 410
  void end_watches();            // as after their time
  void break_watches();          // in the middle of an event
  void send_to_watches(Kind kind, std::string text);  // as it is
  void answer_lists(Kind kind, std::string body);     // instead of the list; empty: the list again
  void endless_lists(Kind kind, std::string piece);   // the piece for ever; empty: no more
  void stall(bool on);                                // requests get no answer

  [[nodiscard]] Counts counts(Kind kind) const;
  // "GET /api/v1/pods?… HTTP/1.1" of the last 1,000 requests.
  [[nodiscard]] std::vector<std::string> requests() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tarsier::net::kubernetes::fake
