#include "cli/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"
#include "nlohmann/json.hpp"

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Result = Check::Result;

// A server on which all is well.
class DoctorTest : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    server_.get_quota = [](const auto&, v1::Quota* quota) {
      quota->set_owner("a@example.com");
      quota->set_active_limit(10);
      quota->set_active_usage(3);
      return absl::OkStatus();
    };
    server_.get_workspace = [](const auto&, v1::Workspace* workspace) {
      workspace->set_name("workspaces/w");
      return absl::OkStatus();
    };
    server_.create_run = [this](const v1::CreateRunRequest& request, v1::Run*) {
      EXPECT_TRUE(request.validate_only());
      return create_;
    };
    server_.list_workers = [this](const auto&, v1::ListWorkersResponse* response) {
      v1::Worker* worker = response->add_workers();
      worker->set_state(v1::Worker::ONLINE);
      worker->set_version("0.1.0");
      *worker->mutable_last_seen_time() = ToProtoTime(test_->clock.Now() - heard_);
      return absl::OkStatus();
    };
    server_.list_runs = [](const auto&, v1::ListRunsResponse* response) {
      *response->add_runs() = TestRun("run-1", v1::Run::RUNNING);
      return absl::OkStatus();
    };
    server_.list_artifacts = [](const v1::ListArtifactsRequest& request, auto*) {
      EXPECT_EQ(request.parent(), "workspaces/w/runs/run-1");
      return absl::OkStatus();
    };
  }

  // The results by their names.
  std::map<std::string, std::string> Results(int exit_status) {
    test_->out.str("");
    EXPECT_EQ(Run({"doctor", "-o", "json"}), exit_status) << Out() << Err();
    std::map<std::string, std::string> results;
    const auto json = nlohmann::json::parse(Out());
    for (const auto& check : json["checks"]) {
      results[check["name"]] = check["result"];
      details_[check["name"]] = absl::StrCat(check["detail"].get<std::string>(), " | ",
                                             check["meaning"].get<std::string>(), " | ",
                                             check["next"].get<std::string>());
    }
    EXPECT_EQ(results.size(), 10u);
    return results;
  }

  absl::Status create_ = InvalidArgument({{"run.spec.model", "is missing", "A"}});
  absl::Duration heard_ = absl::Seconds(10);
  std::map<std::string, std::string> details_;
};

TEST_F(DoctorTest, FindsThatAllIsWell) {
  EXPECT_EQ(Run({"doctor"}), 0) << Out();
  EXPECT_THAT(Out(),
              AllOf(HasSubstr("+ ok       address        " + server_.address() + " answers."),
                    HasSubstr("+ ok       health "), HasSubstr("It is a@example.com's."),
                    HasSubstr("It may create runs in workspaces/w."),
                    HasSubstr("3 of 10 active runs."), HasSubstr("1 of 1 online."),
                    HasSubstr("- skipped  version"), HasSubstr("its workers run 0.1.0")));
  EXPECT_EQ(Err(), "Nothing failed.\n");
  auto results = Results(0);
  EXPECT_EQ(results.at("clock"), "ok");
  EXPECT_EQ(results.at("artifacts"), "ok");
}

TEST_F(DoctorTest, SaysThatNobodyAnswersAndSkipsTheRest) {
  server_.Stop();
  auto results = Results(kExitFailure);
  EXPECT_EQ(results.at("configuration"), "ok");
  EXPECT_EQ(results.at("address"), "failed");
  EXPECT_THAT(details_.at("address"), AllOf(HasSubstr("No answer"), HasSubstr("finetuned dev")));
  for (const char* name : {"health", "token", "rights", "clock", "quota", "workers", "artifacts"}) {
    EXPECT_EQ(results.at(name), "skipped") << name;
  }
  Reset();
  EXPECT_EQ(Run({"doctor"}), kExitFailure);
  EXPECT_EQ(Err(), "1 check failed.\n");
}

TEST_F(DoctorTest, TellsABadTokenFromOneThatMayNotDoEverything) {
  server_.get_quota = [](const auto&, v1::Quota*) { return absl::UnauthenticatedError("expired"); };
  server_.get_workspace = [](const auto&, v1::Workspace*) {
    return absl::UnauthenticatedError("expired");
  };
  auto results = Results(kExitFailure);
  EXPECT_EQ(results.at("token"), "failed");
  EXPECT_EQ(results.at("rights"), "skipped");
  EXPECT_EQ(results.at("quota"), "skipped");
  EXPECT_THAT(details_.at("token"), HasSubstr("finetune context set"));

  DoctorTest::SetUp();
  create_ = absl::PermissionDeniedError("no");
  results = Results(0);
  EXPECT_EQ(results.at("token"), "ok");
  EXPECT_EQ(results.at("rights"), "warning");
  EXPECT_THAT(details_.at("rights"), HasSubstr("and not create runs"));
}

