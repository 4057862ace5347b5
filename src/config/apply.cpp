// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Carries what was read into a Config, along the table of keys. Goes on after a problem, so that a
// file's problems are all told at once.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/text.h"
#include "config/schema.h"

namespace tarsier::config {
namespace {

constexpr std::size_t kMaxWordForNearest = 64;
constexpr std::int64_t kMaxPid = 1 << 22;  // PID_MAX_LIMIT of 64-bit kernels
constexpr Shape kPid{.form = Form::integer, .min = 1, .max = kMaxPid};
constexpr Shape kPattern{.form = Form::pattern};
constexpr Shape kPodLabel{.form = Form::pod_label};

std::string join(std::span<const std::string_view> words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

class Applier {
 public:
  Applier(const Source& source, Problems& problems) : source_(source), problems_(problems) {}

  void root(const Value& root, const Catalogue& catalogue, Config& config,
            std::map<std::string, Position>& seen);
  void probe(const Value& table, const std::string& path, ProbeConfig& probe);

 private:
  void problem(Position at, std::string message);
  void unknown(std::string_view what, const Key& key, const std::string& place,
               std::span<const std::string_view> known);
  bool is_table(const Value& value, const std::string& path);
  bool is_list(const Value& value, const std::string& path, std::string_view of,
               std::size_t max_items);
  std::optional<Scalar> scalar(const Value& value, const std::string& path, const Shape& shape,
                               bool secret = false);

  void section(const Value& table, std::string_view name, Config& config,
               std::map<std::string, Position>& seen);
  void field(const Value& value, const Field& field, Config& config);
  void texts(const Value& value, const std::string& path, const Field& field, Texts& out);
  void text_map(const Value& value, const std::string& path, const Field& field, TextMap& out);
  void rules(const Value& value, const std::string& path, const Field& field, Rules& out);
  void rule(const Value& table, const std::string& path, TargetRule& out);
  void rule_labels(const Value& value, const std::string& path, TargetRule& out);
  void rule_pids(const Value& value, const std::string& path, TargetRule& out);
  void metrics(const Value& table, const Catalogue& catalogue, Config& config);
  void metric(const Value& table, const std::string& path, const MetricDef& def, MetricConfig& out);
  void buckets(const Value& value, const std::string& path, const MetricDef& def,
               std::vector<double>& out);
  void probes(const Value& table, Config& config);

  const Source& source_;
  Problems& problems_;
};

void Applier::problem(Position at, std::string message) {
  if (source_.from_command_line) at = {};
  problems_.push_back({std::string(source_.name), at.line, at.column, std::move(message)});
}

void Applier::unknown(std::string_view what, const Key& key, const std::string& place,
                      std::span<const std::string_view> known) {
  std::string message = fmt::format("unknown {} \"{}\"{}", what, excerpt(key.name), place);
  if (key.name.size() <= kMaxWordForNearest) {
    const std::string_view near = base::nearest(key.name, known);
    if (!near.empty()) message.append(fmt::format("; did you mean \"{}\"?", near));
  }
  constexpr std::size_t kMaxListed = 40;
  if (known.empty()) {
    message.append("; there are none");
  } else if (known.size() <= kMaxListed) {
    message.append(fmt::format("{} allowed: {}", message.ends_with('?') ? "" : ";", join(known)));
  }
  problem(key.at, std::move(message));
}

bool Applier::is_table(const Value& value, const std::string& path) {
  if (value.type == Value::Type::table) return true;
  problem(value.at,
          fmt::format("{} must be a table ([{}]), not {}", path, path, value.type_name()));
  return false;
}

bool Applier::is_list(const Value& value, const std::string& path, std::string_view of,
                      std::size_t max_items) {
  if (value.type != Value::Type::list) {
    problem(value.at, fmt::format("{} is {} ({}), but must be a list of {}", path,
                                  excerpt(value.to_toml()), value.type_name(), of));
    return false;
  }
  if (value.items.size() <= max_items) return true;
  problem(value.at, fmt::format("{} has {} items, but must have at most {}", path,
                                value.items.size(), max_items));
  return false;
}

std::optional<Scalar> Applier::scalar(const Value& value, const std::string& path,
                                      const Shape& shape, bool secret) {
  if (source_.from_command_line && value.type == Value::Type::text && !value.text.empty() &&
      (shape.form == Form::path || (shape.form == Form::socket_path && value.text != "off"))) {
    std::error_code ignored;  // then the path stays relative and is refused below
    const auto absolute = std::filesystem::absolute(value.text, ignored);
    Value resolved = Value::of(absolute.empty() ? value.text : absolute.string());
    auto read = read_scalar(resolved, shape, secret);
    if (read) return std::move(*read);
  }
  auto read = read_scalar(value, shape, secret);
  if (read) return std::move(*read);
  problem(value.at, fmt::format("{} {}", path, read.error()));
  return std::nullopt;
}

void Applier::root(const Value& root, const Catalogue& catalogue, Config& config,
                   std::map<std::string, Position>& seen) {
  std::vector<std::string_view> names;
  for (const Section& known : sections()) names.push_back(known.name);
  names.insert(names.end(), {"metrics", "probes"});
  for (std::size_t i = 0; i < root.items.size(); ++i) {
    const Key& key = root.keys[i];
    const Value& table = root.items[i];
    if (std::ranges::find(names, key.name) == names.end()) {
      unknown("section", key, "", names);
    } else if (!is_table(table, key.name)) {
      continue;
    } else if (key.name == "metrics") {
      metrics(table, catalogue, config);
    } else if (key.name == "probes") {
      probes(table, config);
    } else {
      section(table, key.name, config, seen);
    }
  }
}

void Applier::section(const Value& table, std::string_view name, Config& config,
                      std::map<std::string, Position>& seen) {
  std::vector<std::string_view> keys;
  for (const Field& known : fields()) {
    if (known.section == name) keys.push_back(known.key);
  }
  for (std::size_t i = 0; i < table.items.size(); ++i) {
    const Key& key = table.keys[i];
    const auto known = std::ranges::find_if(
        fields(), [&](const Field& f) { return f.section == name && f.key == key.name; });
    if (known == fields().end()) {
      unknown("key", key, fmt::format(" in [{}]", name), keys);
    } else {
      seen[fmt::format("{}.{}", name, key.name)] = table.items[i].at;
      field(table.items[i], *known, config);
    }
  }
}

void Applier::field(const Value& value, const Field& field, Config& config) {
  const std::string path = fmt::format("{}.{}", field.section, field.key);
  if (const auto* ref = std::get_if<Ref<Texts>>(&field.slot)) {
    return texts(value, path, field, ref->edit(config));
  }
  if (const auto* ref = std::get_if<Ref<TextMap>>(&field.slot)) {
    return text_map(value, path, field, ref->edit(config));
  }
  if (const auto* ref = std::get_if<Ref<Rules>>(&field.slot)) {
    return rules(value, path, field, ref->edit(config));
  }
  auto checked = scalar(value, path, field.shape, field.secret);
  if (!checked) return;
  if (const auto* ref = std::get_if<EnumRef>(&field.slot)) {
    const auto choice = std::ranges::find(field.shape.choices, std::get<std::string>(*checked));
    ref->set(config, static_cast<std::size_t>(choice - field.shape.choices.begin()));
  } else if (const auto* flag = std::get_if<Ref<bool>>(&field.slot)) {
    flag->edit(config) = std::get<bool>(*checked);
  } else if (const auto* integer = std::get_if<Ref<std::int64_t>>(&field.slot)) {
    integer->edit(config) = std::get<std::int64_t>(*checked);
  } else if (const auto* number = std::get_if<Ref<double>>(&field.slot)) {
    number->edit(config) = std::get<double>(*checked);
  } else if (const auto* text = std::get_if<Ref<std::string>>(&field.slot)) {
    text->edit(config) = std::get<std::string>(std::move(*checked));
  }
}

void Applier::texts(const Value& value, const std::string& path, const Field& field, Texts& out) {
  if (!is_list(value, path, describe(field.shape), field.max_items)) return;
  Texts read;
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    const std::string item = fmt::format("{}[{}]", path, i);
    const auto checked = scalar(value.items[i], item, field.shape);
    if (!checked) continue;
    const auto& text = std::get<std::string>(*checked);
    if (std::ranges::find(read, text) != read.end()) {
      problem(value.items[i].at, fmt::format("{} names \"{}\" twice", path, text));
    } else {
      read.push_back(text);
    }
  }
  out = std::move(read);
}

void Applier::text_map(const Value& value, const std::string& path, const Field& field,
                       TextMap& out) {
  if (!is_table(value, path)) return;
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    const Key& key = value.keys[i];
    Value name = Value::of(key.name);
    name.at = key.at;
    if (!scalar(name, fmt::format("a key of {}", path), {.form = field.key_form})) continue;
    const std::string item = fmt::format("{}.{}", path, toml_key(key.name));
    auto checked = scalar(value.items[i], item, field.shape, field.secret);
    if (checked) out[key.name] = std::get<std::string>(std::move(*checked));
  }
  if (out.size() > field.max_items) {
    problem(value.at, fmt::format("{} has {} entries, but must have at most {}", path, out.size(),
                                  field.max_items));
  }
}

void Applier::rules(const Value& value, const std::string& path, const Field& field, Rules& out) {
  if (!is_list(value, path, "rules ([[" + path + "]])", field.max_items)) return;
  Rules read;
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    const std::string item = fmt::format("{}[{}]", path, i);
    const Value& table = value.items[i];
    if (table.type != Value::Type::table) {
      problem(table.at, fmt::format("{} must be a table such as {{ comm = \"nginx\" }}, not {}",
                                    item, table.type_name()));
    } else if (table.items.empty()) {
      problem(table.at, fmt::format("{} names nothing; it would match every process", item));
    } else {
      rule(table, item, read.emplace_back());
    }
  }
  out = std::move(read);
}

