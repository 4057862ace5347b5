// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Records in, numbers out; no kernel.
#include <gtest/gtest.h>

#include <cerrno>

#include "connections.h"
#include "tarsier/testkit.h"

namespace tarsier {

extern const ProbeSpec tcp_probe;

namespace {

using testkit::CaptureSinks;
using testkit::FakeMaps;

constexpr std::uint64_t kSecond_ns = 1'000'000'000;
constexpr std::uint64_t kBegan = 100 * kSecond_ns;

class TcpTest : public testing::Test {
 protected:
  // A client connection of process 42, opened one second after the probe, established 3 ms later.
  static tcp_record record(std::uint16_t type, std::uint64_t time_ns = kBegan + 2 * kSecond_ns) {
    tcp_record made{};
    made.header = {time_ns, type, 0, 42, 7};
    made.sock = 0xffff888000001000;
    made.opened_ns = kBegan + kSecond_ns;
    made.established_ns = made.opened_ns + 3'000'000;
    made.role = ROLE_CLIENT;
    return made;
  }

  void feed(const tcp_record& one) { ASSERT_TRUE(probe_->on_event(bytes_of(one), sinks_)); }
  double client(const std::string& metric) {
    return sinks_.value("tarsier_tcp_" + metric + "{role=\"client\"}", "42");
  }

