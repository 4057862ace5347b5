// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "config/config.h"
#include "daemon/catalogue.h"
#include "daemon/daemon.h"
#include "version.h"

namespace tarsier::daemon {
namespace {

constexpr std::string_view kUsage = R"(usage: tarsier COMMAND [OPTION …]

  run            starts the daemon in the foreground (no options are needed)
    --config FILE          TOML, or JSON by its name; see config/tarsier.toml
    --listen ADDR:PORT     metrics and health (default [::]:9920; port 0: a free one)
    --api ADDR:PORT        the API (default 127.0.0.1:9921)
    --socket PATH          the control socket (default /run/tarsier/control.sock)
    --set KEY=VALUE        any key of the configuration, as often as wanted
    --log-level LEVEL      debug, info, warning or error
  check-config FILE        reads a configuration and says what is wrong with it
  doctor [--json] [--config FILE]   what this kernel can do, and what is used instead
  status                   a running daemon, through its control socket
  probes [list | show NAME | start NAME | stop NAME | set NAME KEY=VALUE …]
  targets [--json] [--unresolved]   containers, pods and who told of them; what has no name and why
  metrics [--format md|json]        all metrics that this binary can show
  config-reference         the configuration file with every key and its default
  --version, --help

status, probes and targets take --socket PATH.
)";

void print(std::string_view text) {
  (void)!std::fwrite(text.data(), 1, text.size(), stdout);
}

int usage_error(std::string_view what) {
  fmt::print(stderr, "tarsier: {}; see tarsier --help\n", what);
  return kExitUsage;
}

// The words of a command line, taken from the front.
class Words {
 public:
  explicit Words(std::span<char* const> words) : words_(words.begin(), words.end()) {}
  [[nodiscard]] bool empty() const { return at_ == words_.size(); }
  std::string take() { return words_[at_++]; }
  // The value of option `name`, written "--name value" or "--name=value"; nothing: another word.
  std::optional<std::string> value_of(std::string_view name) {
    const std::string& word = words_[at_];
    if (word == name && at_ + 1 < words_.size()) {
      at_ += 2;
      return words_[at_ - 1];
    }
    if (word.starts_with(name) && word.size() > name.size() && word[name.size()] == '=') {
      ++at_;
      return word.substr(name.size() + 1);
    }
    return std::nullopt;
  }

