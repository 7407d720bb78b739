// Who is served when a run is queued, with a clock that stands still: what is not served at once is
// never served.

#include "daemon/dispatcher.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/faults/scene.h"

namespace finetuned {
namespace {

// A poll whose answer can be waited for.
struct WaitingPoll {
  std::promise<std::vector<LeasedRun>> promise;
  std::future<std::vector<LeasedRun>> answer = promise.get_future();

  Dispatcher::Poll For(int64_t session, const Clock& clock) {
    Dispatcher::Poll poll;
    poll.session = session;
    poll.free = Shape{0, "", 64, 0};
    poll.deadline = clock.SinceBoot() + absl::Hours(1);
    poll.is_gone = [] { return false; };
    poll.answer = [this](absl::StatusOr<std::vector<LeasedRun>> granted) {
      promise.set_value(granted.ok() ? *std::move(granted) : std::vector<LeasedRun>());
    };
    return poll;
  }
};

// The queue's row of a scene's run.
void Queue(SceneMaker& scenes, const Scene& scene) {
  scenes.Sql(
      "insert into run_queue (shape_id, priority, pos, run_id) "
      "select shape_id, priority, queue_pos, run_id from runs where run_id = " +
      std::to_string(scene.run_id));
}

SceneOptions Pending(int others = 0) {
  SceneOptions options;
  options.stage = Stage::kPending;
  options.others = others;
  return options;
}

TEST(DispatcherTest, AWorkerThatIsDrainedHoldsUpNoOtherLikeIt) {
  SceneMaker scenes;
  const Scene scene = scenes.Make(Pending());
  Stores stores(scenes.database().daemon_url);
  ASSERT_TRUE(*stores.leases.RequestDrain(scene.worker, true));
  // The queue is empty, and the first look, a thorough one, finds nothing.
  scenes.Sql("delete from run_queue");
  FakeClock clock;
  Dispatcher dispatcher(&stores.leases, &clock);
  WaitingPoll drained, other;
  dispatcher.Submit(drained.For(scene.session, clock));
  dispatcher.Submit(other.For(scene.other_session, clock));
  dispatcher.Start();
  EXPECT_EQ(other.answer.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);

  Queue(scenes, scene);
  dispatcher.Wake();
  ASSERT_EQ(other.answer.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const std::vector<LeasedRun> granted = other.answer.get();
  ASSERT_EQ(granted.size(), 1U);
  EXPECT_EQ(granted[0].attempt.run_id, scene.run_id);
  dispatcher.Stop();
  EXPECT_TRUE(drained.answer.get().empty());
}

TEST(DispatcherTest, AWorkerThatIsDrainedWhileItWaitsHoldsUpNoOther) {
  SceneMaker scenes;
  const Scene scene = scenes.Make(Pending());
  Stores stores(scenes.database().daemon_url);
  scenes.Sql("delete from run_queue");
  FakeClock clock;
  Dispatcher dispatcher(&stores.leases, &clock);
  WaitingPoll drained, other;
  dispatcher.Submit(drained.For(scene.session, clock));
  dispatcher.Submit(other.For(scene.other_session, clock));
  dispatcher.Start();
  EXPECT_EQ(other.answer.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);

  ASSERT_TRUE(*stores.leases.RequestDrain(scene.worker, true));
  Queue(scenes, scene);
  dispatcher.Wake();
  ASSERT_EQ(other.answer.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const std::vector<LeasedRun> granted = other.answer.get();
  ASSERT_EQ(granted.size(), 1U);
  EXPECT_EQ(granted[0].attempt.run_id, scene.run_id);
  // Taken back, it is served with the next thorough look.
  ASSERT_TRUE(*stores.leases.RequestDrain(scene.worker, false));
  const Scene next = scenes.Make(Pending());
  clock.Advance(Dispatcher::kThoroughInterval);
  dispatcher.Wake();
  ASSERT_EQ(drained.answer.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const std::vector<LeasedRun> later = drained.answer.get();
  ASSERT_EQ(later.size(), 1U);
  EXPECT_EQ(later[0].attempt.run_id, next.run_id);
  dispatcher.Stop();
}

std::vector<int64_t> Ids(const std::vector<LeasedRun>& leases) {
  std::vector<int64_t> ids;
  for (const LeasedRun& lease : leases) ids.push_back(lease.attempt.run_id);
  return ids;
}

TEST(DispatcherTest, OneLookServesAllWhoWait) {
  SceneMaker scenes;
  const Scene scene = scenes.Make(Pending(5));
  Stores stores(scenes.database().daemon_url);
  FakeClock clock;
  Dispatcher dispatcher(&stores.leases, &clock);
  WaitingPoll first, second;
  // In the order in which they came, each as much as it has room for.
  Dispatcher::Poll poll = first.For(scene.session, clock);
  poll.max_count = 2;
  dispatcher.Submit(std::move(poll));
  poll = second.For(scene.other_session, clock);
  poll.free.cpus = 3;
  poll.max_count = 64;
  dispatcher.Submit(std::move(poll));
  dispatcher.Start();
  EXPECT_EQ(Ids(first.answer.get()), (std::vector<int64_t>{scene.run_id, scene.others[0]}));
  EXPECT_EQ(Ids(second.answer.get()),
            (std::vector<int64_t>{scene.others[1], scene.others[2], scene.others[3]}));
  EXPECT_EQ(scenes.Sql("select count(*) from leases"), "5");
  EXPECT_EQ(scenes.Violations(scene), "");
  dispatcher.Stop();
}

TEST(DispatcherTest, AWorkerThatPollsTwiceIsGivenRunsForOnePoll) {
  SceneMaker scenes;
  const Scene scene = scenes.Make(Pending(1));
  Stores stores(scenes.database().daemon_url);
  FakeClock clock;
  Dispatcher dispatcher(&stores.leases, &clock);
  WaitingPoll first, second;
  dispatcher.Submit(first.For(scene.session, clock));
  dispatcher.Submit(second.For(scene.session, clock));
  dispatcher.Start();
  EXPECT_EQ(Ids(first.answer.get()), (std::vector<int64_t>{scene.run_id}));
  // The answer to the first was lost, as far as anybody knows.
  dispatcher.Wake();
  EXPECT_EQ(Ids(second.answer.get()), (std::vector<int64_t>{scene.run_id}));
  EXPECT_EQ(scenes.Sql("select count(*) from leases"), "1");
  dispatcher.Stop();
}

}  // namespace
}  // namespace finetuned
