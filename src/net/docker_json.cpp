// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/docker_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text.h"

namespace tarsier::net {
namespace {

constexpr std::string_view kNameLabel = "io.kubernetes.container.name";

std::string fit(std::string_view text) {
  return base::clean_utf8(text, kMaxRuntimeText).text;
}

// Walks over JSON and gives each scalar with the place where it stands, and keeps nothing. A
// document tree of a hostile answer could take a hundred times the memory of its text.
class Walker : public nlohmann::json_sax<nlohmann::json> {
 public:
  // `depth`: how many brackets stand around the object that is read; 1 for a list of them.
  explicit Walker(std::size_t depth) : depth_(depth) {}

  std::string problem;

  bool null() override { return scalar(); }
  bool boolean(bool value) override {
    if (!scalar()) return false;
    take_number(value ? 1 : 0);
    return true;
  }
  bool number_integer(number_integer_t value) override {
    if (!scalar()) return false;
    take_number(value);
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!scalar()) return false;
    if (std::in_range<std::int64_t>(value)) take_number(static_cast<std::int64_t>(value));
    return true;
  }
  bool number_float(number_float_t, const string_t&) override { return scalar(); }
  bool binary(binary_t&) override { return scalar(); }
  bool string(string_t& value) override {
    if (!scalar()) return false;
    take_text(value);
    return true;
  }
  bool key(string_t& name) override {
    path_.back().assign(name, 0, kMaxRuntimeText);
    return true;
  }
  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool end_object() override {
    path_.pop_back();
    if (path_.size() == depth_) finish();
    return true;
  }
  bool end_array() override {
    path_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem = fmt::format("it is not JSON from byte {} on", position);
    return false;
  }

 protected:
  virtual void begin() {}
  virtual void take_text(const std::string& value) = 0;
  virtual void take_number(std::int64_t value) = 0;  // true: 1, false: 0
  virtual void finish() {}

  // Whether we are below the object at a.b.c; an element of a list has the name "".
  [[nodiscard]] bool at(std::initializer_list<std::string_view> names) const {
    return path_.size() == depth_ + names.size() && starts(names);
  }
  // The key of a member of the object at a.b; nullptr: we are elsewhere.
  [[nodiscard]] const std::string* member_of(std::initializer_list<std::string_view> names) const {
    return path_.size() == depth_ + names.size() + 1 && starts(names) ? &path_.back() : nullptr;
  }

 private:
  [[nodiscard]] bool starts(std::initializer_list<std::string_view> names) const {
    return std::equal(names.begin(), names.end(), path_.begin() + static_cast<long>(depth_));
  }
  bool scalar() { return path_.size() > depth_ || refuse(); }
  bool refuse() {
    problem = depth_ == 1 ? "it is not a list of objects" : "it is not an object";
    return false;
  }
  bool open(bool array) {
    if (path_.size() <= depth_ && array != (path_.size() < depth_)) return refuse();
    if (path_.size() >= static_cast<std::size_t>(kMaxJsonDepth)) {
      problem = fmt::format("it is nested deeper than {}", kMaxJsonDepth);
      return false;
    }
    if (path_.size() == depth_) begin();
    path_.emplace_back();
    return true;
  }

  std::size_t depth_;
  std::vector<std::string> path_;  // per open bracket the key that is being read; lists: ""
};

RuntimeState state_of(std::string_view word) {
  if (word == "created" || word == "configured" || word == "initialized") {
    return RuntimeState::created;
  }
  const bool over = word == "exited" || word == "dead" || word == "removing" || word == "stopped";
  return over ? RuntimeState::exited : RuntimeState::running;
}

// What GET /containers/json and GET /containers/ID/json have in common.
class ContainerWalker : public Walker {
 public:
  explicit ContainerWalker(std::size_t depth) : Walker(depth) {}
  std::vector<RuntimeContainer> containers;

