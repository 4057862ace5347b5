// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Writes config/tarsier.toml from the table of keys and the name plates.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "config/schema.h"

namespace tarsier::config {
namespace {

constexpr std::size_t kWidth = 100;

constexpr std::string_view kLicense = "# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause\n";
constexpr std::string_view kHead =
    "The configuration of tarsier: every key with its default. The daemon needs no file; a file "
    "holds what differs. `tarsier check-config FILE` says what is wrong with one. SIGHUP or a "
    "change of the file reloads it; what is marked \"at the next start\" waits until then. This "
    "file is generated from the tables of the program.";

constexpr std::string_view kMetricsHelp =
    "Metrics by name: [metrics.\"NAME\"] with enabled (true or false) and, for histograms, buckets "
    "(ascending upper bounds in the metric's unit; [] means its own). As in:";
constexpr std::string_view kMetricsExample =
    "# [metrics.\"tarsier_tcp_rtt_seconds\"]\n"
    "# enabled = true\n"
    "# buckets = [0.0001, 0.001, 0.01, 0.1, 1]\n";

// A comment, folded at words.
std::string comment(std::string_view text) {
  std::string out;
  std::string line = "#";
  for (const std::string_view word : base::split(text, ' ')) {
    if (line.size() > 1 && line.size() + 1 + word.size() > kWidth) {
      out.append(line).append("\n");
      line = "#";
    }
    line.append(" ").append(word);
  }
  return out.append(line).append("\n");
}

std::string setting_text(const Setting& setting) {
  const std::string value = setting.value.to_toml();
  std::string out = comment(setting.help);
  out.append(comment(fmt::format("Allowed: {}. Default: {}{}.", setting.allowed, value,
                                 setting.effect == Effect::restart ? "; at the next start" : "")));
  return out.append(fmt::format("{} = {}\n", toml_key(setting.key), value));
}

std::string probe_help(const Catalogue& catalogue, std::string_view section) {
  for (const ProbeSpec* plate : catalogue.probes) {
    if (section == fmt::format("probes.{}", plate->name)) return std::string(plate->summary);
  }
  return {};
}

std::string section_help(const Catalogue& catalogue, std::string_view name) {
  const auto section = std::ranges::find(sections(), name, &Section::name);
  if (section != sections().end()) return std::string(section->help);
  return probe_help(catalogue, name);
}

}  // namespace

std::string reference_toml(const Catalogue& catalogue) {
  std::string out(kLicense);
  out.append(comment(kHead));
  std::string section;
  for (const Setting& setting : settings_of(defaults(catalogue))) {
    if (setting.section != section) {
      section = setting.section;
      const std::string help = section_help(catalogue, section);
      out.append("\n").append(help.empty() ? "" : comment(help));
      out.append(fmt::format("[{}]\n", section));
    } else {
      out.append("\n");
    }
    out.append(setting_text(setting));
  }
  return out.append("\n").append(comment(kMetricsHelp)).append(kMetricsExample);
}

}  // namespace tarsier::config
