// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// tarsier: one daemon per node that sees what its processes do. See `tarsier --help`.
#include "daemon/commands.h"
#include "tarsier/probe_table.h"

int main(int argc, char** argv) {
  return tarsier::daemon::run_command({argv, static_cast<std::size_t>(argc)},
                                      tarsier::probe_table());
}