 protected:
  void begin() override {
    current_ = {};
    pod_name_.clear();
  }
  void take_id(const std::string& value) {
    if (is_container_id(value)) current_.id = value;
  }
  // "/web"; "/other/alias" is the name that a link gives it.
  void take_name(std::string_view name) {
    if (name.starts_with('/')) name.remove_prefix(1);
    if (current_.name.empty() && !name.contains('/')) current_.name = fit(name);
  }
  void take_label(const std::string& key, const std::string& value) {
    if (key == kNameLabel) pod_name_ = fit(value);
    add_label(current_, key, value);
  }
  void finish() override {
    if (!pod_name_.empty()) current_.name = pod_name_;
    if (current_.id.empty() || containers.size() >= kMaxListed) return;
    settle_labels(current_);
    containers.push_back(std::move(current_));
  }
  RuntimeContainer current_;

 private:
  std::string pod_name_;
};

class ListWalker final : public ContainerWalker {
 public:
  ListWalker() : ContainerWalker(1) {}

 protected:
  void take_text(const std::string& value) override {
    if (at({"Id"})) {
      take_id(value);
    } else if (at({"Names", ""})) {
      take_name(value);
    } else if (at({"Image"})) {
      current_.image = fit(value);
    } else if (at({"ImageID"})) {
      current_.image_digest = digest_of(value);
    } else if (at({"State"})) {
      current_.state = state_of(value);
    } else if (const std::string* key = member_of({"Labels"})) {
      take_label(*key, value);
    }
  }
  void take_number(std::int64_t value) override {
    constexpr std::int64_t kNs = 1'000'000'000;
    if (at({"Created"}) && value > 0 && value < INT64_MAX / kNs) current_.created_ns = value * kNs;
  }
};

class InspectWalker final : public ContainerWalker {
 public:
  InspectWalker() : ContainerWalker(0) {}

 protected:
  void begin() override {
    ContainerWalker::begin();
    exit_ = {};
    nano_cpus_ = quota_ = period_ = 0;
    oom_killed_ = false;
  }
  void take_text(const std::string& value) override {
    if (at({"Id"})) {
      take_id(value);
    } else if (at({"Name"})) {
      take_name(value);
    } else if (at({"Config", "Image"})) {
      current_.image = fit(value);
    } else if (at({"Image"})) {
      current_.image_digest = digest_of(value);
    } else if (const std::string* key = member_of({"Config", "Labels"})) {
      take_label(*key, value);
    } else if (at({"Created"})) {
      current_.created_ns = parse_time(value).value_or(0);
    } else if (at({"State", "Status"})) {
      current_.state = state_of(value);
    } else if (at({"State", "StartedAt"})) {
      current_.started_ns = parse_time(value).value_or(0);
    } else if (at({"State", "FinishedAt"})) {
      exit_.finished_ns = parse_time(value).value_or(0);
    }
  }
  void take_number(std::int64_t value) override {
    if (at({"State", "OOMKilled"})) {
      oom_killed_ = value != 0;
    } else if (at({"State", "ExitCode"})) {
      exit_.code = static_cast<std::int32_t>(value);
    } else if (at({"RestartCount"})) {
      if (std::in_range<std::uint32_t>(value)) {
        current_.restart_count = static_cast<std::uint32_t>(value);
      }
    } else if (at({"HostConfig", "Memory"})) {
      if (value > 0) current_.limits.memory_bytes = static_cast<std::uint64_t>(value);
    } else if (at({"HostConfig", "NanoCpus"})) {
      nano_cpus_ = value;
    } else if (at({"HostConfig", "CpuQuota"})) {
      quota_ = value;
    } else if (at({"HostConfig", "CpuPeriod"})) {
      period_ = value;
    }
  }
  void finish() override {
    constexpr std::int64_t kDefaultPeriod = 100'000;  // µs, where only a quota was given
    current_.complete = true;
    current_.limits.cpu_cores = nano_cpus_ > 0
                                    ? cpu_cores(nano_cpus_, 1'000'000'000)
                                    : cpu_cores(quota_, period_ > 0 ? period_ : kDefaultPeriod);
    if (current_.state == RuntimeState::exited) {
      exit_.reason = exit_reason({}, exit_.code, oom_killed_);
      current_.exit = std::move(exit_);
    }
    ContainerWalker::finish();
  }

 private:
  RuntimeExit exit_;
  std::int64_t nano_cpus_ = 0, quota_ = 0, period_ = 0;
  bool oom_killed_ = false;
};

class EventWalker final : public Walker {
 public:
  EventWalker() : Walker(0) {}
  RuntimeEvent event;
  std::string action, type;

