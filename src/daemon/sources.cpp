// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/sources.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

namespace tarsier::daemon {
namespace {

namespace k8s = net::kubernetes;

SourceFigures figures_of(const enrich::SourceState& source) {
  SourceFigures figures;
  figures.name = source.name;
  figures.up = source.present && source.healthy;
  figures.state = !source.present ? "absent" : source.healthy ? "ok" : "failing";
  figures.objects = source.listed;
  figures.requests = source.requests;
  figures.failures = source.failures + source.stream_failures;
  figures.events = source.events;
  figures.events_lost = source.events_lost;
  figures.last_error = source.last_error;
  return figures;
}

SourceFigures figures_of(const k8s::ResourceState& resource) {
  SourceFigures figures;
  figures.name = "kubernetes/" + std::string(resource.name);
  figures.up = resource.state == k8s::TaskState::watching ||
               (resource.lists > 0 && resource.last_error.empty());
  figures.state = k8s::task_state_name(resource.state);
  figures.objects = resource.objects;
  figures.requests = resource.lists + resource.watches + resource.failures;
  figures.failures = resource.failures;
  figures.events = resource.events;
  figures.events_lost = resource.malformed + resource.oversized + resource.over_limit;
  figures.last_error = resource.last_error;
  return figures;
}

SourceFigures figures_of(const net::ConntrackState& state) {
  using Kind = net::ConntrackState::Kind;
  SourceFigures figures;
  figures.name = "conntrack";
  figures.up = state.kind == Kind::running;
  figures.state = figures.up ? "ok" : state.kind == Kind::off ? "off" : "refused";
  figures.objects = state.entries;
  figures.requests = state.dumps;
  figures.failures = state.kind == Kind::refused ? 1 : 0;
  figures.events = state.events;
  figures.events_lost = state.lost + state.malformed + state.refused + state.evicted;
  figures.last_error = state.reason;
  return figures;
}

}  // namespace

nlohmann::ordered_json json_of(const SourceFigures& source) {
  return {{"name", source.name},
          {"up", source.up},
          {"state", source.state},
          {"objects", source.objects},
          {"requests", source.requests},
          {"failures", source.failures},
          {"events", source.events},
          {"events_lost", source.events_lost},
          {"last_error", source.last_error}};
}

std::vector<SourceFigures> Sources::figures() const {
  std::vector<SourceFigures> all;
  for (const enrich::SourceState& source : resolver_.sources()) {
    if (source.present || source.requests > 0) all.push_back(figures_of(source));
  }
  if (const auto cluster = kubernetes_.state()) {
    for (const k8s::ResourceState& resource : cluster->resources) {
      if (resource.state != k8s::TaskState::off) all.push_back(figures_of(resource));
    }
    if (cluster->kubelet.state != k8s::TaskState::off) {
      all.push_back(figures_of(cluster->kubelet));
    }
  }
  if (const auto state = conntrack_.state(); state.kind != net::ConntrackState::Kind::off) {
    all.push_back(figures_of(state));
  }
  return all;
}

}  // namespace tarsier::daemon
