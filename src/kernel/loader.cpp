// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "kernel/loader.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/log.h"
#include "base/text.h"
#include "kernel/links.h"
#include "kernel/maps.h"

namespace tarsier::kernel {
namespace {

constexpr std::string_view kSharedPrefix = "shared_";
constexpr std::size_t kVerifierLogBytes = 64 * 1024;
constexpr std::string_view kFrameworkLosses[] = {"ring_full", "map_full", "recursion"};
static_assert(std::size(kFrameworkLosses) == LOST_PROBE_FIRST);
constexpr std::string_view kStandInSuffix = "_2";  // bpf/program.bpf.h

struct ObjectDeleter {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using ObjectPtr = std::unique_ptr<bpf_object, ObjectDeleter>;

// The programs of the chosen ways, each with its attachment; those of `only`, if given.
struct Chosen {
  std::size_t hook;
  std::size_t way;
  Attachment attachment;
};

std::vector<Chosen> chosen_of(const ProbeSpec& spec, const Plan& plan,
                              std::optional<std::size_t> only = {}) {
  std::vector<Chosen> all;
  for (std::size_t h = 0; h < spec.hooks.size(); ++h) {
    const auto way = plan.hooks[h].way;
    if (!way || (only && *only != h)) continue;
    for (const Attachment& attachment : spec.hooks[h].ways[*way]) {
      all.push_back({h, *way, attachment});
    }
  }
  return all;
}

// Writes `bytes` into the global `variable` of .rodata, found through the object's own BTF.
Status write_rodata(bpf_object* object, std::string_view variable, Bytes bytes, bool must_exist) {
  const btf* types = bpf_object__btf(object);
  const int section_id =
      types == nullptr ? -1 : btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC);
  bpf_map* rodata = nullptr;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (std::string_view(bpf_map__name(map)).ends_with(".rodata")) rodata = map;
  }
  if (section_id > 0 && rodata != nullptr) {
    const btf_type* section = btf__type_by_id(types, static_cast<std::uint32_t>(section_id));
    const btf_var_secinfo* entries = btf_var_secinfos(section);
    for (unsigned i = 0; i < btf_vlen(section); ++i) {
      const btf_type* type = btf__type_by_id(types, entries[i].type);
      if (variable != btf__name_by_offset(types, type->name_off)) continue;
      if (entries[i].size != bytes.size()) {
        return fail(ErrorCode::invalid, fmt::format("{} has {} bytes in the BPF object and {} here",
                                                    variable, entries[i].size, bytes.size()));
      }
      std::size_t size = 0;
      auto* image = static_cast<std::byte*>(bpf_map__initial_value(rodata, &size));
      if (image == nullptr || entries[i].offset + bytes.size() > size) break;
      std::ranges::copy(bytes, image + entries[i].offset);
      return {};
    }
  }
  if (!must_exist) return {};
  return fail(ErrorCode::invalid, fmt::format("the BPF object has no global {}", variable));
}

// The verifier's last words: the line before its statistics.
std::string last_words(std::string_view log) {
  std::string_view last;
  for (const std::string_view line : base::split(log, '\n')) {
    const std::string_view text = base::trim(line);
    if (!text.empty() && !text.starts_with("processed ") &&
        !text.starts_with("verification time") && !text.starts_with("stack depth") &&
        text[0] != '\0') {
      last = text;
    }
  }
  return std::string(last.substr(0, 200));
}

class Loaded final : public LoadedProbe {
 public:
  Loaded(const ProbeSpec& spec, SharedMaps& shared)
      : spec_(spec), shared_(shared), maps_(std::string(spec.name)) {}
  ~Loaded() override {
    rings_.clear();
    for (const int fd : owned_shared_) shared_.remove(fd);
  }

  const std::vector<HookState>& hooks() const override { return hooks_; }
  bool degraded() const override {
    return std::ranges::any_of(hooks_, [](const HookState& hook) { return !hook.available; });
  }
  Maps& maps() override { return maps_; }
  std::vector<Ring>& rings() override { return rings_; }
  Attacher& attacher() override { return *links_; }
  std::vector<std::pair<std::string, std::uint64_t>> losses() override;
  std::vector<ProgramFigures> programs() const override;
  std::vector<MapFigures> map_figures() const override;