void Applier::rule(const Value& table, const std::string& path, TargetRule& out) {
  std::vector<std::string_view> names;
  for (const RuleKey& known : rule_keys()) names.push_back(known.key);
  names.insert(names.end(), {"label", "pid"});
  for (std::size_t i = 0; i < table.items.size(); ++i) {
    const std::string item = fmt::format("{}.{}", path, table.keys[i].name);
    const auto known = std::ranges::find(rule_keys(), table.keys[i].name, &RuleKey::key);
    if (known != rule_keys().end()) {
      auto checked = scalar(table.items[i], item, kPattern);
      if (checked) out.*known->pattern = std::get<std::string>(std::move(*checked));
    } else if (table.keys[i].name == "label") {
      rule_labels(table.items[i], item, out);
    } else if (table.keys[i].name == "pid") {
      rule_pids(table.items[i], item, out);
    } else {
      unknown("key", table.keys[i], fmt::format(" in {}", path), names);
    }
  }
}

void Applier::rule_labels(const Value& value, const std::string& path, TargetRule& out) {
  if (value.type != Value::Type::table || value.items.empty() ||
      value.items.size() > kMaxRuleLabels) {
    problem(value.at, fmt::format("{} must be a table of 1 to {} pod labels such as "
                                  "{{ app = \"cart|shop\" }}, not {}",
                                  path, kMaxRuleLabels, excerpt(value.to_toml())));
    return;
  }
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    Value name = Value::of(value.keys[i].name);
    name.at = value.keys[i].at;
    if (!scalar(name, fmt::format("a key of {}", path), kPodLabel)) continue;
    auto checked =
        scalar(value.items[i], fmt::format("{}.{}", path, toml_key(name.text)), kPattern);
    if (checked) out.labels[name.text] = std::get<std::string>(std::move(*checked));
  }
}

