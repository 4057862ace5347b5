// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/builders.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>

namespace tarsier::net::kubernetes {

bool is_ip(const std::string& text) {
  in6_addr out = {};
  return ::inet_pton(AF_INET, text.c_str(), &out) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &out) == 1;
}

void Builder::add_address(std::vector<std::string>& list, const std::string& value) {
  if (!is_ip(value) || std::ranges::find(list, value) != list.end()) return;
  if (room(list, kMaxAddresses)) list.push_back(value);
}

namespace {

// The metadata that services, slices and nodes have in common.
template <class T>
bool name_and_namespace(T& object, const Path& path, std::string value) {
  if (path.is({"metadata", "name"})) return object.name = std::move(value), true;
  if constexpr (requires { object.namespace_name; }) {
    if (path.is({"metadata", "namespace"})) return object.namespace_name = std::move(value), true;
  }
  return false;
}

class WithPorts : public Builder {
 public:
  using Builder::Builder;

 protected:
  void port_text(std::string_view name, const std::string& value) {
    if (name == "name") port_.name = clean(value);
    if (name == "protocol") port_.protocol = clean(value);
  }
  void port_number(std::string_view name, std::int64_t value) {
    if (value < 1 || value > 65535) return;
    if (name == "port") port_.port = static_cast<std::uint16_t>(value);
    if (name == "nodePort") port_.node_port = static_cast<std::uint16_t>(value);
  }
  void begin_port() { port_ = {}; }
  void end_port(std::vector<ServicePort>& ports) {
    if (port_.port != 0 && room(ports, kMaxPorts)) ports.push_back(std::move(port_));
    port_ = {};
  }

 private:
  ServicePort port_;
};

class ServiceBuilder : public WithPorts {
 public:
  using WithPorts::WithPorts;
  void text(const Path& path, const std::string& value) override {
    if (path.size() < 2) return;
    if (path.is({"spec", "clusterIP"}) || path.is({"spec", "clusterIPs", ""})) {
      add_address(service_.cluster_ips, value);  // "None" of a headless service is no address
    } else if (path.is({"spec", "externalIPs", ""}) ||
               path.is({"status", "loadBalancer", "ingress", "", "ip"})) {
      add_address(service_.external_ips, value);
    } else if (path.size() == 4 && path.begins({"spec", "ports", ""})) {
      port_text(path[3], value);
    } else if (path[0] == "metadata" && path.size() == 2) {
      name_and_namespace(service_, path, clean(value));
    }
  }
  void number(const Path& path, std::int64_t value) override {
    if (path.size() == 4 && path.begins({"spec", "ports", ""})) port_number(path[3], value);
  }
  void open(const Path& path) override {
    if (path.is({"spec", "ports", ""})) begin_port();
  }
  void close(const Path& path) override {
    if (path.is({"spec", "ports", ""})) end_port(service_.ports);
  }
  Object take() override {
    if (service_.name.empty() || service_.namespace_name.empty()) return {};
    return std::move(service_);
  }

 private:
  Service service_;
};

class SliceBuilder : public WithPorts {
 public:
  using WithPorts::WithPorts;
  void text(const Path& path, const std::string& value) override {
    if (path.begins({"endpoints", ""})) return endpoint_text(path, value);
    if (path.size() == 3 && path.begins({"ports", ""})) return port_text(path[2], value);
    if (path.is({"metadata", "labels", "kubernetes.io/service-name"})) {
      slice_.service = clean(value);
    } else if (path.size() == 2 && path[0] == "metadata") {
      name_and_namespace(slice_, path, clean(value));
    }
  }
  void number(const Path& path, std::int64_t value) override {
    if (path.size() == 3 && path.begins({"ports", ""})) port_number(path[2], value);
  }
  void open(const Path& path) override {
    if (path.is({"ports", ""})) begin_port();
    if (path.is({"endpoints", ""})) endpoint_ = {}, is_pod_ = false;
  }
  void close(const Path& path) override {
    if (path.is({"ports", ""})) end_port(slice_.ports);
    if (!path.is({"endpoints", ""})) return;
    if (!is_pod_) endpoint_.pod.clear(), endpoint_.pod_namespace.clear();
    if (!endpoint_.addresses.empty() && room(slice_.endpoints, kMaxEndpoints)) {
      slice_.endpoints.push_back(std::move(endpoint_));
    }
    endpoint_ = {};
  }
  Object take() override {
    if (slice_.name.empty() || slice_.namespace_name.empty()) return {};
    return std::move(slice_);
  }

