// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/owners.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tarsier::net::kubernetes {
namespace {

constexpr std::string_view kMetadataOnly =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

// The folder of the API in which the owners of a kind lie; empty: such an owner is the workload.
std::string_view group_of(std::string_view kind) {
  if (kind == "ReplicaSet") return "/apis/apps/v1";
  return kind == "Job" ? "/apis/batch/v1" : "";
}
std::string_view plural_of(std::string_view kind) {
  return kind == "Job" ? "jobs" : "replicasets";
}

std::string label_of(const Pod& pod, std::string_view name) {
  const auto label = std::ranges::find_if(
      pod.labels, [&](const auto& candidate) { return candidate.first == name; });
  return label == pod.labels.end() ? std::string() : label->second;
}

}  // namespace

Owners::Owners(TaskContext& context, bool ask) : Task(Resource::owners, context), ask_(ask) {
  due_ms_ = kNever;
  state_.state = ask ? TaskState::waiting : TaskState::off;
  settle();
}

void Owners::observe(const Change& change, std::int64_t now_ms) {
  if (change.resource != Resource::pods) return;
  const auto* pod = std::get_if<Pod>(&change.object);
  switch (change.kind) {
    case ChangeKind::begin_list: ++list_; break;
    case ChangeKind::end_list: sweep(); break;
    case ChangeKind::upsert:
      if (pod != nullptr) add(*pod, now_ms);
      break;
    case ChangeKind::remove:
      if (pod != nullptr) remove(pod->uid);
      break;
  }
}

void Owners::add(const Pod& pod, std::int64_t now_ms) {
  if (pod.owner.uid.empty() || group_of(pod.owner.kind).empty()) return;
  if (const auto seen = pods_.find(pod.uid); seen != pods_.end()) {
    seen->second.list = list_;
    if (seen->second.owner == pod.owner.uid) return;
    remove(pod.uid);
  }
  auto entry = entries_.find(pod.owner.uid);
  if (entry == entries_.end()) {
    if (entries_.size() >= kMaxOwners) {
      ++dropped_;
      return;
    }
    entry = entries_.emplace(pod.owner.uid, Entry{}).first;
    entry->second.kind = pod.owner.kind;
    entry->second.name = pod.owner.name;
    entry->second.namespace_name = pod.namespace_name;
    entry->second.template_hash = label_of(pod, "pod-template-hash");
    if (ask_) {
      queue_.push_back(pod.owner.uid);
    } else {
      deduce(pod.owner.uid);
    }
    // Where the API fails, its names are not waited for.
    if (state_.state == TaskState::failing || refused_until_ms_.contains(pod.owner.kind)) {
      deduce(pod.owner.uid);
    }
    if (ask_ && asked_.empty()) ask_next(now_ms);
  }
  ++entry->second.pods;
  pods_[pod.uid] = {pod.owner.uid, list_};
  state_.objects = entries_.size();
}

void Owners::remove(const std::string& pod) {
  const auto seen = pods_.find(pod);
  if (seen == pods_.end()) return;
  const std::string owner = seen->second.owner;
  pods_.erase(seen);
  release(owner);
}

void Owners::release(const std::string& owner) {
  const auto entry = entries_.find(owner);
  if (entry == entries_.end() || --entry->second.pods > 0) return;
  const bool told = entry->second.known || entry->second.deduced;
  entries_.erase(entry);
  std::erase(queue_, owner);
  if (queue_.empty()) due_ms_ = kNever;
  state_.objects = entries_.size();
  if (told) {
    (void)context_.push(Change{Resource::owners, ChangeKind::remove, Owner{owner, "", "", false}});
  }
}

void Owners::sweep() {
  for (auto seen = pods_.begin(); seen != pods_.end();) {
    if (seen->second.list == list_) {
      ++seen;
      continue;
    }
    const std::string owner = seen->second.owner;
    seen = pods_.erase(seen);
    release(owner);
  }
}

// Brings the owner that can be asked for first to the front of the queue.
void Owners::ask_next(std::int64_t at_ms) {
  due_ms_ = kNever;
  std::size_t first = 0;
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    const auto refused = refused_until_ms_.find(entries_.at(queue_[i]).kind);
    std::int64_t due_ms = std::max(at_ms, next_ms_);
    if (refused != refused_until_ms_.end()) due_ms = std::max(due_ms, refused->second);
    if (due_ms < due_ms_) due_ms_ = due_ms, first = i;
  }
  if (due_ms_ != kNever) std::swap(queue_.front(), queue_[first]);
}

