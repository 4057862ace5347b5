// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/fake/fake_cluster.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/fd.h"
#include "net/kubernetes/fake/protocol.h"
#include "net/kubernetes/fake/stream.h"

namespace tarsier::net::kubernetes::fake {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr std::size_t kKinds = 7;
constexpr std::size_t kMaxRequests = 1'000;
constexpr std::size_t kPiece = 16U << 10U;  // lists are sent in pieces of this size
constexpr std::uint64_t kFirstVersion = 1'000;

struct Object {
  std::string text;
  std::string node;  // of a pod
  std::uint64_t version = 0;
};
struct Logged {
  std::uint64_t version;
  Kind kind;
  std::string type, name, node, text;
};
}  // namespace

struct FakeCluster::Impl {
  struct Open {
    std::unique_ptr<Stream> stream;
    std::thread thread;
    std::atomic<bool> done{false};
  };

  std::shared_ptr<TlsServer> tls;
  std::uint16_t port = 0;
  base::UniqueFd listener, wake_read, wake_write;
  std::thread acceptor;
  std::list<Open> open;

  mutable std::mutex mutex;  // guards all below
  std::condition_variable changed;
  bool stopping = false;
  std::map<std::string, Object> objects[kKinds];
  std::deque<Logged> log;
  std::uint64_t version = kFirstVersion, history_start = 0;
  std::uint64_t bookmarks = 0, ends = 0, breaks = 0;  // how often watches were told so
  std::string token;
  int forbidden[kKinds] = {};
  std::string instead[kKinds], endless[kKinds], refusals[kKinds];
  std::vector<std::pair<Kind, std::string>> raw;  // to watches
  bool paging_from_cache = false, gzipped = false, gone_as_event = false, stalled = false;
  int expiring_pages = 0;
  Counts counts[kKinds];
  std::deque<std::string> requests;

  void listen();
  void accept_all();
  void serve(Stream& stream);
  bool answer(Stream& stream, const std::string& head);
  bool plain(Stream& stream, int status, const std::string& body, bool zip = false);
  bool get(Stream& stream, const Asked& asked);
  bool list(Stream& stream, const Asked& asked);
  bool table(Stream& stream);
  bool watch(Stream& stream, const Asked& asked);
  // What a watch had been told when it was accepted.
  struct Told {
    std::uint64_t version, ends, breaks, start, bookmarks;
    std::size_t raw;
  };
  bool watch_loop(Stream& stream, const Asked& asked, Told told);
  bool endless_list(Stream& stream, Kind kind);
  void log_event(Kind kind, std::string type, const std::string& name, const Object& object);
  static bool selected(const Asked& asked, const std::string& name, const std::string& node);
  Counts& count(Kind kind) { return counts[static_cast<std::size_t>(kind)]; }
};

bool FakeCluster::Impl::selected(const Asked& asked, const std::string& name,
                                 const std::string& node) {
  const auto selector = asked.query.find("fieldSelector");
  if (selector == asked.query.end()) return true;
  if (selector->second.starts_with("spec.nodeName=")) return selector->second.substr(14) == node;
  return selector->second == "metadata.name=" + name.substr(name.find('/') + 1);
}

void FakeCluster::Impl::listen() {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  address.sin_port = ::htons(port);
  listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  socklen_t length = sizeof address;
  int wake[2] = {};
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 128) != 0 || ::pipe(wake) != 0 ||
      ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    std::abort();
  }
  port = ::ntohs(address.sin_port);
  wake_read.reset(wake[0]);
  wake_write.reset(wake[1]);
}

