// What CreateRun refuses, as a table: field, bad value, code, reason and path of the violation.

#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include <gtest/gtest.h>

#include "artifacts/artifact_store.h"
#include "base/uuid.h"
#include "tests/bad_input.h"

namespace finetuned {
namespace {

using v1::CreateRunRequest;
using v1::RunSpec;

struct Row {
  std::string what;
  std::function<void(CreateRunRequest*)> spoil;
  std::string field;
  std::string reason;
};

RunSpec* Spec(CreateRunRequest* request) { return request->mutable_run()->mutable_spec(); }

// A row for each bad value of one field.
template <typename Values, typename Set>
void AddRows(std::vector<Row>* rows, const std::string& field, const std::string& reason,
             const Values& values, Set set) {
  for (const auto& value : values) {
    std::string what = field + " = " + ::testing::PrintToString(value).substr(0, 100);
    rows->push_back(
        {what, [set, value](CreateRunRequest* request) { set(request, value); }, field, reason});
  }
}

std::vector<Row> NameRows() {
  std::vector<Row> rows;
  AddRows(
      &rows, "request_id", "BAD_REQUEST_ID",
      std::vector<std::string>{"x", " ", "00000000-0000-0000-0000-000000000000", Filler(10000),
                               "0190163d-8694-739b-aea5-966c26f8ad9",
                               "0190163d-8694-739b-aea5-966c26f8ad91 ",
                               "0190163d86947-39b-aea5-966c26f8ad91", "'; drop table runs; --"},
      [](CreateRunRequest* request, const std::string& value) { request->set_request_id(value); });
  AddRows(&rows, "run_id", "BAD_NAME",
          std::vector<std::string>{" ",
                                   "a",
                                   std::string(64, 'a'),
                                   Filler(10000),
                                   "Run",
                                   "1run",
                                   "-run",
                                   "run-",
                                   ".",
                                   "..",
                                   "a/b",
                                   "%2e%2e",
                                   WithNul("a", "b"),
                                   "a\nb",
                                   "a\tb",
                                   "run\u202e1",
                                   "run\u200b1",
                                   "e\u0301run",
                                   "\u0440un",
                                   "run\U0001f680",
                                   "-rf",
                                   "--privileged",
                                   "$(id)",
                                   "`id`",
                                   "a;b",
                                   "a'--",
                                   "<script>",
                                   "%n%s",
                                   "${jndi:ldap://x}",
                                   "a_b",
                                   "a.b",
                                   "a b",
                                   "abcdef12-0000-4000-8000-0123456789ab"},
          [](CreateRunRequest* request, const std::string& value) { request->set_run_id(value); });
  AddRows(
      &rows, "parent", "BAD_NAME",
      std::vector<std::string>{" ", "default", "projects/x", "workspace/default", Filler(10000)},
      [](CreateRunRequest* request, const std::string& value) { request->set_parent(value); });
  return rows;
}

std::vector<Row> TrainingRows() {
  std::vector<Row> rows;
  AddRows(
      &rows, "run.spec.model", "BAD_MODEL",
      std::vector<std::string>{"", " ", "tiny-llama", "/tiny-llama", "finetuned/", "a/b/c",
                               "../tiny-llama", "finetuned/../tiny-llama", "finetuned/..", "./x",
                               "/etc/passwd", "finetuned/tiny llama", "finetuned/.hidden",
                               WithNul("finetuned/x", "y"), "finetuned/\u0440x",
                               "finetuned/" + Filler(200), "finetuned/$(id)"},
      [](CreateRunRequest* request, const std::string& value) { Spec(request)->set_model(value); });
  AddRows(&rows, "run.spec.task_type", "BAD_TASK_TYPE", std::vector<int>{4, 999, -1},
          [](CreateRunRequest* request, int value) {
            Spec(request)->set_task_type(static_cast<RunSpec::TaskType>(value));
          });
  const std::vector<std::string> durations = {"1",           "ep",
                                              "0ep",         "-1ep",
                                              "+1ep",        "1.5ba",
                                              "1e3ep",       "nanep",
                                              "infep",       "1_000tok",
                                              "\uff11ep",    " 1ep",
                                              "1ep ",        "1 ep",
                                              "1EP",         "1epoch",
                                              "1ep1ba",      "99999999999999999999tok",
                                              "1sec",        "0.5dur",
                                              "01ep",        WithNul("1ep", ""),
                                              Filler(10000), "0x1ep"};
  AddRows(&rows, "run.spec.training_duration", "BAD_DURATION", durations,
          [](CreateRunRequest* request, const std::string& value) {
            Spec(request)->set_training_duration(value);
          });
  AddRows(&rows, "run.spec.save_interval", "BAD_DURATION", durations,
          [](CreateRunRequest* request, const std::string& value) {
            Spec(request)->set_save_interval(value);
          });
  rows.push_back({"save_interval beyond the end",
                  [](CreateRunRequest* request) {
                    Spec(request)->set_training_duration("30ba");
                    Spec(request)->set_save_interval("31ba");
                  },
                  "run.spec.save_interval", "SAVE_INTERVAL_BEYOND_END"});
  AddRows(&rows, "run.spec.learning_rate", "BAD_LEARNING_RATE",
          std::vector<double>{std::nan(""), std::numeric_limits<double>::infinity(),
                              -std::numeric_limits<double>::infinity(), -0.0, 0, -1e-5, 1e308,
                              std::numeric_limits<double>::denorm_min(), 1.0000001},
          [](CreateRunRequest* request, double value) { Spec(request)->set_learning_rate(value); });
  constexpr int kMin = std::numeric_limits<int32_t>::min(),
                kMax = std::numeric_limits<int32_t>::max();
  // The model of the tests reads 512 tokens.
  AddRows(&rows, "run.spec.context_length", "BAD_CONTEXT_LENGTH",
          std::vector<int>{-1, 7, 513, 1048577, kMin, kMax},
          [](CreateRunRequest* request, int value) { Spec(request)->set_context_length(value); });
  AddRows(&rows, "run.spec.recipe.batch_size", "BAD_VALUE", std::vector<int>{-1, 4097},
          [](CreateRunRequest* request, int value) {
            Spec(request)->mutable_recipe()->set_batch_size(value);
          });
  AddRows(&rows, "run.spec.save_num_to_keep", "BAD_VALUE", std::vector<int>{-2, 1001, kMin, kMax},
          [](CreateRunRequest* request, int value) { Spec(request)->set_save_num_to_keep(value); });
  AddRows(&rows, "run.spec.eval_prompts", "BAD_VALUE", std::vector<int>{101, 10001},
          [](CreateRunRequest* request, int count) {
            for (int i = 0; i < count; ++i) Spec(request)->add_eval_prompts(std::to_string(i));
          });
  AddRows(&rows, "run.spec.eval_prompts[1]", "BAD_VALUE",
          std::vector<std::string>{"", Filler(4097), Filler(900000)},
          [](CreateRunRequest* request, const std::string& value) {
            Spec(request)->add_eval_prompts("good");
            Spec(request)->add_eval_prompts(value);
          });
  AddRows(&rows, "run.spec.eval_prompts[2]", "DUPLICATE", std::vector<std::string>{"What is it?"},
          [](CreateRunRequest* request, const std::string& value) {
            for (const auto& prompt : {value, std::string("good"), value})
              Spec(request)->add_eval_prompts(prompt);
          });
  return rows;
}

// A path of so many parts, two bytes each.
std::string Deep(int parts) {
  std::string path;
  for (int i = 0; i < parts; ++i) path += "/a";
  return path;
}

std::vector<Row> PathRows() {
  // The line of URIs in the catalogue of bad input; none is opened, decoded or expanded.
  std::vector<std::string> paths = {"train.jsonl",
                                    "data/train.jsonl",
                                    "file:///etc/passwd",
                                    "file:/etc/passwd",
                                    "../train.jsonl",
                                    "/data/../etc/passwd",
                                    "/data/./x",
                                    "/..",
                                    "/data/%2e%2e%2fetc",
                                    "/data/%252e%252e/etc",
                                    "/data/..\\etc",
                                    "C:\\data\\x",
                                    "/data\u2215x",
                                    WithNul("/data/x", "y"),
                                    "~",
                                    "~/x",
                                    "/~root/x",
                                    "$HOME/x",
                                    "/data/$HOME",
                                    "/data/*.jsonl",
                                    "/data/?",
                                    "/data/[ab]",
                                    "/data/{a,b}",
                                    "s3://",
                                    "s3:///k",
                                    "s3://user:pw@b/k",
                                    "s3://169.254.169.254/latest",
                                    "http://localhost/x",
                                    "http://[::1]/x",
                                    "http://0x7f000001/x",
                                    "gopher://x/",
                                    "//host/share",
                                    "/data//x",
                                    "/data/a\nb",
                                    "/data/\x1b[31m",
                                    "/data/\u202egpj.exe",
                                    "/data/e\u0301",
                                    "/" + Filler(5000),
                                    "dbfs:/x",
                                    "-rf",
                                    " /data/x"};
  std::vector<Row> rows;
  AddRows(&rows, "run.spec.eval_data_path", "BAD_URI", paths,
          [](CreateRunRequest* request, const std::string& value) {
            Spec(request)->set_eval_data_path(value);
          });
  paths.push_back("");
  AddRows(&rows, "run.spec.train_data_path", "BAD_URI", paths,
          [](CreateRunRequest* request, const std::string& value) {
            Spec(request)->set_train_data_path(value);
          });
  AddRows(
      &rows, "run.spec.custom_weights_path", "BAD_URI",
      std::vector<std::string>{"file:///etc/passwd", "../x", "workspaces/default/../other", "a//b",
                               "~/x", "s3://b/k", "a%2e%2e", "a\\b", WithNul("a", "b"), "a\u2215b",
                               "$HOME", "http://169.254.169.254/", Filler(5000), "./x"},
      [](CreateRunRequest* request, const std::string& value) {
        Spec(request)->set_custom_weights_path(value);
      });
  AddRows(&rows, "run.spec.experiment_path", "BAD_EXPERIMENT_PATH",
          std::vector<std::string>{"experiments", "/Users/ann/{}", "/Users/../x", "/a//b", "/a/b/",
                                   "/a\nb", "/a%2e", "/" + Filler(5000), "/a/" + Filler(256),
                                   WithNul("/a", "b"), Deep(513)},
          [](CreateRunRequest* request, const std::string& value) {
            Spec(request)->set_experiment_path(value);
          });
  AddRows(&rows, "run.spec.register_to", "BAD_VALUE",
          std::vector<std::string>{"main", "main.", ".schema", "a..b", "a.b.c.d", "a b.c",
                                   "a.b;drop", "a.'b'", "a." + Filler(300), WithNul("a.b", "")},
          [](CreateRunRequest* request, const std::string& value) {
            Spec(request)->set_register_to(value);
          });
  return rows;
}

std::vector<Row> OtherRows() {
  std::vector<Row> rows;
  constexpr int kMin = std::numeric_limits<int32_t>::min(),
                kMax = std::numeric_limits<int32_t>::max();
  rows.push_back(
      {"data_prep_cluster_id",
       [](CreateRunRequest* request) { Spec(request)->set_data_prep_cluster_id(Filler(100)); },
       "run.spec.data_prep_cluster_id", "BAD_VALUE"});
  AddRows(&rows, "run.spec.compute.gpus", "BAD_VALUE", std::vector<int>{-1, 1025, kMin, kMax},
          [](CreateRunRequest* request, int value) {
            Spec(request)->mutable_compute()->set_gpus(value);
          });
  AddRows(&rows, "run.spec.compute.cpus", "BAD_VALUE", std::vector<int>{-1, 4097, kMin, kMax},
          [](CreateRunRequest* request, int value) {
            Spec(request)->mutable_compute()->set_cpus(value);
          });
  AddRows(&rows, "run.spec.compute.memory_bytes", "BAD_VALUE",
          std::vector<int64_t>{-1, (int64_t{1} << 50) + 1, std::numeric_limits<int64_t>::min(),
                               std::numeric_limits<int64_t>::max()},
          [](CreateRunRequest* request, int64_t value) {
            Spec(request)->mutable_compute()->set_memory_bytes(value);
          });
  AddRows(&rows, "run.spec.compute.nodes", "BAD_VALUE", std::vector<int>{-1, 1025, kMin, kMax},
          [](CreateRunRequest* request, int value) {
            Spec(request)->mutable_compute()->set_nodes(value);
          });
  AddRows(&rows, "run.spec.compute.gpu_type", "BAD_VALUE",
          std::vector<std::string>{"h 200", "h200;", Filler(64), WithNul("h", "200"), "\u0440200",
                                   "../x"},
          [](CreateRunRequest* request, const std::string& value) {
            Spec(request)->mutable_compute()->set_gpu_type(value);
          });
  AddRows(&rows, "run.spec.scheduling.priority", "BAD_VALUE", std::vector<int>{5, 999, -1},
          [](CreateRunRequest* request, int value) {
            Spec(request)->mutable_scheduling()->set_priority(
                static_cast<v1::Scheduling::Priority>(value));
          });
  AddRows(&rows, "run.spec.scheduling.max_retries", "BAD_VALUE",
          std::vector<int>{-1, 101, 1000000000, kMin}, [](CreateRunRequest* request, int value) {
            Spec(request)->mutable_scheduling()->set_max_retries(value);
          });
  constexpr int64_t kYear = 365 * 86400;
  AddRows(&rows, "run.spec.scheduling.max_run_time", "BAD_VALUE",
          std::vector<std::pair<int64_t, int>>{{0, 0},
                                               {59, 999999999},
                                               {-60, 0},
                                               {kYear, 1},
                                               {60, -1},
                                               {60, 1000000000},
                                               {-60, 1},
                                               {std::numeric_limits<int64_t>::max(), 0},
                                               {std::numeric_limits<int64_t>::min(), 0}},
          [](CreateRunRequest* request, std::pair<int64_t, int> value) {
            auto* duration = Spec(request)->mutable_scheduling()->mutable_max_run_time();
            duration->set_seconds(value.first);
            duration->set_nanos(value.second);
          });
  AddRows(&rows, "run.labels", "BAD_LABEL",
          std::vector<std::pair<std::string, std::string>>{{"", "x"},
                                                           {"Key", "x"},
                                                           {"1key", "x"},
                                                           {"a b", "x"},
                                                           {"__proto__", "x"},
                                                           {"k\u00e9y", "x"},
                                                           {std::string(64, 'a'), "x"},
                                                           {Filler(10000), "x"},
                                                           {"a", Filler(257)},
                                                           {"a", WithNul("x", "y")},
                                                           {"a", "x\ny"},
                                                           {"a", "\x1b[31m"},
                                                           {WithNul("a", "b"), "x"},
                                                           {"a", "x\x7f"}},
          [](CreateRunRequest* request, const std::pair<std::string, std::string>& value) {
            (*request->mutable_run()->mutable_labels())[value.first] = value.second;
          });
  rows.push_back({"65 labels",
                  [](CreateRunRequest* request) {
                    for (int i = 0; i < 65; ++i) {
                      (*request->mutable_run()->mutable_labels())["k" + std::to_string(i)] = "x";
                    }
                  },
                  "run.labels", "BAD_VALUE"});
  return rows;
}

class BadCreateTest : public ::testing::Test {
 protected:
  BadCreateTest()
      : server_(installation_.StartDaemon()),
        client_(server_->listen(), installation_.Token("ann@example.com", "user")) {
    // One run is there, so that a refusal could also damage something.
    EXPECT_TRUE(client_.Create(ValidRequest(installation_)).ok());
    before_ = StoredCounts(installation_);
  }

