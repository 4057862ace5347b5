// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Container runtimes of one's own, and the tables of the daemon to look at them with.
//
// Each runtime runs as an instance of its own, with its own root, state and socket below a
// temporary directory. Containers are a static busybox. Needs root and the runtimes' packages.
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "base/clock.h"
#include "base/files.h"
#include "daemon/runtimes.h"
#include "enrich/cgroups.h"
#include "enrich/containers.h"
#include "enrich/enricher.h"
#include "enrich/proc_snapshot.h"
#include "integration/peer.h"
#include "net/cri.h"
#include "tarsier/livekit.h"

namespace tarsier::test {

namespace fs = std::filesystem;

// The collector's part: from /proc to labels, with the tables of the daemon.
class Node {
 public:
  explicit Node(std::unique_ptr<enrich::ContainerSource> source)
      : cgroups_(enrich::find_hierarchy(host_).value(), host_),
        resolver_(one(std::move(source)), clock_) {
    EXPECT_TRUE(cgroups_.walk(clock_.boot_ns()));
  }
  // "comm=sleep container=web" of a process in the container with this id, once it is complete.
  std::string labels(std::string_view container_id, std::string_view comm = "sleep") {
    std::string text;
    wait_for([&] {
      poll();
      const auto entries = enrich::read_processes(host_, cgroups_, ::sysconf(_SC_CLK_TCK));
      if (!entries) return false;
      // Anew each time: without the kernel's word for it, an exec or a move stays unseen.
      processes_.emplace().apply_snapshot(*entries, clock_.boot_ns());
      for (const enrich::SnapshotEntry& entry : *entries) {
        if (enrich::text_of(entry.comm) != comm) continue;
        text = labels_of_entry(entry, container_id);
        if (!text.empty()) return true;
      }
      return false;
    });
    return text;
  }
  // What the collector does all the time. Without the kernel's word for it, cgroups that went are
  // found by a walk.
  void poll() {
    containers_.poll(clock_.boot_ns());
    EXPECT_TRUE(cgroups_.walk(clock_.boot_ns()));
    enricher_.expire(clock_.boot_ns());
    for (enrich::ContainerExit& exit : containers_.take_exits()) exits_.push_back(std::move(exit));
  }
  // As if a process of the container had just begun.
  void want(const std::string& id, enrich::Runtime runtime) {
    containers_.want(id, runtime, clock_.boot_ns());
  }
  // All facts of a container, once they are known; at most 20 s.
  enrich::ContainerFacts facts(const std::string& id, enrich::Runtime runtime) {
    const enrich::Container* container = nullptr;
    wait_for([&] {
      poll();
      container = containers_.want(id, runtime, clock_.boot_ns());
      return container != nullptr && container->facts.complete;
    });
    return container == nullptr ? enrich::ContainerFacts{} : container->facts;
  }
  // How the container ended, once that is known; at most 20 s.
  enrich::ContainerExit exit_of(const std::string& id) {
    enrich::ContainerExit found;
    wait_for([&] {
      poll();
      for (const enrich::ContainerExit& exit : exits_) {
        if (exit.facts.id == id) found = exit;
      }
      return !found.reason.empty();
    });
    return found;
  }
  [[nodiscard]] std::size_t exits() const { return exits_.size(); }
  enrich::SourceState state() const { return resolver_.sources().at(0); }

 private:
  static std::vector<std::unique_ptr<enrich::ContainerSource>> one(
      std::unique_ptr<enrich::ContainerSource> source) {
    std::vector<std::unique_ptr<enrich::ContainerSource>> sources;
    sources.push_back(std::move(source));
    return sources;
  }
  std::string labels_of_entry(const enrich::SnapshotEntry& entry, std::string_view container_id) {
    const enrich::Cgroup* cgroup = cgroups_.find(entry.cgroup_id, clock_.boot_ns(), entry.tgid);
    if (cgroup == nullptr || cgroup->info.container_id != container_id) return {};
    enrich::Process* process = processes_->find(entry.tgid, 0);
    if (process == nullptr) return {};
    const auto identity = enricher_.identify(*process, process->last(), clock_.boot_ns());
    if (!identity.complete) return {};
    std::string text;
    for (const enrich::Label& label : identity.labels) {
      text += (text.empty() ? "" : " ") + label.name + "=" + label.value;
    }
    return text;
  }

  base::SystemClock clock_;
  base::HostFiles host_{"/"};
  enrich::CgroupTable cgroups_;
  enrich::Resolver resolver_;
  enrich::ContainerTable containers_{resolver_};
  std::optional<enrich::ProcessTable> processes_;
  std::vector<enrich::ContainerExit> exits_;
  enrich::PodTable pods_;
  enrich::Enricher enricher_{host_, cgroups_, containers_, pods_, enrich::LabelChoice{}};
};

// Removes the cgroups that runc leaves behind, unless they were there before.
class CgroupCleaner {
 public:
  CgroupCleaner() {
    for (const fs::path& path : candidates()) {
      if (!fs::exists(path)) ours_.push_back(path);
    }
  }
  ~CgroupCleaner() {
    for (const fs::path& path : ours_) {
      ::rmdir((path / "conmon").c_str());
      ::rmdir(path.c_str());
    }
  }

 private:
  static std::vector<fs::path> candidates() {
    std::vector<fs::path> all;
    std::error_code ignored;
    std::vector<fs::path> roots = {"/sys/fs/cgroup"};
    for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup", ignored)) {
      if (entry.is_directory(ignored)) roots.push_back(entry.path());
    }
    for (const fs::path& root : roots) {
      for (const char* name : {"default", "k8s.io", "libpod_parent"}) all.push_back(root / name);
    }
    return all;
  }
  std::vector<fs::path> ours_;
};

