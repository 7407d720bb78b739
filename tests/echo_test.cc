// What was asked for comes back, whole, in every answer; and what was not asked for, as its
// default.

#include <google/protobuf/util/message_differencer.h>

#include "absl/strings/str_cat.h"
#include "tests/bad_input.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

using google::protobuf::util::MessageDifferencer;

class EchoTest : public LifecycleTest {
 protected:
  absl::StatusOr<v1::ListRunsResponse> List(const v1::ListRunsRequest& request = {}) {
    v1::ListRunsResponse response;
    const absl::Status status =
        CallFor(user_, user_.runs(), &v1::RunService::Stub::ListRuns, request, &response);
    if (!status.ok()) return status;
    return response;
  }

  // A request that sets every field, none to its default.
  v1::CreateRunRequest Everything() {
    v1::CreateRunRequest request = ValidRequest(installation_);
    v1::RunSpec& spec = *request.mutable_run()->mutable_spec();
    EXPECT_TRUE(
        ArtifactStore(installation_.data_root()).Put("weights/model.safetensors", "w").ok());
    spec.set_task_type(v1::RunSpec::INSTRUCTION_FINETUNE);
    spec.set_train_data_path(installation_.data_root() + "/t.jsonl");
    spec.set_eval_data_path(installation_.data_root() + "/e.jsonl");
    spec.add_eval_prompts("One?");
    spec.set_custom_weights_path(installation_.data_root() + "/weights");
    spec.set_training_duration("3ep");
    spec.set_learning_rate(1e-4);
    spec.set_context_length(128);
    spec.set_register_to("a.b.c");
    spec.set_experiment_path("/echo/all");
    spec.set_validate_inputs(true);
    spec.set_save_interval("2ep");
    spec.set_save_num_to_keep(5);
    v1::Compute& compute = *spec.mutable_compute();
    compute.set_gpus(1);
    compute.set_gpu_type("h200");
    compute.set_cpus(2);
    compute.set_memory_bytes(1 << 30);
    compute.set_nodes(1);
    spec.mutable_scheduling()->set_priority(v1::Scheduling::LOW);
    spec.mutable_scheduling()->set_max_retries(2);
    spec.mutable_scheduling()->mutable_max_run_time()->set_seconds(3600);
    spec.mutable_scheduling()->mutable_max_queue_time()->set_seconds(7200);
    v1::Recipe& recipe = *spec.mutable_recipe();
    recipe.set_batch_size(4);
    recipe.set_micro_batch_size(2);
    recipe.set_schedule(v1::Recipe::COSINE);
    recipe.set_warm_up_fraction(0.1);
    recipe.set_optimizer(v1::Recipe::ADAMW);
    recipe.set_weight_decay(0.01);
    recipe.set_max_gradient_norm(0.5);
    recipe.set_precision(v1::Recipe::BFLOAT16);
    recipe.set_packing(true);
    recipe.set_seed(5);
    recipe.mutable_lora()->set_rank(4);
    recipe.mutable_lora()->set_alpha(8);
    recipe.mutable_lora()->set_dropout(0.1);
    recipe.mutable_lora()->add_target_modules("q_proj");
    return request;
  }

  void ExpectEverySet(const google::protobuf::Message& message) {
    const auto* reflection = message.GetReflection();
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      const auto* field = message.GetDescriptor()->field(i);
      if (field->name() == "data_prep_cluster_id") continue;  // Must be empty.
      EXPECT_TRUE(field->is_repeated() ? reflection->FieldSize(message, field) > 0
                                       : reflection->HasField(message, field))
          << field->full_name();
    }
  }
};

TEST_F(EchoTest, EveryFieldComesBackInEveryAnswer) {
  const v1::CreateRunRequest request = Everything();
  const v1::RunSpec& given = request.run().spec();
  ExpectEverySet(given);
  ExpectEverySet(given.compute());
  ExpectEverySet(given.scheduling());
  ExpectEverySet(given.recipe());
  ExpectEverySet(given.recipe().lora());
  const auto created = user_.Create(request);
  ASSERT_TRUE(created.ok()) << created.status();
  const auto listed = List();
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(listed->runs_size(), 1);
  auto got = user_.Get(created->name());
  ASSERT_TRUE(got.ok()) << got.status();
  for (const v1::Run& run : {*created, *got, listed->runs(0)}) {
    EXPECT_TRUE(MessageDifferencer::Equals(run.spec(), given)) << run.spec().DebugString();
  }
  // A listing has all that GetRun has, but why it waits.
  got->clear_wait();
  got->clear_state_reason();
  EXPECT_TRUE(MessageDifferencer::Equals(*got, listed->runs(0))) << listed->runs(0).DebugString();
}

TEST_F(EchoTest, WhatIsLeftOutComesBackAsItsDefault) {
  v1::CreateRunRequest request;
  request.set_run_id("least");
  v1::RunSpec least;
  least.set_model("finetuned/tiny-llama");
  least.set_train_data_path(installation_.data_root() + "/t.jsonl");
  *request.mutable_run()->mutable_spec() = least;
  const auto run = user_.Create(request);
  ASSERT_TRUE(run.ok()) << run.status();
  const v1::RunSpec& spec = run->spec();
  EXPECT_EQ(spec.task_type(), v1::RunSpec::CHAT_COMPLETION);
  EXPECT_EQ(spec.training_duration(), "1ep");
  EXPECT_EQ(spec.learning_rate(), 5e-7);
  EXPECT_EQ(spec.context_length(), 512);
  EXPECT_EQ(spec.experiment_path(), "/Users/ann@example.com/least");
  EXPECT_TRUE(spec.validate_inputs());
  EXPECT_EQ(spec.save_interval(), "1ep");
  EXPECT_EQ(spec.save_num_to_keep(), -1);
  EXPECT_EQ(spec.compute().cpus(), 1);
  EXPECT_EQ(spec.scheduling().priority(), v1::Scheduling::AUTO);
  EXPECT_EQ(spec.recipe().batch_size(), 8);
  for (const std::string& empty : {spec.eval_data_path(), spec.custom_weights_path(),
                                   spec.register_to(), spec.data_prep_cluster_id()}) {
    EXPECT_EQ(empty, "");
  }
}