void Applier::rule_pids(const Value& value, const std::string& path, TargetRule& out) {
  Value list = Value::list();
  list.at = value.at;
  if (value.type == Value::Type::list) {
    list = value;
  } else {
    list.add(value);
  }
  if (!is_list(list, path, describe(kPid), kMaxRulePids)) return;
  if (list.items.empty()) problem(value.at, fmt::format("{} names no process", path));
  for (const Value& item : list.items) {
    const auto checked = scalar(item, path, kPid);
    if (checked) out.pids.push_back(std::get<std::int64_t>(*checked));
  }
}

void Applier::metrics(const Value& table, const Catalogue& catalogue, Config& config) {
  std::map<std::string_view, const MetricDef*> known;
  for (const MetricDef* def : catalogue.metrics) known.emplace(def->name, def);
  for (const ProbeSpec* plate : catalogue.probes) {
    for (const MetricDef* def : plate->metrics) known.emplace(def->name, def);
  }
  for (std::size_t i = 0; i < table.items.size(); ++i) {
    const Key& key = table.keys[i];
    const auto def = known.find(key.name);
    if (def == known.end()) {
      std::vector<std::string_view> names;
      for (const auto& [name, unused] : known) names.push_back(name);
      unknown("metric", key, " in [metrics]", names);
      continue;
    }
    const std::string path = fmt::format("metrics.{}", key.name);
    if (!is_table(table.items[i], path)) continue;
    metric(table.items[i], path, *def->second, config.metrics[key.name]);
  }
}

