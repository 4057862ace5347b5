// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The commands that ask a running daemon.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "daemon/commands.h"
#include "daemon/daemon.h"
#include "net/http_client.h"

namespace tarsier::daemon {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kTimeoutMs = 15'000;

// The answer, or nothing after saying on standard error why there is none.
std::optional<Json> ask(const std::string& socket, std::string method, const std::string& path,
                        std::string body = {}) {
  net::HttpRequest request;
  request.method = std::move(method);
  request.unix_socket = socket;
  request.url = "http://localhost" + path;
  request.timeout_ms = kTimeoutMs;
  if (!body.empty()) {
    request.body = std::move(body);
    request.headers.emplace_back("Content-Type: application/json");
  }
  net::HttpClient client;
  const auto response = client.send(request);
  if (!response) {
    fmt::print(stderr, "tarsier: ask the daemon at {}: {}; is it running, and are you root?\n",
               socket, response.error().message);
    return std::nullopt;
  }
  Json json = Json::parse(response->body, nullptr, false);
  if (response->status / 100 == 2 && !json.is_discarded()) return json;
  const std::string detail =
      json.is_object() && json.contains("detail") && json["detail"].is_string()
          ? json["detail"].get<std::string>()
          : response->body;
  fmt::print(stderr, "tarsier: the daemon answered {}: {}\n", response->status, detail);
  return std::nullopt;
}

std::string text(const Json& json, const char* key) {
  return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

void print_probe(const Json& probe) {
  fmt::print("{:<12} {:<9} {}\n", text(probe, "name"), text(probe, "state"),
             base::escape_control(text(probe, "reason")));
}

int print_one(const std::optional<Json>& probe) {
  if (!probe) return kExitNotOk;
  fmt::print("{}: {}\n  {}\n", text(*probe, "name"), text(*probe, "state"),
             text(*probe, "summary"));
  if (!text(*probe, "reason").empty()) fmt::print("  {}\n", text(*probe, "reason"));
  if (probe->contains("options")) {
    for (const auto& [key, value] : (*probe)["options"].items()) {
      fmt::print("  {} = {}\n", key, value.dump());
    }
  }
  for (const Json& hook : probe->value("hooks", Json::array())) {
    const bool available = hook.value("available", false);
    fmt::print("  {} {}: {}\n", available ? "+" : "-", text(hook, "purpose"),
               available ? fmt::format("{} {}", text(hook, "method"), text(hook, "target"))
                         : text(hook, "reason"));
  }
  const std::string state = text(*probe, "state");
  return state == "failed" ? kExitNotOk : kExitOk;
}

std::string probe_path(const std::string& name) {
  // Names are letters, digits and _; anything else is not a probe and must not become a path.
  std::string clean;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_') clean.push_back(c);
  }
  return "/api/v1/probes/" + (clean.empty() ? "_" : clean);
}

}  // namespace

int show_status(const std::string& socket) {
  const auto status = ask(socket, "GET", "/api/v1/status");
  if (!status) return kExitNotOk;
  fmt::print("{}\n", status->dump(2));
  return status->value("ready", false) ? kExitOk : kExitNotOk;
}

int list_targets(const std::string& socket, bool as_json, bool unresolved) {
  const auto targets = ask(socket, "GET",
                           unresolved ? "/api/v1/targets?limit=20000&unresolved=true"
                                      : "/api/v1/targets?limit=20000&processes=false");
  if (!targets) return kExitNotOk;
  if (as_json) {
    fmt::print("{}\n", targets->dump(2));
    return kExitOk;
  }
  const Json totals = targets->value("totals", Json::object());
  fmt::print("{} processes, {} containers, {} pods; {} unresolved\n", totals.value("processes", 0),
             totals.value("containers", 0), totals.value("pods", 0), totals.value("unresolved", 0));
  for (const Json& source : targets->value("sources", Json::array())) {
    fmt::print("source {:<26} {:<9} {:>6}  {}\n", text(source, "name"), text(source, "state"),
               source.value("objects", 0), base::escape_control(text(source, "last_error")));
  }
  for (const Json& pod : targets->value("pods", Json::array())) {
    fmt::print("pod {}/{} {} {}\n", text(pod, "namespace"), text(pod, "name"),
               text(pod, "workload_kind"), text(pod, "workload"));
  }
  for (const Json& one : targets->value("containers", Json::array())) {
    if (one.value("sandbox", false)) continue;
    fmt::print("container {:<12.12} {:<24} {}{}{} {} {}\n", text(one, "id"),
               base::escape_control(text(one, "name")), text(one, "namespace"),
               text(one, "pod").empty() ? "" : "/", text(one, "pod"),
               base::escape_control(text(one, "image")), text(one, "unresolved"));
  }
  for (const Json& one : targets->value("processes", Json::array())) {
    fmt::print("process {} {}: {} ({})\n", one.value("pid", 0),
               base::escape_control(text(one, "comm")), text(one, "unresolved"),
               base::escape_control(text(one, "cgroup")));
  }
  return totals.value("unresolved", 0) == 0 ? kExitOk : kExitNotOk;
}

int list_probes(const std::string& socket) {
  const auto answer = ask(socket, "GET", "/api/v1/probes");
  if (!answer) return kExitNotOk;
  for (const Json& probe : answer->value("probes", Json::array())) print_probe(probe);
  return kExitOk;
}

int show_probe(const std::string& socket, const std::string& name) {
  return print_one(ask(socket, "GET", probe_path(name)));
}

int enable_probe(const std::string& socket, const std::string& name, bool enabled) {
  Json body;
  body["enabled"] = enabled;
  return print_one(ask(socket, "PATCH", probe_path(name), body.dump()));
}

int set_options(const std::string& socket, const std::string& name,
                std::span<const std::string> assignments) {
  Json body;
  for (const std::string& assignment : assignments) {
    const auto equals = assignment.find('=');
    if (equals == std::string::npos) {
      fmt::print(stderr, "tarsier: {} is not KEY=VALUE\n", assignment);
      return kExitUsage;
    }
    const std::string value = assignment.substr(equals + 1);
    const Json parsed = Json::parse(value, nullptr, false);
    body["options"][assignment.substr(0, equals)] = parsed.is_discarded() ? Json(value) : parsed;
  }
  return print_one(ask(socket, "PATCH", probe_path(name), body.dump()));
}

}  // namespace tarsier::daemon
