// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Keeps the consumer's copy of one resource like the server's: a list, then a watch from its
// version on, again and again. What it does when follows client-go's reflector.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/kubernetes/list_reader.h"
#include "net/kubernetes/splitters.h"
#include "net/kubernetes/task.h"

namespace tarsier::net::kubernetes {

class Reflector : public Task {
 public:
  // `path`: "/api/v1/pods"; `selector`: "fieldSelector=…", encoded, or empty.
  Reflector(Resource resource, TaskContext& context, std::string path, std::string selector,
            std::int64_t start_ms);

  [[nodiscard]] Request begin(std::int64_t now_ms) override;
  bool receive(std::string_view bytes) override;
  void finish(const Outcome& outcome, std::int64_t now_ms) override;

  // A list is being handed out: nobody else may do so for the same resource.
  [[nodiscard]] bool delivering() const { return list_ != nullptr && list_->begun(); }
  // The last list is whole and its watch has not failed since.
  [[nodiscard]] bool healthy() const { return healthy_; }
  // Somebody else has listed the resource: our next list has to set it right.
  void list_again() { stale_ = true; }

 private:
  [[nodiscard]] std::string list_query() const;
  void finish_list(const Outcome& outcome, std::int64_t now_ms);
  void finish_page(const ListHead& head, std::int64_t now_ms);
  void finish_watch(const Outcome& outcome, std::int64_t now_ms);
  // The server answers as it should: the trouble is over.
  void well();
  // The server has forgotten what we build on.
  void expired(std::int64_t now_ms);
  bool on_event(std::string_view line);
  bool hand_out(Event& event);

  Resource resource_;
  std::string path_, selector_;
  std::string version_;         // the last that we have seen; empty: list what there is now
  std::string continue_token_;  // of the next page
  std::unique_ptr<ListReader> list_;
  std::unique_ptr<LineSplitter> watch_;
  std::string watch_problem_;  // why we left the watch
  std::uint64_t watch_events_ = 0;
  int expired_in_row_ = 0;
  bool watching_ = false;     // the next request is a watch
  bool asked_watch_ = false;  // the current one is
  bool gone_ = false;         // the watch said 410
  bool healthy_ = false;
  bool stale_ = false;  // list_again() was called
};

}  // namespace tarsier::net::kubernetes
