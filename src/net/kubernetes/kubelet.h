// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The pods of this node from its kubelet, polled, for as long as the API does not give them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "net/kubernetes/list_reader.h"
#include "net/kubernetes/task.h"

namespace tarsier::net::kubernetes {

class Kubelet : public Task {
 public:
  explicit Kubelet(TaskContext& context);

  [[nodiscard]] std::int64_t due_ms() const override { return active_ ? due_ms_ : kNever; }
  [[nodiscard]] Request begin(std::int64_t now_ms) override;
  bool receive(std::string_view bytes) override;
  void finish(const Outcome& outcome, std::int64_t now_ms) override;

  // Rests until it is made active again.
  void set_active(bool active);
  [[nodiscard]] bool active() const { return active_; }
  // Somebody else hands out the pods: a poll under way ends without a word.
  void yield() { yielded_ = true; }
  // There is a container that nobody knows: the next poll comes soon.
  void poke(std::int64_t now_ms);

 private:
  std::unique_ptr<ListReader> list_;
  std::int64_t asked_ms_ = 0;
  bool active_ = false;
  bool yielded_ = false;
  bool poked_ = false;  // while a poll was under way
};

}  // namespace tarsier::net::kubernetes