 private:
  void endpoint_text(const Path& path, const std::string& value) {
    if (path.size() == 4 && path[2] == "addresses") add_address(endpoint_.addresses, value);
    if (path.size() == 3 && path[2] == "nodeName") endpoint_.node = clean(value);
    if (path.size() != 4 || path[2] != "targetRef") return;
    if (path[3] == "kind") is_pod_ = value == "Pod";
    if (path[3] == "name") endpoint_.pod = clean(value);
    if (path[3] == "namespace") endpoint_.pod_namespace = clean(value);
  }
  EndpointSlice slice_;
  Endpoint endpoint_;
  bool is_pod_ = false;
};

class NodeBuilder : public Builder {
 public:
  using Builder::Builder;
  void text(const Path& path, const std::string& value) override {
    if (path.size() == 3 && path.begins({"metadata", "labels"})) {
      if (path[2] == "topology.kubernetes.io/zone") node_.zone = clean(value);
      add_label(node_.labels, path[2], value);
    } else if (path.is({"status", "addresses", "", "type"})) {
      type_ = value.substr(0, kMaxText);
    } else if (path.is({"status", "addresses", "", "address"})) {
      address_ = value.substr(0, kMaxText);
    } else if (path.size() == 2 && path[0] == "metadata") {
      name_and_namespace(node_, path, clean(value));
    }
  }
  void open(const Path& path) override {
    if (path.is({"status", "addresses", ""})) type_.clear(), address_.clear();
  }
  void close(const Path& path) override {
    if (!path.is({"status", "addresses", ""})) return;
    if (type_ == "InternalIP") add_address(node_.internal_ips, address_);
    if (type_ == "ExternalIP") add_address(node_.external_ips, address_);
  }
  Object take() override {
    if (node_.name.empty()) return {};
    return std::move(node_);
  }

 private:
  Node node_;
  std::string type_, address_;
};

// The metadata of a ReplicaSet or a Job: who controls it.
class OwnerBuilder : public Builder {
 public:
  using Builder::Builder;
  void text(const Path& path, const std::string& value) override {
    if (path.is({"metadata", "uid"})) owner_.uid = clean(value);
    if (path.size() != 4 || !path.begins({"metadata", "ownerReferences", ""})) return;
    if (path[3] == "kind") kind_ = clean(value);
    if (path[3] == "name") name_ = clean(value);
  }
  void boolean(const Path& path, bool value) override {
    if (path.is({"metadata", "ownerReferences", "", "controller"})) controller_ = value;
  }
  void open(const Path& path) override {
    if (!path.is({"metadata", "ownerReferences", ""})) return;
    kind_.clear(), name_.clear();
    controller_ = false;
  }
  void close(const Path& path) override {
    if (!path.is({"metadata", "ownerReferences", ""}) || !controller_) return;
    owner_.workload_kind = kind_;
    owner_.workload_name = name_;
  }
  Object take() override {
    if (owner_.uid.empty()) return {};
    return std::move(owner_);
  }

 private:
  Owner owner_;
  std::string kind_, name_;
  bool controller_ = false;
};

}  // namespace

std::unique_ptr<Builder> make_builder(Resource resource, const ReadOptions& options,
                                      ReadCounters& counters) {
  switch (resource) {
    case Resource::pods: return make_pod_builder(options, counters);
    case Resource::services: return std::make_unique<ServiceBuilder>(counters);
    case Resource::endpoint_slices: return std::make_unique<SliceBuilder>(counters);
    case Resource::owners: return std::make_unique<OwnerBuilder>(counters);
    case Resource::own_node:
    case Resource::nodes: break;
  }
  return std::make_unique<NodeBuilder>(counters);
}

}  // namespace tarsier::net::kubernetes
