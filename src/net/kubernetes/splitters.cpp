// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/splitters.h"

#include <fmt/format.h>

#include <utility>

namespace tarsier::net::kubernetes {
namespace {

// A buffer that grew for one long object does not stay that large.
constexpr std::size_t kKeptBytes = 256U << 10U;

void clear(std::string& buffer) {
  if (buffer.capacity() > kKeptBytes) {
    std::string().swap(buffer);
  } else {
    buffer.clear();
  }
}

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

}  // namespace

bool ListSplitter::refuse(std::string problem) {
  problem_ = fmt::format("byte {}: {}", bytes_, problem);
  return false;
}

bool ListSplitter::feed(std::string_view bytes) {
  if (!problem_.empty()) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (!step(bytes[i])) return false;
    ++bytes_;
    if (where_ != Where::item) continue;
    // The bulk of the bytes is plain text inside items and is taken in runs.
    const std::size_t run = bytes.find_first_of(string_ ? "\"\\" : "\"{}[]", i + 1);
    if (escape_) continue;
    const std::size_t end = run == std::string_view::npos ? bytes.size() : run;
    const std::string_view plain = bytes.substr(i + 1, end - i - 1);
    if (item_.size() + plain.size() > kMaxObjectBytes) skipping_ = true, clear(item_);
    if (!skipping_) item_.append(plain);
    bytes_ += plain.size();
    i = end - 1;
  }
  return true;
}

bool ListSplitter::step(char c) {
  if (string_) return in_string(c);
  switch (c) {
    case '"':
      if (where_ == Where::before || where_ == Where::after || where_ == Where::between_items)
        break;
      string_ = true;
      if (brackets_.size() == 1) key_.clear();
      return keep(c);
    case '{':
    case '[': return open(c);
    case '}':
    case ']': return close(c);
    default: break;
  }
  switch (where_) {
    case Where::before:
    case Where::after:
      return is_space(c) || refuse(where_ == Where::before ? "it is not a JSON object"
                                                           : "something follows the list");
    case Where::between_items:
      if (c == ',' && !comma_) return comma_ = true;
      return is_space(c) || refuse(fmt::format("\"{}\" is not a list of objects", member_));
    default: return keep(c);
  }
}

bool ListSplitter::in_string(char c) {
  if (escape_) {
    escape_ = false;
  } else if (c == '\\') {
    escape_ = true;
  } else if (c == '"') {
    string_ = false;
    if (brackets_.size() == 1 && key_ == member_) found_ = true;
    return keep(c);
  }
  if (brackets_.size() == 1 && key_.size() <= member_.size()) key_.push_back(c);
  return keep(c);
}

bool ListSplitter::open(char c) {
  if (brackets_.size() >= kMaxNesting) {
    return refuse(fmt::format("it is nested deeper than {}", kMaxNesting));
  }
  if (where_ == Where::after) return refuse("something follows the list");
  if (where_ == Where::before) {
    if (c != '{') return refuse("it is not a JSON object");
    where_ = Where::envelope;
  } else if (where_ == Where::between_items) {
    if (c != '{' || !comma_) return refuse(fmt::format("\"{}\" is not a list of objects", member_));
    where_ = Where::item;
    skipping_ = false;
  }
  brackets_.push_back(c);
  if (!keep(c)) return false;
  if (where_ == Where::envelope && c == '[' && brackets_.size() == 2 && key_ == member_) {
    where_ = Where::between_items;
    comma_ = true;
  }
  return true;
}

bool ListSplitter::close(char c) {
  if (brackets_.empty() || brackets_.back() != (c == '}' ? '{' : '[')) {
    return refuse(fmt::format("a '{}' that closes nothing", c));
  }
  brackets_.pop_back();
  if (where_ == Where::item) return keep(c) && (brackets_.size() > 2 || finish_item());
  if (where_ == Where::between_items) {
    if (comma_ && items_ > 0) return refuse("a ',' that nothing follows");
    where_ = Where::envelope;
    key_.clear();
  }
  if (brackets_.empty()) where_ = Where::after;
  return keep(c);
}

bool ListSplitter::finish_item() {
  where_ = Where::between_items;
  comma_ = false;
  ++items_;
  if (skipping_) {
    ++oversized_;
    return true;
  }
  const bool more = on_item_(item_);
  clear(item_);
  return more;
}

bool ListSplitter::keep(char c) {
  if (where_ == Where::item) {
    if (item_.size() >= kMaxObjectBytes) skipping_ = true, clear(item_);
    if (!skipping_) item_.push_back(c);
    return true;
  }
  if (envelope_.size() >= kMaxEnvelopeBytes) {
    return refuse(fmt::format("more than {} bytes around the objects", kMaxEnvelopeBytes));
  }
  envelope_.push_back(c);
  return true;
}

Status ListSplitter::finish() const {
  if (!problem_.empty()) return fail(ErrorCode::invalid, problem_);
  if (where_ != Where::after) {
    return fail(ErrorCode::invalid, fmt::format("it ends early, after {} bytes", bytes_));
  }
  if (!found_) return fail(ErrorCode::invalid, fmt::format("it has no \"{}\"", member_));
  return {};
}

std::string ListSplitter::envelope() const {
  return where_ == Where::item || where_ == Where::between_items ? envelope_ + "]}" : envelope_;
}

bool LineSplitter::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    if (line_.size() + piece.size() > kMaxObjectBytes) skipping_ = true, clear(line_);
    if (!skipping_) line_.append(piece);
    if (end == std::string_view::npos) return true;
    bytes.remove_prefix(end + 1);
    if (std::exchange(skipping_, false)) {
      ++oversized_;
    } else if (line_.find_first_not_of(" \t\r") != std::string::npos) {
      const bool more = on_line_(line_);
      clear(line_);
      if (!more) return false;
    } else {
      line_.clear();
    }
  }
  return true;
}

}  // namespace tarsier::net::kubernetes
