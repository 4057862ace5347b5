// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Families: adding, removing, settings.
#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "metrics/self.h"
#include "metrics/store.h"

namespace tarsier::metrics {
namespace {

using detail::Family;
using detail::Source;

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  // Early in the boot there may be no randomness; then the address has to do.
  if (::getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) {
    seed = reinterpret_cast<std::uintptr_t>(&seed);
  }
  return seed;
}

Status invalid(std::string message) {
  return fail(ErrorCode::invalid, std::move(message));
}

bool is_metric_name(std::string_view name) {
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == ':';
         });
}

Status check_bounds(std::span<const double> bounds) {
  if (bounds.size() > kMaxBuckets) {
    return invalid(fmt::format("{} buckets are more than {}", bounds.size(), kMaxBuckets));
  }
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    if (!std::isfinite(bounds[i])) return invalid("a bucket's bound is not a finite number");
    if (i > 0 && bounds[i] <= bounds[i - 1]) {
      return invalid(
          fmt::format("buckets must ascend, {} comes before {}", bounds[i - 1], bounds[i]));
    }
  }
  return {};
}

Status check_labels(const MetricDef& def) {
  if (def.labels.size() > kMaxFamilyLabels) {
    return invalid(fmt::format("{} labels are more than {}", def.labels.size(), kMaxFamilyLabels));
  }
  for (std::size_t i = 0; i < def.labels.size(); ++i) {
    if (!is_label_name(def.labels[i]) || def.labels[i].size() > kMaxLabelNameBytes) {
      return invalid(
          fmt::format("\"{}\" cannot be the name of a label", base::escape_control(def.labels[i])));
    }
    if (std::ranges::count(def.labels, def.labels[i]) > 1) {
      return invalid(fmt::format("the label {} stands there twice", def.labels[i]));
    }
  }
  return {};
}

// What the compiler checks for built-in definitions has to be checked here for those of a run-time
// owner, because one malformed line costs the whole scrape.
Status check_definition(const MetricDef& def) {
  if (!is_metric_name(def.name)) {
    return invalid("a metric's name is letters, digits, _ and :, and no digit first");
  }
  if (def.kind == Kind::counter && (!def.name.ends_with("_total") || def.name.size() < 7)) {
    return invalid("a counter's name ends in _total");
  }
  if (!base::is_clean_utf8(def.help, def.help.size())) return invalid("the help is not UTF-8");
  if (def.kind != Kind::histogram && !def.buckets.empty()) {
    return invalid("only a histogram has buckets");
  }
  if (Status ok = check_bounds(def.buckets); !ok) return ok;
  return check_labels(def);
}

// The names that the samples of a family use up: in OpenMetrics a counter is also known without
// _total, and a histogram by its bare name.
std::vector<std::string> sample_names(std::string_view name, Kind kind) {
  const std::string full(name);
  switch (kind) {
    case Kind::counter: return {full, full.substr(0, full.size() - 6)};
    case Kind::gauge: return {full};
    case Kind::histogram: return {full, full + "_bucket", full + "_sum", full + "_count"};
  }
  return {};
}

Source source_of(std::string_view name) {
  if (name == self::kSeries.name) return Source::series;
  if (name == self::kSeriesRefused.name) return Source::refused;
  if (name == self::kLabelValuesChanged.name) return Source::changed;
  return Source::stored;
}

std::map<std::string, MetricSetting, std::less<>> by_name(
    const std::vector<MetricSetting>& settings) {
  std::map<std::string, MetricSetting, std::less<>> map;
  for (const MetricSetting& setting : settings) map.insert_or_assign(setting.name, setting);
  return map;
}

const std::vector<double>& bounds_with(const Family& family, const MetricSetting* setting) {
  return setting == nullptr || setting->buckets.empty() ? family.defined_bounds : setting->buckets;
}

Status check_kind(std::string_view name, Kind kind, const MetricSetting& setting) {
  if (setting.buckets.empty()) return {};
  if (kind != Kind::histogram) {
    return invalid(fmt::format("metrics.{}.buckets: {} is not a histogram", name, name));
  }
  if (Status ok = check_bounds(setting.buckets); !ok) {
    return std::unexpected(std::move(ok.error()).in(fmt::format("metrics.{}.buckets", name)));
  }
  return {};
}

}  // namespace

Status check_setting(const MetricDef& def, const MetricSetting& setting) {
  return check_kind(def.name, def.kind, setting);
}

Registry::Registry(Limits limits, const std::vector<MetricSetting>& settings)
    : limits_(limits),
      settings_(by_name(settings)),
      seed_(random_seed()),
      counts_(std::make_unique<Counts>()) {
  for (Cell* cell : {&disabled_, &refused_}) {
    cell->generation.store(1, std::memory_order_relaxed);
    cell->counts = discarded_.data();
  }
  // The node: no labels, visible from the start, held for ever.
  auto node = std::make_unique<detail::Entity>();
  node->references = 1;
  node->visible_from.store(0, std::memory_order_relaxed);
  by_text_.emplace(node->text, node.get());
  entities_.push_back({std::move(node), 0});
  detail::bump(counts_->entities);
  publish_families();
  publish();
}

Registry::~Registry() = default;

const MetricSetting* Registry::setting_of(std::string_view name) const {
  const auto found = settings_.find(name);
  return found == settings_.end() ? nullptr : &found->second;
}

detail::Family* Registry::family_of(const MetricDef& def) {
  if (&def == last_def_) return last_family_;
  const auto found = by_def_.find(&def);
  if (found == by_def_.end()) return nullptr;
  last_def_ = &def;
  last_family_ = found->second;
  return last_family_;
}

