#include "cli/app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/status.h"
#include "base/time.h"
#include "base/uuid.h"
#include "cli/app_fixture.h"
#include "cli/client.h"
#include "cli/errors.h"
#include "cli/log_tail.h"

namespace finetuned::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(App, GivesEachAnswerOfTheServerItsExitStatus) {
  const std::vector<std::pair<absl::StatusCode, int>> cases = {
      {absl::StatusCode::kInternal, 1},           {absl::StatusCode::kNotFound, 3},
      {absl::StatusCode::kUnauthenticated, 4},    {absl::StatusCode::kPermissionDenied, 4},
      {absl::StatusCode::kAlreadyExists, 5},      {absl::StatusCode::kResourceExhausted, 5},
      {absl::StatusCode::kFailedPrecondition, 5}, {absl::StatusCode::kUnavailable, 6},
      {absl::StatusCode::kDeadlineExceeded, 6},   {absl::StatusCode::kInvalidArgument, 65}};
  for (const auto& [code, exit_status] : cases) {
    Reset();
    server_.get_run = [code = code](const v1::GetRunRequest&, v1::Run*) {
      return absl::Status(code, "x");
    };
    EXPECT_EQ(Run({"run", "get", "run-1"}), exit_status) << absl::StatusCodeToString(code);
    EXPECT_EQ(Out(), "");
    EXPECT_THAT(Err(), StartsWith("error: "));
  }
}

TEST_F(App, SaysWhatIsWrongWithACommandLineAndSendsNothing) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "`finetune` needs a command."},
      {{"rn", "list"}, "`finetune` has no command `rn`. Did you mean `run`?"},
      {{"run", "lst"}, "`finetune run` has no command `lst`. Did you mean `list`?"},
      {{"run", "list", "--stat", "x"},
       "`finetune run list` has no flag --stat. Did you mean `--state`?"},
      {{"run", "list", "--oputput=json"}, "has no flag --oputput. Did you mean `--output`?"},
      {{"run", "get"}, "NAME is required."},
      {{"--bogus"}, "`finetune` has no flag --bogus."},
      {{"run", "create", "--modle", "m"},
       "`finetune run create` has no flag --modle. Did you mean `--model`?"},
      {{"run", "get", "a", "b"}, "`finetune run get` takes no further argument `b`."},
      {{"run", "list", "-o", "xml"}, "--output is `xml`"},
      {{"run", "events", "a", "-o", "name"}, "no --output name"},
      {{"run", "list", "--limit", "0"}, "--limit must be"},
      {{"run", "list", "--state", "canceled"}, "--state is `canceled`"},
      {{"run", "list", "--after", "soon"}, "`soon` is not a time"},
      {{"run", "list", "--timeout", "5"}, "`5` is not a duration"},
      {{"run", "watch", "a", "--from", "0"}, "--from"},
      {{"run", "create", "--model", "m"}, "--train-data is required."},
      {{"--token", "a b", "run", "list"}, "The token has a space"},
      {{"--server", "nowhere", "run", "list"}, "`nowhere` is not an address"},
  };
  for (const auto& [arguments, sentence] : cases) {
    Reset();
    EXPECT_EQ(Run(arguments), kExitUsage) << sentence;
    EXPECT_EQ(Out(), "");
    EXPECT_THAT(Err(), HasSubstr(sentence));
  }
  EXPECT_EQ(server_.authorization(), "");
}

TEST_F(App, SaysWhereNobodyAnswersAndHowToStartOne) {
  server_.Stop();
  EXPECT_EQ(Run({"run", "list"}), kExitUnavailable);
  EXPECT_THAT(Err(), AllOf(HasSubstr("No answer from the server at " + server_.address()),
                           HasSubstr("finetuned dev")));
  EXPECT_EQ(test_->pauses, Client::kMaxTries - 1);
}