 protected:
  void take_text(const std::string& value) override {
    if (at({"Action"}) || (at({"status"}) && action.empty())) {
      action.assign(value, 0, kMaxRuntimeText);
    } else if (at({"Type"})) {
      type.assign(value, 0, kMaxRuntimeText);
    } else if (at({"Actor", "ID"}) || (at({"id"}) && event.id.empty())) {
      if (is_container_id(value)) event.id = value;
    } else if (at({"Actor", "Attributes", "exitCode"})) {
      std::int32_t code = 0;
      const char* end = value.data() + value.size();
      if (std::from_chars(value.data(), end, code).ptr == end) event.exit_code = code;
    }
  }
  void take_number(std::int64_t value) override {
    if (at({"timeNano"}) && value > 0) event.time_ns = value;
  }
};

// "die" in Docker's words, "died" in podman's own.
std::optional<RuntimeEvent::Kind> kind_of(std::string_view action) {
  using Kind = RuntimeEvent::Kind;
  constexpr std::array<std::pair<std::string_view, Kind>, 10> kKinds = {{
      {"create", Kind::created},
      {"start", Kind::started},
      {"restart", Kind::started},
      {"die", Kind::ended},
      {"died", Kind::ended},
      {"oom", Kind::out_of_memory},
      {"rename", Kind::changed},
      {"update", Kind::changed},
      {"destroy", Kind::removed},
      {"remove", Kind::removed},
  }};
  for (const auto& [word, kind] : kKinds) {
    if (word == action) return kind;
  }
  return std::nullopt;
}

class InfoWalker final : public Walker {
 public:
  InfoWalker() : Walker(0) {}
  CriInfo info;

 protected:
  void take_text(const std::string& value) override {
    if (at({"sandboxID"}) && is_container_id(value)) info.sandbox_id = value;
  }
  void take_number(std::int64_t value) override {
    if (at({"runtimeSpec", "linux", "resources", "memory", "limit"})) {
      if (value > 0) info.limits.memory_bytes = static_cast<std::uint64_t>(value);
    } else if (at({"runtimeSpec", "linux", "resources", "cpu", "quota"})) {
      quota_ = value;
    } else if (at({"runtimeSpec", "linux", "resources", "cpu", "period"})) {
      period_ = value;
    }
  }
  void finish() override { info.limits.cpu_cores = cpu_cores(quota_, period_); }

 private:
  std::int64_t quota_ = 0, period_ = 0;
};

Status walk(std::string_view json, Walker& walker) {
  if (nlohmann::json::sax_parse(json.begin(), json.end(), &walker)) return {};
  return fail(ErrorCode::invalid, fmt::format("read the runtime's answer: {}", walker.problem));
}

}  // namespace

Result<std::vector<RuntimeContainer>> parse_docker_list(std::string_view json) {
  ListWalker walker;
  if (auto done = walk(json, walker); !done) return std::unexpected(std::move(done.error()));
  return std::move(walker.containers);
}

Result<RuntimeContainer> parse_docker_container(std::string_view json) {
  InspectWalker walker;
  if (auto done = walk(json, walker); !done) return std::unexpected(std::move(done.error()));
  if (walker.containers.empty()) {
    return fail(ErrorCode::invalid, "read the runtime's answer: it names no container");
  }
  return std::move(walker.containers.front());
}

Result<std::optional<RuntimeEvent>> parse_docker_event(std::string_view json) {
  EventWalker walker;
  if (auto done = walk(json, walker); !done) return std::unexpected(std::move(done.error()));
  const auto kind = kind_of(walker.action);
  if (!kind || (!walker.type.empty() && walker.type != "container")) return std::nullopt;
  if (walker.event.id.empty()) {
    return fail(ErrorCode::invalid, "read an event of the runtime: it names no container");
  }
  walker.event.kind = *kind;
  return std::move(walker.event);
}

Result<CriInfo> parse_cri_info(std::string_view json) {
  InfoWalker walker;
  if (auto done = walk(json, walker); !done) return std::unexpected(std::move(done.error()));
  return std::move(walker.info);
}

}  // namespace tarsier::net