Request Owners::begin(std::int64_t now_ms) {
  const ClusterOptions& options = *context_.options;
  asked_ = std::move(queue_.front());  // due_ms_ says that there is one
  queue_.pop_front();
  body_.clear();
  const Entry& entry = entries_.at(asked_);
  Request request;
  request.url = fmt::format("{}{}/namespaces/{}/{}/{}", options.credentials.server,
                            group_of(entry.kind), percent_encode(entry.namespace_name),
                            plural_of(entry.kind), percent_encode(entry.name));
  request.accept = kMetadataOnly;
  request.deadline_ms = request.stream_silence_ms = options.timing.silence_ms;
  next_ms_ = now_ms + options.timing.owner_gap_ms;
  return request;
}

bool Owners::receive(std::string_view bytes) {
  if (bytes.size() > kMaxOwnerBytes - body_.size()) {
    ++state_.oversized;
    return false;
  }
  body_.append(bytes);
  return true;
}

void Owners::finish(const Outcome& outcome, std::int64_t now_ms) {
  const std::string uid = std::exchange(asked_, {});
  const auto entry = entries_.find(uid);
  const bool wanted = entry != entries_.end();  // its pods are still here
  if (outcome.status == 404) {                  // it is gone already, its pods follow
    if (wanted) deduce(uid);
    return ask_next(now_ms);
  }
  if (refused_or_failed("ask for the owner of a pod", outcome, now_ms)) {
    if (wanted) queue_.push_front(uid);
    if (wanted && state_.state == TaskState::refused) {
      refused_until_ms_[entry->second.kind] = due_ms_;
    } else {
      next_ms_ = due_ms_;
    }
    // Those that have to wait now get what their labels say.
    for (const std::string& waiting : queue_) {
      if (state_.state == TaskState::failing ||
          refused_until_ms_.contains(entries_.at(waiting).kind)) {
        deduce(waiting);
      }
    }
    return ask_next(now_ms);
  }
  if (wanted) answer(uid, entry->second);
  ask_next(now_ms);
}

void Owners::answer(const std::string& uid, Entry& entry) {
  well(entry.kind);
  auto object = read_object(Resource::owners, body_, context_.read_options, context_.read_counters);
  const Owner* owner = object ? std::get_if<Owner>(&*object) : nullptr;
  if (owner == nullptr) ++state_.malformed;
  // Another uid: the owner was deleted and made again under its old name.
  if (owner == nullptr || owner->uid != uid) return deduce(uid);
  const bool controlled = !owner->workload_kind.empty();
  tell(uid, entry, controlled ? owner->workload_kind : entry.kind,
       controlled ? owner->workload_name : entry.name, false);
}

void Owners::well(const std::string& kind) {
  ++state_.lists;
  refused_until_ms_.erase(kind);
  if (!refused_until_ms_.empty()) return;  // the trouble of another kind stays to be seen
  state_.state = TaskState::watching;
  state_.last_error.clear();
  state_.retry_at_ms = 0;
}

void Owners::tell(const std::string& uid, Entry& entry, std::string kind, std::string name,
                  bool deduced) {
  (deduced ? entry.deduced : entry.known) = true;
  (void)context_.push(Change{Resource::owners, ChangeKind::upsert,
                             Owner{uid, std::move(kind), std::move(name), deduced}});
}

// The ReplicaSet "web-5d4f8c" of pods with the label pod-template-hash=5d4f8c was made by the
// Deployment "web". A Job says nothing about its CronJob.
void Owners::deduce(const std::string& uid) {
  const auto found = entries_.find(uid);
  if (found == entries_.end() || found->second.known || found->second.deduced) return;
  Entry& entry = found->second;
  const std::string suffix = "-" + entry.template_hash;
  if (entry.kind == "ReplicaSet" && suffix.size() > 1 && entry.name.size() > suffix.size() &&
      entry.name.ends_with(suffix)) {
    tell(uid, entry, "Deployment", entry.name.substr(0, entry.name.size() - suffix.size()), true);
  } else {
    tell(uid, entry, entry.kind, entry.name, true);
  }
}

}  // namespace tarsier::net::kubernetes