TEST_F(App, ATokenNeverLeavesTheMachineInClearText) {
  // The server speaks no TLS: whoever insists on it says nothing.
  const std::string ca_file = folder_ + "/ca.pem";
  ASSERT_TRUE(WriteFileAtomically(ca_file, "no certificate").ok());
  EXPECT_EQ(Run({"--ca-file", ca_file, "run", "list"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr("has no certificate in PEM"));
  Reset();
  EXPECT_EQ(Run({"--ca-file", folder_ + "/absent", "run", "list"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr(folder_ + "/absent"));
  Reset();
  ASSERT_EQ(
      system(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout " +
              folder_ + "/key.pem -out " + ca_file + " -subj /CN=x 2>/dev/null")
                 .c_str()),
      0);
  EXPECT_EQ(Run({"--ca-file", ca_file, "run", "list"}), kExitUnavailable);
  EXPECT_EQ(server_.authorization(), "");
  for (const char* local : {"localhost:1", "127.9.9.9:1", "[::1]:1", "unix:/run/x"}) {
    EXPECT_TRUE(IsLocalAddress(local).value()) << local;
  }
  for (const char* remote :
       {"127.example.org:1", "localhost.example.org:1", "[::2]:1", "0.0.0.0:1"}) {
    EXPECT_FALSE(IsLocalAddress(remote).value()) << remote;
  }
}

TEST_F(App, SendsTheTokenAsABearer) {
  server_.list_workers = [](const v1::ListWorkersRequest&, v1::ListWorkersResponse*) {
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"worker", "list", "--token", "other"}), 0);
  EXPECT_EQ(server_.authorization(), "Bearer other");
  EXPECT_THAT(Err(), HasSubstr("No worker is known"));
}

TEST_F(App, RepeatsACreateWithTheSameRequestId) {
  std::vector<std::string> ids;
  server_.create_run = [&ids](const v1::CreateRunRequest& request, v1::Run* run) {
    ids.push_back(request.request_id());
    if (ids.size() < 3) return absl::UnavailableError("restarting");
    *run = TestRun("run-1", v1::Run::PENDING);
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "create", "--model", "m", "--train-data", "x", "-o", "name"}), 0);
  EXPECT_EQ(Out(), "run-1\n");
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_TRUE(IsUuid(ids[0]));
  EXPECT_THAT(ids, ElementsAre(ids[0], ids[0], ids[0]));
}

TEST_F(App, SaysHowToFindOutAboutACreateInDoubt) {
  server_.create_run = [](const v1::CreateRunRequest&, v1::Run*) {
    return absl::UnavailableError("gone");
  };
  EXPECT_EQ(Run({"run", "create", "--model", "m", "--train-data", "x", "--request-id", "id-1"}),
            kExitUnavailable);
  EXPECT_THAT(Err(), HasSubstr("--request-id id-1"));
}

TEST_F(App, WaitsAsLongAsTheServerAsks) {
  int calls = 0;
  server_.get_quota = [&calls](const v1::GetQuotaRequest&, v1::Quota*) {
    return ++calls == 1 ? UnavailableError("DRAINING", "x", absl::Seconds(7)) : absl::OkStatus();
  };
  EXPECT_EQ(Run({"quota"}), 0);
  EXPECT_GE(test_->paused, absl::Seconds(7));
}

TEST_F(App, ListsEveryViolationAndExitsWith65) {
  server_.create_run = [](const v1::CreateRunRequest&, v1::Run*) {
    return InvalidArgument({{"run.spec.model", "is unknown", "A"}, {"run_id", "is bad", "B"}});
  };
  EXPECT_EQ(Run({"run", "create", "--model", "m", "--train-data", "x"}), kExitInvalidData);
  EXPECT_THAT(Err(), HasSubstr("  run.spec.model: is unknown\n  run_id: is bad\n"));
}

TEST_F(App, ListsAllPagesUpToTheLimit) {
  std::vector<std::pair<std::string, int>> pages;
  server_.list_runs = [&pages](const v1::ListRunsRequest& request, v1::ListRunsResponse* response) {
    pages.emplace_back(request.page_token(), request.page_size());
    for (int i = 0; i < std::min(2, request.page_size()); ++i) {
      *response->add_runs() =
          TestRun("run-" + std::to_string(pages.size() * 2 + i), v1::Run::RUNNING);
    }
    response->set_next_page_token("t" + std::to_string(pages.size()));
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "list", "--limit", "5", "-o", "name"}), 0);
  EXPECT_EQ(Out(), "run-2\nrun-3\nrun-4\nrun-5\nrun-6\n");
  EXPECT_THAT(pages, ElementsAre(std::pair("", 5), std::pair("t1", 3), std::pair("t2", 1)));
}

