// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Made-up kernels: what matters is what they have, not what they are called.
#include "kernel/plan.h"

#include <gtest/gtest.h>

#include <set>

namespace tarsier::kernel {
namespace {

class MadeUpKernel final : public KernelFacts {
 public:
  explicit MadeUpKernel(std::set<std::pair<Method, std::string>> has) : has_(std::move(has)) {}
  std::string missing(const Attachment& attachment) const override {
    return has_.contains({attachment.method, std::string(attachment.target)}) ? "" : "not here";
  }

 private:
  std::set<std::pair<Method, std::string>> has_;
};

constexpr Attachment kTyped[] = {{Method::tp_btf, "open", "open_tp_btf"}};
constexpr Attachment kPair[] = {{Method::kprobe, "do_open", "open_kprobe"},
                                {Method::kretprobe, "do_open", "open_kretprobe"}};
constexpr Attachment kRaw[] = {{Method::raw_tracepoint, "open", "open_raw_tp"}};
constexpr Way kWays[] = {kTyped, kPair, kRaw};
constexpr Hook kHooks[] = {{"a file is opened", kWays}};
constexpr Hook kOptional[] = {{"a file is opened", kWays, false}};

TEST(Choose, TakesTheFirstWay) {
  const Plan plan = choose(kHooks, MadeUpKernel({{Method::tp_btf, "open"}}), {});
  EXPECT_EQ(plan.hooks[0].way, 0U);
  EXPECT_EQ(plan.hooks[0].reason, "");
  EXPECT_EQ(plan.impossible, "");
}

TEST(Choose, AWayIsAllOfItsAttachments) {
  // An old kernel with a kprobe but without the return probe takes the third way.
  const MadeUpKernel old({{Method::kprobe, "do_open"}, {Method::raw_tracepoint, "open"}});
  const Plan plan = choose(kHooks, old, {});
  EXPECT_EQ(plan.hooks[0].way, 2U);
  EXPECT_EQ(plan.hooks[0].reason, "tp_btf: not here; kretprobe: not here");
}

TEST(Choose, ARefusedWayIsNotTakenAgain) {
  const MadeUpKernel back_ported(
      {{Method::tp_btf, "open"}, {Method::kprobe, "do_open"}, {Method::kretprobe, "do_open"}});
  const Plan plan = choose(kHooks, back_ported, {{{0, 0}, "the verifier refused open_tp_btf"}});
  EXPECT_EQ(plan.hooks[0].way, 1U);
  EXPECT_EQ(plan.hooks[0].reason, "the verifier refused open_tp_btf");
}

TEST(Choose, ARequiredHookWithoutAWayIsImpossible) {
  const Plan plan = choose(kHooks, MadeUpKernel({}), {});
  EXPECT_FALSE(plan.hooks[0].way.has_value());
  EXPECT_EQ(plan.impossible,
            "cannot learn that a file is opened: tp_btf: not here; kprobe: not here; "
            "raw_tracepoint: not here");
}

TEST(Choose, AnOptionalHookWithoutAWayIsNot) {
  EXPECT_EQ(choose(kOptional, MadeUpKernel({}), {}).impossible, "");
}

}  // namespace
}  // namespace tarsier::kernel
