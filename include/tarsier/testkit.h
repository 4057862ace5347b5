// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a probe's unit test needs: sinks that write down what they get, made-up maps and files. No
// kernel, no daemon.
//
//   CaptureSinks sinks;
//   probe->on_event(bytes_of(record), sinks);
//   EXPECT_EQ(sinks.text(), "tarsier_demo_opens_total{mode=\"read\"} 1 @42");
#pragma once

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tarsier/probe.h"

namespace tarsier::testkit {

// The shortest text that reads back to the same number.
inline std::string number(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return {text, end.ptr};
}

// Keeps all series by metric, labels and subject. Gauges show the last value of the subject,
// histograms "count/sum". Handles work and never go stale, unless make_stale() is called.
class CaptureSinks : public Sinks {
 public:
  Sink& at(const Subject& subject) override {
    for (One& one : sinks_) {
      if (one.subject == subject) return one;
    }
    return sinks_.emplace_back(*this, subject);
  }

  // The peer of a flow is known by the port of its remote end, or of its local one for a server.
  Peer peer(const Subject&, const Flow& flow) override {
    return {flow.side == Flow::Side::server ? flow.local.port : flow.remote.port, settled};
  }
  void disconnected(const Flow&) override { ++disconnections; }
  bool settled = true;  // what peer() answers from now on
  int disconnections = 0;

  // One line per series, sorted: name{label="value"} value @subject, where the subject is "node",
  // the tgid of a process or "cgroup:ID", followed by ">ID" of its peer where it has one.
  [[nodiscard]] std::string text() const {
    std::string all;
    for (const auto& [key, series] : series_) {
      if (!all.empty()) all += "\n";
      all += key.first + " " + value_text(*series) + " @" + key.second;
    }
    return all;
  }
  // The value of one series, written as text() does without the value; NaN if it is not there.
  [[nodiscard]] double value(const std::string& series, const std::string& subject) const {
    const auto found = series_.find({series, subject});
    return found == series_.end() ? std::numeric_limits<double>::quiet_NaN()
                                  : found->second->cell.value.load();
  }
  [[nodiscard]] const std::vector<Record>& records() const { return records_; }
  // All handles given out so far stop working, as after a merge or staleness; values stay.
  void make_stale() {
    for (auto& [key, series] : series_) series->cell.generation += 2;
  }
  void clear() {
    for (auto& [key, series] : series_) series->cell.generation += 2;
    graveyard_.merge(series_);
    series_.clear();
    records_.clear();
  }

 private:
  struct Stored {
    Kind kind;
    Cell cell;
    std::vector<std::atomic<std::uint64_t>> counts;
  };
  using Key = std::pair<std::string, std::string>;

  class One final : public Sink {
   public:
    One(CaptureSinks& kit, const Subject& whom) : subject(whom), kit_(kit) {}
    void write(const MetricDef& metric, double value,
               std::span<const std::string_view> labels) override {
      const Series series = find(metric, labels);
      switch (metric.kind) {
        case Kind::counter: (void)series.add(value); break;
        case Kind::gauge: (void)series.set(value); break;
        case Kind::histogram: (void)series.observe(value); break;
      }
    }
    Series find(const MetricDef& metric, std::span<const std::string_view> labels) override {
      Stored& stored = kit_.stored(metric, labels, subject_text());
      return {&stored.cell, stored.cell.generation.load()};
    }
    void emit(const Record& record) override { kit_.records_.push_back(record); }

    [[nodiscard]] std::uint64_t group() const override {
      return (std::uint64_t{subject.peer} << 32U) + subject.tgid + subject.start_ns;
    }

    Subject subject;

   private:
    [[nodiscard]] std::string subject_text() const {
      const std::string peer = subject.peer == 0 ? "" : ">" + std::to_string(subject.peer);
      if (subject.type == Subject::Type::process) return std::to_string(subject.tgid) + peer;
      if (subject.type == Subject::Type::cgroup)
        return "cgroup:" + std::to_string(subject.cgroup_id) + peer;
      return "node" + peer;
    }
    CaptureSinks& kit_;
  };

