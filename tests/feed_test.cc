// What users follow over several runs: every event once, in order, whatever commits late.

#include <future>
#include <map>
#include <set>
#include <thread>

#include "tests/lifecycle.h"

namespace finetuned {
namespace {

class FeedTest : public LifecycleTest {
 protected:
  FeedTest() { request_.set_parent("workspaces/-"); }

  // Events as `run/number`, in the order they came.
  struct Followed {
    std::vector<std::string> events;
    std::string cursor;
    absl::Status status;
  };

  // Reads until so many events have come, or to a message without any where `count` is 0; then
  // leaves. `from` has the events of the streams before.
  Followed Follow(TestClient& client, const v1::WatchEventsRequest& request, size_t count) {
    Followed followed;
    const auto context = client.Context();
    const auto stream = client.runs().WatchEvents(context.get(), request);
    v1::WatchEventsResponse message;
    while (stream->Read(&message)) {
      EXPECT_FALSE(message.has_run());
      for (const auto& event : message.events()) {
        followed.events.push_back(event.run().substr(event.run().rfind('/') + 1) + "/" +
                                  std::to_string(event.seq()));
      }
      followed.cursor = message.cursor();
      if (followed.events.size() >= count && (count > 0 || message.events_size() == 0)) {
        context->TryCancel();
        break;
      }
    }
    followed.status = FromGrpc(stream->Finish());
    return followed;
  }

  std::string Create(TestClient& client, const std::string& name) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id(name);
    const auto run = client.Create(request);
    EXPECT_TRUE(run.ok()) << run.status();
    return run.ok() ? run->name() : "";
  }

  // Numbers of each run are 1, 2, 3, ...; the number of the last.
  static std::map<std::string, int64_t> CheckOrder(const std::vector<std::string>& events) {
    std::map<std::string, int64_t> last;
    for (const std::string& event : events) {
      const size_t slash = event.find('/');
      const int64_t seq = std::stoll(event.substr(slash + 1));
      EXPECT_EQ(seq, last[event.substr(0, slash)] + 1) << event;
      last[event.substr(0, slash)] = seq;
    }
    return last;
  }

