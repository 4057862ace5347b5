// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Request targets as anybody can send them: decoding, matching and the answer's JSON must hold for
// all bytes, and what is decoded must be what an independent reading of the same bytes gives.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "api/auth.h"
#include "api/routes.h"

namespace {

using tarsier::api::Request;
using tarsier::api::Response;

const tarsier::api::Routes& routes() {
  static const tarsier::api::Routes kRoutes = [] {
    tarsier::api::Routes made;
    for (const char* pattern : {"/", "/metrics", "/api/v1/probes", "/api/v1/probes/{name}",
                                "/api/{a}/probes/x", "/{a}/{b}/{c}"}) {
      made.add("GET", pattern, [](const Request&) { return Response{}; });
    }
    made.add("PATCH", "/api/v1/probes/{name}", [](const Request&) { return Response{}; });
    return made;
  }();
  return kRoutes;
}

void require(bool condition) {
  if (!condition) std::abort();
}

std::string encode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back('%');
    out.push_back(kDigits[byte >> 4U]);
    out.push_back(kDigits[byte & 15U]);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view raw(reinterpret_cast<const char*>(data), size);
  const auto target = tarsier::api::parse_target(raw);
  (void)tarsier::api::host_allowed(raw, "10.0.0.1", {});
  (void)tarsier::api::origin_allowed(raw, raw, false);
  if (!target) {
    require(!target.error().message.empty());
    (void)tarsier::api::problem(400, "", target.error().message);
    return 0;
  }
  require(target->segments.size() <= tarsier::api::kMaxPathSegments);
  require(target->query.size() <= tarsier::api::kMaxQueryParameters);

  // Encoding every byte of what was decoded and decoding that again changes nothing.
  std::string again;
  for (const std::string& segment : target->segments) again.append("/").append(encode(segment));
  if (again.empty()) again = "/";
  if (again.size() <= tarsier::api::kMaxTargetBytes && again != "/") {
    const auto second = tarsier::api::parse_target(again);
    require(second.has_value());
    require(second->segments == target->segments);
  }

  for (const std::string_view method : {"GET", "HEAD", "PATCH", "BREW"}) {
    const auto match = routes().match(method, target->segments);
    require(match.handler == nullptr || !match.allow.empty());
    for (const auto& [name, value] : match.params) require(!value.empty());
  }
  return 0;
}
