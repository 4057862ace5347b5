// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What every transfer of ours has in common, whoever drives it. For the .cpp files of this room.
#pragma once

#include <curl/curl.h>

#include <cstddef>

namespace tarsier::net {

inline constexpr std::size_t kMaxHeader = 64U << 10U;  // all header lines of an answer together

struct CurlListDeleter {
  void operator()(curl_slist* list) const { ::curl_slist_free_all(list); }
};
struct CurlHandleDeleter {
  void operator()(CURL* handle) const { ::curl_easy_cleanup(handle); }
};

// Takes back all options of the handle (its connection stays) and switches off what does not fit a
// daemon: signals, redirects, proxies from the environment, protocols other than HTTP/1.1.
inline void reset_options(CURL* handle) {
  ::curl_easy_reset(handle);
  ::curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  ::curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  ::curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  // Empty, not unset: else the environment decides.
  ::curl_easy_setopt(handle, CURLOPT_PROXY, "");
  ::curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
}

}  // namespace tarsier::net
