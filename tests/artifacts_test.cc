// What runs have left: listed, read from any offset, started from, and by nobody who may not.

#include <filesystem>
#include <thread>

#include <gmock/gmock.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "artifacts/manifest.h"
#include "base/file.h"
#include "base/hash.h"
#include "finetuned/v1/artifact_service.grpc.pb.h"
#include "tests/bad_input.h"
#include "tests/lifecycle.h"

namespace finetuned {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kCheckpoint[] = "quick/checkpoints/ep1-ba3";

class ArtifactsTest : public LifecycleTest {
 protected:
  ArtifactsTest()
      : store_(installation_.artifact_root()),
        bob_(server_->listen(), installation_.Token("bob@example.com", "user")) {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_run_id("first");
    request.mutable_run()->mutable_spec()->set_experiment_path("/quick");
    const auto run = user_.Create(request);
    EXPECT_TRUE(run.ok()) << run.status();
    name_ = run->name();
    top_ = run->artifact_path() + "/artifacts";
    weights_ = std::string(1'300'000, 'w');
    Put(absl::StrCat(kCheckpoint, "/model.safetensors"), weights_);
    Put(absl::StrCat(kCheckpoint, "/config.json"), "{}");
    Put("quick/checkpoints/latest-sharded-rank0.symlink", "ep1-ba3");
    Put(absl::StrCat(kCheckpoint, "/manifest.json"),
        ManifestToJson({{{"config.json", 2, Sha256Hex("{}")},
                         {"model.safetensors", 1'300'000, Sha256Hex(weights_)}},
                        "staging",
                        1,
                        {}}));
  }

  void Put(const std::string& path, const std::string& content) {
    ASSERT_TRUE(store_.Put(top_ + "/" + path, content).ok());
  }

  absl::StatusOr<v1::ListArtifactsResponse> List(TestClient& client,
                                                 const v1::ListArtifactsRequest& request) {
    v1::ListArtifactsResponse response;
    const absl::Status status = CallFor(
        client, client.artifacts(), &v1::ArtifactService::Stub::ListArtifacts, request, &response);
    if (!status.ok()) return status;
    return response;
  }

  v1::ListArtifactsRequest ListRequest(const std::string& path, bool recursive = false) {
    v1::ListArtifactsRequest request;
    request.set_parent(name_);
    request.set_path(path);
    request.set_recursive(recursive);
    return request;
  }

  std::vector<std::string> Paths(const v1::ListArtifactsRequest& request) {
    const auto page = List(user_, request);
    EXPECT_TRUE(page.ok()) << page.status();
    std::vector<std::string> paths;
    if (!page.ok()) return paths;
    for (const v1::Artifact& artifact : page->artifacts()) {
      paths.push_back(artifact.path() + (artifact.folder() ? "/" : ""));
    }
    return paths;
  }

  // All of a file from an offset, or how it ended.
  absl::StatusOr<std::string> Read(TestClient& client, const std::string& path, int64_t offset,
                                   const std::string& parent = "") {
    v1::ReadArtifactRequest request;
    request.set_parent(parent.empty() ? name_ : parent);
    request.set_path(path);
    request.set_offset(offset);
    const auto context = client.Context();
    const auto reader = client.artifacts().ReadArtifact(context.get(), request);
    std::string content;
    v1::ReadArtifactResponse response;
    for (bool first = true; reader->Read(&response); first = false) {
      EXPECT_EQ(response.size_bytes() != 0, first && !absl::EndsWith(path, "empty"));
      EXPECT_LE(response.data().size(), size_t{512 << 10});
      content += response.data();
    }
    const absl::Status status = FromGrpc(reader->Finish());
    if (!status.ok()) return status;
    return content;
  }

  absl::StatusOr<v1::Run> StartFrom(TestClient& client, const std::string& weights,
                                    const std::string& request_id = "") {
    v1::CreateRunRequest request = ValidRequest(installation_);
    request.set_request_id(request_id);
    request.mutable_run()->mutable_spec()->set_custom_weights_path(weights);
    return client.Create(request);
  }

