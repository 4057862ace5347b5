// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "config/scalar.h"

#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "base/text.h"
#include "config/listen.h"
#include "config/targets.h"
#include "config/units.h"

namespace tarsier::config {
namespace {

constexpr std::size_t kMaxLabelNameBytes = 64;
constexpr std::size_t kMaxPodLabelBytes = 253 + 1 + 63;  // prefix/name, Kubernetes' own limits
constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view kDigits = "0123456789";

// Why a text is refused; nothing when it is fine, an empty reason when describe() says it all.
using Refusal = std::optional<std::string>;
const Refusal kFine = std::nullopt;

bool made_of(std::string_view text, std::initializer_list<std::string_view> sets) {
  return std::ranges::all_of(text, [&](char c) {
    return std::ranges::any_of(sets, [c](std::string_view set) { return set.contains(c); });
  });
}

Refusal check_path(std::string_view text) {
  if (text.empty() || text.starts_with('/')) return kFine;
  return "it does not start with a /";
}

Refusal check_socket(std::string_view text) {
  if (text == "off") return kFine;
  if (text.size() >= sizeof(sockaddr_un::sun_path)) {
    return fmt::format("the kernel takes at most {} bytes", sizeof(sockaddr_un::sun_path) - 1);
  }
  return check_path(text);
}

Refusal check_listen(std::string_view text, bool auto_allowed) {
  const auto address = parse_listen(text);
  if (!address) return address.error().message;
  if (address->mode == ListenAddress::Mode::automatic && !auto_allowed) return "";
  return kFine;
}

Refusal check_url(std::string_view text) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (text.starts_with(scheme) && text.size() > scheme.size()) return kFine;
  }
  return text.empty() ? kFine : Refusal("");
}

Refusal check_label_name(std::string_view text) {
  if (text.empty() || text.size() > kMaxLabelNameBytes || kDigits.contains(text[0]) ||
      !made_of(text, {kLetters, kDigits, "_"})) {
    return "";
  }
  return text.starts_with("__") ? Refusal("names that start with __ belong to Prometheus") : kFine;
}

// The prefixes of crypt(5) methods that are fit for passwords.
Refusal check_hash(std::string_view text) {
  for (const std::string_view method : {"$2b$", "$2y$", "$5$", "$6$", "$y$"}) {
    if (text.starts_with(method) && text.size() > method.size() + 20) return kFine;
  }
  return "";
}

Refusal check_pattern(std::string_view text) {
  std::string why = pattern_error(std::string(text));
  return why.empty() ? kFine : Refusal(std::move(why));
}

Refusal check_choice(std::string_view text, std::span<const std::string_view> choices) {
  if (std::ranges::find(choices, text) != choices.end()) return kFine;
  const std::string_view near = text.size() > 64 ? "" : base::nearest(text, choices);
  return near.empty() ? Refusal("") : fmt::format("did you mean \"{}\"?", near);
}

Refusal check_text(std::string_view text, const Shape& shape) {
  if (text.size() > kMaxTextBytes) {
    return fmt::format("it is longer than {} bytes", kMaxTextBytes);
  }
  if (base::escape_control(text).size() != text.size()) return "it holds a control character";
  switch (shape.form) {
    case Form::choice: return check_choice(text, shape.choices);
    case Form::path: return check_path(text);
    case Form::socket_path: return check_socket(text);
    case Form::listen: return check_listen(text, false);
    case Form::listen_auto: return check_listen(text, true);
    case Form::url: return check_url(text);
    case Form::pattern: return check_pattern(text);
    case Form::label_name: return check_label_name(text);
    case Form::label_value: return text.size() <= base::kMaxLabelBytes ? kFine : Refusal("");
    case Form::pod_label:
      return !text.empty() && text.size() <= kMaxPodLabelBytes &&
                     made_of(text, {kLetters, kDigits, "-_./"})
                 ? kFine
                 : Refusal("");
    case Form::user_name: return !text.empty() && !text.contains(':') ? kFine : Refusal("");
    case Form::password_hash: return check_hash(text);
    default: return kFine;
  }
}

std::string range(const std::string& noun, const std::string& min, const std::string& max) {
  return fmt::format("{} from {} to {}", noun, min, max);
}

std::string describe_choices(std::span<const std::string_view> choices) {
  std::string text;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i != 0) text.append(i + 1 == choices.size() ? " or " : ", ");
    text.append(fmt::format("\"{}\"", choices[i]));
  }
  return text;
}

std::string complaint(const Value& value, const Shape& shape, bool secret, std::string_view reason,
                      bool wrong_type) {
  std::string text = "must be " + describe(shape);
  if (!secret) {
    const std::string shown =
        value.type == Value::Type::date ? std::string(value.type_name()) : excerpt(value.to_toml());
    const bool with_type = wrong_type && value.type != Value::Type::date;
    text = fmt::format("is {}{}, but {}", shown,
                       with_type ? fmt::format(" ({})", value.type_name()) : "", text);
  }
  if (!reason.empty()) text.append(reason.ends_with('?') ? "; " : ": ").append(reason);
  return text;
}

