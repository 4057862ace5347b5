// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The hash of label values: multiply and fold, eight bytes at a time. Keyed by a random seed,
// because label values come from strangers (command names, request paths).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace tarsier::metrics {

__extension__ using uint128 = unsigned __int128;

// Both halves of the 128-bit product, folded; the mixing step of the wyhash family.
[[nodiscard]] inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const uint128 product = static_cast<uint128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// Odd constants without a pattern (digits of the golden ratio and of pi).
inline constexpr std::uint64_t kHash1 = 0x9E3779B97F4A7C15;
inline constexpr std::uint64_t kHash2 = 0x243F6A8885A308D3;

[[nodiscard]] inline std::uint64_t hash_bytes(std::uint64_t hash, std::string_view text) {
  hash = mix(hash ^ kHash1, text.size() ^ kHash2);
  while (text.size() >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), 8);
    hash = mix(hash ^ word, kHash1);
    text.remove_prefix(8);
  }
  // The rest byte by byte into a word: a memcpy of unknown length would be a call.
  std::uint64_t word = 0;
  for (const char c : text) word = (word << 8) | static_cast<std::uint8_t>(c);
  return mix(hash ^ word, kHash2);
}

// 32 bits, because each series keeps its own, and no family has more than a few 100,000.
[[nodiscard]] inline std::uint32_t hash_values(std::uint64_t seed,
                                               std::span<const std::string_view> values) {
  for (const std::string_view value : values) seed = hash_bytes(seed, value);
  return static_cast<std::uint32_t>(seed ^ (seed >> 32));
}

}  // namespace tarsier::metrics
