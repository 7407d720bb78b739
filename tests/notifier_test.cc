// What daemons tell one another through Postgres.

#include "db/notifier.h"

#include <poll.h>

#include <atomic>
#include <memory>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "tests/support/test_daemon.h"

namespace finetuned {
namespace {

class NotifierTest : public ::testing::Test {
 protected:
  struct Listener {
    std::atomic<int> runs{0}, queue{0};
    std::atomic<bool> listening{false};
    std::unique_ptr<Notifier> notifier;
  };

  std::unique_ptr<Listener> Start() {
    auto listener = std::make_unique<Listener>();
    Listener* const raw = listener.get();
    listener->notifier = std::make_unique<Notifier>(Notifier::Options{
        installation_.database().daemon_url,
        [raw](Notifier::Topic topic) { ++(topic == Notifier::kQueue ? raw->queue : raw->runs); },
        [raw](bool listening) { raw->listening = listening; }});
    listener->notifier->Start();
    return listener;
  }

  template <typename Condition>
  static bool Eventually(const Condition& condition) {
    const absl::Duration until = RealClock::Get().SinceBoot() + absl::Seconds(30);
    while (!condition()) {
      if (RealClock::Get().SinceBoot() > until) return false;
      poll(nullptr, 0, 5);
    }
    return true;
  }

  // Until the other has heard it: one that has just connected may not have been heard itself yet.
  static bool Reaches(Listener& from, Notifier::Topic topic, const std::atomic<int>& heard) {
    const int before = heard;
    return Eventually([&] {
      from.notifier->Notify(topic);
      return heard > before;
    });
  }

  TestInstallation installation_;
};

TEST_F(NotifierTest, WhatOneSaysTheOthersHearAndNotItself) {
  const auto one = Start();
  const auto two = Start();
  ASSERT_TRUE(Eventually([&] { return one->listening && two->listening; }));
  EXPECT_TRUE(Reaches(*one, Notifier::kQueue, two->queue));
  EXPECT_TRUE(Reaches(*two, Notifier::kRuns, one->runs));
  // What it sent came back before what the other sent later.
  EXPECT_EQ(one->queue, 0);
  EXPECT_TRUE(Reaches(*two, Notifier::kQueue, one->queue));
}

TEST_F(NotifierTest, ALostConnectionIsMadeAnew) {
  const auto one = Start();
  const auto two = Start();
  ASSERT_TRUE(Eventually([&] { return one->listening && two->listening; }));
  ASSERT_TRUE(Reaches(*one, Notifier::kRuns, two->runs));
  installation_.Sql(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like 'notify%' or "
      "query like 'set application_name%'");
  EXPECT_TRUE(Reaches(*one, Notifier::kRuns, two->runs));
  EXPECT_TRUE(Reaches(*two, Notifier::kRuns, one->runs));
  EXPECT_TRUE(Eventually([&] { return one->listening && two->listening; }));
}

TEST_F(NotifierTest, OneThatIsAloneSendsNothingButItsProbe) {
  const auto one = Start();
  ASSERT_TRUE(Eventually([&] { return one->listening.load(); }));
  const std::string sent =
      "select split_part(query, ',', 1) from pg_stat_activity where query like 'notify%' and state "
      "= 'idle'";
  EXPECT_EQ(installation_.Sql(sent), "notify finetuned_runs");
  for (int i = 0; i < 100; ++i) one->notifier->Notify(Notifier::kQueue);
  // Longer than it would wait.
  poll(nullptr, 0, 10 * static_cast<int>(absl::ToInt64Milliseconds(Notifier::kInterval)));
  EXPECT_EQ(installation_.Sql(sent), "notify finetuned_runs");
  EXPECT_EQ(one->queue, 0);
  EXPECT_EQ(one->runs, 0);
}

TEST_F(NotifierTest, ItStopsWhateverItDoes) {
  Listener unreachable;
  unreachable.notifier = std::make_unique<Notifier>(
      Notifier::Options{"host=/nowhere dbname=x", [](Notifier::Topic) {},
                        [&](bool listening) { unreachable.listening = listening; }});
  unreachable.notifier->Start();
  unreachable.notifier->Stop();
  unreachable.notifier->Stop();
  auto other = Start();
  other->notifier->Notify(Notifier::kRuns);
  other.reset();
  EXPECT_FALSE(unreachable.listening);
}

}  // namespace
}  // namespace finetuned
