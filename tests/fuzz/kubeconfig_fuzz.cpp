// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Any bytes as a kubeconfig: no crash and no hang.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "net/kubernetes/credentials.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string path =
      (std::filesystem::temp_directory_path() / ("kubeconfig-fuzz-" + std::to_string(::getpid())))
          .string();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const auto credentials = tarsier::net::kubernetes::kubeconfig_credentials(path);
  std::filesystem::remove(path);
  if (credentials && !credentials->server.starts_with("http")) std::abort();
  return 0;
}