  void ExpectAllRefused(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
      SCOPED_TRACE(row.what);
      CreateRunRequest request = ValidRequest(installation_);
      row.spoil(&request);
      const absl::Status status = client_.Create(request).status();
      ExpectViolation(status, row.field, row.reason);
      // A rehearsal says the same.
      request.set_validate_only(true);
      const absl::Status rehearsed = client_.Create(request).status();
      EXPECT_EQ(rehearsed.code(), status.code());
      EXPECT_EQ(rehearsed.message(), status.message());
    }
    EXPECT_EQ(StoredCounts(installation_), before_);
    EXPECT_TRUE(client_.Create(ValidRequest(installation_)).ok());
  }

  // A change that is no bad syntax, yet refused.
  void ExpectRefused(const std::function<void(CreateRunRequest*)>& spoil, absl::StatusCode code,
                     const std::string& reason) {
    CreateRunRequest request = ValidRequest(installation_);
    spoil(&request);
    const absl::Status status = client_.Create(request).status();
    ExpectCleanError(status);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(ErrorReason(status), reason) << status;
    EXPECT_EQ(StoredCounts(installation_), before_);
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  TestClient client_;
  std::string before_;
};

TEST_F(BadCreateTest, NamesAndIdsThatCanBeNoneAreRefused) { ExpectAllRefused(NameRows()); }
TEST_F(BadCreateTest, WhatAndHowLongToTrainIsCheckedFieldByField) {
  ExpectAllRefused(TrainingRows());
}
TEST_F(BadCreateTest, PathsThatMeanSomethingElseThanTheySayAreRefused) {
  ExpectAllRefused(PathRows());
}
TEST_F(BadCreateTest, ComputeSchedulingAndLabelsAreCheckedFieldByField) {
  ExpectAllRefused(OtherRows());
}

TEST_F(BadCreateTest, PathsOutsideTheRootsAreDenied) {
  const std::string& root = installation_.data_root();
  for (const std::string& path :
       {std::string("/etc/shadow"), std::string("/etc/passwd"), std::string("/"), root + "-evil/x",
        root.substr(0, root.rfind('/')),
        installation_.artifact_root() + "/workspaces/other/runs/x/artifacts"}) {
    SCOPED_TRACE(path);
    const auto denied = absl::StatusCode::kPermissionDenied;
    ExpectRefused([&](CreateRunRequest* request) { Spec(request)->set_train_data_path(path); },
                  denied, "PATH_NOT_ALLOWED");
    ExpectRefused([&](CreateRunRequest* request) { Spec(request)->set_eval_data_path(path); },
                  denied, "PATH_NOT_ALLOWED");
    ExpectRefused([&](CreateRunRequest* request) { Spec(request)->set_custom_weights_path(path); },
                  denied, "PATH_NOT_ALLOWED");
  }
  ExpectRefused(
      [](CreateRunRequest* request) {
        Spec(request)->set_custom_weights_path("workspaces/other/runs/x");
      },
      absl::StatusCode::kPermissionDenied, "PATH_NOT_ALLOWED");
}

TEST_F(BadCreateTest, WhatThisInstallationDoesNotHaveIsAFailedPrecondition) {
  const auto model = [](const std::string& name) {
    return [name](CreateRunRequest* request) { Spec(request)->set_model(name); };
  };
  ExpectRefused(model("meta-llama/Llama-3.1-8B"), absl::StatusCode::kFailedPrecondition,
                "MODEL_NOT_ALLOWED");
  ExpectRefused(model("o/" + Filler(190)), absl::StatusCode::kFailedPrecondition,
                "MODEL_NOT_ALLOWED");
  ExpectRefused([](CreateRunRequest* request) { Spec(request)->mutable_compute()->set_nodes(2); },
                absl::StatusCode::kFailedPrecondition, "NO_SUCH_CAPACITY");
}

TEST_F(BadCreateTest, AForeignWorkspaceIsNotFoundAndHighPriorityIsNotAUsers) {
  ExpectRefused([](CreateRunRequest* request) { request->set_parent("workspaces/other"); },
                absl::StatusCode::kNotFound, "WORKSPACE_NOT_FOUND");
  ExpectRefused(
      [](CreateRunRequest* request) {
        Spec(request)->mutable_scheduling()->set_priority(v1::Scheduling::HIGH);
      },
      absl::StatusCode::kPermissionDenied, "PERMISSION_MISSING");
}

TEST_F(BadCreateTest, AllViolationsOfOneRequestComeAtOnce) {
  CreateRunRequest request;
  std::set<std::string> expected;
  for (const auto& rows : {NameRows(), TrainingRows(), PathRows(), OtherRows()}) {
    std::set<std::string> spoiled;
    for (const Row& row : rows) {
      if (row.field.find('[') == std::string::npos && spoiled.insert(row.field).second) {
        row.spoil(&request);
        expected.insert(row.field);
      }
    }
  }
  EXPECT_GE(expected.size(), 20u);
  const absl::Status status = client_.Create(request).status();
  ExpectCleanError(status);
  std::set<std::string> fields;
  for (const FieldViolation& violation : Violations(status)) fields.insert(violation.field);
  EXPECT_EQ(fields, expected) << status;
  EXPECT_EQ(StoredCounts(installation_), before_);
}

TEST_F(BadCreateTest, AnErrorWithVeryManyViolationsStillReachesItsCaller) {
  CreateRunRequest request = ValidRequest(installation_);
  for (int i = 0; i < 100; ++i) Spec(&request)->add_eval_prompts("");
  for (int i = 0; i < 64; ++i)
    (*request.mutable_run()->mutable_labels())["K" + std::to_string(i)] = "x";
  const absl::Status status = client_.Create(request).status();
  ExpectCleanError(status);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_GE(Violations(status).size(), 10u);
}

TEST_F(BadCreateTest, AMissingRunIsNamedBesideWhatItLacks) {
  const absl::Status status = client_.Create(CreateRunRequest()).status();
  std::set<std::string> fields;
  for (const FieldViolation& violation : Violations(status)) fields.insert(violation.field);
  EXPECT_EQ(fields, (std::set<std::string>{"run", "run.spec.model", "run.spec.train_data_path"}))
      << status;
}

// The other side of each limit, so that the tables above do not pass by refusing everything.
TEST_F(BadCreateTest, ValuesAtTheirLimitsAreTaken) {
  const std::vector<std::pair<std::string, std::function<void(CreateRunRequest*)>>> good = {
      {"names", [](CreateRunRequest* request) { request->set_run_id("a" + std::string(62, '0')); }},
      {"short name", [](CreateRunRequest* request) { request->set_run_id("ab"); }},
      {"parent", [](CreateRunRequest* request) { request->set_parent("workspaces/default"); }},
      {"own parent", [](CreateRunRequest* request) { request->set_parent("workspaces/-"); }},
      {"request_id",
       [](CreateRunRequest* request) {
         request->set_request_id(NewUuid(absl::FromUnixSeconds(2)));
       }},
      {"no task type",
       [](CreateRunRequest* request) {
         Spec(request)->set_task_type(RunSpec::TASK_TYPE_UNSPECIFIED);
       }},
      {"durations",
       [](CreateRunRequest* request) {
         Spec(request)->set_training_duration("999999999999999tok");
         Spec(request)->set_save_interval("999999999999999tok");
       }},
      {"learning rate", [](CreateRunRequest* request) { Spec(request)->set_learning_rate(1); }},
      {"small learning rate",
       [](CreateRunRequest* request) { Spec(request)->set_learning_rate(1e-12); }},
      {"context", [](CreateRunRequest* request) { Spec(request)->set_context_length(512); }},
      {"small context", [](CreateRunRequest* request) { Spec(request)->set_context_length(8); }},
      {"checkpoints", [](CreateRunRequest* request) { Spec(request)->set_save_num_to_keep(1000); }},
      {"prompts",
       [](CreateRunRequest* request) {
         std::string longest;
         for (int i = 0; i < 4096; ++i) longest += "\u00e9";
         Spec(request)->add_eval_prompts(longest);
         for (int i = 0; i < 99; ++i)
           Spec(request)->add_eval_prompts(WithNul(std::to_string(i), "\n"));
       }},
      {"weights",
       [this](CreateRunRequest* request) {
         ASSERT_TRUE(ArtifactStore(installation_.data_root()).Put("w/model.safetensors", "").ok());
         Spec(request)->set_custom_weights_path(installation_.data_root() + "/w");
       }},
      {"experiment",
       [](CreateRunRequest* request) { Spec(request)->set_experiment_path("/Shared/My tests"); }},
      {"long experiment",
       [](CreateRunRequest* request) { Spec(request)->set_experiment_path(Deep(512)); }},
      {"register",
       [](CreateRunRequest* request) { Spec(request)->set_register_to("main.a-b.c_d"); }},
      {"compute",
       [](CreateRunRequest* request) {
         auto* compute = Spec(request)->mutable_compute();
         compute->set_gpus(1024);
         compute->set_cpus(4096);
         compute->set_memory_bytes(int64_t{1} << 50);
         compute->set_gpu_type(std::string(63, 'h'));
         compute->set_nodes(1);
       }},
      {"scheduling",
       [](CreateRunRequest* request) {
         auto* scheduling = Spec(request)->mutable_scheduling();
         scheduling->set_max_retries(100);
         scheduling->set_priority(v1::Scheduling::LOWEST);
         scheduling->mutable_max_run_time()->set_seconds(365 * 86400);
       }},
      {"labels",
       [](CreateRunRequest* request) {
         std::string longest;
         for (int i = 0; i < 256; ++i) longest += "\u20ac";
         for (int i = 0; i < 64; ++i) {
           (*request->mutable_run()->mutable_labels())["k" + std::to_string(i)] = longest;
         }
         (*request->mutable_run()->mutable_labels()).erase("k0");
         (*request->mutable_run()->mutable_labels())[std::string(63, 'a')] = "";
       }},
  };
  for (const auto& [what, change] : good) {
    SCOPED_TRACE(what);
    CreateRunRequest request = ValidRequest(installation_);
    change(&request);
    const auto run = client_.Create(request);
    ASSERT_TRUE(run.ok()) << run.status();
    // What was given comes back byte by byte; nothing is cut or mended.
    const RunSpec& spec = request.run().spec();
    EXPECT_EQ(std::vector<std::string>(run->spec().eval_prompts().begin(),
                                       run->spec().eval_prompts().end()),
              std::vector<std::string>(spec.eval_prompts().begin(), spec.eval_prompts().end()));
    for (const auto& [key, value] : request.run().labels()) EXPECT_EQ(run->labels().at(key), value);
    ASSERT_TRUE(client_.Cancel(run->name()).ok());
  }
}

TEST_F(BadCreateTest, ARequestIdStandsForOneBodyOfOneOwner) {
  CreateRunRequest request = ValidRequest(installation_);
  request.set_request_id(NewUuid(absl::FromUnixSeconds(1)));
  ASSERT_TRUE(client_.Create(request).ok());
  const std::string before = StoredCounts(installation_);
  CreateRunRequest other = request;
  Spec(&other)->set_training_duration("2ep");
  ExpectViolation(client_.Create(other).status(), "request_id", "REQUEST_ID_REUSED");
  EXPECT_EQ(StoredCounts(installation_), before);
  TestClient bob(server_->listen(), installation_.Token("bob@example.com", "user"));
  const auto theirs = bob.Create(other);
  ASSERT_TRUE(theirs.ok()) << theirs.status();
  EXPECT_EQ(theirs->owner(), "bob@example.com");
}

// The details of an error travel in a header, and headers have a limit: an error that does not fit
// is not seen.
TEST_F(BadCreateTest, ARefusalByALargeQuotaStillSaysWhy) {
  TestInstallation installation;
  const auto server = installation.StartDaemon(
      [](config::v1::DaemonConfig* config) { config->set_active_runs_limit(150); });
  TestClient client(server->listen(), installation.Token("ann@example.com", "user"));
  for (int i = 0; i < 150; ++i) {
    CreateRunRequest request = ValidRequest(installation);
    const std::string number = std::to_string(i);
    request.set_run_id("r" + std::string(62 - number.size(), 'x') + number);
    ASSERT_TRUE(client.Create(request).ok());
  }
  const absl::Status status = client.Create(ValidRequest(installation)).status();
  EXPECT_EQ(ErrorReason(status), "ACTIVE_RUNS_QUOTA") << status;
  EXPECT_EQ(ErrorMetadata(status)["usage"], "150");
}

}  // namespace
}  // namespace finetuned