  Status open_object(const LoadInput& input, const std::vector<Chosen>& chosen);
  // On failure `refused` names the hook whose attachment the kernel did not take, if it was one.
  Status attach_all(const std::vector<Chosen>& chosen, std::optional<std::size_t>& refused);
  Status take_maps();
  void set_hooks(std::vector<HookState> hooks) { hooks_ = std::move(hooks); }
  bpf_object* object() { return object_.get(); }

 private:
  void each_program(
      const std::function<void(std::string_view name, const bpf_prog_info& info)>& visit) const;
  [[nodiscard]] std::uint64_t skipped_runs() const;

  const ProbeSpec& spec_;
  SharedMaps& shared_;
  ObjectPtr object_;
  ObjectMaps maps_;
  std::unique_ptr<Links> links_;
  std::vector<Ring> rings_;
  std::vector<HookState> hooks_;
  std::vector<int> owned_shared_;
};

Status Loaded::open_object(const LoadInput& input, const std::vector<Chosen>& chosen) {
  const std::string name(spec_.name);
  const Bytes elf = spec_.elf();
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = name.c_str());
  if (!input.btf_path.empty()) options.btf_custom_path = input.btf_path.c_str();
  object_.reset(bpf_object__open_mem(elf.data(), elf.size(), &options));
  if (object_ == nullptr) return fail_errno("open the BPF object");
  links_ = std::make_unique<Links>(object_.get(), maps_);

  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_.get()) {
    const std::string_view program_name = bpf_program__name(program);
    bpf_program__set_autoload(program, std::ranges::any_of(chosen, [&](const Chosen& one) {
                                return one.attachment.program == program_name;
                              }));
  }
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_.get()) {
    const std::string_view map_name = bpf_map__name(map);
    const int fd = map_name.starts_with(kSharedPrefix) ? shared_.find(map_name) : -1;
    if (fd < 0) continue;
    if (const int error = bpf_map__reuse_fd(map, fd); error != 0) {
      return fail_errno(fmt::format("share map {}", map_name), -error);
    }
  }
  if (auto status = write_rodata(object_.get(), "tarsier_env", bytes_of(input.environment), false);
      !status) {
    return status;
  }
  if (spec_.kernel_config != nullptr && input.options != nullptr) {
    return write_rodata(object_.get(), "probe_config", spec_.kernel_config(*input.options), true);
  }
  return {};
}

Status Loaded::take_maps() {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_.get()) {
    const std::string name = bpf_map__name(map);
    const int fd = bpf_map__fd(map);
    if (fd < 0) continue;
    maps_.add(name, fd);
    if (name.starts_with(kSharedPrefix) && shared_.find(name) < 0) {
      shared_.add(name, fd);
      owned_shared_.push_back(fd);
    }
  }
  for (const std::string_view name : spec_.rings) {
    const auto found = maps_.all().find(name);
    if (found == maps_.all().end()) {
      return fail(ErrorCode::invalid, fmt::format("the BPF object has no ring {}", name));
    }
    auto ring = Ring::open(found->second.fd, std::string(name));
    if (!ring) return std::unexpected(ring.error());
    rings_.push_back(std::move(*ring));
  }
  return {};
}

Status Loaded::attach_all(const std::vector<Chosen>& chosen, std::optional<std::size_t>& refused) {
  for (const Chosen& one : chosen) {
    if (auto status = links_->attach(one.attachment); !status) {
      refused = one.hook;
      return status;
    }
  }
  return {};
}

std::vector<std::pair<std::string, std::uint64_t>> Loaded::losses() {
  std::vector<std::pair<std::string, std::uint64_t>> named;
  const std::uint64_t skipped = skipped_runs();  // before the map, which takes some of it back
  const auto found = maps_.all().find("lost");
  if (found == maps_.all().end()) return named;
  std::vector<std::uint64_t> per_cpu(found->second.value_size / sizeof(std::uint64_t));
  for (std::uint32_t reason = 0; reason < LOST_PROBE_FIRST + spec_.losses.size(); ++reason) {
    if (bpf_map_lookup_elem(found->second.fd, &reason, per_cpu.data()) != 0) continue;
    std::uint64_t sum = 0;
    for (const std::uint64_t count : per_cpu) sum += count;
    if (reason == LOST_RECURSION)
      sum = std::max<std::int64_t>(0, static_cast<std::int64_t>(sum + skipped));
    const std::string_view name = reason < LOST_PROBE_FIRST
                                      ? kFrameworkLosses[reason]
                                      : spec_.losses[reason - LOST_PROBE_FIRST];
    named.emplace_back(name, sum);
  }
  return named;
}

