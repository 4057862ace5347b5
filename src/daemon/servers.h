// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The listening sockets and the servers behind them: [http], [api] and the control socket.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/listen.h"
#include "api/routes.h"
#include "api/server.h"
#include "config/config.h"
#include "tarsier/result.h"

namespace tarsier::daemon {

struct Sockets {
  std::optional<api::Listener> http, api, control;
};

// Opens what the configuration names, before rights are dropped. The metrics address is a must; an
// API address or control socket that another daemon holds is done without, with a warning.
[[nodiscard]] Result<Sockets> open_sockets(const config::Config& config);

// Starts a server for each socket; `listening` gets their addresses. What cannot be started (a
// broken certificate) is logged and left out.
[[nodiscard]] std::vector<std::unique_ptr<api::Server>> start_all_servers(
    Sockets sockets, const config::Config& config, const api::Routes& metrics_routes,
    const api::Routes& api_routes, std::vector<std::string>& listening);

}  // namespace tarsier::daemon
