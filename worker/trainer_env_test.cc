#include "worker/trainer_env.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "nlohmann/json.hpp"
#include "worker/test_support.h"

namespace finetuned {
namespace {

TEST(TrainerEnvironment, HoldsTheContractAndNothingElseOfTheAgents) {
  config::v1::WorkerConfig config;
  config.add_pass_environment("HF_HOME");
  config.add_model_roots("/m1");
  config.add_model_roots("/m2");
  config.set_trainer_dir("/trainer");
  const ArtifactStore store("/root");
  v1::Lease lease;
  lease.mutable_attempt()->set_run_id(7);
  lease.mutable_attempt()->set_epoch(3);
  lease.set_run("workspaces/main/runs/my-run");
  lease.set_artifact_path("w/7");
  lease.set_resume_from("w/7/checkpoints/ep1-ba5");
  lease.mutable_spec()->set_experiment_path("/Users/a/exp");
  lease.mutable_spec()->mutable_compute()->set_cpus(4);
  AttemptNotes notes;
  notes.gpus = {1, 3};
  notes.grace = absl::Seconds(120);
  auto env = TrainerEnvironment(config, store, lease, AttemptDir("/work", {7, 3}), notes,
                                {{"PATH", "/bin"}, {"HF_HOME", "/hf"}, {"AWS_SECRET", "x"}}, 4242);
  EXPECT_EQ(env.count("AWS_SECRET"), 0u);
  EXPECT_EQ(env["PATH"], "/bin");
  EXPECT_EQ(env["HF_HOME"], "/hf");
  EXPECT_EQ(env["FINETUNED_CONTRACT"], "1");
  EXPECT_EQ(env["FINETUNED_RUN_ID"], "7");
  EXPECT_EQ(env["FINETUNED_RUN_NAME"], "my-run");
  EXPECT_EQ(env["RUN_NAME"], "my-run");
  EXPECT_EQ(env["FINETUNED_EXPERIMENT_ID"], "/Users/a/exp");
  EXPECT_EQ(env["FINETUNED_ATTEMPT"], "3");
  EXPECT_EQ(env["FINETUNED_EVENTS"], "/work/attempts/7-3/events.jsonl");
  EXPECT_EQ(env["FINETUNED_CHECKPOINT_DIR"], "/root/w/7/attempts/3/checkpoints");
  EXPECT_EQ(env["FINETUNED_RESUME_FROM"], "/root/w/7/checkpoints/ep1-ba5");
  EXPECT_EQ(env["FINETUNED_MODEL_ROOTS"], "/m1:/m2");
  EXPECT_EQ(env["FINETUNED_GRACE_SECONDS"], "120");
  EXPECT_EQ(env["FINETUNED_STALL_SECONDS"], "1800");
  EXPECT_EQ(env["FINETUNED_THREADS"], "4");
  EXPECT_EQ(env["OMP_NUM_THREADS"], "4");
  EXPECT_EQ(env["CUDA_VISIBLE_DEVICES"], "1,3");
  EXPECT_EQ(env["PET_NPROC_PER_NODE"], "2");
  EXPECT_EQ(env["MASTER_PORT"], "4242");
  EXPECT_EQ(env["PYTHONPATH"], "/trainer");
  EXPECT_EQ(env.count("RANK"), 0u);
  EXPECT_EQ(env["CUDA_DEVICE_ORDER"], "PCI_BUS_ID");
  EXPECT_EQ(env.count("FINETUNED_HUB"), 0u);
  EXPECT_EQ(env.count("HF_HUB_CACHE"), 0u);
}

TEST(TrainerEnvironment, NamesTheHubOnlyWhereItIsAllowed) {
  config::v1::WorkerConfig config;
  config.set_work_dir("/work");
  config.mutable_hub()->set_endpoint("https://hub.example");
  config.mutable_hub()->set_token_file("/etc/hub.token");
  const auto env = [&] {
    return TrainerEnvironment(config, ArtifactStore("/root"), v1::Lease(),
                              AttemptDir("/work", {7, 3}), AttemptNotes(), {}, 4242);
  };
  EXPECT_EQ(env().count("HF_TOKEN_PATH"), 0u);
  config.mutable_hub()->set_enabled(true);
  EXPECT_EQ(env()["FINETUNED_HUB"], "1");
  EXPECT_EQ(env()["HF_ENDPOINT"], "https://hub.example");
  EXPECT_EQ(env()["HF_TOKEN_PATH"], "/etc/hub.token");
  EXPECT_EQ(env()["HF_HUB_CACHE"], "/work/hub");
  config.mutable_hub()->set_cache_dir("/cache");
  EXPECT_EQ(env()["HF_HUB_CACHE"], "/cache");
}

TEST(TrainerSpecJson, HasTheProtosNamesAndAbsoluteWeights) {
  v1::RunSpec spec;
  spec.set_model("a/b");
  spec.set_train_data_path("/data/x.jsonl");
  spec.set_custom_weights_path("runs/1/checkpoints/ep1-ba5");
  const auto text = TrainerSpecJson(ArtifactStore("/root"), spec);
  ASSERT_TRUE(text.ok());
  const auto json = nlohmann::json::parse(*text);
  EXPECT_EQ(json["train_data_path"], "/data/x.jsonl");
  EXPECT_EQ(json["custom_weights_path"], "/root/runs/1/checkpoints/ep1-ba5");
  spec.set_custom_weights_path("/absolute");
  EXPECT_NE(TrainerSpecJson(ArtifactStore("/root"), spec)->find("\"/absolute\""),
            std::string::npos);
}

TEST(PrepareTrainer, MakesTheFoldersAndTheSpec) {
  const std::string work = NewTempFolder();
  const ArtifactStore store(NewTempFolder());
  config::v1::WorkerConfig config;
  config.add_trainer_command("python3");
  config.add_trainer_command("-m");
  v1::Lease lease;
  lease.mutable_attempt()->set_run_id(7);
  lease.mutable_attempt()->set_epoch(3);
  lease.set_artifact_path("w/7");
  const AttemptDir dir(work, {7, 3});
  ASSERT_TRUE(dir.Create(lease, AttemptNotes()).ok());
  const auto spec = PrepareTrainer(config, store, lease, dir, AttemptNotes(), "/deadline");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->argv, (std::vector<std::string>{"python3", "-m"}));
  EXPECT_EQ(spec->stderr_file, store.root() + "/w/7/attempts/3/stderr.log");
  EXPECT_TRUE(store.Head("w/7/attempts/3/checkpoints")->is_folder);
  EXPECT_TRUE(store.Head("w/7/attempts/3/output")->is_folder);
  // Repeatable, after a start that failed.
  EXPECT_TRUE(PrepareTrainer(config, store, lease, dir, AttemptNotes(), "/deadline").ok());
}

TEST(PrepareTrainer, AComposerTrainerReportsWhereTheAdapterIs) {
  const ArtifactStore store(NewTempFolder());
  config::v1::WorkerConfig config;
  config.set_trainer_dir(NewTempFolder());
  v1::Lease lease;
  lease.mutable_attempt()->set_run_id(7);
  lease.mutable_attempt()->set_epoch(3);
  lease.set_artifact_path("w/7");
  const AttemptDir dir(NewTempFolder(), {7, 3});
  ASSERT_TRUE(dir.Create(lease, AttemptNotes()).ok());
  const auto has = [&](const std::string& variable) {
    const auto spec = PrepareTrainer(config, store, lease, dir, AttemptNotes(), "/deadline");
    EXPECT_TRUE(spec.ok()) << spec.status();
    return std::count(spec->environment.begin(), spec->environment.end(), variable) == 1;
  };
  EXPECT_FALSE(has("MOSAICML_PLATFORM=true"));
  EXPECT_TRUE(has("PYTHONPATH=" + config.trainer_dir()));
  const std::string adapters = config.trainer_dir() + "/trainer/adapters";
  ASSERT_TRUE(MakeDirectories(adapters + "/mcli").ok());
  ASSERT_TRUE(WriteFileAtomically(adapters + "/mcli/__init__.py", "").ok());
  EXPECT_TRUE(has("MOSAICML_PLATFORM=true"));
  EXPECT_TRUE(has("MOSAICML_ACCESS_TOKEN_FILE=/dev/null"));
  EXPECT_TRUE(has("PYTHONPATH=" + config.trainer_dir() + ":" + adapters));
}

}  // namespace
}  // namespace finetuned
