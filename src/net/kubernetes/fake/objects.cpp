// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/fake/objects.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace tarsier::net::kubernetes::fake {
namespace {

using nlohmann::json;

// Who wrote which field when: often half of an object's bytes, and nothing to us.
json managed_fields(std::string_view manager) {
  json fields = json::parse(R"({"manager":"","operation":"Update","apiVersion":"v1",
    "time":"2026-03-01T08:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{
    ".":{},"f:uid":{}},"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:name":{}},
    "f:ownerReferences":{".":{},"k:{\"uid\":\"0\"}":{}}},"f:spec":{"f:nodeName":{},"f:containers":{
    "k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{".":{},
    "k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:protocol":{}}},
    "f:resources":{".":{},"f:limits":{".":{},"f:memory":{}}},"f:terminationMessagePath":{}}},
    "f:dnsPolicy":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{}}}})");
  fields["manager"] = manager;
  return fields;
}

json metadata(std::string_view namespace_name, std::string_view name, std::string_view uid) {
  json out = {
      {"name", name},
      {"uid", uid},
      {"creationTimestamp", "2026-03-01T08:00:00Z"},
      {"managedFields", {managed_fields("kube-controller-manager"), managed_fields("kubelet")}}};
  if (!namespace_name.empty()) out["namespace"] = namespace_name;
  return out;
}

json references(const FakeOwner& owner) {
  return json::array({{{"apiVersion", "apps/v1"},
                       {"kind", owner.kind},
                       {"name", owner.name},
                       {"uid", owner.uid},
                       {"controller", true},
                       {"blockOwnerDeletion", true}}});
}

constexpr std::string_view kPod =
    R"({"spec":{"volumes":[{"name":"kube-api-access-7lq2c","projected":{
  "sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":
  "kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}}],"defaultMode":420}}],
  "initContainers":[{"name":"migrate","image":"migrate:1","resources":{}},
    {"name":"mesh","image":"proxy:2","restartPolicy":"Always","resources":{}}],
  "containers":[{"name":"web","image":"nginx:1.25","ports":[{"containerPort":8080,"protocol":"TCP"}],
    "env":[{"name":"POD_IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
      {"name":"MODE","value":"production"}],
    "resources":{"limits":{"memory":"256Mi"},"requests":{"cpu":"100m","memory":"256Mi"}},
    "volumeMounts":[{"name":"kube-api-access-7lq2c","readOnly":true,
      "mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],
    "livenessProbe":{"httpGet":{"path":"/healthz","port":8080,"scheme":"HTTP"},"timeoutSeconds":1,
      "periodSeconds":10,"successThreshold":1,"failureThreshold":3},
    "terminationMessagePath":"/dev/termination-log","imagePullPolicy":"IfNotPresent"}],
  "restartPolicy":"Always","dnsPolicy":"ClusterFirst","serviceAccountName":"default",
  "securityContext":{},"schedulerName":"default-scheduler","priority":0,"enableServiceLinks":true,
  "tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute",
    "tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists",
    "effect":"NoExecute","tolerationSeconds":300}]},
  "status":{"phase":"Running","conditions":[{"type":"Initialized","status":"True",
    "lastProbeTime":null,"lastTransitionTime":"2026-03-01T08:00:00Z"},{"type":"Ready",
    "status":"True","lastProbeTime":null,"lastTransitionTime":"2026-03-01T08:00:02Z"}],
  "hostIP":"10.0.0.7","startTime":"2026-03-01T08:00:00Z",
  "initContainerStatuses":[{"name":"migrate","state":{"terminated":{"exitCode":0,
    "reason":"Completed","startedAt":"2026-03-01T08:00:00Z","finishedAt":"2026-03-01T08:00:01Z",
    "containerID":"containerd://aaaa"}},"lastState":{},"ready":true,"restartCount":0,
    "image":"docker.io/library/migrate:1","imageID":"sha256:11","containerID":"containerd://aaaa"},
    {"name":"mesh","state":{"running":{"startedAt":"2026-03-01T08:00:01Z"}},"lastState":{},
    "ready":true,"restartCount":0,"image":"proxy:2","imageID":"sha256:22",
    "containerID":"containerd://bbbb"}],
  "containerStatuses":[{"name":"web","state":{"running":{"startedAt":"2026-03-01T08:00:02Z"}},
    "lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled","startedAt":"2026-02-28T08:00:00Z",
      "finishedAt":"2026-03-01T07:59:59Z","containerID":"containerd://eeee"}},
    "ready":true,"restartCount":3,"image":"docker.io/library/nginx:1.25",
    "imageID":"docker.io/library/nginx@sha256:33","containerID":"","started":true}],
  "qosClass":"Burstable"}})";

}  // namespace

std::string pod_json(const FakePod& pod) {
  json out = json::parse(kPod);
  out["metadata"] = metadata(pod.namespace_name, pod.name, pod.uid);
  out["metadata"]["labels"] = pod.labels;
  if (!pod.annotations.empty()) out["metadata"]["annotations"] = pod.annotations;
  if (!pod.owner.kind.empty()) out["metadata"]["ownerReferences"] = references(pod.owner);
  out["spec"]["nodeName"] = pod.node;
  out["spec"]["containers"][0]["image"] = pod.image;
  if (pod.host_network) out["spec"]["hostNetwork"] = true;
  out["status"]["podIP"] = pod.ip;
  out["status"]["podIPs"] =
      json::array({{{"ip", pod.ip}}, {{"ip", "fd00::" + pod.ip.substr(pod.ip.rfind('.') + 1)}}});
  out["status"]["containerStatuses"][0]["containerID"] = "containerd://" + pod.container_id;
  return out.dump();
}

