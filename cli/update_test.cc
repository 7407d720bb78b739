// `run update`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "base/time.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

absl::Status Mismatch() {
  return MakeError(absl::StatusCode::kAborted, "ETAG_MISMATCH", "the run has changed");
}

// One run, updated as the service does it.
class Update : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    run_ = TestRun("run-1", v1::Run::PENDING);
    (*run_.mutable_labels())["team"] = "red";
    (*run_.mutable_labels())["stage"] = "one";
    run_.set_etag("e1");
    server_.get_run = [this](const v1::GetRunRequest&, v1::Run* run) {
      ++reads_;
      *run = run_;
      return absl::OkStatus();
    };
    server_.update_run = [this](const v1::UpdateRunRequest& request, v1::Run* run) {
      if (before_update_) before_update_();
      const absl::Status status = Apply(request);
      *run = run_;
      return status;
    };
  }

  absl::Status Apply(const v1::UpdateRunRequest& request) {
    requests_.push_back(request);
    const std::string& etag = request.run().etag();
    if (!etag.empty() && etag != run_.etag()) return Mismatch();
    for (const std::string& path : request.update_mask().paths()) {
      const v1::Scheduling& from = request.run().spec().scheduling();
      v1::Scheduling& to = *run_.mutable_spec()->mutable_scheduling();
      if (path == "labels") {
        *run_.mutable_labels() = request.run().labels();
      } else if (path == "spec.scheduling.priority") {
        to.set_priority(from.priority());
      } else if (path == "spec.scheduling.max_retries") {
        to.set_max_retries(from.max_retries());
      } else if (path == "spec.scheduling.max_queue_time") {
        *to.mutable_max_queue_time() = from.max_queue_time();
      } else if (from.has_max_run_time()) {
        *to.mutable_max_run_time() = from.max_run_time();
      } else {
        to.clear_max_run_time();
      }
    }
    Touch();
    return absl::OkStatus();
  }

  // As every change does.
  void Touch() { run_.set_etag("e" + std::to_string(++etag_)); }

  // The first update is made and its answer is lost.
  void LoseTheFirstAnswer() {
    server_.update_run = [this, lost = false](const v1::UpdateRunRequest& request,
                                              v1::Run* run) mutable {
      const absl::Status status = Apply(request);
      *run = run_;
      if (lost) return status;
      lost = true;
      return absl::UnavailableError("connection reset");
    };
  }

  std::vector<std::string> Mask(size_t request = 0) {
    const auto& paths = requests_.at(request).update_mask().paths();
    return {paths.begin(), paths.end()};
  }

  v1::Run run_;
  int etag_ = 1;
  int reads_ = 0;
  std::function<void()> before_update_;
  std::vector<v1::UpdateRunRequest> requests_;
};

TEST_F(Update, KeepsTheLabelsThatItDoesNotName) {
  EXPECT_EQ(Run({"run", "update", "run-1", "--label", "stage=two, or three", "--label", "x=1",
                 "--remove-label", "team,absent"}),
            0);
  EXPECT_THAT(run_.labels(), UnorderedElementsAre(Pair("stage", "two, or three"), Pair("x", "1")));
  EXPECT_THAT(Mask(), ElementsAre("labels"));
  EXPECT_EQ(requests_[0].run().name(), "run-1");
  EXPECT_EQ(requests_[0].run().etag(), "e1");
  EXPECT_THAT(Out(), AllOf(StartsWith("Name:     run-1\n"),
                           HasSubstr("Labels:   stage=two, or three, x=1\n")));
}

TEST_F(Update, SendsOnlyWhatChangesAndReadsNothingForIt) {
  EXPECT_EQ(Run({"run", "update", "run-1", "--max-retries", "0", "-o", "name"}), 0);
  EXPECT_EQ(Out(), "run-1\n");
  EXPECT_THAT(Mask(), ElementsAre("spec.scheduling.max_retries"));
  EXPECT_EQ(requests_[0].run().etag(), "");
  EXPECT_EQ(reads_, 0);
  EXPECT_EQ(Run({"run", "update", "run-1", "--priority", "low", "--max-run-time", "2h"}), 0);
  EXPECT_THAT(Mask(1), ElementsAre("spec.scheduling.priority", "spec.scheduling.max_run_time"));
  EXPECT_EQ(run_.spec().scheduling().priority(), v1::Scheduling::LOW);
  EXPECT_EQ(FromProtoDuration(run_.spec().scheduling().max_run_time()), absl::Hours(2));
  EXPECT_EQ(Run({"run", "update", "run-1", "--max-run-time", "none"}), 0);
  EXPECT_FALSE(run_.spec().scheduling().has_max_run_time());
}

