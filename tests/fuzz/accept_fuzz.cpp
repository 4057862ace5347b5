// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What comes from strangers into the exposition: the headers of a request and label values. Any
// bytes have to give a decision, and a text that reads back to the (repaired) value.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "export/negotiate.h"
#include "export/test_parser.h"
#include "export/text.h"
#include "metrics/labels.h"
#include "metrics/registry.h"

namespace {

using tarsier::metrics::EntityId;
using tarsier::metrics::Label;

constexpr std::string_view kLabels[] = {"a", "b"};
constexpr auto kGauge = tarsier::gauge("fuzz_gauge", "A gauge.", tarsier::Unit::none, kLabels);

void require(bool holds) {
  if (!holds) std::abort();
}

// Half of the input is one label value, half the other; the first bytes name an entity label.
void check_labels(std::string_view input) {
  const std::string_view first = input.substr(0, input.size() / 2);
  const std::string_view second = input.substr(input.size() / 2);
  tarsier::metrics::Registry registry;
  require(registry.add_family(kGauge).has_value());
  const std::vector<Label> about{{std::string(first.substr(0, 20)), std::string(second)},
                                 {"comm", std::string(first)}};
  const std::vector<std::string_view> values{first, second};
  registry.record(kGauge, registry.entity(about), 1, values);
  registry.record(kGauge, EntityId::node, 2, values);

  std::string text;
  tarsier::exposition::Scrape scrape(registry, tarsier::exposition::Format::text);
  for (std::string chunk; scrape.next(chunk);) text += chunk;
  const auto parsed = tarsier::exposition::TextParser(text).parse();
  require(parsed.has_value());
  const auto& samples = parsed->families.at("fuzz_gauge").samples;
  std::vector<std::string> key{"fuzz_gauge"};
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string clean = tarsier::base::clean_utf8(values[i]).text;
    if (!clean.empty()) key.insert(key.end(), {std::string(kLabels[i]), clean});
  }
  // Without any value both are the node's one series, and the later update wins.
  const auto found = samples.find(key);
  require(found != samples.end() && found->second == 2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)tarsier::exposition::choose_format(input);
  (void)tarsier::exposition::accepts_gzip(input);
  check_labels(input);
  return 0;
}
