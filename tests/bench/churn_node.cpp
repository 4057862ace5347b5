// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The containers of tests/bench/containers: churn_node DIRECTORY CONTAINERS PER_SECOND NAMES.
// Says "ready", begins with a line on standard input, and says how many ran and ended well.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "integration/churn.h"

namespace {

volatile std::sig_atomic_t stopped = 0;
void stop(int) {
  stopped = 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) return 2;
  std::signal(SIGTERM, stop);
  std::signal(SIGINT, stop);
  tarsier::test::ChurnOptions options;
  options.containers = std::strtoul(arguments[2], nullptr, 10);
  options.per_second = std::strtod(arguments[3], nullptr);
  options.names = std::strtoul(arguments[4], nullptr, 10);
  tarsier::test::Churn churn(arguments[1], options);
  if (churn.problem().empty()) {
    std::puts("ready");
    std::fflush(stdout);
    if (std::getchar() == EOF) return 0;
    std::printf("%zu\n", churn.run([] { return stopped != 0; }));
  }
  if (churn.problem().empty()) return 0;
  std::fprintf(stderr, "%s\n", churn.problem().c_str());
  return 1;
}
