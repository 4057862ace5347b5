// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Containers that live for a second or less are counted exactly, under their names.
#include <gtest/gtest.h>

#include "integration/churn.h"
#include "integration/peer.h"
#include "tarsier/livekit.h"

namespace tarsier {
namespace {

// The sum over the series of the program that carry a name that was given, and over all others.
struct Sums {
  double named = 0;
  double others = 0;
};

Sums sums(const live::Scrape& scrape, std::string_view metric) {
  Sums sums;
  for (const live::Sample& sample : scrape.samples()) {
    if (sample.name != metric) continue;
    const auto comm = sample.labels.find("comm");
    if (comm == sample.labels.end() || comm->second != test::kChurnComm) continue;
    const auto container = sample.labels.find("container");
    const bool named = container != sample.labels.end() && container->second.starts_with("job-");
    (named ? sums.named : sums.others) += sample.value;
  }
  return sums;
}

TEST(Churn, EveryShortLivedContainerIsCountedUnderItsName) {
  if (const std::string why = live::unavailable(); !why.empty()) GTEST_SKIP() << why;
  const test::Directory directory;
  constexpr std::size_t kContainers = 200;
  test::Churn churn(directory.path(""), {.containers = kContainers, .per_second = 50});
  if (!churn.problem().empty()) GTEST_SKIP() << churn.problem();
  const live::Daemon daemon({"--set", "node.root=" + directory.path("")});
  if (daemon.foreign()) GTEST_SKIP() << "needs a daemon with a root directory of its own";

  ASSERT_EQ(churn.run(), kContainers) << churn.problem();
  for (const char* metric : {"tarsier_process_execs_total", "tarsier_process_exits_total"}) {
    EXPECT_TRUE(daemon.eventually([&](const live::Scrape& scrape) {
      const Sums now = sums(scrape, metric);
      return now.named + now.others >= kContainers;
    })) << metric;
    const Sums end = sums(daemon.scrape(), metric);
    EXPECT_EQ(end.named, kContainers) << metric;
    EXPECT_EQ(end.others, 0) << metric << ", under an id or no container at all";
  }
  const live::Scrape last = daemon.scrape();
  for (const live::Sample& sample : last.samples()) {
    const auto container = sample.labels.find("container");
    if (container == sample.labels.end()) continue;
    EXPECT_FALSE(container->second.starts_with("c0ffee")) << sample.name << " carries an id";
  }
  EXPECT_EQ(daemon.lost(), 0);
}

}  // namespace
}  // namespace tarsier
