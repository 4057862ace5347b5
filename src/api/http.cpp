// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/http.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace tarsier::api {
namespace {

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char l = lower(c);
  if (l >= 'a' && l <= 'f') return l - 'a' + 10;
  return -1;
}

Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (plus_is_space && text[i] == '+') {
      out.push_back(' ');
      continue;
    }
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return fail(ErrorCode::invalid,
                  fmt::format("a % in \"{}\" is not followed by two hexadecimal "
                              "digits; write %25 for a percent sign",
                              base::escape_control(text)));
    }
    if (high == 0 && low == 0) return fail(ErrorCode::invalid, "%00 stands for nothing here");
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

Status parse_path(std::string_view path, Target& target) {
  path.remove_prefix(1);
  if (path.empty()) return {};
  for (const std::string_view piece : base::split(path, '/')) {
    if (target.segments.size() == kMaxPathSegments) {
      return fail(ErrorCode::invalid,
                  fmt::format("the path has more than {} segments", kMaxPathSegments));
    }
    auto segment = percent_decode(piece, false);
    if (!segment) return std::unexpected(std::move(segment.error()));
    target.segments.push_back(std::move(*segment));
  }
  return {};
}

Status parse_query(std::string_view query, Target& target) {
  for (const std::string_view piece : base::split(query, '&')) {
    if (piece.empty()) continue;
    if (target.query.size() == kMaxQueryParameters) {
      return fail(ErrorCode::invalid,
                  fmt::format("the query has more than {} parameters", kMaxQueryParameters));
    }
    const std::size_t equals = piece.find('=');
    auto key = percent_decode(piece.substr(0, equals), true);
    if (!key) return std::unexpected(std::move(key.error()));
    auto value =
        percent_decode(equals == piece.npos ? std::string_view() : piece.substr(equals + 1), true);
    if (!value) return std::unexpected(std::move(value.error()));
    target.query.emplace(std::move(*key), std::move(*value));
  }
  return {};
}

}  // namespace

bool equal_caseless(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

Result<Target> parse_target(std::string_view raw) {
  if (raw.size() > kMaxTargetBytes) {
    return fail(ErrorCode::limit_reached,
                fmt::format("the request target is longer than {} bytes", kMaxTargetBytes));
  }
  if (!raw.starts_with('/')) {
    return fail(ErrorCode::invalid, "the request target is a path that begins with /");
  }
  if (raw.find('\0') != raw.npos) return fail(ErrorCode::invalid, "a zero byte is no character");
  const std::size_t question = raw.find('?');
  Target target;
  if (auto status = parse_path(raw.substr(0, question), target); !status) {
    return std::unexpected(std::move(status.error()));
  }
  if (question != raw.npos) {
    if (auto status = parse_query(raw.substr(question + 1), target); !status) {
      return std::unexpected(std::move(status.error()));
    }
  }
  return target;
}

std::optional<std::string_view> Request::header(std::string_view name) const {
  const auto found = std::ranges::find_if(
      headers, [&](const auto& header) { return equal_caseless(header.first, name); });
  if (found == headers.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> Request::parameter(std::string_view name) const {
  const auto found = query.find(std::string(name));
  if (found == query.end()) return std::nullopt;
  return found->second;
}

std::string_view Request::param(std::string_view name) const {
  const auto found =
      std::ranges::find_if(params, [&](const auto& param) { return param.first == name; });
  return found == params.end() ? std::string_view() : found->second;
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return status < 400 ? "OK" : "Error";
  }
}

Response problem(int status, std::string_view title, std::string_view detail) {
  Response response;
  response.status = status;
  response.content_type = "application/problem+json";
  response.body = fmt::format(R"({{"type":"about:blank","title":"{}","status":{},"detail":"{}"}})",
                              base::escape_json(title.empty() ? reason_phrase(status) : title),
                              status, base::escape_json(detail));
  response.body.push_back('\n');
  return response;
}

Response json(std::string body, int status) {
  Response response;
  response.status = status;
  response.content_type = "application/json";
  response.body = std::move(body);
  return response;
}

}  // namespace tarsier::api
