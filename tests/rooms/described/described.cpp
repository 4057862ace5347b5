// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "described/described.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/text.h"
#include "event.h"

namespace tarsier::rooms {
namespace {

using Json = nlohmann::json;

bool is_name(std::string_view text) {
  return !text.empty() && (text[0] < '0' || text[0] > '9') && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::uint64_t number_at(Bytes record, const Field& field) {
  std::uint64_t value = 0;  // the machine and its kernel have the same byte order
  std::memcpy(&value, record.data() + field.offset, field.size);
  return value;
}

std::string text_at(Bytes record, const Field& field) {
  if (field.text) {
    const auto* first = reinterpret_cast<const char*>(record.data() + field.offset);
    return std::string(base::until_zero({first, field.size}));
  }
  const std::uint64_t value = number_at(record, field);
  for (const auto& [number, name] : field.names) {
    if (number == value) return name;
  }
  return std::to_string(value);
}

class DescribedProbe final : public Probe {
 public:
  explicit DescribedProbe(const Described& plate) : plate_(plate) {}

  bool on_event(Bytes record, Sinks& sinks) override {
    tarsier_header header;
    if (record.size() < plate_.record_size() || !copy_from(record, header)) return false;
    Sink& sink = sinks.at(Subject::process(header.tgid, header.start_ns));
    std::array<std::string, kMaxDescribedLabels> texts;
    std::array<std::string_view, kMaxDescribedLabels> views;
    for (const DescribedMetric& metric : plate_.described_metrics()) {
      for (std::size_t i = 0; i < metric.labels.size(); ++i) {
        texts[i] = text_at(record, metric.labels[i]);
        views[i] = texts[i];
      }
      const double value =
          metric.value.present ? static_cast<double>(number_at(record, metric.value)) : 1;
      sink.write(metric.def, value, std::span(views).first(metric.labels.size()));
    }
    return true;
  }

 private:
  const Described& plate_;
};

}  // namespace

// Reads a description piece by piece; the first thing that is wrong ends it.
class Reader {
 public:
  explicit Reader(Described& plate) : plate_(plate) {}

  Status read(const Json& json) {
    auto status = text(json, "", "name", plate_.name);
    if (status && !is_name(plate_.name)) {
      status = wrong("name", "is lower case letters, digits and _");
    }
    if (status) status = text(json, "", "summary", plate_.summary);
    if (status) status = object(json);
    if (status) status = ring(json);
    if (status)
      status = all(json, "metrics",
                   [&](const Json& one, const std::string& at) { return metric(one, at); });
    if (status)
      status =
          all(json, "hooks", [&](const Json& one, const std::string& at) { return hook(one, at); });
    if (status) finish();
    return status;
  }

 private:
  static Status wrong(std::string_view place, std::string_view what) {
    return fail(ErrorCode::invalid, fmt::format("{} {}", place, what));
  }
  static std::string path(std::string_view at, std::string_view key) {
    return at.empty() ? std::string(key) : fmt::format("{}.{}", at, key);
  }

  Status text(const Json& json, std::string_view at, const char* key, std::string_view& into) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_string() ||
        found->get_ref<const std::string&>().empty()) {
      return wrong(path(at, key), "is missing or not a text");
    }
    into = plate_.keep(found->get<std::string>());
    return {};
  }