TEST_F(EchoTest, AListingHasAHundredRunsUnlessAskedForMore) {
  installation_.Sql("update owners set active_limit = 200");
  for (int i = 0; i < 101; ++i) {
    ASSERT_TRUE(user_.Create(ValidRequest(installation_)).ok());
    if (i == 0) installation_.Sql("update owners set active_limit = 200");
  }
  EXPECT_EQ(List()->runs_size(), 100);
  EXPECT_NE(List()->next_page_token(), "");
  v1::ListRunsRequest request;
  request.set_page_size(101);
  EXPECT_EQ(List(request)->runs_size(), 101);
}

TEST_F(EchoTest, TheQuotaCountsARunUntilItHasEnded) {
  const v1::AttemptRef attempt = StartRun();
  installation_.Sql("update owners set active_limit = 1 where email = 'ann@example.com'");
  const auto refused = [&](v1::Run::State state) {
    EXPECT_EQ(user_.Get(name_)->state(), state);
    EXPECT_EQ(ErrorReason(user_.Create(ValidRequest(installation_)).status()), "ACTIVE_RUNS_QUOTA")
        << v1::Run::State_Name(state);
  };
  refused(v1::Run::STARTING);
  const absl::Time before = FromProtoTime(user_.Get(name_)->update_time());
  ASSERT_TRUE(worker_.Report(attempt, 1, {EventOfType(v1::RunEvent::STARTED)}).ok());
  EXPECT_GT(FromProtoTime(user_.Get(name_)->update_time()), before);
  refused(v1::Run::RUNNING);
  ASSERT_TRUE(user_.Cancel(name_).ok());
  refused(v1::Run::TERMINATING);
  v1::AttemptEnd end = Exit(75);
  end.set_stop(v1::CANCEL);
  ASSERT_TRUE(worker_.Complete(attempt, end, 1).ok());
  EXPECT_EQ(user_.Get(name_)->state(), v1::Run::STOPPED);
  EXPECT_TRUE(user_.Create(ValidRequest(installation_)).ok());
  const auto events = user_.Events(name_);
  ASSERT_GE(events->events_size(), 2);
  const v1::RunEvent& last = events->events(events->events_size() - 1);
  EXPECT_EQ(last.type(), v1::RunEvent::CANCELED);
  EXPECT_EQ(last.message(), "Run canceled.");
  const v1::RunEvent& asked = events->events(events->events_size() - 2);
  EXPECT_EQ(asked.type(), v1::RunEvent::STOP_REQUESTED);
  EXPECT_EQ(asked.message(), "Canceled by user.");
}

TEST_F(EchoTest, AnExperimentIsMeantByItsNameAndItsUidToo) {
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.mutable_run()->mutable_spec()->set_experiment_path("/echo/by-id");
  const auto run = user_.Create(request);
  ASSERT_TRUE(user_.Create(ValidRequest(installation_)).ok());
  const std::string uid = run->experiment().substr(run->experiment().rfind('/') + 1);
  for (const std::string& name : {run->experiment(), uid, std::string("/echo/by-id")}) {
    v1::ListRunsRequest list;
    list.set_experiment(name);
    const auto listed = List(list);
    ASSERT_EQ(listed->runs_size(), 1) << name;
    EXPECT_EQ(listed->runs(0).name(), run->name());
  }
  v1::CancelRunsRequest cancel;
  cancel.set_experiment(uid);
  cancel.set_reason("Not needed any more.");
  v1::CancelRunsResponse canceled;
  ASSERT_TRUE(
      CallFor(user_, user_.runs(), &v1::RunService::Stub::CancelRuns, cancel, &canceled).ok());
  ASSERT_EQ(canceled.results_size(), 1);
  EXPECT_EQ(canceled.results(0).outcome(), v1::CancelRunsResponse::Result::STOPPED);
}

TEST_F(EchoTest, ARunWithoutCheckpointsHasAnEmptyList) {
  const auto run = user_.Create(ValidRequest(installation_));
  v1::ListCheckpointsRequest request;
  request.set_name(run->name());
  v1::ListCheckpointsResponse response;
  const absl::Status status =
      CallFor(user_, user_.runs(), &v1::RunService::Stub::ListCheckpoints, request, &response);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(response.checkpoints_size(), 0);
}

TEST_F(EchoTest, CheckpointsLieUnderTheNameOfTheExperiment) {
  v1::CreateRunRequest request = ValidRequest(installation_);
  request.set_run_id("here");
  request.mutable_run()->mutable_spec()->set_experiment_path("/Shared/My tests");
  ASSERT_TRUE(user_.Create(request).ok());
  ASSERT_TRUE(worker_.Open().ok());
  const auto leases = worker_.Acquire(5);
  ASSERT_EQ(leases->leases_size(), 1);
  EXPECT_EQ(leases->leases(0).checkpoints_path(),
            "workspaces/default/runs/here/artifacts/My tests/checkpoints");
}

}  // namespace
}  // namespace finetuned
