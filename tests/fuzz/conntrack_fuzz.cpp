// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Any bytes from the netlink socket: no crash, nothing read beyond the end, and what is taken for a
// translated connection is one.
#include <netinet/in.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "net/conntrack_message.h"

namespace {

void check(std::span<const std::byte> message) {
  using namespace tarsier::net;
  NatRecord record;
  if (parse_conntrack(message, record) != MessageKind::translated) return;
  if (record.protocol != IPPROTO_TCP && record.protocol != IPPROTO_UDP) std::abort();
  if (record.original_source == record.reply_destination &&
      record.original_destination == record.reply_source) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The sockets read into aligned buffers; this one ends where the bytes end.
  std::vector<std::byte> bytes(size);
  if (size > 0) std::memcpy(bytes.data(), data, size);
  check(bytes);
  std::size_t messages = 0;
  const auto walk = tarsier::net::walk_messages(bytes, 0, [&](std::span<const std::byte> message) {
    ++messages;
    check(message);
  });
  if (messages > size / 16) std::abort();
  if (walk.end == tarsier::net::WalkEnd::error && (walk.error <= 0 || walk.error >= 4'096)) {
    std::abort();
  }
  return 0;
}
