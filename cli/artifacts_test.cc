// `artifacts list`, `artifacts download`, `model download`.

#include <algorithm>
#include <filesystem>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kFolder[] = "quick/checkpoints/ep1-ba3";

class Artifacts : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    for (int i = 0; i < 1000; ++i) weights_ += static_cast<char>('a' + i % 26);
    Add(absl::StrCat(kFolder, "/config.json"), "{}");
    Add(absl::StrCat(kFolder, "/model.safetensors"), weights_);
    server_.list_artifacts = [this](const v1::ListArtifactsRequest& request,
                                    v1::ListArtifactsResponse* response) {
      parents_.push_back(request.parent());
      for (const auto& [path, content] : files_) {
        if (path.rfind(request.path(), 0) != 0 && request.path().rfind("workspaces/", 0) != 0) {
          continue;
        }
        v1::Artifact* artifact = response->add_artifacts();
        artifact->set_path(path);
        artifact->set_size_bytes(static_cast<int64_t>(content.size()));
        if (with_hashes_) artifact->set_sha256(Sha256Hex(content));
      }
      return absl::OkStatus();
    };
    server_.read_artifact = [this](const v1::ReadArtifactRequest& request) {
      offsets_.push_back(request.offset());
      ArtifactScript script;
      std::string content = files_[request.path()];
      if (spoil_ > 0) {
        --spoil_;
        content[content.size() / 2] ^= 1;
      }
      int sent = 0;
      for (size_t at = request.offset(); at < content.size(); at += kPiece) {
        if (break_after_ >= 0 && sent == break_after_) {
          script.end = absl::UnavailableError("broken off");
          return script;
        }
        ++sent;
        script.messages.emplace_back().set_data(content.substr(at, kPiece));
      }
      return script;
    };
  }

  void Add(const std::string& path, const std::string& content) { files_[path] = content; }

  std::string Content(const std::string& path) {
    return ReadFile(absl::StrCat(folder_, "/", path)).value_or("");
  }
  // Also what is half there.
  std::vector<std::string> FilesIn(const std::string& path) {
    std::vector<std::string> names;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(absl::StrCat(folder_, "/", path))) {
      if (entry.is_regular_file()) names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  int Download(const std::string& path, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"artifacts", "download", "first",
                                          path,        "--to",     folder_ + "/to"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }

  static constexpr size_t kPiece = 100;

  std::string weights_;
  std::map<std::string, std::string> files_;
  bool with_hashes_ = true;
  // Streams end after this many pieces; -1 for at their end.
  int break_after_ = -1;
  // How many streams change a byte.
  int spoil_ = 0;
  std::vector<std::string> parents_;
  std::vector<int64_t> offsets_;
};

TEST_F(Artifacts, AreListed) {
  ASSERT_EQ(Run({"artifacts", "list", "first"}), kExitOk) << Err();
  EXPECT_THAT(Out(), HasSubstr("quick/checkpoints/ep1-ba3/model.safetensors"));
  EXPECT_THAT(Out(), HasSubstr(Sha256Hex(weights_).substr(0, 12)));
  EXPECT_THAT(Err(), HasSubstr("finetune artifacts download first PATH"));
  Reset();
  ASSERT_EQ(Run({"artifacts", "list", "first", kFolder, "-r", "-o", "name"}), kExitOk);
  EXPECT_EQ(Out(), absl::StrCat(kFolder, "/config.json\n", kFolder, "/model.safetensors\n"));
  Reset();
  ASSERT_EQ(Run({"artifacts", "list", "first", "nothing"}), kExitOk);
  EXPECT_THAT(Err(), HasSubstr("Nothing there yet"));
}

