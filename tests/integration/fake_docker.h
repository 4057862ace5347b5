// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A Docker Engine API in a box: its list, its answers about one container and its event stream,
// over a UNIX socket, to any number of connections at once. Any thread may call any method. For
// tests.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "net/test_server.h"

namespace tarsier::test {

class FakeDocker {
 public:
  explicit FakeDocker(const std::string& socket);
  ~FakeDocker();
  FakeDocker(const FakeDocker&) = delete;
  FakeDocker& operator=(const FakeDocker&) = delete;

  // As Docker tells it: known by create(), in the list from start() to die(), unknown from
  // destroy() on.
  void create(const std::string& id, const std::string& name);
  void start(const std::string& id);
  void die(const std::string& id);
  void destroy(const std::string& id);

 private:
  struct Container {
    std::string name;
    std::string state = "created";
  };
  void accept_all();
  void serve(net::Connection& connection);
  void stream(net::Connection& connection);
  void tell(const std::string& id, std::string_view action);  // with the mutex held
  [[nodiscard]] std::string list();
  [[nodiscard]] std::string one(const std::string& id);  // empty: there is none

  base::UniqueFd listener_, stop_read_, stop_write_;
  std::mutex mutex_;
  std::condition_variable told_;
  std::map<std::string, Container> containers_;
  std::vector<std::string> events_;  // all there ever were
  bool stopping_ = false;
  std::vector<std::thread> connections_;  // of the accepting thread
  std::thread thread_;                    // last: it uses all of the above
};

}  // namespace tarsier::test
