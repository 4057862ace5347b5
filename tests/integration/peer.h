// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Real programs as peers of a test: started, waited for, ended; nothing of them is left behind.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace tarsier::test {

// A temporary directory that goes away with its content.
class Directory {
 public:
  Directory();
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::string path(std::string_view name) const;

 private:
  std::string path_;
};

// Where PATH has the program; nothing where it has not.
[[nodiscard]] std::optional<std::string> find_program(std::string_view name);

struct Outcome {
  int status = -1;     // as the program exits; -1: it was ended for taking longer than 60 s
  std::string output;  // standard output and error
};
// Runs a program to its end.
Outcome run(const std::vector<std::string>& command);

// A program that runs beside the test. Its end: SIGTERM, after 5 s SIGKILL.
class Peer {
 public:
  Peer(const std::vector<std::string>& command, const std::string& log);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

// Waits until the condition holds, at most 20 s; whether it does.
bool wait_for(const std::function<bool()>& condition);

// The last lines of a log, for messages.
[[nodiscard]] std::string tail(const std::string& path);

}  // namespace tarsier::test