TEST_F(Artifacts, AFolderIsDownloadedWithItsContent) {
  for (const std::string& path : {std::string(kFolder), absl::StrCat(kFolder, "/"),
                                  absl::StrCat("workspaces/w/runs/first/artifacts/", kFolder)}) {
    ASSERT_EQ(Download(path), kExitOk) << Err();
    EXPECT_EQ(Out(), folder_ + "/to\n");
    EXPECT_THAT(FilesIn("to"), ElementsAre("config.json", "model.safetensors"));
    EXPECT_EQ(Content("to/model.safetensors"), weights_);
    EXPECT_THAT(Err(), HasSubstr("2 files, 1002 B, every hash as published"));
    std::filesystem::remove_all(folder_ + "/to");
    Reset();
  }
  ASSERT_EQ(Download(""), kExitOk) << Err();
  EXPECT_EQ(Content(absl::StrCat("to/", kFolder, "/config.json")), "{}");
}

TEST_F(Artifacts, AFileIsDownloadedAsAFileOrIntoAFolder) {
  ASSERT_EQ(Download(absl::StrCat(kFolder, "/config.json")), kExitOk) << Err();
  EXPECT_EQ(Content("to"), "{}");
  std::filesystem::remove(folder_ + "/to");
  std::filesystem::create_directory(folder_ + "/to");
  Reset();
  ASSERT_EQ(Download(absl::StrCat(kFolder, "/config.json")), kExitOk) << Err();
  EXPECT_EQ(Content("to/config.json"), "{}");
}

TEST_F(Artifacts, ADownloadBrokenOffAtEveryTenthGoesOn) {
  const std::string path = absl::StrCat(kFolder, "/model.safetensors");
  for (int pieces = 0; pieces <= 10; ++pieces) {
    // As a call that was killed leaves it.
    ASSERT_TRUE(
        WriteFileAtomically(folder_ + "/to.part", weights_.substr(0, pieces * kPiece)).ok());
    offsets_.clear();
    ASSERT_EQ(Download(path), kExitOk) << Err();
    EXPECT_EQ(Content("to"), weights_);
    EXPECT_FALSE(FileExists(folder_ + "/to.part"));
    // A whole file is only checked.
    EXPECT_EQ(offsets_.empty() ? 1000 : offsets_[0], static_cast<int64_t>(pieces * kPiece));
    std::filesystem::remove(folder_ + "/to");
    Reset();
  }
  // And a stream that breaks goes on by itself, as long as it gets further.
  break_after_ = 1;
  ASSERT_EQ(Download(path), kExitOk) << Err();
  EXPECT_EQ(Content("to"), weights_);
  EXPECT_EQ(test_->pauses, 9);
}

TEST_F(Artifacts, WithoutProgressItEndsAndKeepsWhatCame) {
  const std::string path = absl::StrCat(kFolder, "/model.safetensors");
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/to.part", weights_.substr(0, 300)).ok());
  break_after_ = 0;
  EXPECT_EQ(Download(path), kExitUnavailable);
  EXPECT_EQ(Content("to.part"), weights_.substr(0, 300));
  EXPECT_THAT(Err(), HasSubstr("goes on from there"));
}

TEST_F(Artifacts, WhatArrivesSpoiledIsNeverKeptUnderItsName) {
  const std::string path = absl::StrCat(kFolder, "/model.safetensors");
  spoil_ = 1;
  EXPECT_EQ(Download(path), kExitFailure);
  EXPECT_THAT(Err(), HasSubstr("SHA-256"));
  EXPECT_FALSE(FileExists(folder_ + "/to"));
  Reset();
  // What an earlier call has left of other content is fetched again.
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/to.part", std::string(500, '?')).ok());
  offsets_.clear();
  EXPECT_EQ(Download(path), kExitOk) << Err();
  EXPECT_THAT(offsets_, ElementsAre(500, 0));
  EXPECT_EQ(Content("to"), weights_);
  std::filesystem::remove(folder_ + "/to");
  Reset();
  // Without a hash nothing tells whether it is of another file.
  with_hashes_ = false;
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/to.part", std::string(500, '?')).ok());
  EXPECT_EQ(Download(path), kExitOk) << Err();
  EXPECT_EQ(Content("to"), weights_);
  with_hashes_ = true;
  std::filesystem::remove(folder_ + "/to");
  Reset();
  // Longer than the file: of another one.
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/to.part", std::string(5000, '?')).ok());
  EXPECT_EQ(Download(path), kExitOk) << Err();
  EXPECT_EQ(Content("to"), weights_);
}