TEST_F(App, SendsTheFiltersOfAList) {
  v1::ListRunsRequest sent;
  server_.list_runs = [&sent](const v1::ListRunsRequest& request, v1::ListRunsResponse*) {
    sent = request;
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "list", "--state", "running,FAILED", "--name", "a", "--after", "2h",
                 "--before", "2026-01-01", "-o", "json"}),
            0);
  EXPECT_THAT(sent.states(), ElementsAre(v1::Run::RUNNING, v1::Run::FAILED));
  EXPECT_THAT(sent.names(), ElementsAre("a"));
  EXPECT_EQ(FromProtoTime(sent.after()), test_->clock.Now() - absl::Hours(2));
  EXPECT_EQ(FromProtoTime(sent.before()), absl::FromUnixSeconds(1767225600));
  EXPECT_EQ(Out(), "{\n \"runs\": [],\n \"next_page_token\": \"\"\n}\n");
}

TEST_F(App, ShowsRunsAsATable) {
  server_.list_runs = [this](const v1::ListRunsRequest&, v1::ListRunsResponse* response) {
    v1::Run run = TestRun("run-1", v1::Run::RUNNING);
    run.mutable_spec()->set_model("finetuned/tiny-llama");
    run.set_owner("a@example.com");
    run.mutable_progress()->set_step(43);
    run.mutable_progress()->set_total_steps(100);
    run.mutable_progress()->set_train_loss(1.71);
    *run.mutable_create_time() = ToProtoTime(test_->clock.Now() - absl::Minutes(5));
    *run.mutable_estimated_end_time() = ToProtoTime(test_->clock.Now() + absl::Minutes(7));
    *response->add_runs() = run;
    return absl::OkStatus();
  };
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"run", "list"}, {"get", "runs"}, {"list"}}) {
    Reset();
    EXPECT_EQ(Run(words), 0);
    EXPECT_EQ(Out(),
              "NAME   STATE    MODEL                 PROGRESS              AGE  ATTEMPT  OWNER\n"
              "run-1  RUNNING  finetuned/tiny-llama  43% loss 1.71 ETA 7m  5m   1        "
              "a@example.com\n");
  }
}

TEST_F(App, SuggestsTheNameThatMayHaveBeenMeant) {
  server_.get_run = [](const v1::GetRunRequest&, v1::Run*) { return absl::NotFoundError("no"); };
  server_.list_runs = [](const v1::ListRunsRequest&, v1::ListRunsResponse* response) {
    *response->add_runs() = TestRun("run-7f3", v1::Run::RUNNING);
    *response->add_runs() = TestRun("other", v1::Run::RUNNING);
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"describe", "run", "run-7f4"}), kExitNotFound);
  EXPECT_THAT(Err(), HasSubstr("Did you mean `run-7f3`?"));
}

TEST_F(App, TakesARunThatIsCalledLikeACommand) {
  server_.get_run = [](const v1::GetRunRequest& request, v1::Run* run) {
    *run = TestRun(request.name(), v1::Run::RUNNING);
    return absl::OkStatus();
  };
  for (const char* name : {"list", "quota", "run", "get"}) {
    Reset();
    EXPECT_EQ(Run({"run", "get", name, "-o", "name"}), 0) << Err();
    EXPECT_EQ(Out(), std::string(name) + "\n");
  }
}

TEST_F(App, WaitsWithTheExitStatusOfTheRun) {
  for (const auto& [state, exit_status] :
       std::vector<std::pair<v1::Run::State, int>>{{v1::Run::COMPLETED, 0},
                                                   {v1::Run::FAILED, kExitRunFailed},
                                                   {v1::Run::STOPPED, kExitRunStopped}}) {
    Reset();
    // Running when asked, ended when followed.
    server_.get_run = [](const v1::GetRunRequest&, v1::Run* run) {
      *run = TestRun("run-1", v1::Run::RUNNING, 3);
      return absl::OkStatus();
    };
    server_.streams = {{{TestMessage(TestRun("run-1", state, 3))}, absl::OkStatus(), nullptr}};
    EXPECT_EQ(Run({"run", "wait", "run-1"}), exit_status);
    EXPECT_EQ(Out(), "run-1  " + v1::Run::State_Name(state) + "\n");
    Reset();
    EXPECT_EQ(Run({"run", "watch", "run-1", "--from", "4", "--exit-status"}), exit_status);
    Reset();
    EXPECT_EQ(Run({"run", "watch", "run-1", "--from", "4"}), 0);
  }
}