std::string static_pod_json(std::string_view name, std::string_view node, std::string_view uid,
                            std::string_view config_hash) {
  FakePod pod;
  pod.name = name;
  pod.namespace_name = "kube-system";
  pod.uid = uid;
  pod.node = node;
  pod.labels = {{"component", "kube-apiserver"}, {"tier", "control-plane"}};
  pod.annotations = {{"kubernetes.io/config.hash", std::string(config_hash)},
                     {"kubernetes.io/config.mirror", std::string(config_hash)},
                     {"kubernetes.io/config.source", "file"}};
  pod.owner = {"Node", std::string(node), "node-uid"};
  pod.host_network = true;
  return pod_json(pod);
}

std::string service_json(std::string_view namespace_name, std::string_view name,
                         std::string_view cluster_ip) {
  json out = json::parse(R"({"spec":{"ports":[{"name":"http","protocol":"TCP","port":80,
    "targetPort":8080,"nodePort":30080}],"selector":{"app":"web"},"type":"LoadBalancer",
    "sessionAffinity":"None","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack",
    "externalIPs":["192.0.2.9"],"internalTrafficPolicy":"Cluster"},
    "status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"},{"hostname":"lb.example.com"}]}}})");
  out["metadata"] = metadata(namespace_name, name, fmt::format("svc-{}-{}", namespace_name, name));
  out["metadata"]["labels"] = {{"app", name}};
  out["spec"]["clusterIP"] = cluster_ip;
  out["spec"]["clusterIPs"] = {cluster_ip};
  return out.dump();
}

std::string slice_json(std::string_view namespace_name, std::string_view name,
                       std::string_view service, const std::vector<std::string>& addresses,
                       std::string_view node) {
  json out = json::parse(R"({"addressType":"IPv4","ports":[{"name":"http","protocol":"TCP",
    "port":8080}],"endpoints":[]})");
  out["metadata"] =
      metadata(namespace_name, name, fmt::format("slice-{}-{}", namespace_name, name));
  out["metadata"]["labels"] = {
      {"kubernetes.io/service-name", service},
      {"endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"}};
  out["metadata"]["ownerReferences"] = references({"Service", std::string(service), "svc-uid"});
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    out["endpoints"].push_back(
        {{"addresses", {addresses[i]}},
         {"conditions", {{"ready", true}, {"serving", true}, {"terminating", false}}},
         {"nodeName", node},
         {"zone", "zone-1"},
         {"targetRef",
          {{"kind", "Pod"},
           {"namespace", namespace_name},
           {"name", fmt::format("{}-{}", service, i)},
           {"uid", fmt::format("pod-uid-{}-{}", service, i)}}}});
  }
  return out.dump();
}

std::string node_json(std::string_view name, std::string_view internal_ip,
                      std::string_view external_ip, std::string_view zone) {
  json out = json::parse(R"({"spec":{"podCIDR":"10.1.0.0/24"},"status":{"capacity":{"cpu":"4"},
    "images":[{"names":["docker.io/library/nginx:1.25"],"sizeBytes":70000000}],
    "nodeInfo":{"kernelVersion":"6.1.0","kubeletVersion":"v1.31.1"}}})");
  out["metadata"] = metadata("", name, fmt::format("node-{}", name));
  out["metadata"]["labels"] = {{"kubernetes.io/hostname", name},
                               {"topology.kubernetes.io/zone", zone},
                               {"node.kubernetes.io/instance-type", "m5.large"}};
  out["status"]["addresses"] = json::array({{{"type", "InternalIP"}, {"address", internal_ip}},
                                            {{"type", "Hostname"}, {"address", name}}});
  if (!external_ip.empty()) {
    out["status"]["addresses"].push_back({{"type", "ExternalIP"}, {"address", external_ip}});
  }
  return out.dump();
}

std::string owner_json(std::string_view namespace_name, const FakeOwner& self,
                       const FakeOwner& controller) {
  json out;
  out["metadata"] = metadata(namespace_name, self.name, self.uid);
  if (!controller.kind.empty()) out["metadata"]["ownerReferences"] = references(controller);
  return out.dump();
}

FakePod numbered_pod(std::size_t i, std::string_view node) {
  FakePod pod;
  const std::string hash = fmt::format("{:06x}", i / 10);
  pod.name = fmt::format("web-{}-{:05}", hash, i);
  pod.namespace_name = fmt::format("team-{}", i % 20);
  pod.uid = fmt::format("3f6c8a52-1f0e-4b1f-9d5c-{:012}", i);
  pod.node = node;
  pod.ip = fmt::format("10.{}.{}.{}", 1 + i / 65536, i / 256 % 256, i % 256);
  pod.container_id = fmt::format("{:064x}", i + 1);
  pod.labels["pod-template-hash"] = hash;
  pod.owner = {"ReplicaSet", "web-" + hash, "rs-" + hash};
  return pod;
}

std::string numbered_service(std::size_t i) {
  return service_json(fmt::format("team-{}", i % 20), fmt::format("service-{}", i),
                      fmt::format("10.96.{}.{}", i / 256 % 256, i % 256));
}

std::string numbered_slice(std::size_t i, std::size_t endpoints) {
  std::vector<std::string> addresses;
  for (std::size_t k = 0; k < endpoints; ++k) {
    const std::size_t n = i * endpoints + k;
    addresses.push_back(fmt::format("10.{}.{}.{}", 128 + n / 65536 % 100, n / 256 % 256, n % 256));
  }
  const std::string service = fmt::format("service-{}", i);
  return slice_json(fmt::format("team-{}", i % 20), service + "-abcde", service, addresses,
                    fmt::format("node-{}", i % 50));
}

}  // namespace tarsier::net::kubernetes::fake
