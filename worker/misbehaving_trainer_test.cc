// Trainers that do not keep to the contract, each with the outcome that is defined for it.

#include <algorithm>

#include "worker/agent_fixture.h"

namespace finetuned {
namespace {

// The steps of a run that goes well, to leave one out of.
constexpr char kSaves[] =
    "for f in ep1-ba2 huggingface/ba2; do mkdir -p $FINETUNED_CHECKPOINT_DIR/$f\n"
    "echo w > $FINETUNED_CHECKPOINT_DIR/$f/w; done\n"
    "say '{\"type\":\"checkpoint\",\"path\":\"ep1-ba2\",\"huggingface\":\"huggingface/ba2\","
    "\"step\":2}'\n";
constexpr char kTrains[] =
    "say '{\"type\":\"progress\",\"step\":2,\"total_batches\":2,\"metrics\":{\"train/loss\":1}}'\n";
constexpr char kFinishes[] = "say '{\"type\":\"train_finished\"}'\n";

struct Case {
  const char* what;
  std::string script;
  bool finished;
  // Of the failure; empty where it has finished.
  const char* code;
  v1::Failure::Attribution attribution;
  // Whether a checkpoint is listed.
  bool saves;
};

std::vector<Case> AllCases() {
  const std::string trains = kTrains, saves = kSaves, finishes = kFinishes;
  const std::string good = trains + saves + finishes;
  return {
      {"ends well without a word", "exit 0", false, "EXITED_EARLY", v1::Failure::INTERNAL, false},
      {"trains, and leaves before it says that it has finished", trains + saves + "exit 0", false,
       "EXITED_EARLY", v1::Failure::INTERNAL, true},
      {"finishes without having saved", trains + finishes, false, "NO_FINAL_CHECKPOINT",
       v1::Failure::INTERNAL, false},
      {"finishes, and fails", good + "exit 1", false, "TRAINER_FAILED", v1::Failure::INTERNAL,
       true},
      {"is killed while it writes a checkpoint",
       trains + "mkdir -p $FINETUNED_CHECKPOINT_DIR/ep1-ba2; echo w > "
                "$FINETUNED_CHECKPOINT_DIR/ep1-ba2/w; kill -9 $$",
       false, "KILLED_BY_SIGNAL", v1::Failure::INFRASTRUCTURE, false},
      {"names a checkpoint that is not there",
       trains + "say '{\"type\":\"checkpoint\",\"path\":\"ep1-ba2\",\"step\":2}'\n" + finishes,
       false, "CHECKPOINT_NOT_PUBLISHED", v1::Failure::INFRASTRUCTURE, false},
      {"names a folder that is not its own",
       trains + "say '{\"type\":\"checkpoint\",\"path\":\"../../../etc\",\"step\":2}'\n" + finishes,
       false, "CHECKPOINT_NOT_PUBLISHED", v1::Failure::INFRASTRUCTURE, false},
      {"says the same checkpoint twice", trains + saves + saves + finishes, true, "", {}, true},
      {"leaves programs that ignore every signal",
       "(trap '' TERM HUP INT; exec setsid sleep 600) &\n" + good,
       true,
       "",
       {},
       true},
      {"writes what is no UTF-8, no JSON and no line",
       "printf '\\377\\376{\\n{\"type\":\\n\\000\\001\\n[1,2]\\n\"x\"\\n' >> $FINETUNED_EVENTS\n" +
           good + "printf '{\"type\":\"prog' >> $FINETUNED_EVENTS",
       true,
       "",
       {},
       true},
      {"writes a line of ten megabytes",
       "head -c 10000000 /dev/zero | tr '\\0' x >> $FINETUNED_EVENTS; echo >> $FINETUNED_EVENTS\n" +
           good,
       true,
       "",
       {},
       true},
      {"reports numbers that are none, and ten thousand of them",
       "say "
       "'{\"type\":\"progress\",\"step\":1,\"metrics\":{\"a\":1e400,\"b\":-1e400,\"c\":null}}'\n"
       "{ printf '{\"type\":\"progress\",\"step\":1,\"metrics\":{\"z\":0'; i=0\n"
       "while [ $i -lt 10000 ]; do i=$((i+1)); printf ',\"m%d\":%d' $i $i; done; echo '}}'; } "
       ">> $FINETUNED_EVENTS\n" +
           good,
       true,
       "",
       {},
       true},
      {"lives in 1970 and runs backwards",
       "say "
       "'{\"type\":\"progress\",\"ts\":\"1970-01-01T00:00:01Z\",\"step\":2,\"total_batches\":2}'\n"
       "say "
       "'{\"type\":\"progress\",\"ts\":\"1969-01-01T00:00:01Z\",\"step\":1,\"total_batches\":2}'"
       "\n" +
           good,
       true,
       "",
       {},
       true},
      {"floods",
       "i=0; while [ $i -lt 20000 ]; do i=$((i+1))\n"
       "echo "
       "'{\"type\":\"progress\",\"step\":1,\"total_batches\":2,\"metrics\":{\"train/loss\":2}}'\n"
       "done >> $FINETUNED_EVENTS\n" +
           good,
       true,
       "",
       {},
       true},
  };
}

TEST_F(AgentTest, AnyTrainerComesToItsDefinedEnd) {
  const std::vector<Case> cases = AllCases();
  std::string script = "case $FINETUNED_RUN_NAME in\n";
  for (size_t i = 0; i < cases.size(); ++i) {
    script += "r" + std::to_string(i + 1) + ")\n" + cases[i].script + "\n;;\n";
  }
  Script(script + "esac\n");
  StartAgent();
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& one = cases[i];
    SCOPED_TRACE(one.what);
    const int64_t run = static_cast<int64_t>(i) + 1;
    Offer(run);
    const v1::AttemptEnd end = End(run);
    EXPECT_EQ(end.finished(), one.finished) << end.ShortDebugString();
    EXPECT_EQ(end.failure().code(), one.code) << end.ShortDebugString();
    EXPECT_EQ(end.failure().attribution(), one.attribution);
    EXPECT_EQ(end.out_of_memory(), false);
    const std::vector<v1::RunEvent::Type> types = Types(run);
    const auto count = [&](v1::RunEvent::Type type) {
      return std::count(types.begin(), types.end(), type);
    };
    EXPECT_EQ(count(v1::RunEvent::CHECKPOINT_SAVED) > 0, one.saves);
    const std::string published = daemon_.root + "/runs/" + std::to_string(run) + "/checkpoints";
    EXPECT_EQ(FileExists(published + "/ep1-ba2/manifest.json"), one.saves);
    // However much is said, an event of progress a second is told, and the last.
    EXPECT_LE(count(v1::RunEvent::TRAIN_UPDATED), 20);
    EXPECT_LE(types.size(), 40u);
  }
  EXPECT_EQ(EndAgent(), Agent::kExitOk);
}

}  // namespace
}  // namespace finetuned
