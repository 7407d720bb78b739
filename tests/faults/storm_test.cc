// Many calls at the same moment through three daemons on one Postgres: cancels against ends, and
// creates and leases at the limits. STORM_ROUNDS has them go on for longer.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

using Type = v1::RunEvent;

constexpr int kLimit = 10;
constexpr absl::Duration kLongestGap = absl::Seconds(2);

int Rounds() {
  const char* text = std::getenv("STORM_ROUNDS");
  return text == nullptr ? 200 : std::atoi(text);
}

// Sees every commit: what is active and held of an owner is counted anew whenever a run of it
// moves. The transaction that moves it holds the owner's lock, or the count could not be exact.
constexpr char kWitness[] = R"(
create table witness (owner_id bigint, active int, held int);
create function see() returns trigger language plpgsql security definer set search_path = public as $$
begin
  insert into witness
  select new.owner_id, count(*) filter (where state in ('PENDING', 'QUEUED', 'STARTING', 'RUNNING', 'TERMINATING')),
         count(*) filter (where state in ('QUEUED', 'STARTING', 'RUNNING', 'TERMINATING'))
  from runs where owner_id = new.owner_id;
  return null;
end $$;
create trigger see after insert or update of state on runs for each row execute function see())";

class StormTest : public ::testing::Test {
 protected:
  StormTest() {
    for (auto& daemon : daemons_) daemon = installation_.StartDaemon();
    installation_.Sql(kWitness);
  }

  TestClient Client(int daemon, const std::string& email = "ann@example.com") {
    return TestClient(daemons_[daemon % daemons_.size()]->listen(),
                      installation_.Token(email, "user"));
  }

  int Number(const std::string& sql) { return std::stoi(installation_.Sql(sql)); }

  // The promises that the whole log can be asked for.
  void ExpectAnOrderlyLog() {
    EXPECT_EQ(Number("select count(*) from (select run_id from run_events "
                     "where type in ('COMPLETED', 'FAILED', 'CANCELED') "
                     "group by run_id having count(*) > 1) twice"),
              0);
    EXPECT_EQ(
        Number("select count(*) from runs r where state in ('COMPLETED', 'FAILED', 'STOPPED') "
               "and not exists (select from run_events e where e.run_id = r.run_id "
               "and e.seq = r.last_seq and e.type = case r.state when 'COMPLETED' then "
               "'COMPLETED'::event_type when 'FAILED' then 'FAILED' else 'CANCELED' end)"),
        0);
    EXPECT_EQ(Number("select count(*) from (select run_id from run_events group by run_id "
                     "having max(seq) <> count(*) or min(seq) <> 1) gaps"),
              0);
    EXPECT_EQ(Number("select count(*) from owners o where active <> (select count(*) from runs r "
                     "where r.owner_id = o.owner_id and r.state in "
                     "('PENDING', 'QUEUED', 'STARTING', 'RUNNING', 'TERMINATING'))"),
              0);
  }

  TestInstallation installation_;
  std::array<std::unique_ptr<Server>, 3> daemons_;
};

TEST_F(StormTest, ACancelWinsOrTheEndAndNeverBoth) {
  TestClient user = Client(0);
  TestClient canceler = Client(1);
  TestWorker worker(installation_, *daemons_[2], "w1", 64);
  ASSERT_TRUE(worker.Open().ok());
  std::mt19937 random(1);
  int canceled = 0, completed = 0;
  while (canceled + completed < Rounds()) {
    std::vector<std::string> names;
    for (int i = 0; i < kLimit; ++i) {
      const auto run = user.Create(ValidRequest(installation_));
      ASSERT_TRUE(run.ok()) << run.status();
      names.push_back(run->name());
    }
    std::vector<v1::Lease> leases;
    while (leases.size() < names.size()) {
      worker.held.clear();
      for (const v1::Lease& lease : leases) worker.held.push_back(lease.attempt());
      const auto acquired = worker.Acquire(5, kLimit);
      ASSERT_TRUE(acquired.ok()) << acquired.status();
      leases.insert(leases.end(), acquired->leases().begin(), acquired->leases().end());
    }
    for (const v1::Lease& lease : leases) {
      ASSERT_TRUE(worker
                      .Report(lease.attempt(), 1,
                              {EventOfType(Type::STARTED), EventOfType(Type::TRAIN_FINISHED)})
                      .ok());
    }
    // Each pair meets somewhere else: the two go through them in orders of their own.
    std::shuffle(leases.begin(), leases.end(), random);
    std::map<std::string, v1::CancelRunsResponse::Result::Outcome> answers;
    std::thread canceling([&] {
      for (const std::string& name : names) {
        const auto response = canceler.Cancel(name);
        ASSERT_TRUE(response.ok()) << response.status();
        answers[name] = response->results(0).outcome();
      }
    });
    for (const v1::Lease& lease : leases) {
      v1::AttemptEnd end;
      end.set_exit_code(0);
      end.set_finished(true);
      const auto response = worker.Complete(lease.attempt(), end, 2);
      ASSERT_TRUE(response.ok()) << response.status();
      EXPECT_EQ(response->results(0).status().code(), 0);
    }
    canceling.join();
    for (const std::string& name : names) {
      const v1::Run run = *user.Get(name);
      const bool won = answers[name] != v1::CancelRunsResponse::Result::ALREADY_TERMINAL;
      EXPECT_EQ(run.state(), won ? v1::Run::STOPPED : v1::Run::COMPLETED) << name;
      ++(won ? canceled : completed);
    }
  }
  ExpectAnOrderlyLog();
  printf("%d races: %d canceled, %d completed\n", canceled + completed, canceled, completed);
  // Both must have won now and then, or they did not meet.
  EXPECT_GT(canceled, 0);
  EXPECT_GT(completed, 0);
}