  std::vector<std::string> StartedFrom(TestClient& client, const std::string& source) {
    v1::ListRunsRequest request;
    request.set_source_run(source);
    request.set_order_by("create_time");
    v1::ListRunsResponse response;
    const absl::Status status =
        CallFor(client, client.runs(), &v1::RunService::Stub::ListRuns, request, &response);
    EXPECT_TRUE(status.ok()) << status;
    std::vector<std::string> names;
    for (const v1::Run& run : response.runs()) names.push_back(run.name());
    return names;
  }

  ArtifactStore store_;
  TestClient bob_;
  std::string top_, weights_;
};

TEST_F(ArtifactsTest, FoldersAreListedWithSizesAndHashes) {
  EXPECT_THAT(Paths(ListRequest("")), ElementsAre("quick/"));
  EXPECT_THAT(
      Paths(ListRequest("quick/checkpoints/")),
      ElementsAre("quick/checkpoints/ep1-ba3/", "quick/checkpoints/latest-sharded-rank0.symlink"));
  const auto all = List(user_, ListRequest(kCheckpoint, true));
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->artifacts_size(), 3);
  EXPECT_EQ(all->artifacts(2).path(), absl::StrCat(kCheckpoint, "/model.safetensors"));
  EXPECT_EQ(all->artifacts(2).size_bytes(), 1'300'000);
  EXPECT_EQ(all->artifacts(2).sha256(), Sha256Hex(weights_));
  // As ListCheckpoints tells the path.
  EXPECT_THAT(Paths(ListRequest(absl::StrCat(top_, "/", kCheckpoint))).size(), 3);
  v1::CreateRunRequest request = ValidRequest(installation_);
  name_ = user_.Create(request)->name();
  EXPECT_THAT(Paths(ListRequest("")), ElementsAre());
}

TEST_F(ArtifactsTest, PagesMakeTheWholeAndTokensAreForOneListing) {
  v1::ListArtifactsRequest request = ListRequest("", true);
  const std::vector<std::string> whole = Paths(request);
  EXPECT_EQ(whole.size(), 4u);
  request.set_page_size(1);
  std::vector<std::string> all;
  std::string token;
  do {
    request.set_page_token(token);
    const auto page = List(user_, request);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const v1::Artifact& artifact : page->artifacts()) all.push_back(artifact.path());
    if (!page->next_page_token().empty()) request.set_page_token(page->next_page_token());
    token = page->next_page_token();
  } while (!token.empty());
  EXPECT_EQ(all, whole);
  request.set_path("quick");
  ExpectViolation(List(user_, request).status(), "page_token", "BAD_PAGE_TOKEN");
  request.set_page_token("x");
  ExpectViolation(List(user_, request).status(), "page_token", "BAD_PAGE_TOKEN");
  request.set_page_token("");
  request.set_page_size(-1);
  ExpectViolation(List(user_, request).status(), "page_size", "BAD_PAGE_SIZE");
}

TEST_F(ArtifactsTest, AFileIsReadFromAnyOffset) {
  const std::string path = absl::StrCat(kCheckpoint, "/model.safetensors");
  for (const int64_t offset : {0, 1, 524287, 524288, 1299999, 1300000}) {
    const auto content = Read(user_, path, offset);
    ASSERT_TRUE(content.ok()) << content.status();
    EXPECT_EQ(*content, weights_.substr(offset));
  }
  Put("empty", "");
  EXPECT_EQ(Read(user_, "empty", 0).value(), "");
  EXPECT_EQ(Read(user_, path, 1300001).status().code(), absl::StatusCode::kOutOfRange);
  ExpectViolation(Read(user_, path, -1).status(), "offset", "BAD_OFFSET");
}

TEST_F(ArtifactsTest, WhatIsNoArtifactIsNotFoundOrRefused) {
  std::filesystem::create_symlink("/etc/passwd", store_.Absolute(top_) + "/link");
  std::filesystem::create_directory_symlink("/etc", store_.Absolute(top_) + "/folder");
  for (const char* path :
       {"link", "folder/passwd", "absent", "quick", "quick/checkpoints/ep9-ba9"}) {
    const absl::Status status = Read(user_, path, 0).status();
    EXPECT_EQ(ErrorReason(status), "ARTIFACT_NOT_FOUND") << path << ": " << status;
    ExpectCleanError(status);
  }
  for (const std::string& path :
       {std::string("../attempts"), std::string("/etc/passwd"), std::string("a//b"),
        std::string("./a"), WithNul("a", "b"), Filler(5000), std::string("a/../../../x")}) {
    ExpectViolation(Read(user_, path, 0).status(), "path", "BAD_PATH");
    ExpectViolation(List(user_, ListRequest(path)).status(), "path", "BAD_PATH");
  }
  ExpectViolation(Read(user_, "", 0).status(), "path", "REQUIRED");
  // Of another run in the same folder tree.
  EXPECT_FALSE(Read(user_, "workspaces/default/runs/other/artifacts/x", 0).ok());
}

