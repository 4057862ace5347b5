// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "daemon/sinks.h"

#include <algorithm>

namespace tarsier::daemon {
namespace {

constexpr std::uint64_t kUnobservedGroup = ~std::uint64_t{0};

}  // namespace

class SubjectSinks::SubjectSink final : public Sink {
 public:
  SubjectSink(SubjectSinks& owner) : owner_(owner) {}

  void aim(const Subject& subject, const SubjectEntity& target) {
    subject_ = subject;
    target_ = target;
  }
  [[nodiscard]] const Subject& subject() const { return subject_; }

  void write(const MetricDef& metric, double value,
             std::span<const std::string_view> labels) override {
    if (!target_.observed) return;
    if (metric.kind == Kind::gauge && subject_.type == Subject::Type::process) {
      owner_.contribute(subject_, target_, metric, value, labels);
    } else {
      owner_.registry_.record(metric, target_.entity, value, labels);
    }
  }

  Series find(const MetricDef& metric, std::span<const std::string_view> labels) override {
    if (!target_.observed) return {&owner_.discarded_, owner_.discarded_.generation.load()};
    return owner_.registry_.series(metric, target_.entity, labels);
  }

  void emit(const Record& record) override {
    if (target_.observed) owner_.stores_.add(owner_.probe_, target_.entity, record);
  }

  std::uint64_t group() const override {
    return target_.observed ? static_cast<std::uint64_t>(target_.entity) : kUnobservedGroup;
  }

 private:
  SubjectSinks& owner_;
  Subject subject_;
  SubjectEntity target_;
};

SubjectSinks::SubjectSinks(Subjects& subjects, metrics::Registry& registry, store::Stores& stores)
    : subjects_(subjects), registry_(registry), stores_(stores) {
  discarded_.counts = discarded_counts_;
}

SubjectSinks::~SubjectSinks() = default;

void SubjectSinks::begin(std::string_view probe, std::uint64_t time_ns, std::uint64_t now_ns) {
  if (probe_ != probe) probe_ = probe;
  time_ns_ = time_ns;
  now_ns_ = now_ns;
  used_ = 0;
}

Sink& SubjectSinks::at(const Subject& subject) {
  if (used_ > 0 && sinks_[used_ - 1].subject() == subject) return sinks_[used_ - 1];
  if (used_ == sinks_.size()) sinks_.emplace_back(*this);
  SubjectSink& sink = sinks_[used_++];
  sink.aim(subject, subjects_.find(subject, time_ns_, now_ns_));
  return sink;
}

Peer SubjectSinks::peer(const Subject& subject, const Flow& flow) {
  return subjects_.peers().connect(subject, flow, now_ns_);
}

void SubjectSinks::disconnected(const Flow& flow) {
  subjects_.peers().disconnected(flow, now_ns_);
}

void SubjectSinks::add_to(Contribution& contribution, double delta) {
  if (delta == 0 && contribution.series.valid()) return;
  if (contribution.series.add(delta)) return;
  std::vector<std::string_view> labels(contribution.labels.begin(), contribution.labels.end());
  contribution.series = registry_.series(*contribution.metric, contribution.entity, labels);
  (void)contribution.series.add(delta);
}

void SubjectSinks::contribute(const Subject& subject, const SubjectEntity& target,
                              const MetricDef& metric, double value,
                              std::span<const std::string_view> labels) {
  if (!target.alive) return;  // its contribution was taken back at its end
  auto& all = contributions_[{subject.tgid, subject.start_ns}];
  auto found = std::ranges::find_if(all, [&](const Contribution& one) {
    return one.metric == &metric && one.peer == subject.peer &&
           std::ranges::equal(one.labels, labels);
  });
  if (found == all.end()) {
    all.push_back({&metric, target.entity, subject.peer, {labels.begin(), labels.end()}, {}, 0});
    peers_contribute_ |= subject.peer != 0;
    found = std::prev(all.end());
  } else if (found->entity != target.entity) {
    // It has another name now: the old group loses what the new one gains.
    add_to(*found, -found->value);
    *found = {&metric, target.entity, subject.peer, std::move(found->labels), {}, 0};
  }
  add_to(*found, value - found->value);
  found->value = value;
}

void SubjectSinks::on_process_end(std::uint32_t tgid, std::uint64_t start_ns) {
  const auto found = contributions_.find({tgid, start_ns});
  if (found == contributions_.end()) return;
  for (Contribution& contribution : found->second) add_to(contribution, -contribution.value);
  contributions_.erase(found);
}

// A merge has added the values up; only the way to them is another one.
void SubjectSinks::on_entity_named(std::uint32_t tgid, std::uint64_t start_ns,
                                   metrics::EntityId before, metrics::EntityId after) {
  const auto found = contributions_.find({tgid, start_ns});
  if (found == contributions_.end()) return;
  for (Contribution& contribution : found->second) {
    if (contribution.entity == before) contribution.entity = after;
  }
}

void SubjectSinks::on_edge_named(metrics::EntityId before, metrics::EntityId after) {
  if (!peers_contribute_) return;
  for (auto& [key, all] : contributions_) {
    for (Contribution& contribution : all) {
      if (contribution.entity == before) contribution.entity = after;
    }
  }
}

void SubjectSinks::forget_metrics(std::span<const MetricDef* const> metrics) {
  for (auto& [key, all] : contributions_) {
    std::erase_if(all, [&](const Contribution& one) {
      return std::ranges::find(metrics, one.metric) != metrics.end();
    });
  }
}

std::size_t SubjectSinks::contributions() const {
  return contributions_.size();
}

}  // namespace tarsier::daemon
