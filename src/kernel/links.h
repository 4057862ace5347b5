// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Attaches the programs of one loaded object to their places and holds them there.
#pragma once

#include <memory>
#include <vector>

#include "kernel/maps.h"
#include "tarsier/attach.h"

struct bpf_link;
struct bpf_object;
struct bpf_program;

namespace tarsier::kernel {

// Control thread. Destruction detaches everything.
class Links final : public Attacher {
 public:
  // Both outlive the links; an iterator that is attached becomes one of `maps`.
  Links(bpf_object* object, ObjectMaps& maps) : object_(object), maps_(maps) {}

  Status attach(const Attachment& attachment);
  Status uprobe(std::string_view program, const std::string& path, std::uint64_t offset,
                bool on_return, int pid) override;

 private:
  struct Deleter {
    void operator()(bpf_link* link) const;
  };

  [[nodiscard]] Result<bpf_program*> find(std::string_view program) const;
  Status attach_iterator(bpf_program* program, const Attachment& attachment);
  Status attach_perf(bpf_program* program, const Attachment& attachment);
  // Takes the link, or says from errno why there is none.
  Status keep(bpf_link* link, const Attachment& attachment);

  bpf_object* object_;
  ObjectMaps& maps_;
  std::vector<std::unique_ptr<bpf_link, Deleter>> links_;
};

}  // namespace tarsier::kernel