TEST_F(App, EndsAWaitAtItsTimeLimit) {
  server_.get_run = [](const v1::GetRunRequest&, v1::Run* run) {
    *run = TestRun("run-1", v1::Run::RUNNING, 3);
    return absl::OkStatus();
  };
  server_.streams = {{{TestMessage(TestRun("run-1", v1::Run::RUNNING, 3))},
                      absl::OkStatus(),
                      [this] { test_->clock.Advance(absl::Seconds(1)); }}};
  EXPECT_EQ(Run({"run", "wait", "run-1", "--timeout", "200ms"}), kExitUnavailable);
}

TEST_F(App, WatchesToTheEndOverABrokenStreamAndSumsUp) {
  v1::RunEvent before = TestEvent(2, v1::RunEvent::EVALUATED);
  before.mutable_evaluation()->set_when(v1::Evaluation::BEFORE);
  before.mutable_evaluation()->set_loss(2.5);
  v1::RunEvent after = TestEvent(3, v1::RunEvent::EVALUATED);
  after.mutable_evaluation()->set_when(v1::Evaluation::AFTER);
  after.mutable_evaluation()->set_loss(2.0);
  server_.streams = {
      {{TestMessage({TestEvent(1, v1::RunEvent::STARTED), before})},
       absl::UnavailableError("restarting"),
       nullptr},
      {{TestMessage({after, TestEvent(4, v1::RunEvent::COMPLETED)})}, absl::OkStatus(), nullptr}};
  server_.get_run = [](const v1::GetRunRequest&, v1::Run* run) {
    *run = TestRun("run-1", v1::Run::COMPLETED, 4);
    *run->mutable_start_time() = ToProtoTime(absl::FromUnixSeconds(1000));
    *run->mutable_end_time() = ToProtoTime(absl::FromUnixSeconds(1312));
    return absl::OkStatus();
  };
  server_.list_checkpoints = [](const v1::ListCheckpointsRequest&,
                                v1::ListCheckpointsResponse* response) {
    response->add_checkpoints();
    response->add_checkpoints();
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "watch", "run-1"}), 0);
  EXPECT_THAT(Out(), HasSubstr("STARTED            event 1\n"));
  EXPECT_THAT(Out(), HasSubstr("Eval loss: 2.5 (before training)\n"));
  EXPECT_THAT(Out(), HasSubstr("\nCOMPLETED  run-1  in 5m 12s  eval loss 2.5 -> 2 (-20.0%)  "
                               "2 checkpoints\n"));
  EXPECT_THAT(Err(), HasSubstr("Lost the server after event 2 (restarting)"));
  EXPECT_THAT(Err(), HasSubstr("finetune run checkpoints run-1"));
  EXPECT_THAT(server_.watched_after(), ElementsAre(0, 2));
}

TEST_F(App, WatchesAsJsonLinesWithNothingElseOnStandardOutput) {
  server_.streams = {
      {{TestMessage({TestEvent(1, v1::RunEvent::CANCELED)})}, absl::OkStatus(), nullptr}};
  server_.get_run = [](const v1::GetRunRequest&, v1::Run* run) {
    *run = TestRun("run-1", v1::Run::STOPPED, 1);
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "watch", "run-1", "-o", "jsonl", "--exit-status"}), kExitRunStopped);
  EXPECT_THAT(Out(), StartsWith("{\"seq\":\"1\",\"type\":\"CANCELED\""));
  EXPECT_EQ(CountLines(Out()), 1);
}

TEST_F(App, LeavesTheRunAloneWhenAWatchIsInterrupted) {
  server_.streams = {{{TestMessage({TestEvent(1, v1::RunEvent::STARTED)})},
                      absl::OkStatus(),
                      [this] { test_->interrupt.Request(); }}};
  EXPECT_EQ(Run({"run", "watch", "run-1"}), kExitInterrupted);
  EXPECT_THAT(Err(), HasSubstr("finetune run watch run-1 --from "));
}

