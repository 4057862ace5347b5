// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "net/kubernetes/splitters.h"

#include <gmock/gmock.h>

#include <random>
#include <vector>

namespace tarsier::net::kubernetes {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Split {
  std::vector<std::string> items;
  std::string envelope, problem;
  std::uint64_t oversized = 0;
};

Split split(std::string_view text, std::size_t piece) {
  Split out;
  ListSplitter splitter("items", [&](std::string_view item) {
    out.items.emplace_back(item);
    return true;
  });
  for (std::size_t at = 0; at < text.size(); at += piece) {
    if (!splitter.feed(text.substr(at, piece))) break;
  }
  if (auto whole = splitter.finish(); !whole) out.problem = whole.error().message;
  out.envelope = splitter.envelope();
  out.oversized = splitter.oversized();
  return out;
}

constexpr std::string_view kList =
    R"( {"kind":"items","metadata":{"items":[1],"resourceVersion":"7"},"items" : [{"a":"]}\"{"} ,
      {"b":[{"items":[{}]}],"c":"\\"}],"more":["x",{"y":1}]} )";

TEST(ListSplitter, CutsAtAnyByte) {
  for (std::size_t piece = 1; piece <= kList.size(); ++piece) {
    const Split out = split(kList, piece);
    EXPECT_EQ(out.problem, "") << piece;
    EXPECT_THAT(out.items, ElementsAre(R"({"a":"]}\"{"})", R"({"b":[{"items":[{}]}],"c":"\\"})"));
    EXPECT_EQ(
        out.envelope,
        R"({"kind":"items","metadata":{"items":[1],"resourceVersion":"7"},"items" : [],"more":["x",{"y":1}]})");
  }
}

TEST(ListSplitter, EmptyLists) {
  EXPECT_EQ(split(R"({"items":[]})", 3).problem, "");
  EXPECT_EQ(split(R"({"items":null,"kind":"PodList"})", 3).problem, "");
  EXPECT_THAT(split("{}", 3).problem, HasSubstr("has no \"items\""));
}

TEST(ListSplitter, NamesThePlaceOfWhatIsWrong) {
  for (const auto& [text, words] : {
           std::pair{"x", "byte 0: it is not a JSON object"},
           {"[]", "byte 0: it is not a JSON object"},
           {"", "ends early, after 0 bytes"},
           {R"({"items":[)", "ends early, after 10 bytes"},
           {R"({"items":[1]})", "byte 10: \"items\" is not a list of objects"},
           {R"({"items":["a"]})", "not a list of objects"},
           {R"({"items":[[]]})", "not a list of objects"},
           {R"({"items":[{}{}]})", "byte 12: \"items\" is not a list"},
           {R"({"items":[{},]})", "a ',' that nothing follows"},
           {R"({"items":[,{}]})", "not a list of objects"},
           {R"({"items":[{]})", "a ']' that closes nothing"},
           {R"({"items":[]} x)", "something follows the list"},
           {R"({"items":[]}{})", "something follows the list"},
           {"}", "closes nothing"},
       }) {
    EXPECT_THAT(split(text, 4).problem, HasSubstr(words)) << text;
  }
}

TEST(ListSplitter, IsBounded) {
  EXPECT_THAT(split("{\"a\":" + std::string(100'000, '['), 4096).problem,
              HasSubstr("deeper than 64"));
  EXPECT_THAT(split("{\"items\":[{\"a\":" + std::string(100'000, '['), 4096).problem,
              HasSubstr("deeper than 64"));
  EXPECT_THAT(split("{\"a\":\"" + std::string(100'000, 'a'), 4096).problem,
              HasSubstr("around the objects"));
  const std::string huge = "{\"a\":\"" + std::string(kMaxObjectBytes, 'a') + "\"}";
  const Split out = split("{\"items\":[" + huge + ",{\"b\":1}," + huge + "]}", 4096);
  EXPECT_EQ(out.problem, "");
  EXPECT_THAT(out.items, ElementsAre("{\"b\":1}"));
  EXPECT_EQ(out.oversized, 2U);
}

TEST(ListSplitter, StopsWhenNoMoreIsWanted) {
  int items = 0;
  ListSplitter splitter("items", [&](std::string_view) { return ++items < 2; });
  EXPECT_FALSE(splitter.feed(R"({"items":[{},{},{}]})"));
  EXPECT_EQ(items, 2);
}

TEST(ListSplitter, MutatedListsNeverCrash) {
  std::mt19937 random(5);
  for (int i = 0; i < 20'000; ++i) {
    std::string text(kList);
    for (auto edits = random() % 6; edits > 0; --edits) {
      text[random() % text.size()] = "{}[]\",:\\ax\x80"[random() % 11];
    }
    (void)split(text, 1 + random() % 40);
  }
}

TEST(LineSplitter, CutsAtAnyByte) {
  const std::string text = "{\"a\":1}\n\r\n\n{\"b\":2}\r\n{\"half\"";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    std::vector<std::string> lines;
    LineSplitter splitter([&](std::string_view line) {
      lines.emplace_back(line);
      return true;
    });
    for (std::size_t at = 0; at < text.size(); at += piece) {
      EXPECT_TRUE(splitter.feed(std::string_view(text).substr(at, piece)));
    }
    EXPECT_THAT(lines, ElementsAre("{\"a\":1}", "{\"b\":2}\r"));
  }
}

TEST(LineSplitter, ALongLineIsSkippedAndCounted) {
  std::vector<std::string> lines;
  LineSplitter splitter([&](std::string_view line) {
    lines.emplace_back(line);
    return true;
  });
  const std::string piece(100'000, 'x');
  for (int i = 0; i < 100; ++i) splitter.feed(piece);
  splitter.feed("\nok\n");
  EXPECT_THAT(lines, ElementsAre("ok"));
  EXPECT_EQ(splitter.oversized(), 1U);
}

}  // namespace
}  // namespace tarsier::net::kubernetes