  Stored& stored(const MetricDef& metric, std::span<const std::string_view> labels,
                 std::string subject) {
    std::string key(metric.name);
    std::string inside;
    for (std::size_t i = 0; i < labels.size() && i < metric.labels.size(); ++i) {
      if (labels[i].empty()) continue;
      inside += (inside.empty() ? "" : ",") + std::string(metric.labels[i]) + "=\"" +
                std::string(labels[i]) + "\"";
    }
    if (!inside.empty()) key += "{" + inside + "}";
    std::unique_ptr<Stored>& found = series_[{key, std::move(subject)}];
    if (found == nullptr) {
      found = std::make_unique<Stored>();
      found->kind = metric.kind;
      found->counts = std::vector<std::atomic<std::uint64_t>>(metric.buckets.size() + 1);
      found->cell.counts = found->counts.data();
      found->cell.bounds = metric.buckets.data();
      found->cell.bounds_size = static_cast<std::uint16_t>(metric.buckets.size());
    }
    return *found;
  }

  static std::string value_text(const Stored& stored) {
    const std::string sum = number(stored.cell.value.load());
    if (stored.kind != Kind::histogram) return sum;
    std::uint64_t count = 0;
    for (const auto& one : stored.counts) count += one.load();
    return std::to_string(count) + "/" + sum;
  }

  std::map<Key, std::unique_ptr<Stored>> series_;
  std::map<Key, std::unique_ptr<Stored>> graveyard_;  // handles may still look at these
  std::deque<One> sinks_;
  std::vector<Record> records_;
};

// Maps and iterators with what the test puts in.
class FakeMaps final : public Maps {
 public:
  using Blob = std::vector<std::byte>;
  std::map<std::string, std::map<Blob, Blob>, std::less<>> maps;
  std::map<std::string, std::vector<Blob>, std::less<>> iterators;  // program to its records

  template <class Key, class Value>
  void put(const std::string& map, const Key& key, const Value& value) {
    maps[map][copy_bytes_of(key)] = copy_bytes_of(value);
  }
  template <class Value>
  void yield(const std::string& program, const Value& record) {
    iterators[program].push_back(copy_bytes_of(record));
  }

  Status each(std::string_view map, const std::function<void(Bytes, Bytes)>& visit) override {
    const auto found = maps.find(map);
    if (found == maps.end()) return fail(ErrorCode::not_found, "no such map");
    for (const auto& [key, value] : found->second) visit(key, value);
    return {};
  }
  Status lookup(std::string_view map, Bytes key, std::span<std::byte> value) override {
    const auto found = maps.find(map);
    if (found == maps.end()) return fail(ErrorCode::not_found, "no such map");
    const auto entry = found->second.find(Blob(key.begin(), key.end()));
    if (entry == found->second.end() || entry->second.size() != value.size()) {
      return fail(ErrorCode::not_found, "no such key");
    }
    std::ranges::copy(entry->second, value.begin());
    return {};
  }
  Status update(std::string_view map, Bytes key, Bytes value) override {
    maps[std::string(map)][Blob(key.begin(), key.end())] = Blob(value.begin(), value.end());
    return {};
  }
  Status erase(std::string_view map, Bytes key) override {
    maps[std::string(map)].erase(Blob(key.begin(), key.end()));
    return {};
  }
  Status iterate(std::string_view program, std::size_t record_size,
                 const std::function<void(Bytes)>& visit) override {
    const auto found = iterators.find(program);
    if (found == iterators.end()) return fail(ErrorCode::not_found, "no such iterator");
    for (const Blob& record : found->second) {
      if (record.size() == record_size) visit(record);
    }
    return {};
  }
};

// Files of a made-up node.
class FakeHost final : public Host {
 public:
  std::map<std::string, std::string, std::less<>> files;
  [[nodiscard]] Result<std::string> read(std::string_view path) const override {
    const auto found = files.find(path);
    if (found == files.end()) return fail(ErrorCode::not_found, "no such file");
    return found->second;
  }
};

// A plate's options with their defaults.
class DefaultOptions final : public Options {
 public:
  explicit DefaultOptions(std::span<const Option> options) : options_(options) {}
  [[nodiscard]] bool boolean(std::string_view key) const override { return find(key).boolean; }
  [[nodiscard]] std::int64_t integer(std::string_view key) const override {
    return find(key).integer;
  }
  [[nodiscard]] double number(std::string_view key) const override { return find(key).number; }
  [[nodiscard]] std::int64_t duration_ns(std::string_view key) const override {
    return find(key).integer;
  }
  [[nodiscard]] std::string text(std::string_view key) const override {
    return std::string(find(key).text);
  }

 private:
  [[nodiscard]] const Option& find(std::string_view key) const {
    for (const Option& option : options_) {
      if (option.key == key) return option;
    }
    std::abort();  // the plate does not declare it
  }
  std::span<const Option> options_;
};

}  // namespace tarsier::testkit