class Runtimes : public testing::Test {
 protected:
  ~Runtimes() override {
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "runs containers, which needs root";
    if (!fs::exists("/bin/busybox")) GTEST_SKIP() << "/bin/busybox is missing (busybox-static)";
    if (!test::find_program("runc")) GTEST_SKIP() << "runc is missing";
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // shims and monitors end up here, and are reaped here
    make_rootfs(directory_.path("rootfs"));
  }
  static void make_rootfs(const std::string& path) {
    for (const char* name : {"bin", "proc", "dev", "sys", "etc", "tmp"}) {
      fs::create_directories(fs::path(path) / name);
    }
    fs::copy_file("/bin/busybox", fs::path(path) / "bin/busybox");
    fs::create_symlink("busybox", fs::path(path) / "bin/sleep");
  }
  CgroupCleaner cleaner_;  // last to go
  Directory directory_;
};

class Containerd : public Runtimes {
 protected:
  void SetUp() override {
    Runtimes::SetUp();
    if (IsSkipped()) return;
    if (!test::find_program("containerd")) GTEST_SKIP() << "containerd is missing";
    write_config();
    if (!start_containerd()) {
      GTEST_SKIP() << "containerd does not start here:\n" << test::tail(directory_.path("log"));
    }
  }
  bool start_containerd() {
    containerd_.emplace(
        std::vector<std::string>{"containerd", "-c", directory_.path("config.toml")},
        directory_.path("log"));
    net::CriClient client(socket_);
    return wait_for([&] { return client.present() && client.version().has_value(); });
  }
  void write_config() {
    std::ofstream(directory_.path("config.toml"))
        << "version = 2\nroot = \"" << directory_.path("root") << "\"\nstate = \""
        << directory_.path("state") << "\"\n[grpc]\n  address = \"" << socket_ << "\"\n"
        << "[plugins.\"io.containerd.grpc.v1.cri\"]\n"
        // Without CAP_SYS_RESOURCE a score below the parent's cannot be set.
        << "  restrict_oom_score_adj = true\n  disable_tcp_service = true\n"
        << "  sandbox_image = \"" << kImage << "\"\n"
        << "  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n    snapshotter = \"native\"\n";
  }
  test::Outcome ctr(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"ctr", "-a", socket_});
    return run(arguments);
  }
  // An image as `docker save` writes it, of the root file system.
  void import_image() {
    const std::string layer = directory_.path("layer.tar");
    ASSERT_EQ(run({"tar", "-C", directory_.path("rootfs"), "-cf", layer, "."}).status, 0);
    const std::string digest = run({"sha256sum", layer}).output.substr(0, 64);
    std::ofstream(directory_.path("image.json"))
        << R"({"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sleep","300"]},)"
        << R"("rootfs":{"type":"layers","diff_ids":["sha256:)" << digest << R"("]}})";
    std::ofstream(directory_.path("manifest.json"))
        << R"([{"Config":"image.json","RepoTags":[")" << kImage << R"("],"Layers":["layer.tar"]}])";
    ASSERT_EQ(run({"tar", "-C", directory_.path(""), "-cf", directory_.path("image.tar"),
                   "manifest.json", "image.json", "layer.tar"})
                  .status,
              0);
    const auto imported = ctr({"-n", "k8s.io", "images", "import", "--snapshotter", "native",
                               directory_.path("image.tar")});
    ASSERT_EQ(imported.status, 0) << imported.output;
  }

  // A root directory for [node] root that has this containerd at the usual place.
  std::string make_host() {
    const fs::path host = directory_.path("host");
    fs::create_directories(host / "run/containerd");
    for (const char* folder : {"proc", "sys", "etc"}) {
      fs::create_directory_symlink(fs::path("/") / folder, host / folder);
    }
    fs::create_symlink(socket_, host / "run/containerd/containerd.sock");
    return host.string();
  }

  // The whole daemon, from the hooks to /metrics: what runs in the container, and what is executed
  // in it for a moment, carries the container's name.
  void expect_daemon_names(const std::string& id, const std::string& name) {
    const live::Daemon daemon({"--set", "node.root=" + make_host()});
    EXPECT_TRUE(daemon.becomes("tarsier_processes", {{"comm", "sleep"}, {"container", name}}, 1));
    EXPECT_TRUE(daemon.becomes("tarsier_container_info",
                               {{"container", name}, {"image", std::string(kImage)}}, 1));
    constexpr int kConnections = 7;
    for (int i = 0; i < kConnections; ++i) {
      const auto got = ctr({"-n", "k8s.io", "task", "exec", "--exec-id", "get" + std::to_string(i),
                            id, "/bin/busybox", "wget", "-q", "-O", "/dev/null",
                            "http://" + daemon.metrics_address() + "/healthz"});
      EXPECT_EQ(got.status, 0) << got.output;
    }
    const live::Labels client{{"comm", "busybox"}, {"container", name}, {"role", "client"}};
    EXPECT_TRUE(daemon.becomes("tarsier_tcp_connections_closed_total", client, kConnections));
    EXPECT_EQ(daemon.scrape().sum("tarsier_tcp_connections_opened_total", client), kConnections);
    EXPECT_EQ(daemon.scrape().sum("tarsier_process_execs_total",
                                  {{"comm", "busybox"}, {"container", name}}),
              kConnections);
  }

  static constexpr std::string_view kImage = "tarsier.test/sleeper:1";
  std::string socket_ = directory_.path("c.sock");
  std::optional<Peer> containerd_;
};

}  // namespace tarsier::test
