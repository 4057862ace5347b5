// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The probes that this binary was built with, in alphabetical order. Generated from probes/.
#pragma once

#include <span>

#include "tarsier/probe.h"

namespace tarsier {

[[nodiscard]] std::span<const ProbeSpec* const> probe_table();

}  // namespace tarsier