TEST_F(App, ShowsTheQuotaAndWhatHoldsIt) {
  server_.get_quota = [](const v1::GetQuotaRequest&, v1::Quota* quota) {
    quota->set_owner("a@example.com");
    quota->set_active_limit(2);
    quota->set_active_usage(2);
    quota->add_active_runs("workspaces/w/runs/run-1");
    quota->add_active_runs("workspaces/w/runs/run-2");
    return absl::OkStatus();
  };
  server_.list_runs = [this](const v1::ListRunsRequest&, v1::ListRunsResponse* response) {
    *response->add_runs() = TestRun("run-1", v1::Run::RUNNING);
    *response->mutable_runs(0)->mutable_create_time() =
        ToProtoTime(test_->clock.Now() - absl::Hours(3));
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"quota"}), 0);
  EXPECT_EQ(Out(),
            "Owner:        a@example.com\n"
            "Active runs:  2 of 2 (full)\n"
            "\n"
            "HELD BY  STATE    AGE\n"
            "run-1    RUNNING  3h\n"
            "run-2    -        -\n");
}

TEST_F(App, ListsEventsOverPages) {
  server_.list_run_events = [](const v1::ListRunEventsRequest& request,
                               v1::ListRunEventsResponse* response) {
    *response->add_events() = TestEvent(request.after_seq() + 1, v1::RunEvent::STARTED);
    response->set_last_seq(2);
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "events", "run-1"}), 0);
  EXPECT_EQ(Out(),
            "SEQ  TIME                  ATTEMPT  TYPE     MESSAGE\n"
            "1    2026-01-01T12:01:00Z  -        STARTED  event 1\n"
            "2    2026-01-01T12:02:00Z  -        STARTED  event 2\n");
}

TEST_F(App, ListsAttemptsWithWhatTheyCost) {
  server_.list_attempts = [](const v1::ListAttemptsRequest&, v1::ListAttemptsResponse* response) {
    v1::Attempt& second = *response->add_attempts();
    second.set_attempt(2);
    second.set_worker("gpu-1");
    second.mutable_held_duration()->set_seconds(90 * 60);
    second.mutable_compute()->set_gpus(4);
    v1::Attempt& first = *response->add_attempts();
    first.set_attempt(1);
    first.set_worker("gpu-2");
    first.mutable_held_duration()->set_seconds(3600);
    first.mutable_compute()->set_cpus(2);
    first.mutable_end_time()->set_seconds(1700000000);
    first.set_end_reason("Attempt 1 was lost.");
    first.set_checkpoint("ep0-ba20");
    return absl::OkStatus();
  };
  ASSERT_EQ(
      Run({"run", "attempts", "run-1", "--columns", "attempt,worker,held,cost,checkpoint,end"}),
      kExitOk)
      << Err();
  EXPECT_EQ(Out(),
            "ATTEMPT  WORKER  HELD  COST     CHECKPOINT  END\n"
            "2        gpu-1   90m   6 GPU h  -           -\n"
            "1        gpu-2   60m   2 CPU h  ep0-ba20    Attempt 1 was lost.\n");
  server_.list_attempts = [](const v1::ListAttemptsRequest&, v1::ListAttemptsResponse*) {
    return absl::OkStatus();
  };
  Reset();
  EXPECT_EQ(Run({"run", "attempts", "run-1"}), kExitOk);
  EXPECT_THAT(Err(), HasSubstr("finetune queue"));
}

TEST_F(App, ShowsWhatWaitsAndWhy) {
  v1::ListRunsRequest listed;
  server_.list_runs = [&](const v1::ListRunsRequest& request, v1::ListRunsResponse* response) {
    listed = request;
    for (const char* name : {"run-1", "run-2", "run-3"}) {
      *response->add_runs() = TestRun(name, v1::Run::PENDING);
    }
    return absl::OkStatus();
  };
  server_.get_run = [](const v1::GetRunRequest& request, v1::Run* run) -> absl::Status {
    const std::string name = request.name().substr(request.name().rfind('/') + 1);
    if (name == "run-3") return MakeError(absl::StatusCode::kNotFound, "RUN_NOT_FOUND", "gone");
    // The first was taken since it was listed.
    *run = TestRun(name, name == "run-1" ? v1::Run::RUNNING : v1::Run::PENDING);
    run->mutable_wait()->set_reason(v1::Wait::NO_WORKER);
    run->mutable_wait()->set_position(4);
    return absl::OkStatus();
  };
  ASSERT_EQ(Run({"queue", "--columns", "name,place,why"}), kExitOk) << Err();
  EXPECT_EQ(listed.order_by(), "create_time");
  EXPECT_EQ(listed.states_size(), 2);
  EXPECT_THAT(Out(), AllOf(HasSubstr("run-2  4      No worker is connected;"),
                           Not(HasSubstr("run-1")), Not(HasSubstr("run-3"))));
  Reset();
  ASSERT_EQ(Run({"queue", "-o", "name"}), kExitOk);
  EXPECT_EQ(Out(), "run-2\n");
  Reset();
  EXPECT_EQ(Run({"queue", "--limit", "0"}), kExitUsage);
  Reset();
  EXPECT_EQ(Run({"queue", "--sort", "nothing"}), kExitUsage);
}

