// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The workloads of this node's pods: one question for each distinct ReplicaSet and Job that owns a
// pod, asked once, at most a few a second. Pods of other owners (StatefulSet, DaemonSet, Node …)
// need none: their owner is the workload.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>

#include "net/kubernetes/task.h"

namespace tarsier::net::kubernetes {

inline constexpr std::size_t kMaxOwners = 2'000;          // distinct owners of the pods of one node
inline constexpr std::size_t kMaxOwnerBytes = 1U << 20U;  // of the metadata of one

class Owners : public Task {
 public:
  // `ask`: false where no API server may be asked; then all is deduced.
  Owners(TaskContext& context, bool ask);

  // What is handed out of the pods passes here first. Its own changes go to the context.
  void observe(const Change& change, std::int64_t now_ms);

  [[nodiscard]] Request begin(std::int64_t now_ms) override;
  bool receive(std::string_view bytes) override;
  void finish(const Outcome& outcome, std::int64_t now_ms) override;

  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  struct Entry {
    std::string kind, name, namespace_name;
    std::string template_hash;  // label pod-template-hash of its pods
    std::uint32_t pods = 0;
    bool known = false;    // the API said it
    bool deduced = false;  // handed out as deduced
  };
  struct Seen {
    std::string owner;
    std::uint64_t list = 0;
  };
  void add(const Pod& pod, std::int64_t now_ms);
  void remove(const std::string& pod);
  void release(const std::string& owner);
  void sweep();
  void tell(const std::string& uid, Entry& entry, std::string kind, std::string name, bool deduced);
  void deduce(const std::string& uid);
  void answer(const std::string& uid, Entry& entry);
  void ask_next(std::int64_t at_ms);
  void well(const std::string& kind);

  bool ask_;
  std::map<std::string, Entry, std::less<>> entries_;  // by uid
  std::map<std::string, Seen, std::less<>> pods_;      // by uid
  std::deque<std::string> queue_;                      // uids to ask for
  std::string asked_;                                  // the current one
  std::string body_;
  std::uint64_t list_ = 0;
  std::uint64_t dropped_ = 0;
  // Each kind has a right of its own: until when it need not be asked for.
  std::map<std::string, std::int64_t, std::less<>> refused_until_ms_;
  std::int64_t next_ms_ = 0;
};

}  // namespace tarsier::net::kubernetes
