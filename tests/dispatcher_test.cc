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
  std::promise<std::vector<AttemptId>> promise;
  std::future<std::vector<AttemptId>> answer = promise.get_future();

  Dispatcher::Poll For(int64_t session, const Clock& clock) {
    Dispatcher::Poll poll;
    poll.session = session;
    poll.free = Shape{0, "", 64, 0};
    poll.deadline = clock.SinceBoot() + absl::Hours(1);
    poll.is_gone = [] { return false; };
    poll.answer = [this](absl::StatusOr<std::vector<AttemptId>> granted) {
      promise.set_value(granted.ok() ? *std::move(granted) : std::vector<AttemptId>());
    };
    return poll;
  }
};

TEST(DispatcherTest, AWorkerThatIsDrainedHoldsUpNoOtherLikeIt) {
  SceneMaker scenes;
  SceneOptions options;
  options.stage = Stage::kPending;
  const Scene scene = scenes.Make(options);
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

  scenes.Sql(
      "insert into run_queue (shape_id, priority, pos, run_id) "
      "select shape_id, priority, queue_pos, run_id from runs where run_id = " +
      std::to_string(scene.run_id));
  dispatcher.Wake();
  ASSERT_EQ(other.answer.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const std::vector<AttemptId> granted = other.answer.get();
  ASSERT_EQ(granted.size(), 1U);
  EXPECT_EQ(granted[0].run_id, scene.run_id);
  dispatcher.Stop();
  EXPECT_TRUE(drained.answer.get().empty());
}

}  // namespace
}  // namespace finetuned
