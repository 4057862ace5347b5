// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/fake/protocol.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <tuple>

namespace tarsier::net::kubernetes::fake {
namespace {

using nlohmann::json;

std::string decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out.push_back(
          static_cast<char>(std::strtol(std::string(text.substr(i + 1, 2)).c_str(), nullptr, 16)));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::optional<Kind> list_kind(std::string_view path) {
  static const std::map<std::string_view, Kind> kPaths = {
      {"/api/v1/pods", Kind::pods},
      {"/api/v1/nodes", Kind::nodes},
      {"/api/v1/services", Kind::services},
      {"/apis/discovery.k8s.io/v1/endpointslices", Kind::slices},
      {"/pods", Kind::kubelet}};
  const auto found = kPaths.find(path);
  return found == kPaths.end() ? std::nullopt : std::optional(found->second);
}

// /apis/apps/v1/namespaces/NAMESPACE/replicasets/NAME
std::optional<Asked> single(std::string_view path) {
  for (const auto& [prefix, plural, kind] :
       {std::tuple{"/apis/apps/v1/namespaces/", "/replicasets/", Kind::replica_sets},
        std::tuple{"/apis/batch/v1/namespaces/", "/jobs/", Kind::jobs}}) {
    const std::size_t at = path.find(plural);
    if (!path.starts_with(prefix) || at == std::string_view::npos) continue;
    const std::size_t begin = std::string_view(prefix).size();
    Asked asked;
    asked.kind = kind;
    asked.object = fmt::format("{}/{}", path.substr(begin, at - begin),
                               path.substr(at + std::string_view(plural).size()));
    return asked;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Asked> parse_request(std::string_view head) {
  const std::size_t begin = head.find(' ') + 1;
  const std::string_view target = head.substr(begin, head.find(' ', begin) - begin);
  const std::size_t mark = target.find('?');
  const std::string path = decode(target.substr(0, mark));
  std::optional<Asked> asked = single(path);
  if (!asked) {
    const auto kind = list_kind(path);
    if (!kind) return std::nullopt;
    asked.emplace().kind = *kind;
  }
  asked->head = head;
  std::string_view rest = mark == std::string_view::npos ? "" : target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    const std::size_t equals = std::min(pair.find('='), pair.size() - 1);
    asked->query[std::string(pair.substr(0, equals))] = decode(pair.substr(equals + 1));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
  }
  return asked;
}

std::string status_json(int code, std::string_view message) {
  return json{{"kind", "Status"},
              {"apiVersion", "v1"},
              {"status", "Failure"},
              {"message", message},
              {"code", code},
              {"reason", code == 410 ? "Expired" : code == 403 ? "Forbidden" : "Unknown"}}
      .dump();
}

std::string gzip(const std::string& text) {
  z_stream stream = {};
  if (::deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
  std::string out(::deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (::deflate(&stream, Z_FINISH) != Z_STREAM_END) std::abort();
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

}  // namespace tarsier::net::kubernetes::fake