  template <class Each>
  Status all(const Json& json, const char* key, Each each) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_array() || found->empty() ||
        found->size() > kMaxDescribedMetrics) {
      return wrong(key, fmt::format("is a list of 1 to {} entries", kMaxDescribedMetrics));
    }
    for (std::size_t i = 0; i < found->size(); ++i) {
      const std::string at = fmt::format("{}[{}]", key, i);
      if (!(*found)[i].is_object()) return wrong(at, "is not an object");
      if (auto status = each((*found)[i], at); !status) return status;
    }
    return {};
  }

  Status object(const Json& json) {
    std::string_view file;
    if (auto status = text(json, "", "object", file); !status) return status;
    auto bytes = base::read_file(std::string(file));
    if (!bytes) return std::unexpected(std::move(bytes.error()).in("object"));
    if (!bytes->starts_with("\x7f"
                            "ELF")) {
      return wrong("object", fmt::format("{} is not an ELF file", file));
    }
    plate_.image_ = std::move(*bytes);
    plate_.object_bytes = std::as_bytes(std::span(plate_.image_));
    return {};
  }

  Status ring(const Json& json) {
    std::string_view name;
    if (auto status = text(json, "", "ring", name); !status) return status;
    plate_.ring_list_.push_back(name);
    const auto size = json.find("record_size");
    if (size == json.end() || !size->is_number_unsigned() ||
        size->get<std::uint64_t>() < sizeof(tarsier_header) || size->get<std::uint64_t>() > 65536) {
      return wrong("record_size",
                   fmt::format("is a number of bytes from {} to 65536", sizeof(tarsier_header)));
    }
    plate_.record_size_ = size->get<std::size_t>();
    return {};
  }

  Status field(const Json& json, const std::string& at, Field& into) {
    static constexpr std::pair<std::string_view, std::size_t> kTypes[] = {
        {"u8", 1}, {"u16", 2}, {"u32", 4}, {"u64", 8}, {"text", 0}};
    if (!json.is_object()) return wrong(at, "is not an object");
    std::string_view type;
    if (auto status = text(json, at, "type", type); !status) return status;
    const auto known =
        std::ranges::find(kTypes, type, &std::pair<std::string_view, std::size_t>::first);
    if (known == std::end(kTypes)) return wrong(path(at, "type"), "is u8, u16, u32, u64 or text");
    into.text = type == "text";
    into.size = into.text ? json.value("size", Json(0U)).is_number_unsigned()
                                ? json.value("size", std::size_t{0})
                                : 0
                          : known->second;
    const auto offset = json.find("offset");
    if (offset == json.end() || !offset->is_number_unsigned()) {
      return wrong(path(at, "offset"), "is missing or not a number of bytes");
    }
    into.offset = offset->get<std::size_t>();
    if (into.size == 0 || into.offset > plate_.record_size_ ||
        into.size > plate_.record_size_ - into.offset) {
      return wrong(at, fmt::format("is outside of the record of {} bytes", plate_.record_size_));
    }
    into.present = true;
    return names(json, at, into);
  }

  static Status names(const Json& json, const std::string& at, Field& into) {
    const auto found = json.find("names");
    if (found == json.end()) return {};
    if (!found->is_object()) return wrong(path(at, "names"), "is not an object");
    for (const auto& [number, name] : found->items()) {
      if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos ||
          number.size() > 18 || !name.is_string()) {
        return wrong(path(at, "names"), fmt::format("has {} where a number names a text", number));
      }
      into.names.emplace_back(std::stoull(number), name.get<std::string>());
    }
    return {};
  }

  Status metric(const Json& json, const std::string& at) {
    DescribedMetric& made = plate_.described_.emplace_back();
    std::string_view kind;
    auto status = text(json, at, "name", made.def.name);
    if (status) status = text(json, at, "help", made.def.help);
    if (status) status = text(json, at, "kind", kind);
    if (!status) return status;
    if (!is_name(made.def.name)) {
      return wrong(path(at, "name"), "is lower case letters, digits and _");
    }
    if (kind != "counter" && kind != "histogram") {
      return wrong(path(at, "kind"), "is counter or histogram");
    }
    made.def.kind = kind == "counter" ? Kind::counter : Kind::histogram;
    if ((made.def.kind == Kind::counter) != made.def.name.ends_with("_total")) {
      return wrong(path(at, "name"), "ends in _total for a counter and for nothing else");
    }
    const auto value = json.find("value");
    if (value != json.end()) {
      if (status = field(*value, path(at, "value"), made.value); !status) return status;
      if (made.value.text) return wrong(path(at, "value"), "is a number");
    }
    if (status = buckets(json, at, made); !status) return status;
    return labels(json, at, made);
  }

  static Status buckets(const Json& json, const std::string& at, DescribedMetric& made) {
    const auto found = json.find("buckets");
    if ((found != json.end()) != (made.def.kind == Kind::histogram)) {
      return wrong(path(at, "buckets"), "are there for a histogram and for nothing else");
    }
    if (found == json.end()) return {};
    const bool numbers = found->is_array() && std::ranges::all_of(*found, [](const Json& one) {
                           return one.is_number();
                         });
    if (!numbers) return wrong(path(at, "buckets"), "is a list of numbers");
    made.buckets = found->get<std::vector<double>>();
    if (std::ranges::adjacent_find(made.buckets, std::greater_equal()) != made.buckets.end()) {
      return wrong(path(at, "buckets"), "do not ascend");
    }
    return {};
  }

  Status labels(const Json& json, const std::string& at, DescribedMetric& made) {
    const auto found = json.find("labels");
    if (found == json.end()) return {};
    if (!found->is_object() || found->size() > kMaxDescribedLabels) {
      return wrong(path(at, "labels"),
                   fmt::format("is an object of up to {}", kMaxDescribedLabels));
    }
    for (const auto& [name, from] : found->items()) {
      const std::string where = path(path(at, "labels"), name);
      if (!is_name(name)) return wrong(where, "is no name of a label");
      made.label_names.push_back(plate_.keep(name));
      if (auto status = field(from, where, made.labels.emplace_back()); !status) return status;
    }
    return {};
  }

  Status hook(const Json& json, const std::string& at) {
    std::string_view purpose, target, program;
    auto status = text(json, at, "purpose", purpose);
    if (status) status = text(json, at, "tracepoint", target);
    if (status) status = text(json, at, "program", program);
    if (!status) return status;
    if (std::ranges::count(target, '/') != 1) {
      return wrong(path(at, "tracepoint"), "is category/name");
    }
    const Attachment& attachment =
        plate_.attachments_.emplace_back(Attachment{Method::tracepoint, target, program});
    const Way& way = plate_.ways_.emplace_back(&attachment, 1);
    plate_.hook_list_.push_back({purpose, {&way, 1}});
    return {};
  }

  // The lists do not grow any more: the plate may look at them.
  void finish() {
    for (DescribedMetric& made : plate_.described_) {
      made.def.labels = made.label_names;
      made.def.buckets = made.buckets;
      plate_.metric_list_.push_back(&made.def);
    }
    plate_.metrics = plate_.metric_list_;
    plate_.hooks = plate_.hook_list_;
    plate_.rings = plate_.ring_list_;
    plate_.make = [](const ProbeContext& context) -> std::unique_ptr<Probe> {
      return std::make_unique<DescribedProbe>(static_cast<const Described&>(*context.spec));
    };
  }

  Described& plate_;
};

Result<std::unique_ptr<Described>> Described::parse(std::string_view json) {
  if (json.size() > kMaxDescriptionBytes) {
    return fail(ErrorCode::limit_reached,
                fmt::format("the description has more than {} bytes", kMaxDescriptionBytes));
  }
  const Json parsed = Json::parse(json, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object()) {
    return fail(ErrorCode::invalid, "the description is not a JSON object");
  }
  std::unique_ptr<Described> plate(new Described);
  if (auto status = Reader(*plate).read(parsed); !status) {
    return std::unexpected(std::move(status.error()).in("description"));
  }
  return plate;
}

}  // namespace tarsier::rooms
