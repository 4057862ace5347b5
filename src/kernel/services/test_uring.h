// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// io_uring for tests, by its system calls: io_uring_setup(2), io_uring_enter(2).
#pragma once

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace tarsier::test {

// The smallest io_uring that can receive: one submission, one completion.
class Uring {
 public:
  Uring() {
    fd_ = static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters_));
    if (fd_ < 0) return;
    ring_ = map(parameters_.sq_off.array + parameters_.sq_entries * sizeof(unsigned),
                IORING_OFF_SQ_RING);
    completions_ = map(parameters_.cq_off.cqes + parameters_.cq_entries * sizeof(io_uring_cqe),
                       IORING_OFF_CQ_RING);
    entry_ = reinterpret_cast<io_uring_sqe*>(map(sizeof(io_uring_sqe), IORING_OFF_SQES));
  }
  ~Uring() { ::close(fd_); }
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;
  [[nodiscard]] bool works() const { return fd_ >= 0; }
  bool submit_receive(int socket, char* buffer, unsigned size) {
    *entry_ = {};
    entry_->opcode = IORING_OP_RECV;
    entry_->fd = socket;
    entry_->addr = reinterpret_cast<std::uint64_t>(buffer);
    entry_->len = size;
    *at(ring_, parameters_.sq_off.array) = 0;
    __atomic_fetch_add(at(ring_, parameters_.sq_off.tail), 1, __ATOMIC_RELEASE);
    return ::syscall(SYS_io_uring_enter, fd_, 1, 0, 0, nullptr, 0) == 1;
  }
  // The result of the receive, waited for if there is none yet.
  int result() {
    ::syscall(SYS_io_uring_enter, fd_, 0, 1, IORING_ENTER_GETEVENTS, nullptr, 0);
    const auto* first = completions_ + parameters_.cq_off.cqes;
    return reinterpret_cast<const io_uring_cqe*>(first)->res;
  }

 private:
  char* map(std::size_t size, std::uint64_t offset) const {
    void* made = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_,
                        static_cast<off_t>(offset));
    if (made == MAP_FAILED) std::abort();
    return static_cast<char*>(made);
  }
  static unsigned* at(char* ring, unsigned offset) {
    return reinterpret_cast<unsigned*>(ring + offset);
  }

  io_uring_params parameters_{};
  int fd_ = -1;
  char *ring_ = nullptr, *completions_ = nullptr;
  io_uring_sqe* entry_ = nullptr;
};

}  // namespace tarsier::test
