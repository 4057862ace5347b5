// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/docker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text.h"

namespace tarsier::net {
namespace {

constexpr std::size_t kMaxText = 512;       // of a name or an image, in bytes
constexpr std::size_t kMaxErrorText = 200;  // of a runtime's own words in our messages
constexpr std::string_view kNameLabel = "io.kubernetes.container.name";

// Walks over JSON and keeps nothing but the members of a container. A document tree of a hostile
// answer could take a hundred times the memory of its text.
class Reader : public nlohmann::json_sax<nlohmann::json> {
 public:
  enum class Form { list, one };
  explicit Reader(Form form) : form_(form) {}

  std::vector<RuntimeContainer> containers;
  std::string problem;

  bool null() override { return scalar(); }
  bool boolean(bool) override { return scalar(); }
  bool number_integer(number_integer_t) override { return scalar(); }
  bool number_unsigned(number_unsigned_t) override { return scalar(); }
  bool number_float(number_float_t, const string_t&) override { return scalar(); }
  bool binary(binary_t&) override { return scalar(); }
  bool string(string_t& value) override {
    if (!scalar()) return false;
    take(value);
    return true;
  }
  bool key(string_t& name) override {
    path_.back().assign(name, 0, kMaxText);
    return true;
  }
  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool end_object() override {
    path_.pop_back();
    if (path_.size() == entry_depth()) finish();
    return true;
  }
  bool end_array() override {
    path_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem = fmt::format("it is not JSON from byte {} on", position);
    return false;
  }

 private:
  // How many brackets stand around the object of a container.
  [[nodiscard]] std::size_t entry_depth() const { return form_ == Form::list ? 1 : 0; }

  bool scalar() { return path_.size() > entry_depth() || refuse(); }
  bool refuse() {
    problem = form_ == Form::list ? "it is not a list of objects" : "it is not an object";
    return false;
  }
  bool open(bool array) {
    if (path_.size() <= entry_depth() && array != (path_.size() < entry_depth())) {
      return refuse();
    }
    if (path_.size() >= static_cast<std::size_t>(kMaxJsonDepth)) {
      problem = fmt::format("it is nested deeper than {}", kMaxJsonDepth);
      return false;
    }
    if (path_.size() == entry_depth()) current_ = {}, pod_name_.clear();
    path_.emplace_back();
    return true;
  }

  // The text below the container's object at a.b.c; an element of a list has the name "".
  [[nodiscard]] bool at(std::initializer_list<std::string_view> names) const {
    return path_.size() == entry_depth() + names.size() &&
           std::equal(names.begin(), names.end(), path_.begin() + static_cast<long>(entry_depth()));
  }
  void take(const std::string& value) {
    if (at({"Id"})) {
      if (is_container_id(value)) current_.id = value;
    } else if (form_ == Form::list ? at({"Names", ""}) : at({"Name"})) {
      take_name(value);
    } else if (form_ == Form::list ? at({"Image"}) : at({"Config", "Image"})) {
      current_.image = base::clean_utf8(value, kMaxText).text;
    } else if (form_ == Form::list ? at({"Labels", kNameLabel})
                                   : at({"Config", "Labels", kNameLabel})) {
      pod_name_ = base::clean_utf8(value, kMaxText).text;
    }
  }
  // "/web"; "/other/alias" is the name that a link gives it.
  void take_name(std::string_view name) {
    if (name.starts_with('/')) name.remove_prefix(1);
    if (current_.name.empty() && !name.contains('/')) {
      current_.name = base::clean_utf8(name, kMaxText).text;
    }
  }
  void finish() {
    if (!pod_name_.empty()) current_.name = pod_name_;
    if (!current_.id.empty() && containers.size() < kMaxListed) {
      containers.push_back(std::move(current_));
    }
    current_ = {};
  }

  Form form_;
  std::vector<std::string> path_;  // per open bracket the key that is being read; lists: ""
  RuntimeContainer current_;
  std::string pod_name_;
};

Result<std::vector<RuntimeContainer>> read(std::string_view json, Reader::Form form) {
  Reader reader(form);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) {
    return fail(ErrorCode::invalid, fmt::format("read the runtime's answer: {}", reader.problem));
  }
  return std::move(reader.containers);
}

// The answer of a runtime that did not do what was asked, made fit for one line of log.
std::unexpected<Error> refused(const HttpResponse& response, std::string_view what) {
  const ErrorCode code = response.status == 404 ? ErrorCode::not_found : ErrorCode::unavailable;
  return fail(code,
              fmt::format("{}: the runtime answered {} {}", what, response.status,
                          base::escape_control(
                              base::clean_utf8(base::trim(response.body), kMaxErrorText).text)));
}

}  // namespace

Result<std::vector<RuntimeContainer>> parse_docker_list(std::string_view json) {
  return read(json, Reader::Form::list);
}

Result<RuntimeContainer> parse_docker_container(std::string_view json) {
  auto containers = read(json, Reader::Form::one);
  if (!containers) return std::unexpected(std::move(containers.error()));
  if (containers->empty()) {
    return fail(ErrorCode::invalid, "read the runtime's answer: it names no container");
  }
  return std::move(containers->front());
}

Result<std::vector<RuntimeContainer>> DockerClient::list() {
  const std::string what = fmt::format("list the containers of {}", socket_);
  auto response = http_.get_unix(socket_, "/containers/json", timeout_ms_);
  if (!response) return std::unexpected(std::move(response.error()).in(what));
  if (response->status != 200) {
    auto error = refused(*response, what);
    error.error().code = ErrorCode::unavailable;  // 404: something else listens there
    return error;
  }
  auto containers = parse_docker_list(response->body);
  if (!containers) return std::unexpected(std::move(containers.error()).in(what));
  return containers;
}

Result<RuntimeContainer> DockerClient::get(std::string_view id) {
  if (!is_container_id(id)) return fail(ErrorCode::not_found, "ask for a container: not an id");
  const std::string what = fmt::format("ask {} for container {}", socket_, id);
  auto response = http_.get_unix(socket_, fmt::format("/containers/{}/json", id), timeout_ms_);
  if (!response) return std::unexpected(std::move(response.error()).in(what));
  if (response->status != 200) return refused(*response, what);
  auto container = parse_docker_container(response->body);
  if (!container) return std::unexpected(std::move(container.error()).in(what));
  return container;
}

}  // namespace tarsier::net
