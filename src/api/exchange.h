// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One request and what is answered: the checks before a handler, the handler, the body. Knows
// nothing of the HTTP library. Internal to src/api.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/http.h"
#include "api/worker.h"

namespace tarsier::api {

// What a request looks like once its headers are there.
struct Exchange {
  std::string raw_target;
  Request request;
  Routes::Match match;
  std::optional<Response> early;  // the answer is known without the handler
  bool too_large = false;
  bool unframed = false;  // it is not clear where this request ends
};

// Decides from the headers: who asks, for which host, for which route. Fills `match` or `early`.
void examine(Core& core, const Connection& connection, Exchange& exchange);
// Keeps a piece of the body, up to kMaxBodyBytes.
void take_body(Exchange& exchange, std::string_view piece);
// The answer to the whole request; exceptions of the handler end here.
[[nodiscard]] Response answer(Core& core, Exchange& exchange);

}  // namespace tarsier::api