// Events for which the kernel did not run the program whose work they are (bpf/program.bpf.h). It
// does not say whether the program would have had a use for them.
std::uint64_t Loaded::skipped_runs() const {
  std::uint64_t sum = 0;
  each_program([&](std::string_view name, const bpf_prog_info& info) {
    if (!name.ends_with(kStandInSuffix)) sum += info.recursion_misses;
  });
  return sum;
}

std::vector<ProgramFigures> Loaded::programs() const {
  std::vector<ProgramFigures> all;
  each_program([&](std::string_view name, const bpf_prog_info& info) {
    all.push_back({std::string(name), info.run_cnt, info.run_time_ns});
  });
  return all;
}

void Loaded::each_program(
    const std::function<void(std::string_view name, const bpf_prog_info& info)>& visit) const {
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_.get()) {
    if (!bpf_program__autoload(program)) continue;
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (bpf_prog_get_info_by_fd(bpf_program__fd(program), &info, &size) != 0) continue;
    visit(bpf_program__name(program), info);
  }
}

// A map that can fill up: arrays are always full, rings are empty most of the time.
bool can_fill(const MapInfo& map) {
  return map.type != BPF_MAP_TYPE_ARRAY && map.type != BPF_MAP_TYPE_PERCPU_ARRAY &&
         map.type != BPF_MAP_TYPE_RINGBUF;
}

std::vector<MapFigures> Loaded::map_figures() const {
  std::vector<MapFigures> all;
  for (const auto& [name, info] : maps_.all()) {
    const bool foreign = name.starts_with(kSharedPrefix) &&
                         std::ranges::find(owned_shared_, info.fd) == owned_shared_.end();
    if (foreign || !can_fill(info)) continue;
    all.push_back({name, ObjectMaps::count(info), info.max_entries, info.memory_bytes});
  }
  return all;
}

// A probe without kernel programs.
class NothingLoaded final : public LoadedProbe, private Attacher {
 public:
  explicit NothingLoaded(const ProbeSpec& spec) : maps_(std::string(spec.name)) {}
  const std::vector<HookState>& hooks() const override { return hooks_; }
  bool degraded() const override { return false; }
  Maps& maps() override { return maps_; }
  std::vector<Ring>& rings() override { return rings_; }
  Attacher& attacher() override { return *this; }
  std::vector<std::pair<std::string, std::uint64_t>> losses() override { return {}; }
  std::vector<ProgramFigures> programs() const override { return {}; }
  std::vector<MapFigures> map_figures() const override { return {}; }

 private:
  Status uprobe(std::string_view program, const std::string&, std::uint64_t, bool, int) override {
    return fail(ErrorCode::invalid, fmt::format("there is no BPF program {}", program));
  }
  ObjectMaps maps_;
  std::vector<Ring> rings_;
  std::vector<HookState> hooks_;
};

// Loads the programs of one hook alone, with a log of their own: did the kernel refuse *them*?
std::string refusal_of(const LoadInput& input, const Plan& plan, std::size_t hook,
                       SharedMaps& shared) {
  Loaded trial(input.spec, shared);
  const auto chosen = chosen_of(input.spec, plan, hook);
  if (auto status = trial.open_object(input, chosen); !status) return status.error().message;
  std::vector<std::vector<char>> logs;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, trial.object()) {
    if (!bpf_program__autoload(program)) continue;
    logs.emplace_back(kVerifierLogBytes);
    bpf_program__set_log_buf(program, logs.back().data(), logs.back().size());
  }
  const int error = bpf_object__load(trial.object());
  if (error == 0) return {};
  const Attachment& first = input.spec.hooks[hook].ways[*plan.hooks[hook].way].front();
  std::string reason = fmt::format("the kernel refused {} {}: {}", name_of(first.method),
                                   first.target, std::strerror(-error));
  for (const auto& log : logs) {
    const std::string words = last_words(log.data());
    if (!words.empty()) reason += fmt::format(" ({})", words);
  }
  return reason;
}

