// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/routes.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "daemon/catalogue.h"
#include "export/gzip.h"
#include "export/text.h"
#include "version.h"

namespace tarsier::daemon {
namespace {

using Json = nlohmann::ordered_json;

// A change of a probe may load BPF programs by several ways.
constexpr std::chrono::milliseconds kChangeLimit{10'000};

std::string dump(const Json& json) {
  // Bytes that are not UTF-8 (a process may be called anything) become U+FFFD.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// One scrape: pulled by the server, timed to its last byte.
class TimedScrape {
 public:
  TimedScrape(const RouteParts& parts, exposition::Format format)
      : clock_(parts.clock),
        self_(parts.self),
        began_(clock_.boot_ns()),
        scrape_(parts.registry, format) {}
  ~TimedScrape() { self_.scraped(static_cast<double>(clock_.boot_ns() - began_) / 1e9); }
  TimedScrape(const TimedScrape&) = delete;
  TimedScrape& operator=(const TimedScrape&) = delete;
  bool next(std::string& chunk) { return scrape_.next(chunk); }

 private:
  const base::Clock& clock_;
  SelfMetrics& self_;
  std::uint64_t began_;
  exposition::Scrape scrape_;
};

api::Response scrape(const RouteParts& parts, const api::Request& request) {
  const auto format = exposition::choose_format(request.header("Accept").value_or(""));
  api::Response response;
  response.content_type = exposition::content_type(format);
  response.headers.emplace_back("Vary", "Accept, Accept-Encoding");
  auto timed = std::make_shared<TimedScrape>(parts, format);
  const exposition::ChunkSource source = [timed](std::string& chunk) { return timed->next(chunk); };
  if (exposition::accepts_gzip(request.header("Accept-Encoding").value_or(""))) {
    if (auto gzip = exposition::GzipStream::over(source)) {
      response.headers.emplace_back("Content-Encoding", "gzip");
      auto stream = std::make_shared<exposition::GzipStream>(std::move(*gzip));
      response.stream = [stream](std::string& chunk) { return stream->next(chunk); };
      return response;
    }
  }
  response.stream = source;
  return response;
}

api::Response plain(std::string body, int status = 200) {
  api::Response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

api::Response ready(const RouteParts& parts) {
  if (parts.state.stopping) return plain("stopping\n", 503);
  if (!parts.state.ready) return plain("starting\n", 503);
  return plain("ready\n");
}

void add_health(api::Routes& routes, const RouteParts& parts) {
  routes.add("GET", "/healthz", [](const api::Request&) { return plain("ok\n"); });
  routes.add("GET", "/readyz", [parts](const api::Request&) { return ready(parts); });
}

Json json_of(const ProbeStatus& status) {
  Json json;
  json["name"] = status.name;
  json["summary"] = status.summary;
  json["state"] = name_of(status.state);
  json["reason"] = status.reason;
  json["service"] = status.service;
  json["hooks"] = Json::array();
  for (const kernel::HookState& hook : status.hooks) {
    json["hooks"].push_back({{"purpose", hook.purpose},
                             {"required", hook.required},
                             {"available", hook.available},
                             {"method", hook.method},
                             {"target", hook.target},
                             {"reason", hook.reason}});
  }
  return json;
}

api::Response status(const RouteParts& parts) {
  Json json;
  json["version"] = kVersion;
  json["revision"] = kRevision;
  json["pid"] = ::getpid();
  json["ready"] = parts.state.ready.load();
  json["uptime_seconds"] =
      static_cast<double>(parts.clock.boot_ns() - parts.state.started_boot_ns) / 1e9;
  {
    const std::lock_guard lock(parts.state.mutex);
    json["listening"] = parts.state.listening;
  }
  const metrics::Stats stats = parts.registry.stats();
  json["series"] = stats.series;
  json["entities"] = stats.entities;
  json["collector_rounds"] = parts.collector.rounds();
  json["probes"] = Json::object();
  for (const ProbeStatus& probe : parts.probes.statuses()) {
    json["probes"][probe.name] = name_of(probe.state);
  }
  json["sources"] = Json::array();
  for (const SourceFigures& source : parts.sources.figures()) {
    json["sources"].push_back(json_of(source));
  }
  return api::json(dump(json));
}

// A number in the query; nothing: it is missing or no number.
std::optional<std::size_t> number_in(const api::Request& request, std::string_view name) {
  const auto text = request.parameter(name);
  std::size_t number = 0;
  if (!text) return std::nullopt;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return number;
}

api::Response targets(const RouteParts& parts, const api::Request& request) {
  TargetsQuery query;
  if (request.parameter("limit")) {
    const auto limit = number_in(request, "limit");
    if (!limit || *limit > kMaxReported) {
      return api::problem(400, "", fmt::format("limit must be a number up to {}", kMaxReported));
    }
    query.limit = *limit;
  }
  query.only_unresolved = request.parameter("unresolved").value_or("false") == "true";
  query.processes = request.parameter("processes").value_or("true") == "true";
  const std::uint64_t now = parts.clock.boot_ns();
  TargetsReport report;
  parts.collector.run([&] { report = parts.subjects.report(query, now); });
  return api::json(targets_json(report, parts.sources.figures(), now));
}

api::Response probes(const RouteParts& parts) {
  Json json;
  json["probes"] = Json::array();
  for (const ProbeStatus& probe : parts.probes.statuses()) json["probes"].push_back(json_of(probe));
  return api::json(dump(json));
}

api::Response no_probe(std::string_view name) {
  return api::problem(404, "", fmt::format("there is no probe {}", name));
}

Json options_json(const config::ProbeConfig& probe) {
  Json options = Json::object();
  for (std::size_t i = 0; i < probe.options.declared().size(); ++i) {
    const Option& option = probe.options.declared()[i];
    Json& value = options[std::string(option.key)];
    std::visit([&](const auto& scalar) { value = scalar; }, probe.options.at(i));
    if (option.type == OptionType::duration) {
      value = fmt::format("{}ms", std::get<std::int64_t>(probe.options.at(i)) / kMillisecond);
    }
  }
  return options;
}

std::optional<config::ProbeConfig> probe_config(const RouteParts& parts, const std::string& name) {
  const std::lock_guard lock(parts.state.mutex);
  const auto found = parts.state.config.probes.find(name);
  if (found == parts.state.config.probes.end()) return std::nullopt;
  return found->second;
}

api::Response probe(const RouteParts& parts, const std::string& name) {
  const auto status = parts.probes.status(name);
  if (!status) return no_probe(name);
  Json json = json_of(*status);
  if (const auto config = probe_config(parts, name)) {
    json["enabled"] = config->enabled;
    json["options"] = options_json(*config);
  }
  return api::json(dump(json));
}

api::Response change_probe(const RouteParts& parts, const api::Request& request) {
  const std::string name(request.param("name"));
  const auto config = probe_config(parts, name);
  if (!config) return no_probe(name);
  const auto wanted = config::patch_probe(*config, request.body);
  if (!wanted) return api::problem(400, "", wanted.error().message);
  const auto done =
      parts.control.run([parts, wanted] { parts.change_probe(*wanted); }, kChangeLimit);
  if (!done) return api::problem(503, "", done.error().message);
  return probe(parts, name);
}

}  // namespace

api::Routes metrics_routes(const RouteParts& parts) {
  api::Routes routes;
  add_health(routes, parts);
  routes.add("GET", "/metrics",
             [parts](const api::Request& request) { return scrape(parts, request); });
  routes.add("GET", "/", [](const api::Request&) {
    api::Response page = plain(
        "<!doctype html><title>tarsier</title><h1>tarsier</h1><p><a href=\"/metrics\">metrics</a> "
        "<a href=\"/healthz\">health</a> <a href=\"/readyz\">readiness</a>\n");
    page.content_type = "text/html; charset=utf-8";
    return page;
  });
  return routes;
}

api::Routes api_routes(const RouteParts& parts) {
  api::Routes routes;
  add_health(routes, parts);
  routes.add("GET", "/api/v1/status", [parts](const api::Request&) { return status(parts); });
  routes.add("GET", "/api/v1/probes", [parts](const api::Request&) { return probes(parts); });
  routes.add("GET", "/api/v1/probes/{name}", [parts](const api::Request& request) {
    return probe(parts, std::string(request.param("name")));
  });
  routes.add("PATCH", "/api/v1/probes/{name}",
             [parts](const api::Request& request) { return change_probe(parts, request); });
  routes.add("GET", "/api/v1/targets",
             [parts](const api::Request& request) { return targets(parts, request); });
  routes.add("GET", "/api/v1/metrics",
             [parts](const api::Request&) { return api::json(catalogue_json(parts.specs)); });
  routes.add("GET", "/api/v1/config", [parts](const api::Request&) {
    const std::lock_guard lock(parts.state.mutex);
    return api::json(config::to_json(parts.state.config));
  });
  return routes;
}

}  // namespace tarsier::daemon
