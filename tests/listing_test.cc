// ListRuns: newest first, in pages that neither skip nor repeat, and only what the filters say.

#include <algorithm>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/bad_input.h"

namespace finetuned {
namespace {

class ListingTest : public ::testing::Test {
 protected:
  ListingTest()
      : server_(installation_.StartDaemon(
            [](config::v1::DaemonConfig* config) { config->set_active_runs_limit(1000); })),
        client_(server_->listen(), installation_.Token("ann@example.com", "user")) {}

  v1::Run Create(const std::string& run_id) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id(run_id);
    const auto run = client_.Create(request);
    EXPECT_TRUE(run.ok()) << run.status();
    return run.ok() ? *run : v1::Run();
  }

  static absl::StatusOr<v1::ListRunsResponse> ListAs(TestClient& client,
                                                     const v1::ListRunsRequest& request) {
    v1::ListRunsResponse response;
    const absl::Status status =
        CallFor(client, client.runs(), &v1::RunService::Stub::ListRuns, request, &response);
    if (!status.ok()) return status;
    return response;
  }

  absl::StatusOr<v1::ListRunsResponse> List(const v1::ListRunsRequest& request) {
    return ListAs(client_, request);
  }

  // The names of all pages, one after the other; `between` is called after each.
  std::vector<std::string> AllPages(v1::ListRunsRequest request,
                                    const std::function<void()>& between = {}) {
    std::vector<std::string> names;
    do {
      const auto page = List(request);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      EXPECT_LE(page->runs_size(), request.page_size());
      for (const auto& run : page->runs()) names.push_back(LastPart(run.name()));
      request.set_page_token(page->next_page_token());
      if (between) between();
    } while (!request.page_token().empty());
    return names;
  }

  static std::string LastPart(const std::string& name) { return name.substr(name.rfind('/') + 1); }

  std::vector<std::string> Filtered(const v1::ListRunsRequest& request) {
    std::vector<std::string> names;
    const auto page = List(request);
    EXPECT_TRUE(page.ok()) << page.status();
    if (!page.ok()) return names;
    for (const auto& run : page->runs()) names.push_back(LastPart(run.name()));
    return names;
  }

  TestInstallation installation_;
  std::unique_ptr<Server> server_;
  TestClient client_;
};

using Names = std::vector<std::string>;

TEST_F(ListingTest, PagesAreNewestFirstAndTogetherAreEverythingOnce) {
  Names expected;
  for (int i = 0; i < 7; ++i) {
    expected.push_back("run-" + std::to_string(i));
    Create(expected.back());
  }
  std::reverse(expected.begin(), expected.end());
  for (const int size : {1, 2, 3, 7, 8}) {
    v1::ListRunsRequest request;
    request.set_page_size(size);
    EXPECT_EQ(AllPages(request), expected) << "pages of " << size;
  }
  EXPECT_EQ(Filtered({}), expected);
}

// Rows that were made in one batch have times that differ by little or not at all.
TEST_F(ListingTest, RunsOfOneInstantAreNeitherSkippedNorRepeated) {
  std::set<std::string> expected;
  for (int i = 0; i < 9; ++i) {
    expected.insert("run-" + std::to_string(i));
    Create("run-" + std::to_string(i));
  }
  installation_.Sql("update runs set create_time = '2026-01-01T00:00:00.123456Z'");
  v1::ListRunsRequest request;
  request.set_page_size(2);
  const Names names = AllPages(request);
  EXPECT_EQ(names.size(), expected.size());
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), expected);
}

TEST_F(ListingTest, WhatIsCreatedMeanwhileChangesNoPageThatFollows) {
  Names expected;
  for (int i = 0; i < 6; ++i) {
    expected.push_back("old-" + std::to_string(i));
    Create(expected.back());
  }
  std::reverse(expected.begin(), expected.end());
  v1::ListRunsRequest request;
  request.set_page_size(2);
  int made = 0;
  EXPECT_EQ(AllPages(request, [&] { Create("new-" + std::to_string(made++)); }), expected);
  EXPECT_EQ(made, 3);
}

TEST_F(ListingTest, APageIsAtMostAThousandRunsAndAMebibyte) {
  for (int i = 0; i < 5; ++i) {
    v1::CreateRunRequest large = ValidRequest(installation_);
    for (int k = 0; k < 90; ++k) {
      large.mutable_run()->mutable_spec()->add_eval_prompts(std::to_string(k) +
                                                            std::string(4000, 'p'));
    }
    large.set_run_id("large-" + std::to_string(i));
    ASSERT_TRUE(client_.Create(large).ok());
  }
  v1::ListRunsRequest request;
  request.set_page_size(2000000000);
  const auto page = List(request);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_LT(page->runs_size(), 5);
  EXPECT_LE(page->ByteSizeLong(), size_t{1} << 20);
  EXPECT_EQ(AllPages(request), (Names{"large-4", "large-3", "large-2", "large-1", "large-0"}));
}