void FakeCluster::Impl::accept_all() {
  while (true) {
    pollfd fds[] = {{listener.get(), POLLIN, 0}, {wake_read.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 || fds[1].revents != 0) return;
    const int fd = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    std::erase_if(open, [](Open& one) {
      if (one.done) one.thread.join();
      return one.done.load();
    });
    Open& one = open.emplace_back();
    one.stream = std::make_unique<Stream>(fd, tls);
    one.thread = std::thread([this, &one] {
      serve(*one.stream);
      one.stream->shut_down();
      one.done = true;
    });
  }
}

void FakeCluster::Impl::serve(Stream& stream) {
  while (true) {
    const std::string head = stream.request();
    if (head.empty() || !answer(stream, head)) return;
  }
}

bool FakeCluster::Impl::plain(Stream& stream, int status, const std::string& body, bool zip) {
  const std::string sent = zip ? gzip(body) : body;
  std::string_view rest = sent;
  if (!stream.send(fmt::format("HTTP/1.1 {} X\r\nContent-Type: application/json\r\n"
                               "Transfer-Encoding: chunked\r\n{}\r\n",
                               status, zip ? "Content-Encoding: gzip\r\n" : ""))) {
    return false;
  }
  while (!rest.empty()) {
    if (!stream.send_chunk(rest.substr(0, kPiece))) return false;
    rest.remove_prefix(std::min(kPiece, rest.size()));
  }
  return stream.send("0\r\n\r\n");
}

bool FakeCluster::Impl::answer(Stream& stream, const std::string& head) {
  std::unique_lock lock(mutex);
  requests.push_back(head.substr(0, head.find("\r\n")));
  if (requests.size() > kMaxRequests) requests.pop_front();
  if (stalled) {
    changed.wait(lock, [this] { return stopping || !stalled; });
    return false;
  }
  const std::optional<Asked> asked = parse_request(head);
  if (!asked) {
    lock.unlock();
    return plain(stream, 404, "404 page not found");
  }
  int refusal = forbidden[static_cast<std::size_t>(asked->kind)];
  if (!token.empty() && !head.contains("\r\nAuthorization: Bearer " + token + "\r\n"))
    refusal = 401;
  if (refusal != 0) {
    ++count(asked->kind).refused;
    const std::string& words = refusals[static_cast<std::size_t>(asked->kind)];
    const std::string body =
        !words.empty() ? words
                       : status_json(refusal, refusal == 401 ? "Unauthorized" : "not for you");
    lock.unlock();
    return plain(stream, refusal, body);
  }
  lock.unlock();
  if (!asked->object.empty()) return get(stream, *asked);
  if (asked->query.contains("watch")) return watch(stream, *asked);
  return list(stream, *asked);
}

bool FakeCluster::Impl::get(Stream& stream, const Asked& asked) {
  std::unique_lock lock(mutex);
  const auto& all = objects[static_cast<std::size_t>(asked.kind)];
  const auto found = all.find(asked.object);
  ++count(asked.kind).gets;
  if (found == all.end()) {
    lock.unlock();
    return plain(stream, 404, status_json(404, "not found"));
  }
  json object = json::parse(found->second.text);
  lock.unlock();
  if (!asked.head.contains("as=PartialObjectMetadata;g=meta.k8s.io;v=v1")) {
    return plain(stream, 406, status_json(406, "this fake gives metadata only"));
  }
  object["kind"] = "PartialObjectMetadata";
  object["apiVersion"] = "meta.k8s.io/v1";
  return plain(stream, 200, object.dump());
}

bool FakeCluster::Impl::endless_list(Stream& stream, Kind kind) {
  if (!stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")) return false;
  std::string start = R"({"kind":"List","metadata":{"resourceVersion":"1"},"items":[)";
  while (true) {
    std::unique_lock lock(mutex);
    const std::string piece = endless[static_cast<std::size_t>(kind)];
    if (stopping || piece.empty()) return false;
    lock.unlock();
    if (!stream.send_chunk(std::exchange(start, {}) + piece)) return false;
  }
}

bool FakeCluster::Impl::list(Stream& stream, const Asked& asked) {
  if (asked.kind == Kind::nodes && asked.head.contains("as=Table;g=meta.k8s.io;v=v1")) {
    return table(stream);
  }
  std::unique_lock lock(mutex);
  const auto index = static_cast<std::size_t>(asked.kind);
  const auto value = [&](const char* name) {
    const auto found = asked.query.find(name);
    return found == asked.query.end() ? std::string() : found->second;
  };
  const std::string from = value("continue");
  if (!from.empty() && expiring_pages > 0) {
    --expiring_pages;
    lock.unlock();
    return plain(stream, 410, status_json(410, "The provided continue parameter is too old"));
  }
  ++(from.empty() ? count(asked.kind).lists : count(asked.kind).pages);
  if (!endless[index].empty()) {
    lock.unlock();
    return endless_list(stream, asked.kind);
  }
  if (!instead[index].empty()) {
    const std::string body = instead[index];
    lock.unlock();
    return plain(stream, 200, body);
  }
  const bool whole =
      value("limit").empty() || (value("resourceVersion") == "0" && !paging_from_cache);
  const std::size_t limit = whole ? SIZE_MAX : std::stoul(value("limit"));
  std::string items, next;
  std::size_t count_items = 0;
  const auto& all = objects[asked.kind == Kind::kubelet ? 0 : index];
  for (auto object = all.upper_bound(from); object != all.end(); ++object) {
    if (!selected(asked, object->first, object->second.node)) continue;
    if (count_items++ == limit) break;
    items.append(items.empty() ? "" : ",").append(object->second.text);
    next = object->first;
  }
  if (count_items <= limit) next.clear();
  const std::string body = fmt::format(
      R"({{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"{}"{}}},"items":[{}]}})",
      version, next.empty() ? "" : fmt::format(R"(,"continue":"{}","remainingItemCount":7)", next),
      items);
  const bool zip = gzipped && asked.head.contains("Accept-Encoding: gzip");
  lock.unlock();
  return plain(stream, 200, body, zip) && !body.empty();
}

bool FakeCluster::Impl::table(Stream& stream) {
  std::unique_lock lock(mutex);
  ++count(Kind::nodes).lists;
  json rows = json::array();
  for (const auto& [name, object] : objects[static_cast<std::size_t>(Kind::nodes)]) {
    std::string internal = "<none>", external = "<none>";
    const json node = json::parse(object.text);
    for (const auto& address : node["status"]["addresses"]) {
      if (address["type"] == "InternalIP") internal = address["address"];
      if (address["type"] == "ExternalIP") external = address["address"];
    }
    rows.push_back({{"cells",
                     {node["metadata"]["name"], "Ready", "<none>", nullptr, "v1.31.1", internal,
                      external, "Debian GNU/Linux 12", "6.1.0", "containerd://1.7"}}});
  }
  json columns = json::array();
  for (const char* name : {"Name", "Status", "Roles", "Age", "Version", "Internal-IP",
                           "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"}) {
    columns.push_back({{"name", name}, {"type", "string"}, {"format", ""}, {"priority", 0}});
  }
  const std::string body = fmt::format(
      R"({{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{}"}},"columnDefinitions":{},"rows":{}}})",
      version, columns.dump(), rows.dump());
  lock.unlock();
  return plain(stream, 200, body);
}

