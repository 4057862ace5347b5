// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Real opens, counted by hand and by the daemon. Each test has a process with a name of its own, so
// that nothing else on the machine can be in its numbers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tarsier/livekit.h"

namespace tarsier {
namespace {

constexpr int kGood = 1'009, kBad = 503;  // primes

void open_files() {
  for (int i = 0; i < kGood; ++i) ::close(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (int i = 0; i < kBad; ++i) (void)!::open("/dev/null/no-such-file", O_RDONLY | O_CLOEXEC);
}

class TemplateLive : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = live::unavailable(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(TemplateLive, CountsExactly) {
  const live::Daemon daemon;
  live::as("opens-all", open_files);
  const live::Labels ok{{"comm", "opens-all"}, {"result", "ok"}};
  const live::Labels failed{{"comm", "opens-all"}, {"result", "failed"}};
  EXPECT_TRUE(daemon.becomes("tarsier_template_opens_total", ok, kGood));
  EXPECT_TRUE(daemon.becomes("tarsier_template_opens_total", failed, kBad));
  EXPECT_EQ(daemon.scrape().sum("tarsier_probe_events_lost_total", {{"probe", "template"}}), 0);
}

TEST_F(TemplateLive, CountsFailuresAloneWhereAskedTo) {
  const live::Daemon daemon({"--set", "probes.template.failures_only=true"});
  if (daemon.foreign()) GTEST_SKIP() << "the daemon was started by somebody else";
  live::as("opens-failed", open_files);
  EXPECT_TRUE(daemon.becomes("tarsier_template_opens_total", {{"comm", "opens-failed"}}, kBad));
}

}  // namespace
}  // namespace tarsier