TEST_F(StormTest, CreatesAtTheLimitNeverExceedItAndNeverLeaveASlot) {
  constexpr int kCallers = 9;
  std::atomic<int> admitted{0}, refused{0}, other{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      TestClient user = Client(caller);
      while (admitted + refused < Rounds()) {
        const auto run = user.Create(ValidRequest(installation_));
        if (run.ok()) {
          ++admitted;
        } else if (absl::IsResourceExhausted(run.status())) {
          ++refused;
          // Makes room for one.
          v1::ListRunsResponse runs;
          v1::ListRunsRequest request;
          request.add_states(v1::Run::PENDING);
          request.set_page_size(kCallers);
          EXPECT_TRUE(user.runs().ListRuns(user.Context().get(), request, &runs).ok());
          if (runs.runs_size() > caller) user.Cancel(runs.runs(caller).name()).IgnoreError();
        } else {
          ++other;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(other, 0);
  EXPECT_EQ(Number("select max(active) from witness"), kLimit);
  ExpectAnOrderlyLog();
  // Whatever is free now can be had, to the last.
  TestClient user = Client(0);
  const int active = Number("select active from owners where email = 'ann@example.com'");
  for (int i = active; i < kLimit; ++i) EXPECT_TRUE(user.Create(ValidRequest(installation_)).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(user.Create(ValidRequest(installation_)).status()));
  printf("%d admitted, %d refused\n", admitted.load(), refused.load());
  EXPECT_GT(refused, 0);
}

// Work always waits here, so a worker that asks gets some at once, whoever else asks.
TEST_F(StormTest, LeasesAtTheHoldingLimitNeverExceedItAndNobodyWaitsForLong) {
  constexpr int kHolding = 3;
  TestClient user = Client(2);
  installation_.Sql(
      absl::StrCat("insert into owners (workspace_id, email, holding_limit) "
                   "select workspace_id, 'ann@example.com', ",
                   kHolding, " from workspaces"));
  for (int i = 0; i < kLimit; ++i) ASSERT_TRUE(user.Create(ValidRequest(installation_)).ok());
  std::atomic<int> ended{0};
  std::array<absl::Duration, 2> longest;
  std::vector<std::thread> workers;
  for (size_t i = 0; i < longest.size(); ++i) {
    workers.emplace_back([&, i] {
      TestWorker worker(installation_, *daemons_[i], absl::StrCat("w", i), 2);
      ASSERT_TRUE(worker.Open().ok());
      while (ended < Rounds()) {
        const absl::Time asked = RealClock::Get().Now();
        const auto acquired = worker.Acquire(10, 2);
        ASSERT_TRUE(acquired.ok()) << acquired.status();
        longest[i] = std::max(longest[i], RealClock::Get().Now() - asked);
        for (const v1::Lease& lease : acquired->leases()) {
          v1::AttemptEnd end;
          end.set_exit_code(65);
          ASSERT_TRUE(worker.Complete(lease.attempt(), end, 0).ok());
          ++ended;
        }
      }
    });
  }
  // Refused when there are enough of them.
  while (ended < Rounds()) user.Create(ValidRequest(installation_)).IgnoreError();
  for (std::thread& worker : workers) worker.join();
  EXPECT_LE(Number("select max(held) from witness"), kHolding);
  ExpectAnOrderlyLog();
  const absl::Duration gap = *std::max_element(longest.begin(), longest.end());
  printf("%d ended; the longest that a worker waited: %s\n", ended.load(),
         absl::FormatDuration(gap).c_str());
  EXPECT_LT(gap, kLongestGap);
}

}  // namespace
}  // namespace finetuned
