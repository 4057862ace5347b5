// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Any bytes as a sequence of records: no crash, and active connections never below zero.
#include <cstdint>
#include <cstdlib>

#include "connections.h"
#include "tarsier/testkit.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tarsier;
  testkit::CaptureSinks sinks;
  tcp::Connections connections(0);
  Bytes bytes = std::as_bytes(std::span(data, size));
  tcp_record record;
  for (int n = 0; n < 64 && copy_from(bytes, record); ++n) {
    record.header.type = static_cast<std::uint16_t>(record.header.type % 8);
    record.sock %= 4;
    record.opened_ns %= 4;
    record.header.tgid %= 4;
    record.header.start_ns = 0;
    connections.on_record(record, sinks);
    bytes = bytes.subspan(sizeof record);
  }
  connections.finish_samples(~std::uint64_t{0}, sinks);
  connections.take_back_gauges(sinks);
  if (connections.size() != 0) std::abort();
  if (sinks.text().find("connections_active{role=\"client\"} -") != std::string::npos) std::abort();
  return 0;
}
