// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "export/negotiate.h"

#include <gtest/gtest.h>

#include <string>

namespace tarsier::exposition {
namespace {

constexpr Format kText = Format::text;
constexpr Format kOpen = Format::openmetrics;

TEST(ChooseFormat, WhatPrometheusSends) {
  // 2.42
  EXPECT_EQ(choose_format("application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
                          "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
            kOpen);
  // 2.30, which knows only OpenMetrics 0.0.1
  EXPECT_EQ(choose_format("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;"
                          "q=0.5,*/*;q=0.1"),
            kText);
  // 3.x, its malformed last element included
  EXPECT_EQ(choose_format("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                          "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;"
                          "version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;"
                          "q=0.2,/;q=0.1"),
            kOpen);
  // 3.x with native histograms: protobuf first, which we do not have
  EXPECT_EQ(choose_format("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                          "encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;"
                          "escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"),
            kOpen);
  // With scrape_protocols: [PrometheusText0.0.4]
  EXPECT_EQ(choose_format("text/plain;version=0.0.4;q=0.2,*/*;q=0.1"), kText);
}

TEST(ChooseFormat, OtherClients) {
  EXPECT_EQ(choose_format(""), kText);
  EXPECT_EQ(choose_format("*/*"), kText);  // curl
  EXPECT_EQ(choose_format("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            kText);
  EXPECT_EQ(choose_format("application/openmetrics-text"), kOpen);
  EXPECT_EQ(choose_format("Application/OpenMetrics-Text; Version=1.0.0"), kOpen);
  EXPECT_EQ(choose_format("application/openmetrics-text; version=\"1.0.0\""), kOpen);
  EXPECT_EQ(choose_format("application/*"), kText) << "not named";
}

TEST(ChooseFormat, Weights) {
  EXPECT_EQ(choose_format("application/openmetrics-text;q=0.4,text/plain;q=0.5"), kText);
  EXPECT_EQ(choose_format("application/openmetrics-text;q=0.5,text/plain;q=0.5"), kOpen);
  EXPECT_EQ(choose_format("application/openmetrics-text;q=0.2,*/*;q=0.5"), kText);
  EXPECT_EQ(choose_format("application/openmetrics-text;q=0"), kText);
  EXPECT_EQ(choose_format("application/openmetrics-text;q=0.000,application/json"), kText);
  // The precise element counts, not the better one.
  EXPECT_EQ(choose_format("text/plain;q=0.1,text/*;q=0.9,application/openmetrics-text;q=0.5"),
            kOpen);
}

TEST(ChooseFormat, GarbageIsText) {
  for (const std::string garbage :
       {",,,", ";;;", "q=1", "application/openmetrics-text;q=banana",
        "application/openmetrics-text;q=2", "application/openmetrics-text;q=-1",
        "application/openmetrics-text;q=nan", "application/openmetrics-text;q=1e0",
        "application/openmetrics-text;q=", "\xFF\xFE;q=\xFF", "application/openmetrics-textx"}) {
    EXPECT_EQ(choose_format(garbage), kText) << garbage;
  }
  std::string endless;
  for (int i = 0; i < 100'000; ++i) endless += "a/b;q=0.5,";
  EXPECT_EQ(choose_format(endless), kText);
}

TEST(AcceptsGzip, ByWeight) {
  EXPECT_TRUE(accepts_gzip("gzip"));  // Prometheus
  EXPECT_TRUE(accepts_gzip("gzip, deflate, br"));
  EXPECT_TRUE(accepts_gzip("GZip;q=0.5"));
  EXPECT_TRUE(accepts_gzip("x-gzip"));
  EXPECT_TRUE(accepts_gzip("*"));
  EXPECT_TRUE(accepts_gzip("gzip, identity"));
  EXPECT_FALSE(accepts_gzip(""));
  EXPECT_FALSE(accepts_gzip("identity"));
  EXPECT_FALSE(accepts_gzip("gzip;q=0"));
  EXPECT_FALSE(accepts_gzip("*, gzip;q=0"));
  EXPECT_FALSE(accepts_gzip("gzip;q=0.5, identity;q=0.8"));
  EXPECT_FALSE(accepts_gzip("br"));
}

TEST(ContentType, NamesTheVersion) {
  EXPECT_EQ(content_type(kText), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(content_type(kOpen), "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

}  // namespace
}  // namespace tarsier::exposition