TEST_F(App, ListsCheckpointsWithTheirPaths) {
  server_.list_checkpoints = [this](const v1::ListCheckpointsRequest&,
                                    v1::ListCheckpointsResponse* response) {
    v1::Checkpoint& checkpoint = *response->add_checkpoints();
    checkpoint.set_name("ep1-ba56");
    checkpoint.set_step(56);
    checkpoint.set_size_bytes(int64_t{3} << 30);
    checkpoint.set_path("x/checkpoints/ep1-ba56");
    checkpoint.set_huggingface_path("x/checkpoints/huggingface/ba56");
    *checkpoint.mutable_create_time() = ToProtoTime(test_->clock.Now() - absl::Minutes(4));
    return absl::OkStatus();
  };
  EXPECT_EQ(Run({"run", "checkpoints", "run-1"}), 0);
  EXPECT_EQ(Out(),
            "NAME      STEP  SIZE   AGE  PATH                    HUGGINGFACE PATH\n"
            "ep1-ba56  56    3 GiB  4m   x/checkpoints/ep1-ba56  x/checkpoints/huggingface/ba56\n");
}

TEST_F(App, KeepsContextsAndUsesThem) {
  test_->variables.erase("FINETUNED_SERVER");
  test_->variables.erase("FINETUNED_TOKEN");
  EXPECT_EQ(Run({"context", "set", "dev", "--server", server_.address(), "--token", "t-1"}), 0);
  EXPECT_EQ(Run({"context", "set", "prod", "--server", "127.0.0.1:1"}), 0);
  EXPECT_EQ(Run({"context", "use", "staging"}), kExitNotFound);
  EXPECT_EQ(Run({"context", "set", "nothing"}), kExitUsage);
  EXPECT_EQ(Out(), "");
  EXPECT_EQ(Run({"context", "list", "-o", "jsonl"}), 0);
  EXPECT_EQ(Out(), "{\"name\":\"dev\",\"server\":\"" + server_.address() +
                       "\",\"current\":true,\"token_set\":true}\n"
                       "{\"name\":\"prod\",\"server\":\"127.0.0.1:1\",\"current\":false,"
                       "\"token_set\":false}\n");
  server_.get_quota = [](const v1::GetQuotaRequest&, v1::Quota*) { return absl::OkStatus(); };
  EXPECT_EQ(Run({"quota"}), 0);
  EXPECT_EQ(server_.authorization(), "Bearer t-1");
  test_->out.str("");
  EXPECT_EQ(Run({"context", "use", "prod"}), 0);
  EXPECT_EQ(Run({"context", "view", "--show-origin"}), 0);
  EXPECT_THAT(Out(), AllOf(HasSubstr("Server:   127.0.0.1:1   (file "), Not(HasSubstr("t-1"))));
}

TEST_F(App, HelpNamesTheExitStatusesAndTheVersionIsData) {
  EXPECT_EQ(Run({"--help"}), 0);
  for (const char* word :
       {"Exit status", "0 ok", "1 failure", "2 wrong usage", "3 not found", "4 no token",
        "5 conflict", "6 no answer", "10 the run ended FAILED", "11 the run ended STOPPED",
        "65 the server refused", "130 interrupted"}) {
    EXPECT_THAT(Out(), HasSubstr(word));
  }
  EXPECT_EQ(Err(), "");
  Reset();
  EXPECT_EQ(Run({"run", "list", "--help"}), 0);
  EXPECT_THAT(Out(), HasSubstr("finetune run list"));
  Reset();
  EXPECT_EQ(Run({"version"}), 0);
  EXPECT_THAT(Out(), StartsWith("finetune "));
}

}  // namespace
}  // namespace finetuned::cli