void Applier::metric(const Value& table, const std::string& path, const MetricDef& def,
                     MetricConfig& out) {
  constexpr std::string_view kKeys[] = {kEnabledKey, kBucketsKey};
  for (std::size_t i = 0; i < table.items.size(); ++i) {
    const std::string item = fmt::format("{}.{}", path, table.keys[i].name);
    if (table.keys[i].name == kEnabledKey) {
      const auto checked = scalar(table.items[i], item, kEnabledShape);
      if (checked) out.enabled = std::get<bool>(*checked);
    } else if (table.keys[i].name == kBucketsKey) {
      buckets(table.items[i], item, def, out.buckets);
    } else {
      unknown("key", table.keys[i], fmt::format(" in [{}]", path), kKeys);
    }
  }
}

void Applier::buckets(const Value& value, const std::string& path, const MetricDef& def,
                      std::vector<double>& out) {
  if (!is_list(value, path, "numbers, each greater than the one before", kMaxBuckets)) return;
  if (def.kind != Kind::histogram && !value.items.empty()) {
    problem(value.at, fmt::format("{}: only histograms have buckets, and this metric is a {}", path,
                                  def.kind == Kind::counter ? "counter" : "gauge"));
    return;
  }
  std::vector<double> bounds;
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    const auto checked = scalar(value.items[i], fmt::format("{}[{}]", path, i), bucket_shape());
    if (!checked) return;
    const double bound = std::get<double>(*checked);
    if (!bounds.empty() && bound <= bounds.back()) {
      problem(value.items[i].at,
              fmt::format("{}[{}] is {}, but must be greater than the bound before it, {}", path, i,
                          bound, bounds.back()));
      return;
    }
    bounds.push_back(bound);
  }
  out = std::move(bounds);
}

void Applier::probes(const Value& table, Config& config) {
  for (std::size_t i = 0; i < table.items.size(); ++i) {
    const Key& key = table.keys[i];
    const auto known = config.probes.find(key.name);
    if (known != config.probes.end()) {
      probe(table.items[i], fmt::format("probes.{}", key.name), known->second);
      continue;
    }
    std::vector<std::string_view> names;
    for (const auto& [name, unused] : config.probes) names.push_back(name);
    unknown("probe", key, " in [probes]", names);
  }
}

void Applier::probe(const Value& table, const std::string& path, ProbeConfig& probe) {
  if (!is_table(table, path)) return;
  const auto options = probe.options.declared();
  for (std::size_t i = 0; i < table.items.size(); ++i) {
    const Key& key = table.keys[i];
    const std::string item = fmt::format("{}.{}", path, key.name);
    const auto option = std::ranges::find(options, key.name, &Option::key);
    if (key.name == kEnabledKey) {
      const auto checked = scalar(table.items[i], item, kEnabledShape);
      if (checked) probe.enabled = std::get<bool>(*checked);
    } else if (option != options.end()) {
      auto checked = scalar(table.items[i], item, shape_of(*option));
      const auto index = static_cast<std::size_t>(option - options.begin());
      if (checked) probe.options.put(index, std::move(*checked));
    } else {
      std::vector<std::string_view> names = {kEnabledKey};
      for (const Option& known : options) names.push_back(known.key);
      unknown("key", key, fmt::format(" in [{}]", path), names);
    }
  }
}

}  // namespace

void apply(const Value& root, const Source& source, const Catalogue& catalogue, Config& config,
           Problems& problems, std::map<std::string, Position>& seen) {
  Applier(source, problems).root(root, catalogue, config, seen);
}

void apply_probe(const Value& table, const Source& source, const std::string& path,
                 ProbeConfig& probe, Problems& problems) {
  Applier(source, problems).probe(table, path, probe);
}

}  // namespace tarsier::config
