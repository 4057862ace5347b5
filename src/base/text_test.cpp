// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base/text.h"

#include <gtest/gtest.h>

namespace tarsier::base {
namespace {

TEST(CleanUtf8, LeavesGoodTextAlone) {
  const CleanText clean = clean_utf8("nginx – ядро – 日本");
  EXPECT_EQ(clean.text, "nginx – ядро – 日本");
  EXPECT_FALSE(clean.repaired);
  EXPECT_FALSE(clean.cut);
}

TEST(CleanUtf8, ReplacesEachBadByte) {
  EXPECT_EQ(clean_utf8("a\xFF\xC0z").text, "a\xEF\xBF\xBD\xEF\xBF\xBDz");
  EXPECT_EQ(clean_utf8("\xED\xA0\x80").text, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // surrogate
  EXPECT_EQ(clean_utf8("\xE2\x82").text, "\xEF\xBF\xBD\xEF\xBF\xBD");                  // truncated
  EXPECT_TRUE(clean_utf8("\xC0\xAF").repaired);                                        // overlong
}

TEST(CleanUtf8, CutsAtACharacter) {
  const CleanText clean = clean_utf8("aé", 2);
  EXPECT_EQ(clean.text, "a");
  EXPECT_TRUE(clean.cut);
  EXPECT_EQ(clean_utf8(std::string(500, 'x')).text.size(), kMaxLabelBytes);
}

TEST(EscapeJson, QuotesControlsAndBadBytes) {
  EXPECT_EQ(escape_json("a\"b\\c\n\xFF"), "a\\\"b\\\\c\\u000a\xEF\xBF\xBD");
}

TEST(EscapeControl, KeepsALineALine) {
  EXPECT_EQ(escape_control("a\nb\x01"), "a\\nb\\x01");
}

TEST(Nearest, FindsWhatWasMeant) {
  constexpr std::string_view kKeys[] = {"series", "stale_after", "memory"};
  EXPECT_EQ(nearest("serie", kKeys), "series");
  EXPECT_EQ(nearest("stale-after", kKeys), "stale_after");
  EXPECT_EQ(nearest("banana", kKeys), "");
}

TEST(Split, KeepsEmptyPieces) {
  EXPECT_EQ(split("a::b", ':'), (std::vector<std::string_view>{"a", "", "b"}));
}

}  // namespace
}  // namespace tarsier::base
