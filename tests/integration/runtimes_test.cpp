// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Real containerd and real podman: from a process on this node to the name of its container.
//
// Each runtime runs as an instance of its own, with its own root, state and socket below a
// temporary directory. Containers are a static busybox that sleeps. Needs root and the runtimes'
// packages.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/clock.h"
#include "base/files.h"
#include "daemon/runtimes.h"
#include "enrich/cgroups.h"
#include "enrich/containers.h"
#include "enrich/enricher.h"
#include "enrich/proc_snapshot.h"
#include "integration/peer.h"
#include "net/cri.h"
#include "net/docker.h"
#include "tarsier/livekit.h"

namespace tarsier {
namespace {

namespace fs = std::filesystem;
using test::Directory;
using test::Peer;
using test::run;
using test::wait_for;

// The collector's part: from /proc to labels, with the tables of the daemon.
class Node {
 public:
  explicit Node(std::unique_ptr<enrich::ContainerSource> source)
      : cgroups_(enrich::find_hierarchy(host_).value(), host_),
        resolver_(one(std::move(source)), clock_) {
    EXPECT_TRUE(cgroups_.walk(clock_.boot_ns()));
  }
  // "comm=sleep container=web" of the process in the container with this id, once it is complete.
  std::string labels(std::string_view container_id) {
    std::string text;
    wait_for([&] {
      containers_.poll(clock_.boot_ns());
      const auto entries = enrich::read_processes(host_, cgroups_, ::sysconf(_SC_CLK_TCK));
      if (!entries) return false;
      processes_.apply_snapshot(*entries, clock_.boot_ns());
      for (const enrich::SnapshotEntry& entry : *entries) {
        text = labels_of_entry(entry, container_id);
        if (!text.empty()) return true;
      }
      return false;
    });
    return text;
  }

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
    enrich::Process* process = processes_.find(entry.tgid, 0);
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
  enrich::ProcessTable processes_;
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

// Protobuf by hand (RFC-less, but small: https://protobuf.dev/programming-guides/encoding): numbers
// taken from the published API, so that they check those of our own cri.proto.
std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7U) out.push_back(static_cast<char>((value & 0x7FU) | 0x80U));
  out.push_back(static_cast<char>(value));
  return out;
}
std::string field(unsigned number, std::string_view value) {
  return varint(number << 3U | 2U) + varint(value.size()) + std::string(value);
}
std::string number_field(unsigned number, std::uint64_t value) {
  return varint(number << 3U) + varint(value);
}
// The first text field of a message: all answers we need have nothing before it.
std::string first_text(std::string_view message) {
  if (message.size() < 2 || message[0] != '\x0a') return {};
  return std::string(message.substr(2, static_cast<unsigned char>(message[1])));
}

class RawCri {
 public:
  explicit RawCri(const std::string& socket) {
    grpc::ChannelArguments arguments;
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    stub_.emplace(
        grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments));
  }
  std::string call(const std::string& method, const std::string& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    grpc::CompletionQueue queue;
    const grpc::Slice slice(request);
    const grpc::ByteBuffer buffer(&slice, 1);
    const auto rpc =
        stub_->PrepareUnaryCall(&context, "/runtime.v1.RuntimeService/" + method, buffer, &queue);
    rpc->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    rpc->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    EXPECT_TRUE(status.ok()) << method << ": " << status.error_message();
    grpc::Slice whole;
    if (!status.ok() || !response.DumpToSingleSlice(&whole).ok()) return {};
    return {reinterpret_cast<const char*>(whole.begin()), whole.size()};
  }

 private:
  std::optional<grpc::GenericStub> stub_;
};

class Runtimes : public testing::Test {
 protected:
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
    containerd_.emplace(
        std::vector<std::string>{"containerd", "-c", directory_.path("config.toml")},
        directory_.path("log"));
    net::CriClient client(socket_);
    if (!wait_for([&] { return client.present() && client.version().has_value(); })) {
      GTEST_SKIP() << "containerd does not start here:\n" << test::tail(directory_.path("log"));
    }
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