TEST_F(ArtifactsTest, ARunOfSomebodyElseHasNoArtifacts) {
  const std::string path = absl::StrCat(kCheckpoint, "/config.json");
  for (const std::string& parent : {name_, std::string("absent")}) {
    EXPECT_EQ(ErrorReason(Read(bob_, path, 0, parent).status()), "RUN_NOT_FOUND");
    v1::ListArtifactsRequest request = ListRequest("");
    request.set_parent(parent);
    EXPECT_EQ(ErrorReason(List(bob_, request).status()), "RUN_NOT_FOUND");
  }
  for (const char* version : {"workspaces/default/registeredModels/a.b.c/versions/1",
                              "workspaces/other/registeredModels/a.b.c/versions/1"}) {
    EXPECT_EQ(ErrorReason(Read(user_, "config.json", 0, version).status()), "MODEL_NOT_FOUND");
  }
  for (const char* parent :
       {"workspaces/default/registeredModels/a.b.c", "workspaces/default/registeredModels/a.b.c/1",
        "workspaces/default/registeredModels/a.b.c/versions/x",
        "workspaces/default/registeredModels/a.b.c/versions/0"}) {
    ExpectViolation(Read(user_, "config.json", 0, parent).status(), "parent", "BAD_NAME");
  }
}

TEST_F(ArtifactsTest, DownloadsAreLimitedAndCounted) {
  // Of a size that no buffer of the transport takes, so that a stream that is not read stays open.
  Put("large", std::string(64 << 20, 'x'));
  v1::ReadArtifactRequest request;
  request.set_parent(name_);
  request.set_path("large");
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::ReadArtifactResponse>>> readers;
  v1::ReadArtifactResponse response;
  for (int i = 0; i < 16; ++i) {
    contexts.push_back(user_.Context());
    readers.push_back(user_.artifacts().ReadArtifact(contexts.back().get(), request));
    ASSERT_TRUE(readers.back()->Read(&response));
  }
  EXPECT_EQ(ErrorReason(Read(user_, "large", 0).status()), "TOO_MANY_DOWNLOADS");
  for (auto& context : contexts) context->TryCancel();
  for (auto& reader : readers) {
    while (reader->Read(&response)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  // What was cancelled is given back, though not in the same moment.
  absl::Status status;
  for (int i = 0; i < 500; ++i) {
    status = Read(user_, absl::StrCat(kCheckpoint, "/config.json"), 0).status();
    if (status.ok()) break;
    std::this_thread::yield();
  }
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(ArtifactsTest, ARunRemembersWhatItStartedFrom) {
  const std::string folder = absl::StrCat(top_, "/", kCheckpoint);
  std::vector<std::string> started;
  for (const std::string& path :
       {folder, store_.Absolute(folder),
        absl::StrCat(top_, "/quick/checkpoints/", ArtifactStore::kPointerName)}) {
    const auto run = StartFrom(user_, path);
    ASSERT_TRUE(run.ok()) << run.status();
    EXPECT_EQ(run->source_run(), name_);
    // The pointer is settled when the run is created.
    EXPECT_EQ(run->spec().custom_weights_path(), absl::EndsWith(path, "symlink") ? folder : path);
    started.push_back(run->name());
  }
  EXPECT_EQ(StartedFrom(user_, name_), started);
  EXPECT_EQ(StartedFrom(user_, "first"), started);
  EXPECT_THAT(StartedFrom(user_, "absent"), ElementsAre());
  EXPECT_THAT(StartedFrom(bob_, name_), ElementsAre());
  EXPECT_THAT(StartedFrom(user_, started[0]), ElementsAre());
  EXPECT_EQ(user_.Create(ValidRequest(installation_))->source_run(), "");
}

TEST_F(ArtifactsTest, WeightsMustBeThereAndTheCallersToSee) {
  const std::string folder = absl::StrCat(top_, "/", kCheckpoint);
  Put("quick/checkpoints/broken/latest-sharded-rank0.symlink", "../../../../etc");
  Put("quick/checkpoints/no-weights/config.json", "{}");
  const std::string before = StoredCounts(installation_);
  for (const std::string& path :
       {absl::StrCat(top_, "/absent"), absl::StrCat(folder, "/model.safetensors"),
        absl::StrCat(top_, "/quick/checkpoints/no-weights"),
        absl::StrCat(top_, "/quick/checkpoints/broken/latest-sharded-rank0.symlink"),
        absl::StrCat(top_, "/quick/latest-sharded-rank0.symlink"),
        installation_.data_root() + "/absent", std::string("workspaces/default/runs/first")}) {
    const absl::Status status = StartFrom(user_, path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << path << ": " << status;
    EXPECT_EQ(ErrorReason(status), "WEIGHTS_NOT_FOUND");
    ExpectCleanError(status);
  }
  // Somebody else's answer like what is not there.
  for (const std::string& path : {folder, absl::StrCat(folder, "/model.safetensors"),
                                  absl::StrCat(top_, "/quick/checkpoints/no-weights")}) {
    const absl::Status foreign = StartFrom(bob_, path).status();
    EXPECT_EQ(ErrorReason(foreign), "WEIGHTS_NOT_FOUND");
    EXPECT_THAT(std::string(foreign.message()), HasSubstr("it is not there"));
  }
  EXPECT_EQ(StoredCounts(installation_), before);
}

// Whose they are, and where, is checked in any case.
TEST_F(ArtifactsTest, WeightsThatAreNotLookedAtMayComeLater) {
  const auto start = [](TestClient& client, const TestInstallation& installation,
                        const std::string& path) {
    v1::CreateRunRequest request = ValidRequest(installation);
    request.mutable_run()->mutable_spec()->set_custom_weights_path(path);
    request.mutable_run()->mutable_spec()->set_validate_inputs(false);
    return client.Create(request);
  };
  const std::string absent = absl::StrCat(top_, "/absent");
  const auto run = start(user_, installation_, absent);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->spec().custom_weights_path(), absent);
  EXPECT_FALSE(run->spec().validate_inputs());
  EXPECT_EQ(ErrorReason(start(bob_, installation_, absent).status()), "WEIGHTS_NOT_FOUND");
  EXPECT_EQ(start(user_, installation_, "/etc/weights").status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(ArtifactsTest, DataRootsMayHoldLinks) {
  const std::string root = installation_.data_root();
  ASSERT_TRUE(MakeDirectories(root + "/blobs", 0755).ok());
  ASSERT_TRUE(MakeDirectories(root + "/snapshot", 0755).ok());
  ASSERT_TRUE(WriteFileAtomically(root + "/blobs/1", "weights", 0644).ok());
  std::filesystem::create_symlink("../blobs/1", root + "/snapshot/model.safetensors");
  std::filesystem::create_symlink("snapshot", root + "/current");
  const auto run = StartFrom(user_, root + "/current");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->spec().custom_weights_path(), root + "/current");
  EXPECT_EQ(run->source_run(), "");
}

TEST_F(ArtifactsTest, ARepeatedCreateIsAnsweredWhenItsWeightsAreGone) {
  const std::string folder = absl::StrCat(top_, "/", kCheckpoint);
  const std::string request_id = "7e57ab1e-0000-4000-8000-000000000001";
  const auto run = StartFrom(user_, folder, request_id);
  ASSERT_TRUE(run.ok()) << run.status();
  std::filesystem::remove_all(store_.Absolute(folder));
  const auto again = StartFrom(user_, folder, request_id);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->name(), run->name());
  EXPECT_EQ(ErrorReason(StartFrom(user_, folder + "/x", request_id).status()), "REQUEST_ID_REUSED");
  EXPECT_EQ(ErrorReason(StartFrom(bob_, folder, request_id).status()), "WEIGHTS_NOT_FOUND");
  EXPECT_EQ(ErrorReason(StartFrom(user_, folder).status()), "WEIGHTS_NOT_FOUND");
}

}  // namespace
}  // namespace finetuned