 private:
  std::vector<std::string> words_;
  std::size_t at_ = 0;
};

int command_run(Words words, std::span<const ProbeSpec* const> probes) {
  struct Shorthand {
    std::string_view option, key;
  };
  constexpr Shorthand kShorthands[] = {{"--listen", "http.listen"},
                                       {"--api", "api.listen"},
                                       {"--socket", "api.socket"},
                                       {"--log-level", "log.level"}};
  RunArguments arguments;
  while (!words.empty()) {
    bool taken = false;
    if (auto file = words.value_of("--config")) {
      arguments.config_path = *file;
      continue;
    }
    if (auto set = words.value_of("--set")) {
      arguments.sets.push_back(*set);
      continue;
    }
    for (const Shorthand& shorthand : kShorthands) {
      if (words.empty()) break;
      if (auto value = words.value_of(shorthand.option)) {
        arguments.sets.push_back(fmt::format("{}={}", shorthand.key, *value));
        taken = true;
        break;
      }
    }
    if (!taken)
      return usage_error(fmt::format("run: unknown or incomplete option {}", words.take()));
  }
  return run_daemon(arguments, probes);
}

int command_check(Words words, std::span<const ProbeSpec* const> probes) {
  if (words.empty()) return usage_error("check-config wants a file");
  const std::string file = words.take();
  if (!words.empty()) return usage_error("check-config takes one file");
  const auto config = config::load(file, config_catalogue(probes));
  if (config) {
    print(fmt::format("{}: ok\n", file));
    return kExitOk;
  }
  for (const auto& problem : config.error()) print(problem.text() + "\n");
  return kExitNotOk;
}

int command_metrics(Words words, std::span<const ProbeSpec* const> probes) {
  std::string format = "md";
  while (!words.empty()) {
    auto value = words.value_of("--format");
    if (!value) return usage_error(fmt::format("metrics: unknown option {}", words.take()));
    format = *value;
  }
  if (format != "md" && format != "json") return usage_error("metrics: the format is md or json");
  print(format == "md" ? catalogue_markdown(probes) : catalogue_json(probes) + "\n");
  return kExitOk;
}

int command_doctor(Words words, std::span<const ProbeSpec* const> probes) {
  bool json = false;
  std::string file;
  while (!words.empty()) {
    if (auto value = words.value_of("--config")) {
      file = *value;
      continue;
    }
    const std::string word = words.take();
    if (word != "--json") return usage_error(fmt::format("doctor: unknown option {}", word));
    json = true;
  }
  return run_doctor(json, file, probes);
}

std::string default_socket() {
  return config::Config::Api{}.socket;
}

// Takes --socket out of the words, wherever it stands.
std::vector<std::string> plain_words(Words words, std::string& socket) {
  std::vector<std::string> plain;
  socket = default_socket();
  while (!words.empty()) {
    if (auto value = words.value_of("--socket")) {
      socket = *value;
    } else {
      plain.push_back(words.take());
    }
  }
  return plain;
}

int command_status(Words words) {
  std::string socket;
  if (!plain_words(std::move(words), socket).empty()) return usage_error("status takes no words");
  return show_status(socket);
}

int command_targets(Words all) {
  std::string socket;
  bool json = false, unresolved = false;
  for (const std::string& word : plain_words(std::move(all), socket)) {
    if (word != "--json" && word != "--unresolved") {
      return usage_error(fmt::format("targets: unknown option {}", word));
    }
    (word == "--json" ? json : unresolved) = true;
  }
  return list_targets(socket, json, unresolved);
}

int command_probes(Words all) {
  std::string socket;
  const std::vector<std::string> words = plain_words(std::move(all), socket);
  if (words.empty() || (words[0] == "list" && words.size() == 1)) return list_probes(socket);
  if (words.size() == 2 && words[0] == "show") return show_probe(socket, words[1]);
  if (words.size() == 2 && (words[0] == "start" || words[0] == "stop")) {
    return enable_probe(socket, words[1], words[0] == "start");
  }
  if (words.size() >= 3 && words[0] == "set") {
    return set_options(socket, words[1], std::span(words).subspan(2));
  }
  return usage_error("probes: list, show NAME, start NAME, stop NAME, or set NAME KEY=VALUE …");
}

}  // namespace

int run_command(std::span<char* const> arguments, std::span<const ProbeSpec* const> probes) {
  Words words(arguments.empty() ? arguments : arguments.subspan(1));
  if (words.empty()) {
    print(kUsage);
    return kExitUsage;
  }
  const std::string command = words.take();
  if (command == "--help" || command == "-h" || command == "help") {
    print(kUsage);
    return kExitOk;
  }
  if (command == "--version") {
    print(fmt::format("tarsier {} ({})\n", kVersion, kRevision));
    return kExitOk;
  }
  if (command == "run") return command_run(std::move(words), probes);
  if (command == "check-config") return command_check(std::move(words), probes);
  if (command == "doctor") return command_doctor(std::move(words), probes);
  if (command == "metrics") return command_metrics(std::move(words), probes);
  if (command == "status") return command_status(std::move(words));
  if (command == "targets") return command_targets(std::move(words));
  if (command == "probes") return command_probes(std::move(words));
  if (command == "config-reference") {
    print(config::reference_toml(config_catalogue(probes)));
    return kExitOk;
  }
  return usage_error(fmt::format("there is no command {}", command));
}

}  // namespace tarsier::daemon
