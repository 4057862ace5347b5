// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "base/files.h"
#include "base/text.h"
#include "config/listen.h"
#include "config/schema.h"

namespace tarsier::config {
namespace {

using Seen = std::map<std::string, Position>;

struct Contradiction {
  std::vector<std::string_view> keys;  // the first that was given is where the problem stands
  std::string message;
};

// What is wrong with the keys together though each of them is fine.
std::vector<Contradiction> contradictions(const Config& config) {
  std::vector<Contradiction> found;
  const Config::Api& api = config.api;
  const auto address = parse_listen(api.listen);
  if (api.auth == ApiAuth::none && address && !address->local()) {
    found.push_back(
        {{"api.auth", "api.listen"},
         fmt::format("api.auth = \"none\" lets everybody change this daemon from {}; it "
                     "is allowed with a loopback api.listen such as \"127.0.0.1:9921\" "
                     "only",
                     api.listen)});
  }
  if (api.auth == ApiAuth::mtls &&
      (api.tls_cert.empty() || api.tls_key.empty() || api.client_ca.empty())) {
    found.push_back(
        {{"api.auth"}, "api.auth = \"mtls\" needs api.tls_cert, api.tls_key and api.client_ca"});
  }
  const auto pair = [&found](std::string_view section, std::string_view cert,
                             std::string_view cert_key, const std::string& a,
                             const std::string& b) {
    if (a.empty() == b.empty()) return;
    found.push_back({{cert, cert_key},
                     fmt::format("{}.tls_cert and {}.tls_key go together, and {} is empty", section,
                                 section, a.empty() ? cert : cert_key)});
  };
  pair("http", "http.tls_cert", "http.tls_key", config.http.tls_cert, config.http.tls_key);
  pair("api", "api.tls_cert", "api.tls_key", api.tls_cert, api.tls_key);
  return found;
}

void report_contradictions(const Config& config, std::string_view file, const Seen& seen,
                           Problems& problems) {
  for (Contradiction& found : contradictions(config)) {
    Position at;
    for (const std::string_view key : found.keys) {
      const auto place = seen.find(std::string(key));
      if (place != seen.end() && at.line == 0) at = place->second;
    }
    problems.push_back({std::string(file), at.line, at.column, std::move(found.message)});
  }
}

// The names of a dotted key as TOML reads it; empty where it is none.
std::vector<std::string> key_path(std::string_view text) {
  std::vector<std::string> path;
  if (text.find_first_of("\n#=[]{},") != std::string_view::npos) return path;
  Reading reading = read_toml(fmt::format("{} = 0", text));
  for (const Value* value = &reading.root; value->type == Value::Type::table;
       value = &value->items[0]) {
    if (value->items.size() != 1) return {};
    path.push_back(value->keys[0].name);
  }
  return reading.flaws.empty() ? path : std::vector<std::string>();
}

// The right side of --set: TOML, else a string. Single values keep their spelling for keys of text.
Value set_value(std::string_view text) {
  Reading reading = read_toml(fmt::format("v = {}", text));
  if (reading.flaws.empty() && reading.root.items.size() == 1) {
    Value value = std::move(reading.root.items[0]);
    if (value.type != Value::Type::text) value.text = text;
    return value;
  }
  return Value::of(std::string(text));
}

// Without the value, which may be a secret.
std::string set_name(std::string_view assignment) {
  return "--set " + excerpt(base::trim(assignment.substr(0, assignment.find('='))));
}

void apply_assignment(std::string_view assignment, const Catalogue& catalogue, Config& config,
                      Problems& problems) {
  const std::string name = set_name(assignment);
  const auto equals = assignment.find('=');
  const std::vector<std::string> path = equals == std::string_view::npos
                                            ? std::vector<std::string>()
                                            : key_path(base::trim(assignment.substr(0, equals)));
  if (path.size() < 2) {
    problems.push_back({name, 0, 0, "this must be SECTION.KEY=VALUE, as in api.auth=none"});
    return;
  }
  Value tree = set_value(base::trim(assignment.substr(equals + 1)));
  for (std::size_t i = path.size(); i-- > 0;) {
    Value outer = Value::table();
    outer.add(path[i], std::move(tree));
    tree = std::move(outer);
  }
  Seen unused;
  apply(tree, {name, true}, catalogue, config, problems, unused);
}

// In the order of the text; a table of TOML does not keep its own.
void sort_by_place(Problems& problems) {
  std::ranges::sort(problems, {}, [](const Problem& problem) {
    return std::tie(problem.line, problem.column, problem.message);
  });
}

// No more than a person can read.
void cut(Problems& problems) {
  if (problems.size() <= kMaxProblems) return;
  const std::size_t more = problems.size() - kMaxProblems;
  problems.resize(kMaxProblems);
  problems.push_back({problems.front().file, 0, 0, fmt::format("and {} more problems", more)});
}

std::string join_lines(const Problems& problems) {
  std::string text;
  for (const Problem& problem : problems) {
    if (!text.empty()) text.append("; ");
    text.append(problem.text());
  }
  return text;
}

Value nested(const std::vector<Setting>& settings) {
  Value root = Value::table();
  const auto table_of = [](Value& outer, const std::string& name) -> Value& {
    const auto key = std::ranges::find(outer.keys, name, &Key::name);
    if (key != outer.keys.end()) {
      return outer.items[static_cast<std::size_t>(key - outer.keys.begin())];
    }
    outer.add(name, Value::table());
    return outer.items.back();
  };
  for (const Setting& setting : settings) {
    const auto dot = setting.section.find('.');  // only metrics.NAME and probes.NAME have one
    Value* table = &table_of(root, setting.section.substr(0, dot));
    if (dot != std::string::npos) table = &table_of(*table, setting.section.substr(dot + 1));
    table->add(setting.key, setting.value);
  }
  return root;
}

void hide(Value& value) {
  for (Value& item : value.items) hide(item);
  if (value.type == Value::Type::text) value.text = "(hidden)";
}

}  // namespace

std::string Problem::text() const {
  if (line == 0) return fmt::format("{}: {}", file, message);
  return fmt::format("{}:{}:{}: {}", file, line, column, message);
}

Format format_of(std::string_view file_name) {
  return file_name.ends_with(".json") ? Format::json : Format::toml;
}

Config defaults(const Catalogue& catalogue) {
  Config config;
  for (const ProbeSpec* plate : catalogue.probes) {
    config.probes.try_emplace(std::string(plate->name), *plate);
  }
  return config;
}

std::expected<Config, Problems> parse(std::string_view text, Format format,
                                      std::string_view file_name, const Catalogue& catalogue,
                                      std::span<const std::string> sets) {
  Config config = defaults(catalogue);
  Problems problems;
  Seen seen;
  if (text.size() > kMaxFileBytes) {
    problems.push_back({std::string(file_name), 0, 0,
                        fmt::format("the file is longer than {} bytes", kMaxFileBytes)});
    return std::unexpected(std::move(problems));
  }
  const Reading reading = format == Format::toml ? read_toml(text) : read_json(text);
  for (const Flaw& flaw : reading.flaws) {
    problems.push_back({std::string(file_name), flaw.at.line, flaw.at.column, flaw.message});
  }
  if (reading.root.type == Value::Type::table) {
    apply(reading.root, {file_name, false}, catalogue, config, problems, seen);
  }
  sort_by_place(problems);
  if (sets.size() > kMaxSets) {
    problems.push_back({"--set", 0, 0, fmt::format("given more than {} times", kMaxSets)});
    sets = sets.first(kMaxSets);
  }
  for (const std::string& assignment : sets) {
    apply_assignment(assignment, catalogue, config, problems);
  }
  // A key that was refused still has its default, which would only confuse here.
  if (problems.empty()) report_contradictions(config, file_name, seen, problems);
  if (problems.empty()) return config;
  cut(problems);
  return std::unexpected(std::move(problems));
}

std::expected<Config, Problems> load(const std::string& path, const Catalogue& catalogue,
                                     std::span<const std::string> sets) {
  if (path.empty()) return parse("", Format::toml, "configuration", catalogue, sets);
  auto text = base::read_file(path, kMaxFileBytes);
  if (!text) return std::unexpected(Problems{{path, 0, 0, std::move(text.error().message)}});
  return parse(*text, format_of(path), path, catalogue, sets);
}

Status apply_set(Config& config, std::string_view assignment, const Catalogue& catalogue) {
  Config changed = config;
  Problems problems;
  apply_assignment(assignment, catalogue, changed, problems);
  if (problems.empty()) {
    report_contradictions(changed, set_name(assignment), {}, problems);
  }
  if (!problems.empty()) return fail(ErrorCode::invalid, join_lines(problems));
  config = std::move(changed);
  return {};
}

Result<ProbeConfig> patch_probe(const ProbeConfig& probe, std::string_view json) {
  const std::string name(probe.spec->name);
  if (json.size() > kMaxFileBytes) {
    return fail(ErrorCode::limit_reached,
                fmt::format("the body is longer than {} bytes", kMaxFileBytes));
  }
  const Reading reading = read_json(json);
  Problems problems;
  for (const Flaw& flaw : reading.flaws) {
    problems.push_back({"body", flaw.at.line, flaw.at.column, flaw.message});
  }
  // The body has the options one level deeper than the file has them.
  Value table = Value::table();
  for (std::size_t i = 0; i < reading.root.items.size(); ++i) {
    const Key& key = reading.root.keys[i];
    const Value& value = reading.root.items[i];
    if (key.name == kEnabledKey) {
      table.add(key.name, value, key.at);
    } else if (key.name != "options") {
      problems.push_back(
          {"body", key.at.line, key.at.column,
           fmt::format("unknown key \"{}\"; allowed: enabled, options", excerpt(key.name))});
    } else if (value.type != Value::Type::table) {
      problems.push_back({"body", value.at.line, value.at.column,
                          fmt::format("options must be an object, not {}", value.type_name())});
    } else {
      for (std::size_t j = 0; j < value.items.size(); ++j) {
        table.add(value.keys[j].name, value.items[j], value.keys[j].at);
      }
    }
  }
  ProbeConfig patched = probe;
  apply_probe(table, {"body", false}, "probes." + name, patched, problems);
  if (problems.empty()) return patched;
  sort_by_place(problems);
  cut(problems);
  return fail(ErrorCode::invalid, join_lines(problems));
}

std::string to_json(const Config& config) {
  std::vector<Setting> settings = settings_of(config);
  for (Setting& setting : settings) {
    if (setting.secret) hide(setting.value);
  }
  return write_json(nested(settings));
}

std::vector<Change> diff(const Config& before, const Config& after) {
  const auto name_of = [](const Setting& setting) { return setting.section + "." + setting.key; };
  std::map<std::string, Value> old_values;
  for (Setting& setting : settings_of(before)) {
    old_values.emplace(name_of(setting), std::move(setting.value));
  }
  std::vector<Change> changes;
  for (const Setting& setting : settings_of(after)) {
    const std::string name = name_of(setting);
    const auto old_value = old_values.find(name);
    const bool same = old_value != old_values.end() && old_value->second.equals(setting.value);
    if (!same) changes.push_back({name, setting.effect == Effect::restart});
    if (old_value != old_values.end()) old_values.erase(old_value);
  }
  // What is left is a [metrics] table that is gone.
  for (const auto& [name, value] : old_values) changes.push_back({name, true});
  return changes;
}

}  // namespace tarsier::config