TEST_F(ListingTest, EachFilterKeepsWhatItSaysAndAllTogetherNarrow) {
  std::vector<v1::Run> runs;
  for (const char* name : {"aa", "bb", "cc", "dd"}) runs.push_back(Create(name));
  ASSERT_TRUE(client_.Cancel("bb").ok());
  ASSERT_TRUE(client_.Cancel("cc").ok());

  v1::ListRunsRequest by_state;
  by_state.add_states(v1::Run::STOPPED);
  EXPECT_EQ(Filtered(by_state), (Names{"cc", "bb"}));
  by_state.add_states(v1::Run::PENDING);
  EXPECT_EQ(Filtered(by_state), (Names{"dd", "cc", "bb", "aa"}));

  v1::ListRunsRequest by_name;
  by_name.add_names("bb");
  by_name.add_names(runs[3].uid());
  by_name.add_names("workspaces/default/runs/aa");
  by_name.add_names("absent");
  by_name.add_names("workspaces/elsewhere/runs/cc");
  EXPECT_EQ(Filtered(by_name), (Names{"dd", "bb", "aa"}));

  v1::ListRunsRequest by_time;
  *by_time.mutable_after() = runs[0].create_time();
  *by_time.mutable_before() = runs[3].create_time();
  EXPECT_EQ(Filtered(by_time), (Names{"cc", "bb"})) << "both ends are exclusive";

  by_time.add_states(v1::Run::STOPPED);
  by_time.add_names("bb");
  by_time.add_names("dd");
  EXPECT_EQ(Filtered(by_time), (Names{"bb"}));
}

TEST_F(ListingTest, OldestFirstIsNewestFirstReversed) {
  Names expected;
  for (int i = 0; i < 7; ++i) {
    expected.push_back("run-" + std::to_string(i));
    Create(expected.back());
  }
  for (const int size : {1, 3, 7, 8}) {
    v1::ListRunsRequest request;
    request.set_page_size(size);
    request.set_order_by("create_time");
    EXPECT_EQ(AllPages(request), expected) << "pages of " << size;
  }
  v1::ListRunsRequest newest;
  newest.set_order_by("create_time desc");
  std::reverse(expected.begin(), expected.end());
  EXPECT_EQ(Filtered(newest), expected);
}

// Every filter, by itself and with the others, in both orders, against what a person would pick.
TEST_F(ListingTest, EveryCombinationOfFiltersIsWhatAPersonWouldPick) {
  installation_.Sql("update workspaces set share_runs = true");
  struct Made {
    std::string name, email, experiment, team;
    google::protobuf::Timestamp create_time;
  };
  std::vector<Made> made;
  for (const char* email : {"ann@example.com", "bob@example.com"}) {
    TestClient client(server_->listen(), installation_.Token(email, "user"));
    for (const char* experiment : {"/Shared/one", "/Shared/two"}) {
      for (const char* team : {"red", "blue"}) {
        v1::CreateRunRequest request = ValidRequest(installation_);
        request.set_run_id("run-" + std::to_string(made.size()));
        request.mutable_run()->mutable_spec()->set_experiment_path(experiment);
        (*request.mutable_run()->mutable_labels())["team"] = team;
        (*request.mutable_run()->mutable_labels())["number"] = std::to_string(made.size());
        const auto run = client.Create(request);
        ASSERT_TRUE(run.ok()) << run.status();
        made.push_back({request.run_id(), email, experiment, team, run->create_time()});
      }
    }
  }
  TestClient carl(server_->listen(), installation_.Token("carl@example.com", "reader"));
  installation_.Sql(
      "update runs set source_run_id = (select run_id from runs where name = 'run-0') "
      "where name in ('run-1', 'run-2', 'run-5', 'run-6', 'run-7')");
  for (int choice = 0; choice < 64; ++choice) {
    for (const bool oldest : {false, true}) {
      v1::ListRunsRequest request;
      request.set_page_size(2);
      if (choice & 1) request.add_user_emails("bob@example.com");
      if (choice & 1) request.add_user_emails("nobody@example.com");
      if (choice & 2) request.set_experiment("/Shared/two");
      if (choice & 4) (*request.mutable_labels())["team"] = "red";
      if (choice & 8) {
        for (const int i : {0, 2, 4, 6, 7}) request.add_names("run-" + std::to_string(i));
      }
      // Neither end is within.
      if (choice & 16) *request.mutable_after() = made[1].create_time;
      if (choice & 16) *request.mutable_before() = made[6].create_time;
      if (choice & 32) request.set_source_run("run-0");
      if (oldest) request.set_order_by("create_time");
      Names expected, listed;
      for (const Made& run : made) {
        const int number = run.name.back() - '0';
        if ((!(choice & 1) || run.email == "bob@example.com") &&
            (!(choice & 2) || run.experiment == "/Shared/two") &&
            (!(choice & 4) || run.team == "red") &&
            (!(choice & 8) || number % 2 == 0 || number == 7) &&
            (!(choice & 16) || (number > 1 && number < 6)) &&
            (!(choice & 32) || (number != 0 && number != 3 && number != 4))) {
          expected.push_back(run.name);
        }
      }
      if (!oldest) std::reverse(expected.begin(), expected.end());
      do {
        const auto page = ListAs(carl, request);
        ASSERT_TRUE(page.ok()) << page.status();
        for (const auto& run : page->runs()) listed.push_back(LastPart(run.name()));
        request.set_page_token(page->next_page_token());
      } while (!request.page_token().empty());
      EXPECT_EQ(listed, expected) << "choice " << choice << ", oldest " << oldest;
    }
  }
  v1::ListRunsRequest both;
  (*both.mutable_labels())["team"] = "red";
  (*both.mutable_labels())["number"] = "4";
  EXPECT_EQ(Filtered(both), (Names{"run-4"}));
  v1::ListRunsRequest absent;
  absent.set_experiment("/Shared/three");
  EXPECT_EQ(Filtered(absent), Names{});
}