Status Registry::check_collision(const MetricDef& def) const {
  for (const std::string& name : sample_names(def.name, def.kind)) {
    if (const auto taken = names_.find(name); taken != names_.end()) {
      return invalid(fmt::format("{} is already a name of the metric {}", name, taken->second));
    }
  }
  return {};
}

Status Registry::add_family(const MetricDef& def) {
  const std::string context = fmt::format("adding the metric {}", base::escape_control(def.name));
  if (const auto found = families_.find(def.name); found != families_.end()) {
    Family& family = *found->second;
    const auto owned = by_def_.find(&def);
    if (!family.is(def) || (owned != by_def_.end() && owned->second != &family)) {
      return std::unexpected(
          Error{ErrorCode::invalid, context + ": it is already there with another definition", 0});
    }
    if (by_def_.emplace(&def, &family).second) family.owners.push_back(&def);
    return {};
  }
  if (by_def_.contains(&def)) {
    return std::unexpected(Error{
        ErrorCode::invalid, context + ": its definition replaces another that was not removed", 0});
  }
  Status ok = check_definition(def);
  if (ok) ok = check_collision(def);
  if (const MetricSetting* setting = setting_of(def.name); ok && setting != nullptr) {
    ok = check_setting(def, *setting);
  }
  if (ok && families_.size() >= kMaxFamilies) {
    ok = fail(ErrorCode::limit_reached, fmt::format("there are {} already", kMaxFamilies));
  }
  if (!ok) return std::unexpected(std::move(ok.error()).in(context));
  auto family = std::make_unique<Family>(def);
  family->owners.push_back(&def);
  install(std::move(family));
  publish_families();
  publish();
  return {};
}

void Registry::remove_family(const MetricDef& def) {
  const auto found = by_def_.find(&def);
  if (found == by_def_.end()) return;
  Family& family = *found->second;
  by_def_.erase(found);
  last_def_ = nullptr;
  std::erase(family.owners, &def);
  if (!family.owners.empty()) return;
  uninstall(family);
  publish_families();
  publish();
}

detail::Family& Registry::install(std::unique_ptr<detail::Family> family) {
  Family& added = *family;
  const MetricSetting* setting = setting_of(added.name);
  added.id = next_family_++;
  added.born = version_.load(std::memory_order_relaxed) + 1;
  added.enabled = setting == nullptr || setting->enabled;
  added.bounds = bounds_with(added, setting);
  added.source = source_of(added.name);
  for (const MetricDef* owner : added.owners) by_def_.insert_or_assign(owner, &added);
  for (const std::string& name : sample_names(added.name, added.kind)) {
    names_.emplace(name, added.name);
  }
  families_.emplace(added.name, std::move(family));
  return added;
}

// Takes the family and its series out of the registry; publish_families() has to follow.
void Registry::uninstall(detail::Family& family) {
  for (std::size_t i = 0; i < family.slots.size(); ++i) {
    if (detail::Node* node = family.slots.at(i); node != nullptr) remove(*node);
  }
  for (const std::string& name : sample_names(family.name, family.kind)) names_.erase(name);
  last_def_ = nullptr;
  const auto found = families_.find(family.name);
  detail::Garbage garbage;
  garbage.version = version_.load(std::memory_order_relaxed) + 1;
  garbage.family = std::move(found->second);
  garbage_.push_back(std::move(garbage));
  families_.erase(found);
}

void Registry::rebuild(detail::Family& family) {
  MetricDef def{family.kind, family.name,           family.help,    family.unit,
                {},          family.defined_bounds, family.additive};
  const std::vector<std::string_view> labels(family.labels.begin(), family.labels.end());
  def.labels = labels;
  auto fresh = std::make_unique<Family>(def);
  fresh->owners = family.owners;
  fresh->refused.store(family.refused.load(std::memory_order_relaxed), std::memory_order_relaxed);
  uninstall(family);
  install(std::move(fresh));
}

Status Registry::configure(Limits limits, const std::vector<MetricSetting>& settings) {
  for (const MetricSetting& setting : settings) {
    const auto found = families_.find(setting.name);
    if (found == families_.end()) continue;
    if (Status ok = check_kind(setting.name, found->second->kind, setting); !ok) return ok;
  }
  limits_ = limits;
  settings_ = by_name(settings);
  std::vector<Family*> changed;
  for (const auto& [name, family] : families_) {
    const MetricSetting* setting = setting_of(name);
    const bool enabled = setting == nullptr || setting->enabled;
    if (family->enabled != enabled || family->bounds != bounds_with(*family, setting)) {
      changed.push_back(family.get());
    }
  }
  for (Family* family : changed) rebuild(*family);
  // Handles that lead nowhere are asked for again.
  disabled_.generation.store(disabled_.generation.load(std::memory_order_relaxed) + 2,
                             std::memory_order_relaxed);
  publish_families();
  publish();
  return {};
}

void Registry::publish_families() {
  auto list = std::make_unique<detail::FamilyList>();
  list->reserve(families_.size());
  for (const auto& [name, family] : families_) {
    if (family->enabled) list->push_back(family.get());
  }
  list_.store(list.get(), std::memory_order_seq_cst);
  detail::Garbage garbage;
  garbage.version = version_.load(std::memory_order_relaxed) + 1;
  garbage.list = std::move(list_owner_);
  list_owner_ = std::move(list);
  if (garbage.list != nullptr) garbage_.push_back(std::move(garbage));
}

}  // namespace tarsier::metrics
