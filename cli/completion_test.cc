#include "cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/app_fixture.h"
#include "cli/errors.h"
#include "cli/grammar.h"
#include "cli/grammar_examples.h"

namespace finetuned::cli {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSubsetOf;
using ::testing::Not;

// Standard output and error of a shell's command, and its exit status.
std::pair<std::string, int> Shell(const std::string& command) {
  FILE* pipe = popen(absl::StrCat("{ ", command, "\n} 2>&1").c_str(), "r");
  if (pipe == nullptr) return {"no shell", -1};
  std::string output;
  char buffer[4096];
  size_t size = 0;
  while ((size = fread(buffer, 1, sizeof(buffer), pipe)) > 0) output.append(buffer, size);
  const int status = pclose(pipe);
  return {output, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}

bool IsInstalled(const std::string& shell) { return Shell("command -v " + shell).second == 0; }

std::string Script(const std::string& shell) {
  const Grammar grammar;
  return CompletionScript(grammar.app, shell).value_or("");
}

TEST(Completion, HasEveryCommandThatAPersonSees) {
  const Grammar grammar;
  std::set<std::string> paths;
  for (const CompletionCommand& command : CompletionTree(grammar.app)) {
    EXPECT_NE(command.description, "") << command.path;
    paths.insert(command.path);
  }
  EXPECT_THAT((std::vector<std::string>{"", "run", "run create", "run clone", "get runs", "list",
                                        "model registered", "context use"}),
              IsSubsetOf(paths));
  EXPECT_THAT(paths, Not(Contains("__complete")));
}

TEST(Completion, KnowsNoFlagThatTheGrammarDoesNotHave) {
  const Grammar grammar;
  std::set<std::string> flags;
  for (const CompletionCommand& command : CompletionTree(grammar.app)) {
    for (const CompletionFlag& flag : command.flags) {
      flags.insert(flag.names.begin(), flag.names.end());
    }
  }
  EXPECT_THAT(FlagsWithCandidates(), IsSubsetOf(flags));
}

TEST(Help, EndsWithAnExampleForEveryCommand) {
  const Grammar grammar;
  for (const CompletionCommand& command : CompletionTree(grammar.app)) {
    if (!command.commands.empty()) continue;
    EXPECT_THAT(ExampleOf(command.path), HasSubstr("finetune " + command.path)) << command.path;
  }
}

// The script in real bash. `finetune` is a script that prints names of evil people.
class Bash : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "finetune-bash-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    std::ofstream(folder_ + "/finetune.bash") << Script("bash");
    std::ofstream(folder_ + "/names")
        << "run-1\nrun-2\nother\n/Shared/$(touch evil) x\n/Users/a@b/c\n";
    std::ofstream(folder_ + "/finetune") << "#!/bin/sh\necho \"$@\" >>\"${0%/*}/asked\"\n"
                                            "cat \"${0%/*}/names\"\n";
    ASSERT_EQ(chmod((folder_ + "/finetune").c_str(), 0755), 0);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // What is offered with the cursor at the end of the line.
  std::vector<std::string> Offered(const std::string& line) {
    std::ofstream(folder_ + "/test.bash")
        << "PATH=" << folder_ << ":$PATH\ncd " << folder_ << "\nset -u\n. ./finetune.bash\n"
        << "COMP_LINE='" << line << "'\nCOMP_POINT=${#COMP_LINE}\n_finetune finetune\n"
        << "((${#COMPREPLY[@]})) && printf '%s\\n' \"${COMPREPLY[@]}\"\ntrue\n";
    const auto [output, status] =
        Shell("exec bash --norc --noprofile " + folder_ + "/test.bash </dev/null");
    EXPECT_EQ(status, 0) << line;
    return absl::StrSplit(output, '\n', absl::SkipEmpty());
  }
  std::string Asked() {
    std::ifstream file(folder_ + "/asked");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string folder_;
};

TEST_F(Bash, OffersCommandsFlagsAndValues) {
  EXPECT_THAT(Offered("finetune quo"), ElementsAre("quota"));
  EXPECT_THAT(Offered("finetune run cr"), ElementsAre("create"));
  EXPECT_THAT(Offered("finetune -o json run cl"), ElementsAre("clone"));
  EXPECT_THAT(Offered("finetune --output=json run cl"), ElementsAre("clone"));
  EXPECT_THAT(Offered("cd x; finetune run cl"), ElementsAre("clone"));
  EXPECT_THAT(Offered("finetune run create --tr"), ElementsAre("--train-data"));
  EXPECT_THAT(Offered("finetune run list --outp"), ElementsAre("--output"));
  EXPECT_THAT(Offered("finetune run create --task c"), ElementsAre("chat", "continued-pretrain"));
  EXPECT_THAT(Offered("finetune run create --task=ch"), ElementsAre("chat"));
  EXPECT_THAT(Offered("finetune list --state "), Contains("completed"));
  EXPECT_THAT(Offered("finetune run create --priority lo"), ElementsAre("low", "lowest"));
  EXPECT_THAT(Offered("finetune run create -f na"), ElementsAre("names"));
  EXPECT_THAT(Offered("finetune run create --duration "), IsEmpty());
  EXPECT_THAT(Offered("finetune completion "), ElementsAre("bash", "zsh", "fish"));
  EXPECT_THAT(Offered("finetune nonsense "), Contains("run"));
  EXPECT_EQ(Asked(), "");
}

TEST_F(Bash, AsksTheProgramForNamesOfTheServerThatTheLineNames) {
  EXPECT_THAT(Offered("finetune run get run-"), ElementsAre("run-1", "run-2"));
  EXPECT_EQ(Asked(), "__complete runs\n");
  // -f takes no value here, and a file with `run create`.
  EXPECT_THAT(Offered("finetune run logs -f run-1"), ElementsAre("run-1"));
  EXPECT_THAT(Offered("finetune --context prod run cancel run-2 o"), ElementsAre("other"));
  EXPECT_THAT(Asked(), HasSubstr("__complete runs --context prod\n"));
  Offered("finetune experiment get ");
  Offered("finetune context use ");
  Offered("finetune model get ");
  Offered("finetune run create --model ");
  EXPECT_THAT(Asked(), HasSubstr("__complete experiments\n__complete contexts\n"
                                 "__complete registered\n__complete models\n"));
}

TEST_F(Bash, EvaluatesNoName) {
  EXPECT_THAT(Offered("finetune experiment get /Sh"),
              ElementsAre("/Shared/\\$\\(touch\\ evil\\)\\ x"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/evil"));
  // Bash breaks words at @ and replaces only what stands behind it.
  EXPECT_THAT(Offered("finetune experiment get /Users/a@"), ElementsAre("b/c"));
  EXPECT_THAT(Offered("finetune run list --experiment=/Users/a"), ElementsAre("/Users/a@b/c"));
}

TEST(Completion, IsReadByZshAndFishWhereTheyAre) {
  int checked = 0;
  for (const std::string shell : {"zsh", "fish"}) {
    EXPECT_THAT(Script(shell), HasSubstr("finetune __complete"));
    if (!IsInstalled(shell)) continue;
    const std::string file = ::testing::TempDir() + "finetune-completion." + shell;
    std::ofstream(file) << Script(shell);
    EXPECT_EQ(Shell(absl::StrCat(shell, " -n ", file)), std::pair(std::string(), 0));
    std::filesystem::remove(file);
    ++checked;
  }
  if (checked == 0) GTEST_SKIP() << "neither zsh nor fish is installed";
}

class Complete : public App {
 protected:
  void SetUp() override {
    App::SetUp();
    test_->variables["XDG_CACHE_HOME"] = folder_ + "/cache";
    server_.list_runs = [this](const v1::ListRunsRequest&, v1::ListRunsResponse* response) {
      ++calls_;
      *response->add_runs() = TestRun("run-1", v1::Run::RUNNING);
      *response->add_runs() = TestRun("bad\x1b[31m", v1::Run::RUNNING);
      return absl::OkStatus();
    };
  }
  // Another press of the key.
  std::string Press(const std::vector<std::string>& words) {
    test_->out.str("");
    EXPECT_EQ(Run(words), 0);
    EXPECT_EQ(Err(), "");
    return Out();
  }

  int calls_ = 0;
};

TEST_F(Complete, PrintsNamesAndKeepsThemForFiveSecondsForThisCallerOnly) {
  EXPECT_EQ(Press({"__complete", "runs"}), "run-1\n");
  EXPECT_EQ(Press({"__complete", "runs"}), "run-1\n");
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(Press({"__complete", "runs", "--token", "another"}), "run-1\n");
  EXPECT_EQ(calls_, 2);
  test_->clock.Advance(absl::Seconds(5));
  EXPECT_EQ(Press({"__complete", "runs"}), "run-1\n");
  EXPECT_EQ(calls_, 3);
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder_ + "/cache/finetune")) {
    struct stat info = {};
    ASSERT_EQ(stat(file.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    ++files;
  }
  EXPECT_EQ(files, 2);
}

TEST_F(Complete, PrintsOtherNames) {
  server_.list_experiments = [](const auto&, v1::ListExperimentsResponse* response) {
    response->add_experiments()->set_path("/Shared/a b");
    return absl::OkStatus();
  };
  server_.list_models = [](const auto&, v1::ListModelsResponse* response) {
    response->add_models()->set_name("org/m");
    return absl::OkStatus();
  };
  server_.list_registered_models = [](const auto&, v1::ListRegisteredModelsResponse* response) {
    response->add_models()->set_name("workspaces/w/registeredModels/main.a.b");
    return absl::OkStatus();
  };
  EXPECT_EQ(Press({"__complete", "experiments"}), "/Shared/a b\n");
  EXPECT_EQ(Press({"__complete", "models"}), "org/m\n");
  EXPECT_EQ(Press({"__complete", "registered"}), "main.a.b\n");
  EXPECT_EQ(Run({"context", "set", "dev", "--server", "127.0.0.1:1"}), 0);
  test_->err.str("");
  EXPECT_EQ(Press({"__complete", "contexts"}), "dev\n");
}

TEST_F(Complete, IsSilentAndQuickWhenSomethingIsWrong) {
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"__complete"},
                                             {"__complete", "nonsense"},
                                             {"__complete", "runs", "--bogus"},
                                             {"__complete", "runs", "--server", "nowhere"},
                                             {"__complete", "runs", "--token-file", "/none"},
                                             {"__complete", "runs", "--context", "none"}}) {
    EXPECT_EQ(Press(words), "");
  }
  server_.Stop();
  EXPECT_EQ(Press({"__complete", "runs"}), "");
  EXPECT_LT(test_->paused, absl::Seconds(1));
  // That nobody answers is known for a while, too.
  const absl::Duration paused = test_->paused;
  EXPECT_EQ(Press({"__complete", "runs"}), "");
  EXPECT_EQ(test_->paused, paused);
}

TEST_F(Complete, IsNotShown) {
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_THAT(Out(), Not(HasSubstr("__complete")));
  Reset();
  EXPECT_EQ(Run({"completion", "tcsh"}), kExitUsage);
  EXPECT_THAT(Err(), HasSubstr("give bash, zsh or fish"));
}

}  // namespace
}  // namespace finetuned::cli
