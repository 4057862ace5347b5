// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Records in, numbers out; no kernel.
#include <gtest/gtest.h>

#include <cerrno>

#include "tarsier/testkit.h"
#include "template.h"

namespace tarsier {

extern const ProbeSpec template_probe;

namespace {

class TemplateTest : public testing::Test {
 protected:
  static template_record record(int result) {
    template_record made{};
    made.header = {1'000, TEMPLATE_OPENED, 0, 42, 7};
    made.result = result;
    return made;
  }

  testkit::DefaultOptions options_{template_probe.options};
  testkit::FakeHost host_;
  testkit::CaptureSinks sinks_;
  std::unique_ptr<Probe> probe_ = template_probe.make({options_, host_, 1'000, &template_probe});
};

TEST_F(TemplateTest, CountsByProcessAndResult) {
  for (const int result : {0, 3, -ENOENT, 1'023, -EMFILE}) {
    EXPECT_TRUE(probe_->on_event(bytes_of(record(result)), sinks_));
  }
  EXPECT_EQ(sinks_.text(),
            "tarsier_template_opens_total{result=\"failed\"} 2 @42\n"
            "tarsier_template_opens_total{result=\"ok\"} 3 @42");
}

TEST_F(TemplateTest, RefusesWhatIsShortOrForeign) {
  template_record foreign = record(3);
  foreign.header.type = TEMPLATE_OPENED + 1;
  EXPECT_FALSE(probe_->on_event(bytes_of(foreign), sinks_));
  const template_record whole = record(3);
  EXPECT_FALSE(probe_->on_event(bytes_of(whole).first(sizeof whole - 1), sinks_));
  EXPECT_EQ(sinks_.text(), "");
}

TEST_F(TemplateTest, TellsTheKernelWhatIsWanted) {
  EXPECT_EQ(template_probe.kernel_config(options_), copy_bytes_of(template_config{0}));
}

}  // namespace
}  // namespace tarsier