bool FakeCluster::Impl::watch(Stream& stream, const Asked& asked) {
  std::unique_lock lock(mutex);
  const std::uint64_t from = std::stoull(asked.query.at("resourceVersion"));
  Counts& counted = count(asked.kind);
  ++counted.watches;
  const bool gone = from < history_start;
  if (gone && !gone_as_event) {
    lock.unlock();
    return plain(stream, 410, status_json(410, "too old resource version"));
  }
  counted.watches_at_most = std::max(counted.watches_at_most, ++counted.watches_now);
  const Told told{from, ends, breaks, history_start, bookmarks, raw.size()};
  lock.unlock();
  bool more = stream.send(
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
  if (gone) {
    more = stream.send_chunk(fmt::format(R"({{"type":"ERROR","object":{}}})"
                                         "\n",
                                         status_json(410, "too old resource version"))) &&
           stream.send("0\r\n\r\n");
  } else {
    more = more && watch_loop(stream, asked, told);
  }
  lock.lock();
  --counted.watches_now;
  return more;
}

bool FakeCluster::Impl::watch_loop(Stream& stream, const Asked& asked, Told told) {
  std::unique_lock lock(mutex);
  while (true) {
    std::string out;
    for (const Logged& event : log) {
      if (version == told.version) break;
      if (event.version <= told.version || event.kind != asked.kind) continue;
      if (!selected(asked, event.name, event.node)) continue;
      out.append(fmt::format(R"({{"type":"{}","object":{}}})"
                             "\n",
                             event.type, event.text));
    }
    told.version = version;
    if (std::exchange(told.bookmarks, bookmarks) != bookmarks) {
      out.append(fmt::format(
          R"({{"type":"BOOKMARK","object":{{"kind":"X","metadata":{{"resourceVersion":"{}"}}}}}})"
          "\n",
          version));
    }
    for (; told.raw < raw.size(); ++told.raw) {
      if (raw[told.raw].first == asked.kind) out.append(raw[told.raw].second);
    }
    const bool end = ends != told.ends || history_start != told.start;
    const bool broken = breaks != told.breaks;
    if (stopping) return false;
    lock.unlock();
    // Cut at odd places, as a network does.
    for (std::string_view rest = out; !rest.empty();
         rest.remove_prefix(std::min<std::size_t>(777, rest.size()))) {
      if (!stream.send_chunk(rest.substr(0, 777))) return false;
    }
    if (end) return stream.send("0\r\n\r\n");
    if (broken) {
      stream.send_chunk(R"({"type":"MODIFIED","object":{"kind":"Pod","metadata":{"na)");
      return false;
    }
    if (stream.client_is_gone()) return false;
    lock.lock();
    if (version == told.version && raw.size() == told.raw && bookmarks == told.bookmarks &&
        ends == told.ends && breaks == told.breaks) {
      changed.wait_for(lock, 10ms);
    }
  }
}

void FakeCluster::Impl::log_event(Kind kind, std::string type, const std::string& name,
                                  const Object& object) {
  log.push_back({object.version, kind, std::move(type), name, object.node, object.text});
  changed.notify_all();
}

FakeCluster::FakeCluster(std::optional<Tls> tls) : impl_(std::make_unique<Impl>()) {
  if (tls) impl_->tls = make_tls_server(*tls);
  start();
}
FakeCluster::~FakeCluster() {
  stop();
}

std::string FakeCluster::url() const {
  return fmt::format("http{}://127.0.0.1:{}", impl_->tls == nullptr ? "" : "s", impl_->port);
}

void FakeCluster::start() {
  impl_->stopping = false;
  impl_->listen();
  impl_->acceptor = std::thread([this] { impl_->accept_all(); });
}

void FakeCluster::stop() {
  if (!impl_->acceptor.joinable()) return;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->changed.notify_all();
  // A byte, because a forked child may hold the other end of the pipe open.
  (void)!::write(impl_->wake_write.get(), "x", 1);
  impl_->acceptor.join();
  impl_->listener.reset();
  for (Impl::Open& one : impl_->open) one.stream->shut_down();
  for (Impl::Open& one : impl_->open) one.thread.join();
  impl_->open.clear();
}

void FakeCluster::put(Kind kind, const std::string& object) {
  json parsed = json::parse(object);
  const std::lock_guard lock(impl_->mutex);
  Object kept;
  kept.version = ++impl_->version;
  parsed["metadata"]["resourceVersion"] = std::to_string(kept.version);
  if (kind == Kind::pods) kept.node = parsed["spec"].value("nodeName", "");
  kept.text = parsed.dump();
  const std::string name = fmt::format("{}/{}", parsed["metadata"].value("namespace", ""),
                                       parsed["metadata"]["name"].get<std::string>());
  auto& all = impl_->objects[static_cast<std::size_t>(kind)];
  const std::string type = all.contains(name) ? "MODIFIED" : "ADDED";
  impl_->log_event(kind, type, name, kept);
  all[name] = std::move(kept);
}

void FakeCluster::remove(Kind kind, std::string_view namespace_name, std::string_view name) {
  const std::lock_guard lock(impl_->mutex);
  auto& all = impl_->objects[static_cast<std::size_t>(kind)];
  const std::string key = fmt::format("{}/{}", namespace_name, name);
  Object last = all.at(key);
  last.version = ++impl_->version;
  json parsed = json::parse(last.text);
  parsed["metadata"]["resourceVersion"] = std::to_string(last.version);
  last.text = parsed.dump();
  all.erase(key);
  impl_->log_event(kind, "DELETED", key, last);
}

void FakeCluster::set_token(std::string token) {
  const std::lock_guard lock(impl_->mutex);
  impl_->token = std::move(token);
}
void FakeCluster::forbid(Kind kind, int status) {
  const std::lock_guard lock(impl_->mutex);
  impl_->forbidden[static_cast<std::size_t>(kind)] = status;
}
void FakeCluster::refuse_with(Kind kind, int status, std::string body) {
  const std::lock_guard lock(impl_->mutex);
  impl_->forbidden[static_cast<std::size_t>(kind)] = status;
  impl_->refusals[static_cast<std::size_t>(kind)] = std::move(body);
}
void FakeCluster::page_from_cache(bool on) {
  const std::lock_guard lock(impl_->mutex);
  impl_->paging_from_cache = on;
}
void FakeCluster::gzip_lists(bool on) {
  const std::lock_guard lock(impl_->mutex);
  impl_->gzipped = on;
}
void FakeCluster::send_bookmarks() {
  const std::lock_guard lock(impl_->mutex);
  ++impl_->bookmarks;
  impl_->changed.notify_all();
}
void FakeCluster::forget_history(bool as_event) {
  const std::lock_guard lock(impl_->mutex);
  impl_->gone_as_event = as_event;
  impl_->history_start = ++impl_->version;
  impl_->log.clear();
  impl_->changed.notify_all();
}
void FakeCluster::expire_pages(int count) {
  const std::lock_guard lock(impl_->mutex);
  impl_->expiring_pages = count;
}
void FakeCluster::end_watches() {
  const std::lock_guard lock(impl_->mutex);
  ++impl_->ends;
  impl_->changed.notify_all();
}
void FakeCluster::break_watches() {
  const std::lock_guard lock(impl_->mutex);
  ++impl_->breaks;
  impl_->changed.notify_all();
}
void FakeCluster::send_to_watches(Kind kind, std::string text) {
  const std::lock_guard lock(impl_->mutex);
  impl_->raw.emplace_back(kind, std::move(text));
  impl_->changed.notify_all();
}
void FakeCluster::answer_lists(Kind kind, std::string body) {
  const std::lock_guard lock(impl_->mutex);
  impl_->instead[static_cast<std::size_t>(kind)] = std::move(body);
}
void FakeCluster::endless_lists(Kind kind, std::string piece) {
  const std::lock_guard lock(impl_->mutex);
  impl_->endless[static_cast<std::size_t>(kind)] = std::move(piece);
}
void FakeCluster::stall(bool on) {
  const std::lock_guard lock(impl_->mutex);
  impl_->stalled = on;
  impl_->changed.notify_all();
}
Counts FakeCluster::counts(Kind kind) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->count(kind);
}
std::vector<std::string> FakeCluster::requests() const {
  const std::lock_guard lock(impl_->mutex);
  return {impl_->requests.begin(), impl_->requests.end()};
}

}  // namespace tarsier::net::kubernetes::fake