// An integer in the shape's range, from whatever spelling the form allows.
std::optional<std::int64_t> integer_of(const Value& value, Form form) {
  const bool is_text = value.type == Value::Type::text;
  if (form == Form::duration) return is_text ? parse_duration(value.text) : std::nullopt;
  if (form == Form::size && is_text) return parse_size(value.text);
  return value.type == Value::Type::integer ? std::optional(value.integer) : std::nullopt;
}

bool type_fits(const Value& value, Form form) {
  using Type = Value::Type;
  switch (form) {
    case Form::boolean: return value.type == Type::boolean;
    case Form::integer: return value.type == Type::integer;
    case Form::number: return value.type == Type::integer || value.type == Type::number;
    case Form::duration: return value.type == Type::text;
    case Form::size: return value.type == Type::integer || value.type == Type::text;
    default: break;
  }
  // From the command line a value carries its spelling, so that node.name=17 is a text.
  return value.type == Type::text ||
         (!value.text.empty() && value.type != Type::list && value.type != Type::table);
}

}  // namespace

Shape shape_of(const Option& option) {
  Shape shape;
  switch (option.type) {
    case OptionType::boolean: shape.form = Form::boolean; break;
    case OptionType::integer: shape.form = Form::integer; break;
    case OptionType::number: shape.form = Form::number; break;
    case OptionType::duration: shape.form = Form::duration; break;
    case OptionType::text: shape.form = Form::text; break;
  }
  shape.min = option.min;
  shape.max = option.max;
  shape.number_min = option.number_min;
  shape.number_max = option.number_max;
  return shape;
}

std::string describe(const Shape& shape) {
  switch (shape.form) {
    case Form::boolean: return "true or false";
    case Form::integer:
      return range("an integer", fmt::format("{}", shape.min), fmt::format("{}", shape.max));
    case Form::number:
      if (shape.number_max == std::numeric_limits<double>::max()) return "a finite number";
      return range("a number", fmt::format("{}", shape.number_min),
                   fmt::format("{}", shape.number_max));
    case Form::duration:
      return range("a duration such as \"250ms\", \"5s\", \"5m\" or \"1h\",",
                   format_duration(shape.min), format_duration(shape.max));
    case Form::size:
      return range("a size such as \"256MiB\" or a number of bytes,", format_size(shape.min),
                   format_size(shape.max));
    case Form::text: return "a string";
    case Form::choice: return describe_choices(shape.choices);
    case Form::path: return "an absolute path, or \"\" for none";
    case Form::socket_path: return "an absolute path, or \"off\"";
    case Form::listen:
      return "an IP address and port such as \"127.0.0.1:9921\" or \"[::]:9921\" (port 0: a free "
             "one), or \"off\"";
    case Form::listen_auto:
      return "an IP address and port such as \"127.0.0.1:9920\" or \"[::]:9920\" (port 0: a free "
             "one), \"auto\" or \"off\"";
    case Form::url: return "a URL that starts with http:// or https://, or \"\" for none";
    case Form::pattern: return "a regular expression (RE2 syntax) for the whole value";
    case Form::label_name:
      return fmt::format("at most {} letters, digits and _, not starting with a digit",
                         kMaxLabelNameBytes);
    case Form::label_value:
      return fmt::format("a string of at most {} bytes", base::kMaxLabelBytes);
    case Form::pod_label: return "the key of a Kubernetes label such as \"app.kubernetes.io/name\"";
    case Form::user_name: return "a user name without a colon";
    case Form::password_hash:
      return "a crypt(5) hash that starts with $2b$, $2y$, $5$, $6$ or $y$ (`openssl passwd -6` "
             "makes one)";
  }
  return {};
}

std::expected<Scalar, std::string> read_scalar(const Value& value, const Shape& shape,
                                               bool secret) {
  const auto refuse = [&](std::string_view reason) {
    return std::unexpected(
        complaint(value, shape, secret, reason, reason.empty() && !type_fits(value, shape.form)));
  };
  if (!type_fits(value, shape.form)) return refuse("");
  switch (shape.form) {
    case Form::boolean: return value.boolean;
    case Form::integer:
    case Form::duration:
    case Form::size: {
      const auto integer = integer_of(value, shape.form);
      if (!integer || *integer < shape.min || *integer > shape.max) return refuse("");
      return *integer;
    }
    case Form::number: {
      const double number =
          value.type == Value::Type::integer ? static_cast<double>(value.integer) : value.number;
      if (!(number >= shape.number_min && number <= shape.number_max)) return refuse("");
      return number;
    }
    default: break;
  }
  if (const auto refusal = check_text(value.text, shape)) return refuse(*refusal);
  return value.text;
}

Value show_scalar(const Scalar& scalar, const Shape& shape) {
  if (const auto* integer = std::get_if<std::int64_t>(&scalar)) {
    if (shape.form == Form::duration) return Value::of(format_duration(*integer));
    if (shape.form == Form::size) return Value::of(format_size(*integer));
    return Value::of(*integer);
  }
  return std::visit([](const auto& value) { return Value::of(value); }, scalar);
}

}  // namespace tarsier::config
