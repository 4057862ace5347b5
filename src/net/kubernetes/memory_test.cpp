// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// How much memory the client takes for a large cluster, with the fake cluster in another process.
#include <gmock/gmock.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "net/kubernetes/test_consumer.h"

namespace tarsier::net::kubernetes {
namespace {

using fake::FakeCluster;
using fake::Kind;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr std::size_t kPods = 5'000;
constexpr std::size_t kServices = 2'000;
constexpr std::size_t kEndpoints = 10;  // of each service's slice
// Measured: 4.1 MiB (docs/kubernetes.md). Far above it something is kept
// that should not be.
constexpr std::size_t kMaxPeakKib = 16U << 10U;

std::size_t status_kib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stoul(line.substr(field.size() + 1));
  }
  return 0;
}

// A fake cluster in a child process, which ends with this object.
class Child {
 public:
  Child() {
    int url[2] = {}, stop[2] = {};
    if (::pipe(url) != 0 || ::pipe(stop) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(stop[1]);
      serve(url[1], stop[0]);
      ::_exit(0);
    }
    ::close(url[1]);
    ::close(stop[0]);
    stop_ = stop[1];
    char text[64] = {};
    const ssize_t n = ::read(url[0], text, sizeof text);  // when all objects are there
    ::close(url[0]);
    url_.assign(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  }
  ~Child() {
    ::close(stop_);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  static void serve(int url, int stop) {
    FakeCluster fake;
    for (std::size_t i = 0; i < kPods; ++i) {
      fake.put(Kind::pods, fake::pod_json(fake::numbered_pod(i, "node-a")));
    }
    for (std::size_t i = 0; i < kServices; ++i) {
      fake.put(Kind::services, fake::numbered_service(i));
      fake.put(Kind::slices, fake::numbered_slice(i, kEndpoints));
    }
    const std::string text = fake.url();
    if (::write(url, text.data(), text.size()) < 0) return;
    char nothing = 0;
    (void)!::read(stop, &nothing, 1);
  }
  pid_t pid_ = 0;
  int stop_ = -1;
  std::string url_;
};

TEST_F(ClusterTest, ALargeClusterTakesLittleMemory) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory would be measured";
  const Child child;
  ASSERT_FALSE(child.url().empty());
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins here
  const std::size_t before_kib = status_kib("VmRSS");
  ClusterOptions options;
  options.node_name = "node-a";
  options.credentials.server = child.url();
  options.timing = quick_timing();
  options.timing.owner_gap_ms = 60'000;
  start(std::move(options));
  std::uint64_t upserts = 0;
  const auto begin = std::chrono::steady_clock::now();
  const auto end = begin + 60s;
  int lists = 0;
  while (lists < 3 && std::chrono::steady_clock::now() < end) {
    cluster_->drain(changes_);
    for (const Change& change : changes_) {
      upserts += change.kind == ChangeKind::upsert ? 1 : 0;
      const bool large = change.resource == Resource::pods ||
                         change.resource == Resource::services ||
                         change.resource == Resource::endpoint_slices;
      lists += large && change.kind == ChangeKind::end_list ? 1 : 0;
    }
    changes_.clear();
    std::this_thread::sleep_for(1ms);
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(lists, 3);
  EXPECT_GE(upserts, kPods + 2 * kServices);
  std::vector<Change>().swap(changes_);
  const std::size_t peak_kib = status_kib("VmHWM") - before_kib;
  const std::size_t settled_kib = status_kib("VmRSS") - before_kib;
  std::printf(
      "listed in %lld ms; peak %zu KiB, settled %zu KiB above %zu KiB\n",
      static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()),
      peak_kib, settled_kib, before_kib);
  EXPECT_LT(peak_kib, kMaxPeakKib);
}

}  // namespace
}  // namespace tarsier::net::kubernetes
