// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "described/described.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "assembly.h"
#include "tarsier/testkit.h"

namespace tarsier {
namespace {

using rooms::Described;

constexpr int kSeeks = 4'001;
constexpr int kDistance = 7;

// {0} is the object's file.
constexpr const char* kDescription = R"({{
  "name": "described",
  "summary": "Counts calls of lseek.",
  "object": "{}",
  "ring": "seeks",
  "record_size": 48,
  "metrics": [
    {{"name": "tarsier_room_seeks_total", "help": "Calls of lseek.", "kind": "counter",
      "labels": {{"whence": {{"type": "u32", "offset": 32, "names": {{"0": "set", "1": "cur"}}}},
                  "note": {{"type": "text", "offset": 36, "size": 12}}}}}},
    {{"name": "tarsier_room_seek_distance", "help": "How far lseek went.", "kind": "histogram",
      "value": {{"type": "u64", "offset": 24}}, "buckets": [1, 10, 100]}}
  ],
  "hooks": [{{"purpose": "a process seeks", "tracepoint": "syscalls/sys_enter_lseek",
              "program": "room_seek"}}]
}})";

std::string description() {
  return fmt::format(fmt::runtime(kDescription), DESCRIBED_OBJECT);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

int seek(int times) {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (int i = 0; i < times; ++i) ::lseek(fd, kDistance, SEEK_SET);
  ::close(fd);
  return times;
}

TEST(DescribedRoom, CountsExactlyAfterRestartsUnderLoad) {
  if (const auto why = rooms::unavailable(); !why.empty()) GTEST_SKIP() << why;
  const auto plate = Described::parse(description());
  ASSERT_TRUE(plate) << plate.error().message;
  if (const auto why = rooms::unavailable(**plate); !why.empty()) GTEST_SKIP() << why;
  const live::Child load("seek-load", [] {
    while (seek(64) > 0) ::usleep(2'000);
    return 0;
  });
  rooms::Worker worker("seek-worker", seek);
  rooms::Assembly assembly;
  const ProbeSpec& spec = **plate;
  restart_under_load(assembly, config::ProbeConfig(spec), *spec.metrics[0], {{"comm", "seek-load"}},
                     "room_seek");
  if (testing::Test::HasFatalFailure()) return;
  EXPECT_EQ(worker.run(kSeeks), kSeeks);
  const live::Labels labels{{"comm", "seek-worker"}, {"whence", "set"}, {"note", "by lseek"}};
  EXPECT_TRUE(assembly.becomes("tarsier_room_seeks_total", labels, kSeeks));
  const live::Labels who{{"comm", "seek-worker"}};
  EXPECT_TRUE(assembly.becomes("tarsier_room_seek_distance_sum", who, kSeeks * kDistance));
  const live::Scrape scrape = assembly.scrape();
  const auto bucket = [&](const char* bound) {
    return scrape.sum("tarsier_room_seek_distance_bucket",
                      {{"comm", "seek-worker"}, {"le", bound}});
  };
  EXPECT_EQ(bucket("1"), 0);
  EXPECT_EQ(bucket("10"), kSeeks);
  EXPECT_EQ(scrape.sum("tarsier_probe_decode_errors_total", {{"probe", "described"}}), 0);
  // The plate goes away with everything that it owned; nothing looks at it after the stop.
  assembly.stop(spec);
}

TEST(DescribedRoom, DecodesByOffset) {
  const auto plate = Described::parse(description());
  ASSERT_TRUE(plate) << plate.error().message;
  struct {
    tarsier_header header{1, 7, 0, 42, 5};
    std::uint64_t offset = 90;
    std::uint32_t whence = 1;
    char note[12] = "spelt whole";
  } record;
  static_assert(sizeof record == 48);
  const testkit::DefaultOptions options({});
  const testkit::FakeHost host;
  const auto probe = (*plate)->make({options, host, 1, plate->get()});
  testkit::CaptureSinks sinks;
  EXPECT_TRUE(probe->on_event(bytes_of(record), sinks));
  record.whence = 4;
  record.note[0] = '\0';
  EXPECT_TRUE(probe->on_event(bytes_of(record), sinks));
  EXPECT_FALSE(probe->on_event(bytes_of(record).first(47), sinks));
  EXPECT_EQ(sinks.text(),
            "tarsier_room_seek_distance 2/180 @42\n"
            "tarsier_room_seeks_total{note=\"spelt whole\",whence=\"cur\"} 1 @42\n"
            "tarsier_room_seeks_total{whence=\"4\"} 1 @42");
}

TEST(DescribedRoom, SaysWhatIsWrongAndWhere) {
  const struct {
    std::string text;
    std::string message;
  } kCases[] = {
      {"[", "the description is not a JSON object"},
      {"{}", "description: name is missing or not a text"},
      {replaced(description(), "\"described\"", "\"De scribed\""),
       "description: name is lower case letters, digits and _"},
      {replaced(description(), DESCRIBED_OBJECT, "/nonexistent"),
       "description: object: open /nonexistent: No such file or directory"},
      {replaced(description(), DESCRIBED_OBJECT, "/proc/self/status"),
       "description: object /proc/self/status is not an ELF file"},
      {replaced(description(), ": 48", ": 4"),
       "description: record_size is a number of bytes from 24 to 65536"},
      {replaced(description(), "\"offset\": 36", "\"offset\": 37"),
       "description: metrics[0].labels.note is outside of the record of 48 bytes"},
      {replaced(description(), "\"offset\": 24", "\"offset\": 18446744073709551615"),
       "description: metrics[1].value is outside of the record of 48 bytes"},
      {replaced(description(), "\"u32\"", "\"u33\""),
       "description: metrics[0].labels.whence.type is u8, u16, u32, u64 or text"},
      {replaced(description(), "seeks_total", "seeks"),
       "description: metrics[0].name ends in _total for a counter and for nothing else"},
      {replaced(description(), "[1, 10, 100]", "[1, 10, 10]"),
       "description: metrics[1].buckets do not ascend"},
      {replaced(description(), "\"tracepoint\"", "\"tracepoints\""),
       "description: hooks[0].tracepoint is missing or not a text"},
  };
  for (const auto& one : kCases) {
    const auto plate = Described::parse(one.text);
    ASSERT_FALSE(plate) << one.message;
    EXPECT_EQ(plate.error().message, one.message);
  }
}

// What only the kernel or the object can say is the loader's to report, not a crash.
TEST(DescribedRoom, FailsWithWordsWhereTheObjectHasOtherNames) {
  if (const auto why = rooms::unavailable(); !why.empty()) GTEST_SKIP() << why;
  rooms::Assembly assembly;
  const struct {
    std::string text;
    std::string_view reason;
  } kCases[] = {
      {replaced(description(), "\"room_seek\"", "\"room_sought\""),
       "the BPF object has no program room_sought"},
      {replaced(description(), "\"seeks\"", "\"events\""), "the BPF object has no ring events"},
      {replaced(description(), "sys_enter_lseek", "sys_enter_lsought"),
       "this kernel has no tracepoint syscalls/sys_enter_lsought"},
      {replaced(description(), "Calls of lseek.\", ", "\", "), "help"},
  };
  for (const auto& one : kCases) {
    const auto plate = Described::parse(one.text);
    if (!plate) {
      EXPECT_NE(plate.error().message.find(one.reason), std::string::npos) << plate.error().message;
      continue;
    }
    assembly.start(config::ProbeConfig(**plate));
    const daemon::ProbeStatus status = assembly.status(**plate);
    EXPECT_EQ(name_of(status.state), "failed");
    EXPECT_NE(status.reason.find(one.reason), std::string::npos) << status.reason;
    assembly.stop(**plate);
  }
}

}  // namespace
}  // namespace tarsier