  testkit::DefaultOptions options_{tcp_probe.options};
  testkit::FakeHost host_;
  CaptureSinks sinks_;
  FakeMaps maps_;
  std::unique_ptr<Probe> probe_ = tcp_probe.make({options_, host_, kBegan});
};

TEST_F(TcpTest, AConnectionFromItsStartToItsEnd) {
  feed(record(TCP_OPENED));
  EXPECT_EQ(client("connections_opened_total"), 1);
  EXPECT_EQ(client("connections_active"), 1);
  tcp_record end = record(TCP_CLOSED, kBegan + 9 * kSecond_ns);
  end.sent_bytes = 1009;
  end.received_bytes = 503;
  end.retransmitted_segments = 3;
  end.srtt_us = 250;
  feed(end);
  EXPECT_EQ(sinks_.text(),
            "tarsier_tcp_connect_duration_seconds{role=\"client\"} 1/0.003 @42\n"
            "tarsier_tcp_connections_active{role=\"client\"} 0 @42\n"
            "tarsier_tcp_connections_closed_total{role=\"client\"} 1 @42\n"
            "tarsier_tcp_connections_opened_total{role=\"client\"} 1 @42\n"
            "tarsier_tcp_received_bytes_total{role=\"client\"} 503 @42\n"
            "tarsier_tcp_retransmits_total{role=\"client\"} 3 @42\n"
            "tarsier_tcp_rtt_seconds{role=\"client\"} 1/0.00025 @42\n"
            "tarsier_tcp_sent_bytes_total{role=\"client\"} 1009 @42");
}

TEST_F(TcpTest, ALostOpeningIsMadeUpForByTheEnd) {
  tcp_record end = record(TCP_CLOSED);
  end.sent_bytes = 11;
  feed(end);
  EXPECT_EQ(client("connections_opened_total"), 1);
  EXPECT_EQ(client("connections_closed_total"), 1);
  EXPECT_EQ(client("connections_active"), 0);
  EXPECT_EQ(client("sent_bytes_total"), 11);
}

TEST_F(TcpTest, ALostEndIsFoundByTheSecondSample) {
  feed(record(TCP_OPENED));
  maps_.iterators["sample"] = {};  // the kernel has no such connection any more
  probe_->on_tick(kBegan + 20 * kSecond_ns, maps_, sinks_);
  EXPECT_EQ(client("connections_closed_total"), 0) << "its end may still wait in the ring";
  probe_->on_tick(kBegan + 25 * kSecond_ns, maps_, sinks_);
  EXPECT_EQ(client("connections_closed_total"), 1);
  EXPECT_EQ(client("connections_active"), 0);
}

// Closed in the kernel, so not sampled, but the record of the end is read after the sample.
TEST_F(TcpTest, AnEndThatIsReadAfterTheSampleIsCountedOnce) {
  feed(record(TCP_OPENED));
  maps_.iterators["sample"] = {};
  probe_->on_tick(kBegan + 20 * kSecond_ns, maps_, sinks_);
  feed(record(TCP_CLOSED));
  probe_->on_tick(kBegan + 25 * kSecond_ns, maps_, sinks_);
  EXPECT_EQ(client("connections_opened_total"), 1);
  EXPECT_EQ(client("connections_closed_total"), 1);
  EXPECT_EQ(client("connections_active"), 0);
}

TEST_F(TcpTest, AFailedSampleEndsNothing) {
  feed(record(TCP_OPENED));
  probe_->on_tick(kBegan + 20 * kSecond_ns, maps_, sinks_);  // no iterator on this kernel
  EXPECT_EQ(client("connections_active"), 1);
}

TEST_F(TcpTest, BytesOfAnOlderConnectionCountFromTheFirstLook) {
  tcp_record sample = record(TCP_SAMPLE);
  sample.flags = SOCKET_PREEXISTING;
  sample.sent_bytes = 5'000'000;
  feed(sample);
  EXPECT_EQ(client("connections_opened_total"), 0);
  EXPECT_EQ(client("connections_active"), 1);
  EXPECT_EQ(client("sent_bytes_total"), 0);
  sample.sent_bytes += 7;
  feed(sample);
  EXPECT_EQ(client("sent_bytes_total"), 7);
}

TEST_F(TcpTest, AnOlderLookNeverTakesBytesBack) {
  tcp_record sample = record(TCP_SAMPLE);
  sample.sent_bytes = 100;
  feed(sample);
  sample.sent_bytes = 60;
  feed(sample);
  EXPECT_EQ(client("sent_bytes_total"), 100);
}

TEST_F(TcpTest, RoundTripTimeIsObservedEveryTenSecondsAndAtTheEnd) {
  feed(record(TCP_OPENED));
  tcp_record sample = record(TCP_SAMPLE);
  sample.srtt_us = 1'000;
  for (std::uint64_t second = 3; second <= 33; ++second) {
    sample.header.time_ns = kBegan + second * kSecond_ns;
    feed(sample);
  }
  sample.header.type = TCP_CLOSED;
  feed(sample);
  EXPECT_NE(sinks_.text().find("tarsier_tcp_rtt_seconds{role=\"client\"} 4/0.004"),
            std::string::npos)
      << sinks_.text();
}

TEST_F(TcpTest, AnAcceptedConnectionMovesToItsNewOwner) {
  tcp_record opened = record(TCP_OPENED);
  opened.role = ROLE_SERVER;
  feed(opened);
  opened.header.type = TCP_CLOSED;
  opened.header.tgid = 43;
  opened.sent_bytes = 5;
  feed(opened);
  EXPECT_EQ(sinks_.value("tarsier_tcp_connections_active{role=\"server\"}", "42"), 0);
  EXPECT_EQ(sinks_.value("tarsier_tcp_connections_opened_total{role=\"server\"}", "42"), 1);
  EXPECT_EQ(sinks_.value("tarsier_tcp_connections_closed_total{role=\"server\"}", "43"), 1);
  EXPECT_EQ(sinks_.value("tarsier_tcp_sent_bytes_total{role=\"server\"}", "43"), 5);
}

TEST_F(TcpTest, StaleHandlesAreRenewed) {
  feed(record(TCP_OPENED));
  sinks_.make_stale();
  tcp_record end = record(TCP_CLOSED);
  end.sent_bytes = 3;
  feed(end);
  EXPECT_EQ(client("sent_bytes_total"), 3);
  EXPECT_EQ(client("connections_active"), 0);
}

TEST_F(TcpTest, FailuresHaveAReason) {
  tcp_record failed = record(TCP_FAILED);
  failed.established_ns = 0;
  for (const int error :
       {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ECONNRESET, EADDRNOTAVAIL, EPERM, 0, EXFULL}) {
    failed.error = static_cast<std::uint32_t>(error);
    feed(failed);
  }
  for (const char* reason : {"refused", "timeout", "unreachable", "reset", "address_unavailable",
                             "denied", "aborted", "other"}) {
    EXPECT_EQ(sinks_.value("tarsier_tcp_connect_failures_total{role=\"client\",reason=\"" +
                               std::string(reason) + "\"}",
                           "42"),
              1)
        << reason;
  }
}

TEST_F(TcpTest, StoppingTakesActiveConnectionsBack) {
  feed(record(TCP_OPENED));
  probe_->on_stop(sinks_);
  EXPECT_EQ(client("connections_active"), 0);
}

TEST_F(TcpTest, ResetsWithoutAConnectionBelongToTheNode) {
  maps_.put("stray_resets", std::uint32_t{0}, std::array<std::uint64_t, 2>{3, 4});
  probe_->on_tick(kBegan, maps_, sinks_);
  probe_->on_tick(kBegan + kSecond_ns, maps_, sinks_);
  EXPECT_EQ(sinks_.value("tarsier_tcp_resets_total{direction=\"sent\"}", "node"), 7);
}

TEST_F(TcpTest, ShortAndUnknownRecordsAreRefused) {
  tcp_record bad = record(TCP_OPENED);
  EXPECT_FALSE(probe_->on_event(bytes_of(bad).first(sizeof bad - 1), sinks_));
  bad.header.type = 99;
  EXPECT_FALSE(probe_->on_event(bytes_of(bad), sinks_));
  EXPECT_EQ(sinks_.text(), "");
}

// CaptureSinks calls a server by the port that it serves.
TEST_F(TcpTest, EachSeriesIsTowardsItsPeer) {
  tcp_record opened = record(TCP_OPENED);
  opened.remote_port = 443;
  feed(opened);
  tcp_record closed = opened;
  closed.header.type = TCP_CLOSED;
  closed.sent_bytes = 1009;
  closed.srtt_us = 250;
  feed(closed);
  EXPECT_EQ(sinks_.text(),
            "tarsier_tcp_connect_duration_seconds{role=\"client\"} 1/0.003 @42>443\n"
            "tarsier_tcp_connections_active{role=\"client\"} 0 @42>443\n"
            "tarsier_tcp_connections_closed_total{role=\"client\"} 1 @42>443\n"
            "tarsier_tcp_connections_opened_total{role=\"client\"} 1 @42>443\n"
            "tarsier_tcp_received_bytes_total{role=\"client\"} 0 @42>443\n"
            "tarsier_tcp_retransmits_total{role=\"client\"} 0 @42>443\n"
            "tarsier_tcp_rtt_seconds{role=\"client\"} 1/0.00025 @42>443\n"
            "tarsier_tcp_sent_bytes_total{role=\"client\"} 1009 @42>443");
  EXPECT_EQ(sinks_.disconnections, 1);
}

TEST_F(TcpTest, AConnectionGoesOnUnderTheNameThatItsPeerGets) {
  class Renaming final : public CaptureSinks {
   public:
    Peer peer(const Subject&, const Flow&) override { return {++asked, asked > 1}; }
    std::uint32_t asked = 0;
  } sinks;
  tcp_record sample = record(TCP_SAMPLE);
  sample.flags = SOCKET_PREEXISTING;
  const auto look = [&](std::uint64_t sent) {
    sample.sent_bytes = sent;
    ASSERT_TRUE(probe_->on_event(bytes_of(sample), sinks));
  };
  const auto active = [&](const std::string& peer) {
    return sinks.value("tarsier_tcp_connections_active{role=\"client\"}", "42>" + peer);
  };
  look(0);  // asks twice: on finding the connection and on looking at it
  EXPECT_EQ(active("1"), 0);
  EXPECT_EQ(active("2"), 1);
  look(7);
  look(11);
  EXPECT_EQ(sinks.asked, 2U) << "settled, it is not asked about again";
  EXPECT_EQ(sinks.value("tarsier_tcp_sent_bytes_total{role=\"client\"}", "42>2"), 11);
}

TEST_F(TcpTest, AFailedCallNamesWhoWasCalled) {
  tcp_record failed = record(TCP_FAILED);
  failed.remote_port = 5432;
  failed.error = ECONNREFUSED;
  feed(failed);
  EXPECT_EQ(sinks_.text(),
            "tarsier_tcp_connect_failures_total{role=\"client\",reason=\"refused\"} 1 @42>5432");
  EXPECT_EQ(sinks_.disconnections, 1) << "nobody is at that address any longer";
}

}  // namespace
}  // namespace tarsier