// After a refused load: which hooks are to blame. Empty: none alone, so it is something else.
bool blame(const LoadInput& input, const Plan& plan, SharedMaps& shared, Refusals& refusals) {
  bool found = false;
  for (std::size_t h = 0; h < plan.hooks.size(); ++h) {
    if (!plan.hooks[h].way) continue;
    std::string reason = refusal_of(input, plan, h, shared);
    if (reason.empty()) continue;
    base::log_debug("probe {}: hook \"{}\": {}", input.spec.name, input.spec.hooks[h].purpose,
                    reason);
    refusals[{h, *plan.hooks[h].way}] = std::move(reason);
    found = true;
  }
  return found;
}

Status check_services(const ProbeSpec& spec, const SharedMaps& shared) {
  for (const std::string_view service : spec.services) {
    // The lifecycle service has no map; that it runs is a condition of the daemon as a whole.
    if (service == "sockets" && shared.find("shared_sockets") < 0) {
      return fail(ErrorCode::unavailable, fmt::format("the service {} does not run", service));
    }
  }
  return {};
}

std::size_t attempts_of(const ProbeSpec& spec) {
  std::size_t ways = 1;
  for (const Hook& hook : spec.hooks) ways += hook.ways.size();
  return ways;
}

}  // namespace

void SharedMaps::remove(int fd) {
  std::erase_if(fds_, [fd](const auto& entry) { return entry.second == fd; });
}

int SharedMaps::find(std::string_view name) const {
  const auto found = fds_.find(name);
  return found == fds_.end() ? -1 : found->second;
}

std::vector<HookState> describe(std::span<const Hook> hooks, const Plan& plan) {
  std::vector<HookState> states;
  for (std::size_t h = 0; h < hooks.size(); ++h) {
    HookState state{.purpose = std::string(hooks[h].purpose), .required = hooks[h].required};
    state.reason = plan.hooks[h].reason;
    if (plan.hooks[h].way) {
      const Attachment& first = hooks[h].ways[*plan.hooks[h].way].front();
      state.available = true;
      state.method = name_of(first.method);
      state.target = first.target;
    }
    states.push_back(std::move(state));
  }
  return states;
}

Result<std::unique_ptr<LoadedProbe>> load_probe(const LoadInput& input, const KernelFacts& facts,
                                                SharedMaps& shared) {
  const ProbeSpec& spec = input.spec;
  if (!spec.has_object()) return std::make_unique<NothingLoaded>(spec);
  if (auto status = check_services(spec, shared); !status) return std::unexpected(status.error());
  Refusals refusals;
  for (std::size_t attempt = 0; attempt < attempts_of(spec); ++attempt) {
    const Plan plan = choose(spec.hooks, facts, refusals);
    if (!plan.impossible.empty()) return fail(ErrorCode::unavailable, plan.impossible);
    const auto chosen = chosen_of(spec, plan);
    auto loaded = std::make_unique<Loaded>(spec, shared);
    if (auto status = loaded->open_object(input, chosen); !status) {
      return std::unexpected(std::move(status.error()).in("open"));
    }
    if (const int error = bpf_object__load(loaded->object()); error != 0) {
      if (blame(input, plan, shared, refusals)) continue;
      return fail_errno("load the BPF object", -error);
    }
    if (auto status = loaded->take_maps(); !status) return std::unexpected(status.error());
    std::optional<std::size_t> refused;
    if (auto status = loaded->attach_all(chosen, refused); !status) {
      refusals[{*refused, *plan.hooks[*refused].way}] = status.error().message;
      continue;
    }
    loaded->set_hooks(describe(spec.hooks, plan));
    return loaded;
  }
  return fail(ErrorCode::refused, "the kernel refused every way to attach");
}

void quiet_libbpf() {
  libbpf_set_print([](libbpf_print_level level, const char* format, va_list arguments) {
    if (level == LIBBPF_DEBUG || !base::log_enabled(base::LogLevel::debug)) return 0;
    char line[512];
    std::vsnprintf(line, sizeof line, format, arguments);
    base::log_debug("{}", base::trim(line));
    return 0;
  });
}

}  // namespace tarsier::kernel