TEST_F(Update, SaysWhatItCouldChangeAndRefusesWhatItCannotRead) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{},
       "give --label, --remove-label, --priority, --max-retries, --max-run-time "
       "or --max-queue-time."},
      {{"--etag", "e1"}, "There is nothing to change"},
      {{"--label", "x"}, "--label is `x`; write it as key=value."},
      {{"--remove-label", "x=1"}, "--remove-label is `x=1`; give the key alone."},
      {{"--label", "x=1", "--remove-label", "x"}, "--label and --remove-label both name `x`."},
      {{"--priority", "urgent"}, "--priority is `urgent`"},
      {{"--max-run-time", "2"}, "`2` is not a duration"},
      {{"--max-retries", "many"}, "--max-retries"},
      {{"--label", "x=1", "--etag", ""}, "--etag is empty."},
  };
  for (const auto& [flags, sentence] : cases) {
    Reset();
    std::vector<std::string> arguments = {"run", "update", "run-1"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    EXPECT_EQ(Run(arguments), kExitUsage) << sentence;
    EXPECT_THAT(Err(), HasSubstr(sentence));
  }
  EXPECT_THAT(requests_, IsEmpty());
  EXPECT_EQ(reads_, 0);
}

TEST_F(Update, ALabelThatSomebodySetsMeanwhileIsKept) {
  before_update_ = [this] {
    if (!requests_.empty()) return;
    (*run_.mutable_labels())["theirs"] = "1";
    Touch();
  };
  EXPECT_EQ(Run({"run", "update", "run-1", "--label", "mine=1"}), 0);
  EXPECT_EQ(requests_.size(), 2u);
  EXPECT_THAT(run_.labels(), UnorderedElementsAre(Pair("team", "red"), Pair("stage", "one"),
                                                  Pair("theirs", "1"), Pair("mine", "1")));
}

TEST_F(Update, GivesUpOnARunThatKeepsChanging) {
  before_update_ = [this] { Touch(); };
  EXPECT_EQ(Run({"run", "update", "run-1", "--label", "mine=1"}), kExitConflict);
  EXPECT_EQ(requests_.size(), 4u);
  EXPECT_EQ(reads_, 4);
  EXPECT_THAT(Err(), HasSubstr("finetune run get run-1 -o json"));
}

TEST_F(Update, AnEtagIsSentAsItIsAndNeverReplaced) {
  EXPECT_EQ(Run({"run", "update", "run-1", "--label", "mine=1", "--etag", "e0"}), kExitConflict);
  ASSERT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0].run().etag(), "e0");
  // Also where the run happens to be as it is asked for.
  EXPECT_EQ(Run({"run", "update", "run-1", "--label", "team=red", "--etag", "e0"}), kExitConflict);
  EXPECT_EQ(Run({"run", "update", "run-1", "--priority", "low", "--etag", "e1"}), 0);
  EXPECT_EQ(requests_[2].run().etag(), "e1");
}

TEST_F(Update, IsMadeWhenOnlyTheAnswerWasLost) {
  LoseTheFirstAnswer();
  EXPECT_EQ(Run({"run", "update", "run-1", "--label", "mine=1", "--remove-label", "team"}), 0);
  EXPECT_THAT(run_.labels(), UnorderedElementsAre(Pair("stage", "one"), Pair("mine", "1")));
}

TEST_F(Update, IsMadeWithAnEtagWhenOnlyTheAnswerWasLost) {
  LoseTheFirstAnswer();
  EXPECT_EQ(Run({"run", "update", "run-1", "--label", "mine=1", "--priority", "low",
                 "--max-run-time", "1h", "--max-retries", "2", "--etag", "e1", "-o", "name"}),
            0);
  EXPECT_EQ(Out(), "run-1\n");
  EXPECT_THAT(Err(), HasSubstr("The answer to the first try was lost"));
  EXPECT_EQ(requests_.size(), 2u);
}

// The first try never arrived, and somebody else changed the run.
TEST_F(Update, WithAnEtagIsNotMadeWhereTheRunIsAnother) {
  for (const auto& flags : std::vector<std::vector<std::string>>{{"--label", "mine=1"},
                                                                 {"--remove-label", "team"},
                                                                 {"--priority", "low"},
                                                                 {"--max-retries", "2"},
                                                                 {"--max-run-time", "1h"}}) {
    Reset();
    const std::string etag = run_.etag();
    server_.update_run = [this, lost = false](const v1::UpdateRunRequest&, v1::Run*) mutable {
      if (lost) return Mismatch();
      lost = true;
      Touch();
      return absl::UnavailableError("connection refused");
    };
    std::vector<std::string> arguments = {"run", "update", "run-1", "--etag", etag};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    EXPECT_EQ(Run(arguments), kExitConflict) << flags[0];
  }
}

TEST_F(Update, SaysWhatCanStillChangeOnceARunHasEnded) {
  server_.update_run = [](const v1::UpdateRunRequest&, v1::Run*) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "RUN_TERMINAL", "the run is STOPPED");
  };
  EXPECT_EQ(Run({"run", "update", "run-1", "--priority", "low"}), kExitConflict);
  EXPECT_THAT(Err(), AllOf(HasSubstr("its labels can still change"),
                           HasSubstr("next:  finetune run clone run-1")));
}

TEST_F(Update, ARefusalPointsToTheHelpOfItsCommand) {
  server_.update_run = [](const v1::UpdateRunRequest&, v1::Run*) {
    return InvalidArgument({{"run.spec.scheduling.max_retries", "is not 0 to 100", "BAD"}});
  };
  EXPECT_EQ(Run({"run", "update", "run-1", "--max-retries", "101"}), kExitInvalidData);
  EXPECT_THAT(Err(), HasSubstr("next:  finetune run update --help"));
}

}  // namespace
}  // namespace finetuned::cli
