// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Reads a BPF ring buffer at the reader's own pace.
//
// libbpf's consumer empties a ring; ours can stop before a record, which is what keeps records of
// different rings in order with the lifecycle of processes (docs/architecture.md, "Time"). The
// layout of the shared pages is the kernel's ABI: kernel/bpf/ringbuf.c and
// Documentation/bpf/ringbuf.rst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>

#include "tarsier/probe.h"
#include "tarsier/result.h"

namespace tarsier::kernel {

class Ring {
 public:
  // Maps the pages of the ring buffer map `map_fd`, which must outlive the Ring.
  [[nodiscard]] static Result<Ring> open(int map_fd, std::string name);
  Ring(Ring&& other) noexcept;
  Ring& operator=(Ring&& other) noexcept;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  struct Drained {
    std::size_t records = 0;
    // Where it stopped for the limit, not because the ring was empty or the next one too young.
    bool more = false;
    std::uint64_t last_time_ns = 0;  // of the last record visited
  };
  // Visits the records in order that are not younger than `until_ns`, at most `max_records`.
  // `visit` gets the whole record; the memory is read-only and valid during the call.
  Drained drain(std::uint64_t until_ns, std::size_t max_records,
                const std::function<void(Bytes record)>& visit);

  [[nodiscard]] int fd() const { return map_fd_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::size_t waiting_bytes() const;
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  Ring() = default;
  void unmap();

  std::string name_;
  int map_fd_ = -1;
  std::size_t size_ = 0;  // bytes of data, a power of two
  unsigned long* consumer_ = nullptr;
  const unsigned long* producer_ = nullptr;
  const std::byte* data_ = nullptr;
};

}  // namespace tarsier::kernel
