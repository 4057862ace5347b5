// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The one table of all keys. A new key is one member of Config and one row here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/config.h"
#include "config/scalar.h"
#include "config/value.h"

namespace tarsier::config {

inline constexpr std::size_t kMaxBuckets = 64;

// Where in Config a key lives.
template <class T>
struct Ref {
  T& (*edit)(Config&);
  const T& (*view)(const Config&);
};
// An enumeration; its values are the positions in Shape::choices.
struct EnumRef {
  void (*set)(Config&, std::size_t);
  std::size_t (*get)(const Config&);
};
using Texts = std::vector<std::string>;
using TextMap = std::map<std::string, std::string>;
using Rules = std::vector<TargetRule>;
using Slot = std::variant<Ref<bool>, Ref<std::int64_t>, Ref<double>, Ref<std::string>, Ref<Texts>,
                          Ref<TextMap>, Ref<Rules>, EnumRef>;

// When a changed value counts.
enum class Effect : std::uint8_t { now, restart };

struct Field {
  std::string_view section, key;
  std::string_view help;  // sentences
  Slot slot;
  Shape shape;  // of the value; of each item of a list, of each value of a map
  Effect effect = Effect::now;
  std::size_t max_items = 0;   // lists and maps
  Form key_form = Form::text;  // maps
  bool secret = false;
};

struct Section {
  std::string_view name, help;
};

[[nodiscard]] std::span<const Section> sections();
[[nodiscard]] std::span<const Field> fields();

// [metrics."NAME"] and the key that [probes.<name>] has beside the probe's options.
inline constexpr std::string_view kEnabledKey = "enabled";
inline constexpr std::string_view kBucketsKey = "buckets";
inline constexpr Shape kEnabledShape{.form = Form::boolean};
[[nodiscard]] Shape bucket_shape();

// Completes "must be …" for a whole field: for a list or map too.
[[nodiscard]] std::string describe_field(const Field& field);

// One key of a configuration with its value as it would stand in the file.
struct Setting {
  std::string section;  // "http", "probes.tcp", "metrics.tarsier_tcp_rtt_seconds"
  std::string key;
  std::string_view help;
  std::string allowed;  // completes "must be …"
  Value value;
  Effect effect = Effect::now;
  bool secret = false;
};
// Every key: the table's rows, then [metrics], then [probes].
[[nodiscard]] std::vector<Setting> settings_of(const Config& config);

// Puts what `root` holds into `config`. `from_command_line`: relative paths are taken from the
// current directory, and problems have no line.
struct Source {
  std::string_view name;
  bool from_command_line = false;
};
// Adds to `problems`; `seen` gets the place of each key ("api.auth") that was there.
void apply(const Value& root, const Source& source, const Catalogue& catalogue, Config& config,
           Problems& problems, std::map<std::string, Position>& seen);
// The keys of one probe: "enabled" and its options.
void apply_probe(const Value& table, const Source& source, const std::string& path,
                 ProbeConfig& probe, Problems& problems);

}  // namespace tarsier::config
