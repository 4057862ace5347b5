// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "kernel/ring.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <utility>

#include "event.h"

namespace tarsier::kernel {
namespace {

std::size_t page_size() {
  return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

template <class T>
T load_acquire(const T* from) {
  return std::atomic_ref<T>(*const_cast<T*>(from)).load(std::memory_order_acquire);
}

}  // namespace

Result<Ring> Ring::open(int map_fd, std::string name) {
  bpf_map_info info{};
  std::uint32_t info_size = sizeof info;
  if (const int error = bpf_map_get_info_by_fd(map_fd, &info, &info_size); error != 0) {
    return fail_errno(fmt::format("ask for the size of ring {}", name), -error);
  }
  if (info.type != BPF_MAP_TYPE_RINGBUF) {
    return fail(ErrorCode::invalid, fmt::format("map {} is not a ring buffer", name));
  }
  Ring ring;
  ring.name_ = std::move(name);
  ring.map_fd_ = map_fd;
  ring.size_ = info.max_entries;
  // The consumer's page is ours to write, all else is read-only; the data is mapped twice in a row
  // so that a record that wraps around can be read in one piece.
  void* consumer = ::mmap(nullptr, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (consumer == MAP_FAILED) return fail_errno(fmt::format("map ring {}", ring.name_));
  ring.consumer_ = static_cast<unsigned long*>(consumer);
  void* producer = ::mmap(nullptr, page_size() + 2 * ring.size_, PROT_READ, MAP_SHARED, map_fd,
                          static_cast<off_t>(page_size()));
  if (producer == MAP_FAILED) return fail_errno(fmt::format("map the data of ring {}", ring.name_));
  ring.producer_ = static_cast<const unsigned long*>(producer);
  ring.data_ = static_cast<const std::byte*>(producer) + page_size();
  return ring;
}

Ring::Ring(Ring&& other) noexcept {
  *this = std::move(other);
}

Ring& Ring::operator=(Ring&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  name_ = std::move(other.name_);
  map_fd_ = std::exchange(other.map_fd_, -1);
  size_ = std::exchange(other.size_, 0);
  consumer_ = std::exchange(other.consumer_, nullptr);
  producer_ = std::exchange(other.producer_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  return *this;
}

Ring::~Ring() {
  unmap();
}

void Ring::unmap() {
  if (consumer_ != nullptr) ::munmap(consumer_, page_size());
  if (producer_ != nullptr) {
    ::munmap(const_cast<unsigned long*>(producer_), page_size() + 2 * size_);
  }
  consumer_ = nullptr;
  producer_ = nullptr;
}

std::size_t Ring::waiting_bytes() const {
  return load_acquire(producer_) - load_acquire(consumer_);
}

Ring::Drained Ring::drain(std::uint64_t until_ns, std::size_t max_records,
                          const std::function<void(Bytes)>& visit) {
  Drained drained;
  unsigned long position = load_acquire(consumer_);
  const unsigned long end = load_acquire(producer_);
  while (position < end) {
    const std::byte* front = data_ + (position & (size_ - 1));
    const std::uint32_t length = load_acquire(reinterpret_cast<const std::uint32_t*>(front));
    if ((length & BPF_RINGBUF_BUSY_BIT) != 0) break;  // reserved, still being written
    const std::uint32_t size = length & ~BPF_RINGBUF_DISCARD_BIT;
    if ((length & BPF_RINGBUF_DISCARD_BIT) == 0) {
      const Bytes record(front + BPF_RINGBUF_HDR_SZ, size);
      std::uint64_t time_ns = 0;
      if (record.size() >= sizeof time_ns) std::memcpy(&time_ns, record.data(), sizeof time_ns);
      if (time_ns > until_ns) break;
      if (drained.records == max_records) {
        drained.more = true;
        break;
      }
      visit(record);
      ++drained.records;
      drained.last_time_ns = time_ns;
    }
    position += (size + BPF_RINGBUF_HDR_SZ + 7U) & ~7UL;
    std::atomic_ref(*consumer_).store(position, std::memory_order_release);
  }
  return drained;
}

}  // namespace tarsier::kernel
