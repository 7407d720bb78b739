#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/app.h"
#include "cli/scripted_server.h"

namespace finetuned::cli {

// For tests: one command line after another against a server that answers as the test says.
class App : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "finetune-app-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    test_ = std::make_unique<TestIo>();
    Reset();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Another command after the first.
  void Reset() {
    test_ = std::make_unique<TestIo>();
    test_->variables = {{"FINETUNE_CONFIG", folder_ + "/config.yaml"},
                        {"FINETUNED_SERVER", server_.address()},
                        {"FINETUNED_TOKEN", "secret"}};
  }

  int Run(const std::vector<std::string>& arguments) { return RunApp(arguments, test_->io); }
  std::string Out() const { return test_->out.str(); }
  std::string Err() const { return test_->err.str(); }

  std::string folder_;
  ScriptedServer server_;
  std::unique_ptr<TestIo> test_;
};

}  // namespace finetuned::cli