  v1::WatchEventsRequest request_;
};

TEST_F(FeedTest, EveryEventOfEveryRunComesOnceWhicheverDaemonIsAsked) {
  installation_.Sql("update owners set active_limit = 1000");
  const auto other = installation_.StartDaemon();
  TestClient second(other->listen(), installation_.Token("ann@example.com", "user"));
  constexpr int kRuns = 60;
  // Two writers through two daemons, and a reader that changes between them.
  std::thread one([&] {
    for (int i = 0; i < kRuns; ++i) {
      const std::string name = Create(user_, "one-" + std::to_string(i));
      EXPECT_TRUE(user_.Cancel(name).ok());
    }
  });
  std::thread two([&] {
    for (int i = 0; i < kRuns; ++i) {
      const std::string name = Create(second, "two-" + std::to_string(i));
      EXPECT_TRUE(second.Cancel(name).ok());
    }
  });
  std::vector<std::string> events;
  for (int round = 0; events.size() < size_t{4 * kRuns}; ++round) {
    const Followed followed = Follow(round % 2 == 0 ? user_ : second, request_,
                                     std::min<size_t>(7, 4 * kRuns - events.size()));
    events.insert(events.end(), followed.events.begin(), followed.events.end());
    ASSERT_NE(followed.cursor, "") << followed.status;
    request_.set_cursor(followed.cursor);
  }
  one.join();
  two.join();
  const auto last = CheckOrder(events);
  EXPECT_EQ(last.size(), size_t{2 * kRuns});
  EXPECT_EQ(events.size(), size_t{4 * kRuns});
  for (const auto& [run, seq] : last) EXPECT_EQ(seq, 2) << run;
}

TEST_F(FeedTest, WhatCommitsLateIsNotPassedBy) {
  Create(user_, "early");
  Create(user_, "late");
  const Followed before = Follow(user_, request_, 2);
  EXPECT_EQ(before.events.size(), 2u);
  // Begins before the other event and is committed after it.
  std::thread slow([&] {
    installation_.Sql(
        "begin; update runs set last_seq = last_seq + 1, feed_pos = greatest(feed_pos, "
        "feed_position()) where name = 'late'; insert into run_events (run_id, seq, event_time, "
        "epoch, type, message, detail, feed_pos) select run_id, last_seq, clock_timestamp(), 0, "
        "'UPDATED', 'x', '', feed_pos from runs where name = 'late'; select pg_sleep(1); commit");
  });
  while (installation_.Sql("select count(*) from pg_stat_activity where query like "
                           "'%pg_sleep(1)%' and wait_event = 'PgSleep'") != "1") {
  }
  EXPECT_TRUE(user_.Cancel("early").ok());
  request_.set_cursor(before.cursor);
  const Followed after = Follow(user_, request_, 2);
  slow.join();
  EXPECT_EQ(after.events, (std::vector<std::string>{"late/2", "early/2"}));
}

TEST_F(FeedTest, FiltersHoldInTheLogAndLive) {
  TestClient bob(server_->listen(), installation_.Token("bob@example.com", "user"));
  TestClient admin(server_->listen(), installation_.Token("root@example.com", "admin"));
  const auto start = [&](const std::string& round) {
    Create(user_, "ann-" + round);
    Create(bob, "bob-" + round);
    EXPECT_TRUE(bob.Cancel("bob-" + round).ok());
  };
  struct Case {
    TestClient& client;
    v1::WatchEventsRequest request;
    std::set<std::string> suffixes;
  };
  std::vector<Case> cases = {{user_, request_, {"ann-/1"}},
                             {bob, request_, {"bob-/1", "bob-/2"}},
                             {admin, request_, {"ann-/1", "bob-/1", "bob-/2"}}};
  cases.push_back({admin, request_, {"bob-/1", "bob-/2"}});
  cases.back().request.add_user_emails("bob@example.com");
  cases.push_back({admin, request_, {"bob-/2"}});
  cases.back().request.add_types(v1::RunEvent::CANCELED);
  cases.push_back({bob, request_, {}});
  cases.back().request.add_user_emails("ann@example.com");
  start("x");
  for (Case& one : cases) {
    const Followed followed = Follow(one.client, one.request, one.suffixes.size());
    std::set<std::string> expected;
    for (std::string suffix : one.suffixes) expected.insert(suffix.insert(suffix.find('/'), "x"));
    EXPECT_EQ(std::set<std::string>(followed.events.begin(), followed.events.end()), expected);
    one.request.set_cursor(followed.cursor);
  }
  // The same again while they follow.
  std::vector<std::thread> readers;
  for (Case& one : cases) {
    if (one.suffixes.empty()) continue;
    readers.emplace_back([&] {
      const Followed followed = Follow(one.client, one.request, one.suffixes.size());
      std::set<std::string> expected;
      for (std::string suffix : one.suffixes) expected.insert(suffix.insert(suffix.find('/'), "y"));
      EXPECT_EQ(std::set<std::string>(followed.events.begin(), followed.events.end()), expected);
    });
  }
  start("y");
  for (std::thread& reader : readers) reader.join();
}

TEST_F(FeedTest, FromNowOnNothingOlderComes) {
  Create(user_, "older");
  request_.set_from_now(true);
  const Followed before = Follow(user_, request_, 0);
  EXPECT_TRUE(before.events.empty());
  Create(user_, "newer");
  request_.set_from_now(false);
  request_.set_cursor(before.cursor);
  EXPECT_EQ(Follow(user_, request_, 1).events, std::vector<std::string>{"newer/1"});
}

TEST_F(FeedTest, ACursorFitsOnlyItsOwnStream) {
  Create(user_, "one");
  const std::string cursor = Follow(user_, request_, 1).cursor;
  TestClient bob(server_->listen(), installation_.Token("bob@example.com", "user"));
  const auto reason = [&](TestClient& client, const v1::WatchEventsRequest& request) {
    return ErrorReason(Follow(client, request, 1).status);
  };
  request_.set_cursor(cursor);
  EXPECT_EQ(reason(bob, request_), "BAD_CURSOR");
  v1::WatchEventsRequest wrong = request_;
  wrong.add_types(v1::RunEvent::FAILED);
  EXPECT_EQ(reason(user_, wrong), "BAD_CURSOR");
  for (const std::string& forged :
       {cursor + "x", cursor.substr(1), std::string("AAAA"), std::string(10000, 'A')}) {
    wrong = request_;
    wrong.set_cursor(forged);
    EXPECT_EQ(reason(user_, wrong), "BAD_CURSOR") << forged.substr(0, 100);
  }
  wrong = request_;
  wrong.set_from_now(true);
  EXPECT_EQ(reason(user_, wrong), "BAD_CURSOR");
  wrong = request_;
  wrong.set_after_seq(1);
  EXPECT_EQ(reason(user_, wrong), "BAD_CURSOR");
  wrong = request_;
  wrong.set_name("one");
  EXPECT_EQ(reason(user_, wrong), "BAD_FILTER");
  wrong = request_;
  wrong.add_types(static_cast<v1::RunEvent::Type>(999));
  EXPECT_EQ(reason(user_, wrong), "BAD_EVENT_TYPE");
  wrong.Clear();
  wrong.set_parent("workspaces/other");
  EXPECT_EQ(Follow(user_, wrong, 1).status.code(), absl::StatusCode::kNotFound);
  // The database went back, to a backup for example.
  installation_.Sql("update installation set feed_base = -1000000");
  EXPECT_EQ(reason(user_, request_), "CURSOR_AHEAD");
}

TEST_F(FeedTest, NumbersThatACrashGivesAgainAreNotPassedBy) {
  Create(user_, "before");
  // One that goes on through it all.
  std::promise<void> reading;
  std::vector<std::string> live;
  std::thread follower([&] {
    const auto context = user_.Context();
    const auto stream = user_.runs().WatchEvents(context.get(), request_);
    v1::WatchEventsResponse message;
    while (live.size() < 2 && stream->Read(&message)) {
      for (const auto& event : message.events()) live.push_back(event.run());
      if (live.size() == 1 && message.events_size() > 0) reading.set_value();
    }
    context->TryCancel();
    stream->Finish();
  });
  reading.get_future().wait();
  const auto next = [&] {
    return std::stoll(installation_.Sql("select pg_snapshot_xmax(pg_current_snapshot())"));
  };
  v1::WatchEventsRequest from_now = request_;
  from_now.set_from_now(true);
  std::vector<std::string> cursors;
  bool given_again = false;
  // Whatever the daemon commits between the numbers and the crash keeps them.
  for (int i = 0; i < 20 && !given_again; ++i) {
    // They left nothing in the log.
    installation_.Sql(
        "do $$ begin for n in 1..500 loop perform pg_current_xact_id(); rollback; end loop; end "
        "$$");
    cursors = {Follow(user_, request_, 1).cursor, Follow(user_, from_now, 0).cursor};
    const int64_t reached = next();
    TestPostgres::Get().KillAndRestart();
    given_again = next() < reached && !cursors[0].empty() && !cursors[1].empty();
  }
  EXPECT_TRUE(given_again);
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.set_run_id("after");
  request.set_request_id("0b0a9b8e-6b0e-4f0c-8a33-5a7d4b6d4e11");
  absl::StatusOr<v1::Run> run = user_.Create(request);
  for (int i = 0; i < 20 && !run.ok(); ++i) run = user_.Create(request);
  EXPECT_TRUE(run.ok()) << run.status();
  follower.join();
  EXPECT_EQ(live.size(), 2U);
  EXPECT_EQ(live.back(), run->name());
  for (const std::string& cursor : cursors) {
    request_.set_cursor(cursor);
    EXPECT_EQ(Follow(user_, request_, 1).events, std::vector<std::string>{"after/1"});
  }
}

TEST_F(FeedTest, PositionsGoOnInAClusterThatCountsAnew) {
  Create(user_, "old");
  const std::string cursor = Follow(user_, request_, 1).cursor;
  server_->Stop();
  // As if restored into a cluster with lower numbers.
  installation_.Sql(
      "update run_events set feed_pos = feed_pos + 5000000; "
      "update runs set feed_pos = feed_pos + 5000000");
  server_ = installation_.StartDaemon();
  TestClient again(server_->listen(), installation_.Token("ann@example.com", "user"));
  Create(again, "new");
  const Followed all = Follow(again, request_, 2);
  EXPECT_EQ(all.events, (std::vector<std::string>{"old/1", "new/1"}));
}

}  // namespace
}  // namespace finetuned