TEST_F(DoctorTest, WarnsOfWhatWillHurt) {
  server_.get_quota = [](const auto&, v1::Quota* quota) {
    quota->set_active_limit(1);
    quota->set_active_usage(1);
    return absl::OkStatus();
  };
  heard_ = absl::Minutes(-10);
  auto results = Results(0);
  EXPECT_EQ(results.at("quota"), "warning");
  EXPECT_EQ(results.at("clock"), "warning");
  EXPECT_THAT(details_.at("clock"), HasSubstr("at least 10m"));
  server_.list_workers = [](const auto&, auto*) { return absl::OkStatus(); };
  server_.list_runs = [](const auto&, auto*) { return absl::OkStatus(); };
  results = Results(0);
  EXPECT_EQ(results.at("workers"), "warning");
  EXPECT_EQ(results.at("clock"), "skipped");
  EXPECT_EQ(results.at("artifacts"), "skipped");
  server_.list_runs = [](const auto&, v1::ListRunsResponse* response) {
    *response->add_runs() = TestRun("run-1", v1::Run::RUNNING);
    return absl::OkStatus();
  };
  server_.list_artifacts = [](const auto&, auto*) { return absl::PermissionDeniedError("no"); };
  EXPECT_EQ(Results(kExitFailure).at("artifacts"), "failed");
}

TEST_F(DoctorTest, LooksAtTheConfigurationFirst) {
  const auto write = [this](const std::string& text, mode_t mode) {
    std::ofstream(folder_ + "/config.yaml") << text;
    ASSERT_EQ(chmod((folder_ + "/config.yaml").c_str(), mode), 0);
  };
  write("contexts: 5\n", 0600);
  auto results = Results(kExitFailure);
  EXPECT_EQ(results.at("configuration"), "failed");
  EXPECT_EQ(results.at("address"), "skipped");
  write("contexts:\n- {name: a, server: x, token: t}\n", 0644);
  EXPECT_EQ(Results(0).at("configuration"), "warning");
  EXPECT_THAT(details_.at("configuration"), HasSubstr("chmod 600"));
  test_->variables["FINETUNED_CONTEXT"] = "none";
  EXPECT_EQ(Results(kExitFailure).at("configuration"), "failed");
  test_->variables.erase("FINETUNED_CONTEXT");
  test_->variables["FINETUNED_SERVER"] = "127.0.0.1:1";
  EXPECT_EQ(Results(kExitFailure).at("address"), "failed");
  EXPECT_EQ(Run({"doctor", "-o", "name"}), kExitUsage);
}

TEST_F(DoctorTest, TellsAServerThatDoesNotTakeCalls) {
  server_.SetServing(false);
  EXPECT_EQ(Results(kExitFailure).at("health"), "failed");
}

TEST(CheckClock, GoesByTheServersDateWhereThereIsOne) {
  const absl::Time now = absl::FromUnixSeconds(1767268800);
  EXPECT_EQ(ParseHttpDate("Thu, 01 Jan 2026 12:00:00 GMT"), now);
  EXPECT_EQ(ParseHttpDate("yesterday"), std::nullopt);
  Health health;
  health.date = now - absl::Seconds(3);
  EXPECT_EQ(CheckClock(health, nullptr, now).result, Result::kOk);
  health.date = now - absl::Seconds(90);
  EXPECT_THAT(CheckClock(health, nullptr, now).detail, HasSubstr("is 1m 30s ahead of"));
  health.date = now + absl::Seconds(90);
  EXPECT_THAT(CheckClock(health, nullptr, now).detail, HasSubstr("is 1m 30s behind"));
}

TEST(RenderChecks, HasAGlyphAWordAndWhatToDo) {
  EXPECT_EQ(RenderChecks({{"token", Result::kFailed, "bad\n", "why", "do"},
                          {"x", Result::kOk, "good", "", ""}},
                         false, true),
            "✗ failed   token  bad\\n\n"
            "                  why:   why\n"
            "                  next:  do\n"
            "✓ ok       x      good\n");
}

}  // namespace
}  // namespace finetuned::cli
