// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Cuts what streams in from an API server into single objects, so that neither a list of 10,000
// objects nor a watch is ever held as a whole. Any bytes are safe; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tarsier/result.h"

namespace tarsier::net::kubernetes {

// Longest single object. etcd takes 1.5 MiB of binary encoding; as JSON that can be twice as much.
inline constexpr std::size_t kMaxObjectBytes = 4U << 20U;
// All of a list but its items: kind, version, continue token, columns of a table.
inline constexpr std::size_t kMaxEnvelopeBytes = 64U << 10U;
inline constexpr std::size_t kMaxNesting = 64;

// Gets one whole object; false ends the stream.
using OnText = std::function<bool(std::string_view)>;

// {"kind":"PodList","metadata":{…},"items":[{…},{…}]}: gives each element of the member `items`
// (objects alone are allowed there) to on_item and keeps the rest, the envelope.
class ListSplitter {
 public:
  ListSplitter(std::string_view member, OnText on_item)
      : member_(member), on_item_(std::move(on_item)) {}

  // false: problem() says why, or on_item wanted no more.
  bool feed(std::string_view bytes);
  // Whether the list came to its end. One without `items` is an answer to something else;
  // "items":null is how some servers write an empty list.
  [[nodiscard]] Status finish() const;

  // The list with an empty `items`; JSON as far as the server spoke it. While items stream in it is
  // what came before them.
  [[nodiscard]] std::string envelope() const;
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] std::uint64_t items() const { return items_; }
  [[nodiscard]] std::uint64_t oversized() const { return oversized_; }  // longer than the limit

 private:
  enum class Where : std::uint8_t { before, envelope, between_items, item, after };
  bool step(char c);
  bool in_string(char c);
  bool open(char c);
  bool close(char c);
  bool keep(char c);
  bool refuse(std::string problem);
  bool finish_item();

  std::string member_;
  OnText on_item_;
  std::string envelope_;
  std::string item_;
  std::string key_;  // the last text directly inside the list's object
  std::string problem_;
  std::string brackets_;  // those open
  std::uint64_t bytes_ = 0;
  std::uint64_t items_ = 0;
  std::uint64_t oversized_ = 0;
  Where where_ = Where::before;
  bool string_ = false;    // inside a text
  bool escape_ = false;    // behind a backslash
  bool skipping_ = false;  // the item is too long
  bool found_ = false;     // `items` is there
  bool comma_ = true;      // an item may begin
};

// Newline-separated objects: the events of a watch.
class LineSplitter {
 public:
  explicit LineSplitter(OnText on_line) : on_line_(std::move(on_line)) {}
  // false: on_line wanted no more. Empty lines are skipped.
  bool feed(std::string_view bytes);
  [[nodiscard]] std::uint64_t oversized() const { return oversized_; }

 private:
  OnText on_line_;
  std::string line_;
  std::uint64_t oversized_ = 0;
  bool skipping_ = false;
};

}  // namespace tarsier::net::kubernetes