TEST_F(Artifacts, WhatIsThereIsKeptAndNeverReplacedUnasked) {
  ASSERT_EQ(Download(kFolder), kExitOk);
  Reset();
  offsets_.clear();
  ASSERT_EQ(Download(kFolder), kExitOk);
  EXPECT_THAT(Err(), HasSubstr("2 of them there already"));
  EXPECT_TRUE(offsets_.empty());
  Reset();
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/to/config.json", "mine").ok());
  EXPECT_EQ(Download(kFolder), kExitConflict);
  EXPECT_THAT(Err(), HasSubstr("--replace"));
  EXPECT_EQ(Content("to/config.json"), "mine");
  Reset();
  ASSERT_EQ(Download(kFolder, {"--replace"}), kExitOk);
  EXPECT_EQ(Content("to/config.json"), "{}");
}

TEST_F(Artifacts, WithoutAHashItSaysSo) {
  with_hashes_ = false;
  ASSERT_EQ(Download(kFolder), kExitOk);
  EXPECT_THAT(Err(), HasSubstr("2 without a known hash"));
}

TEST_F(Artifacts, NothingIsWrittenOutsideTheTarget) {
  for (const char* path : {"../evil", "/etc/evil", "a/../../evil", "a//b", "a/./b", "a\nb"}) {
    files_ = {{path, "x"}};
    EXPECT_EQ(Download(""), kExitFailure) << path;
    EXPECT_FALSE(FileExists(folder_ + "/evil"));
    EXPECT_FALSE(FileExists(folder_ + "/to"));
    Reset();
  }
}

TEST_F(Artifacts, AFileThatCannotBeWrittenIsNamed) {
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/to", "a file where a folder is wanted").ok());
  EXPECT_NE(Download(kFolder), kExitOk);
  EXPECT_THAT(Err(), HasSubstr(folder_ + "/to"));
}

TEST_F(Artifacts, AFileThatIsNotThereIsNotTakenForTheRun) {
  server_.list_artifacts = [](const v1::ListArtifactsRequest&, v1::ListArtifactsResponse*) {
    return MakeError(absl::StatusCode::kNotFound, "ARTIFACT_NOT_FOUND",
                     "path: there is no artifact x");
  };
  EXPECT_EQ(Download("x"), kExitNotFound);
  EXPECT_THAT(Err(), HasSubstr("There is no such file or folder."));
  EXPECT_THAT(Err(), HasSubstr("finetune artifacts list first -r"));
}

TEST_F(Artifacts, NothingToDownloadIsNotFound) {
  files_.clear();
  EXPECT_EQ(Download(kFolder), kExitNotFound);
  EXPECT_THAT(Err(), HasSubstr("finetune artifacts list first"));
}

TEST_F(Artifacts, AModelIsDownloadedByItsVersion) {
  server_.get_registered_model = [](const v1::GetRegisteredModelRequest& request,
                                    v1::RegisteredModel* model) {
    model->set_name("workspaces/w/registeredModels/" + request.name());
    model->set_latest_version(7);
    return absl::OkStatus();
  };
  ASSERT_EQ(Run({"model", "download", "a.b.c", "--to", folder_ + "/to"}), kExitOk) << Err();
  EXPECT_EQ(parents_.back(), "workspaces/w/registeredModels/a.b.c/versions/7");
  Reset();
  ASSERT_EQ(Run({"model", "download", "a.b.c", "--version", "3", "--to", folder_ + "/other"}),
            kExitOk);
  EXPECT_EQ(parents_.back(), "workspaces/w/registeredModels/a.b.c/versions/3");
}

}  // namespace
}  // namespace finetuned::cli