  // The whole daemon, from the hooks to /metrics: what runs in the container, and what is executed
  // in it for a moment, carries the container's name.
  void expect_daemon_names(const std::string& id, const std::string& name) {
    const fs::path host = directory_.path("host");
    fs::create_directories(host / "run/containerd");
    for (const char* folder : {"proc", "sys", "etc"}) {
      fs::create_directory_symlink(fs::path("/") / folder, host / folder);
    }
    fs::create_symlink(socket_, host / "run/containerd/containerd.sock");
    const live::Daemon daemon({"--set", "node.root=" + host.string()});
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

TEST_F(Containerd, ACriContainerHasItsNameAndImage) {
  import_image();
  RawCri raw(socket_);
  const std::string node_network = field(1, number_field(1, 2));  // network = NODE: no CNI here
  const std::string pod =
      field(1, field(1, "web-0") + field(2, "uid-1") + field(3, "shop")) +  // metadata
      field(3, directory_.path("logs")) + field(8, field(2, node_network));
  const std::string sandbox = first_text(raw.call("RunPodSandbox", field(1, pod)));
  ASSERT_EQ(sandbox.size(), 64U) << test::tail(directory_.path("log"));
  const std::string config = field(1, field(1, "app")) + field(2, field(1, kImage)) +
                             field(3, "/bin/sleep") + field(4, "300") + field(11, "app.log") +
                             field(15, field(2, field(3, number_field(1, 2))));
  const std::string container =
      first_text(raw.call("CreateContainer", field(1, sandbox) + field(2, config) + field(3, pod)));
  ASSERT_EQ(container.size(), 64U) << test::tail(directory_.path("log"));
  raw.call("StartContainer", field(1, container));

  net::CriClient client(socket_, 5'000);
  const auto version = client.version();
  ASSERT_TRUE(version);
  EXPECT_EQ(version->runtime, "containerd");
  const auto list = client.list();
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->size(), 2U);
  EXPECT_EQ(list->at(0).id, sandbox);
  EXPECT_EQ(list->at(0).name, "POD");
  EXPECT_EQ(list->at(1).id, container);
  EXPECT_EQ(list->at(1).image, kImage);
  const auto one = client.get(container);
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->name, "app");
  EXPECT_EQ(one->sandbox_id, sandbox);
  EXPECT_EQ(client.get(sandbox)->name, "POD");
  EXPECT_EQ(client.get(std::string(64, '0')).error().code, ErrorCode::not_found);

  Node node(daemon::cri_source("containerd", enrich::Runtime::containerd, socket_));
  EXPECT_EQ(node.labels(container), "comm=sleep container=app");
  EXPECT_EQ(node.labels(sandbox), "comm=sleep container=POD");
  expect_daemon_names(container, "app");

  raw.call("StopPodSandbox", field(1, sandbox));
  raw.call("RemovePodSandbox", field(1, sandbox));
}

TEST_F(Containerd, AContainerOfCtrIsCalledByItsId) {
  const auto started = ctr(
      {"run", "-d", "--rootfs", directory_.path("rootfs"), "tarsier-web1", "/bin/sleep", "300"});
  ASSERT_EQ(started.status, 0) << started.output;
  Node node(daemon::cri_source("containerd", enrich::Runtime::containerd, socket_));
  EXPECT_EQ(node.labels("tarsier-web1"), "comm=sleep container=tarsier-web1");
  EXPECT_EQ(net::CriClient(socket_, 5'000).get("tarsier-web1").error().code, ErrorCode::not_found);
  ctr({"task", "kill", "-s", "KILL", "tarsier-web1"});
  wait_for([&] { return ctr({"task", "delete", "tarsier-web1"}).status == 0; });
  ctr({"container", "delete", "tarsier-web1"});
}

class Podman : public Runtimes {
 protected:
  void SetUp() override {
    Runtimes::SetUp();
    if (!IsSkipped() && !test::find_program("podman")) GTEST_SKIP() << "podman is missing";
  }
  std::vector<std::string> command(std::vector<std::string> arguments) {
    arguments.insert(
        arguments.begin(),
        {"podman", "--root", directory_.path("root"), "--runroot", directory_.path("run"),
         "--tmpdir", directory_.path("tmp"), "--storage-driver", "vfs", "--runtime", "runc",
         "--cgroup-manager", "cgroupfs", "--events-backend", "file"});
    return arguments;
  }
};

TEST_F(Podman, AContainerHasItsName) {
  // Limits are given because podman's default raises them, which needs CAP_SYS_RESOURCE.
  const auto started = run(command({"run", "-d", "--name", "tarsier-web2", "--network", "host",
                                    "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
                                    "--rootfs", directory_.path("rootfs"), "/bin/sleep", "300"}));
  if (started.status != 0) GTEST_SKIP() << "podman cannot run containers here: " << started.output;
  const std::string socket = directory_.path("p.sock");
  const Peer service(command({"system", "service", "--time", "0", "unix://" + socket}),
                     directory_.path("log"));
  net::DockerClient client(socket, 5'000);
  EXPECT_TRUE(wait_for([&] { return client.present() && client.list().has_value(); }))
      << test::tail(directory_.path("log"));
  const auto list = client.list();
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->size(), 1U);
  const std::string id = list->front().id;
  EXPECT_EQ(list->front().name, "tarsier-web2");
  const auto one = client.get(id);
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->name, "tarsier-web2");
  EXPECT_EQ(client.get(std::string(64, '0')).error().code, ErrorCode::not_found);

  Node node(daemon::docker_source("podman", enrich::Runtime::podman, socket));
  EXPECT_EQ(node.labels(id), "comm=sleep container=tarsier-web2");
  run(command({"rm", "-f", "-t", "0", "tarsier-web2"}));
}

}  // namespace
}  // namespace tarsier