TEST_F(ListingTest, LabelsThatAreCommonAreListedLikeThoseThatAreRare) {
  Create("plain");
  installation_.Sql(
      "insert into runs (workspace_id, owner_id, shape_id, priority, queue_pos, uid, name, model, "
      "experiment_id, labels, state, end_time, create_time) "
      "select workspace_id, owner_id, shape_id, 1, s, gen_random_uuid(), 'many-' || s, model, "
      "experiment_id, '{\"kind\": \"many\"}', 'COMPLETED', clock_timestamp(), "
      "create_time + s * interval '1 ms' from runs, generate_series(1, 2500) s");
  installation_.Sql(
      "insert into run_specs (run_id, spec) select run_id, '' from runs where name like 'many-%'");
  installation_.Sql(
      "update runs set labels = '{\"kind\": \"few\"}' where name in "
      "('many-3', 'many-2000')");
  v1::ListRunsRequest request;
  request.set_page_size(3);
  (*request.mutable_labels())["kind"] = "many";
  EXPECT_EQ(Filtered(request), (Names{"many-2500", "many-2499", "many-2498"}));
  (*request.mutable_labels())["kind"] = "few";
  EXPECT_EQ(Filtered(request), (Names{"many-2000", "many-3"}));
  // What a page token is of does not hang on which way was taken.
  request.set_page_size(1);
  EXPECT_EQ(AllPages(request), (Names{"many-2000", "many-3"}));
}

TEST_F(ListingTest, ATokenIsOfOneListingOfOneCaller) {
  for (int i = 0; i < 4; ++i) Create("run-" + std::to_string(i));
  v1::ListRunsRequest request;
  request.set_page_size(2);
  const auto first = List(request);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_NE(first->next_page_token(), "");
  request.set_page_token(first->next_page_token());
  ASSERT_TRUE(List(request).ok());

  // Another page size is no other listing.
  v1::ListRunsRequest larger = request;
  larger.set_page_size(50);
  EXPECT_TRUE(List(larger).ok());
  v1::ListRunsRequest other_filter = request;
  other_filter.add_states(v1::Run::PENDING);
  ExpectViolation(List(other_filter).status(), "page_token", "BAD_PAGE_TOKEN");
  TestClient bob(server_->listen(), installation_.Token("bob@example.com", "user"));
  ExpectViolation(ListAs(bob, request).status(), "page_token", "BAD_PAGE_TOKEN");

  // Any daemon of the installation reads it; another installation's does not.
  const auto second = installation_.StartDaemon();
  const std::string ann = installation_.Token("ann@example.com", "user");
  TestClient through_second(second->listen(), ann);
  EXPECT_TRUE(ListAs(through_second, request).ok());
  TestInstallation elsewhere;
  // Databases of tests are copies of one; installations are not.
  elsewhere.Sql("update installation set page_token_key = sha256('elsewhere')");
  const auto stranger = elsewhere.StartDaemon();
  TestClient there(stranger->listen(), elsewhere.Token("ann@example.com", "user"));
  ExpectViolation(ListAs(there, request).status(), "page_token", "BAD_PAGE_TOKEN");
}

TEST_F(ListingTest, EventsComeInPagesThatGoOnFromTheLastNumber) {
  Create("run-1");
  installation_.Sql(
      "insert into run_events (run_id, seq, event_time, epoch, type, message, detail) "
      "select run_id, s, clock_timestamp(), 0, 'OTHER', 'event ' || s, '' "
      "from runs, generate_series(2, 12) s");
  installation_.Sql("update runs set last_seq = 12");
  v1::ListRunEventsRequest request;
  request.set_name("run-1");
  request.set_page_size(5);
  std::vector<int64_t> seen;
  for (int page = 0; page < 3; ++page) {
    v1::ListRunEventsResponse response;
    const absl::Status status =
        CallFor(client_, client_.runs(), &v1::RunService::Stub::ListRunEvents, request, &response);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(response.last_seq(), 12);
    for (const auto& event : response.events()) seen.push_back(event.seq());
    request.set_after_seq(seen.back());
  }
  std::vector<int64_t> expected;
  for (int64_t seq = 1; seq <= 12; ++seq) expected.push_back(seq);
  EXPECT_EQ(seen, expected);
}

}  // namespace
}  // namespace finetuned
