#include "cli/context_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "base/file.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

using ::testing::HasSubstr;

Environment Variables(std::map<std::string, std::string> variables) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

ConfigFile TwoContexts() {
  ConfigFile file;
  file.path = "/c.yaml";
  file.exists = true;
  file.config.current_context = "dev";
  file.config.contexts = {{"dev", "127.0.0.1:1", "dev-token", "/dev.pem"},
                          {"prod", "127.0.0.1:2", "prod-token", ""}};
  return file;
}

class ConfigOnDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "finetune-config-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

TEST(ConfigPath, FollowsFinetuneConfigThenXdgThenHome) {
  EXPECT_EQ(ConfigPath(Variables({{"FINETUNE_CONFIG", "/f"}, {"XDG_CONFIG_HOME", "/x"}})).value(),
            "/f");
  EXPECT_EQ(ConfigPath(Variables({{"XDG_CONFIG_HOME", "/x"}, {"HOME", "/h"}})).value(),
            "/x/finetune/config.yaml");
  EXPECT_EQ(ConfigPath(Variables({{"HOME", "/h"}})).value(), "/h/.config/finetune/config.yaml");
  EXPECT_FALSE(ConfigPath(Variables({})).ok());
}

TEST(ParseConfig, ReadsWhatFormatConfigWrites) {
  Config config;
  config.current_context = "dev";
  config.contexts = {{"dev", "127.0.0.1:7070", "to: # \"ken", "/c a.pem"},
                     {"bare", "unix:/run/x", "", ""}};
  const auto read = ParseConfig(FormatConfig(config), "c");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->current_context, "dev");
  ASSERT_EQ(read->contexts.size(), 2u);
  EXPECT_EQ(read->contexts[0].token, "to: # \"ken");
  EXPECT_EQ(read->contexts[1].server, "unix:/run/x");
}

TEST(ParseConfig, AnEmptyFileIsAnEmptyConfiguration) {
  EXPECT_TRUE(ParseConfig("", "c").value().contexts.empty());
  EXPECT_TRUE(ParseConfig("contexts:\n", "c").value().contexts.empty());
}

TEST(ParseConfig, SaysTheLineOfWhatItRefuses) {
  EXPECT_THAT(ParseConfig("contexts:\n- name: a\n  sever: x\n", "c").status().message(),
              HasSubstr("line 3: unknown key `sever`"));
  EXPECT_THAT(ParseConfig("curent: a\n", "c").status().message(), HasSubstr("line 1"));
  EXPECT_FALSE(ParseConfig("contexts: [", "c").ok());
  EXPECT_FALSE(ParseConfig("[]", "c").ok());
  EXPECT_FALSE(ParseConfig("contexts: [{server: x}]", "c").ok());
  EXPECT_FALSE(ParseConfig("contexts: [{name: a}, {name: a}]", "c").ok());
}

TEST_F(ConfigOnDisk, IsWrittenForItsOwnerOnly) {
  const std::string path = folder_ + "/finetune/config.yaml";
  ASSERT_TRUE(SaveConfig(path, TwoContexts().config).ok());
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat((folder_ + "/finetune").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  const auto file = LoadConfig(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->exists);
  EXPECT_FALSE(file->exposed);
  EXPECT_EQ(file->config.contexts.size(), 2u);
}

TEST_F(ConfigOnDisk, AFileThatIsNotThereIsEmpty) {
  const auto file = LoadConfig(folder_ + "/none.yaml");
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE(file->exists);
}

TEST_F(ConfigOnDisk, ATokenThatOthersMayReadIsNotUsed) {
  const std::string path = folder_ + "/config.yaml";
  ASSERT_TRUE(SaveConfig(path, TwoContexts().config).ok());
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  const auto file = LoadConfig(path);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->exposed);
  const auto settings = ResolveSettings({}, Variables({}), *file);
  EXPECT_EQ(settings.status().code(), absl::StatusCode::kPermissionDenied);
  // A token from elsewhere is not the file's fault.
  EXPECT_TRUE(ResolveSettings({}, Variables({{"FINETUNED_TOKEN", "t"}}), *file).ok());
}

TEST_F(ConfigOnDisk, ATokenFileIsReadWithoutTheSpaceAroundItAndWarnedAbout) {
  const std::string path = folder_ + "/token";
  ASSERT_TRUE(WriteFileAtomically(path, "  secret\n", 0600).ok());
  ConnectionFlags flags;
  flags.token_file = path;
  auto settings = ResolveSettings(flags, Variables({}), ConfigFile());
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->token.value, "secret");
  EXPECT_TRUE(settings->warnings.empty());
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  settings = ResolveSettings(flags, Variables({}), ConfigFile());
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(settings->warnings.size(), 1u);
}

TEST(ResolveSettings, PrefersFlagsToTheEnvironmentToTheFile) {
  const Environment env =
      Variables({{"FINETUNED_SERVER", "127.0.0.1:8"}, {"FINETUNED_TOKEN", "env-token"}});
  ConnectionFlags flags;
  flags.server = "127.0.0.1:9";
  flags.token = "flag-token";
  auto settings = ResolveSettings(flags, env, TwoContexts());
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->server.value, "127.0.0.1:9");
  EXPECT_EQ(settings->server.origin, "flag --server");
  EXPECT_EQ(settings->token.value, "flag-token");

  settings = ResolveSettings({}, env, TwoContexts());
  EXPECT_EQ(settings->server.value, "127.0.0.1:8");
  EXPECT_EQ(settings->server.origin, "environment FINETUNED_SERVER");
  EXPECT_EQ(settings->token.value, "env-token");

  settings = ResolveSettings({}, Variables({}), TwoContexts());
  EXPECT_EQ(settings->server.value, "127.0.0.1:1");
  EXPECT_EQ(settings->server.origin, "file /c.yaml, context dev");
  EXPECT_EQ(settings->token.value, "dev-token");

  settings = ResolveSettings({}, Variables({}), ConfigFile());
  EXPECT_EQ(settings->server.value, kDefaultServer);
  EXPECT_EQ(settings->server.origin, "default");
  EXPECT_EQ(settings->token.value, "");
}

TEST(ResolveSettings, AContextNamedByAFlagBringsItsOwnServerAndToken) {
  ConnectionFlags flags;
  flags.context = "prod";
  const auto settings = ResolveSettings(
      flags, Variables({{"FINETUNED_SERVER", "127.0.0.1:8"}, {"FINETUNED_TOKEN", "env-token"}}),
      TwoContexts());
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->server.value, "127.0.0.1:2");
  EXPECT_EQ(settings->token.value, "prod-token");
}

TEST(ResolveSettings, RefusesAContextThatIsNotThereAndNamesANearOne) {
  const auto settings =
      ResolveSettings({}, Variables({{"FINETUNED_CONTEXT", "prd"}}), TwoContexts());
  EXPECT_EQ(ExitCodeOf(settings.status()), kExitUsage);
  EXPECT_THAT(settings.status().message(), HasSubstr("Did you mean `prod`?"));
}

TEST(ResolveSettings, RefusesTwoTokensAndATokenThatIsNone) {
  ConnectionFlags flags;
  flags.token = "a";
  flags.token_file = "/b";
  EXPECT_EQ(ExitCodeOf(ResolveSettings(flags, Variables({}), ConfigFile()).status()), kExitUsage);
  EXPECT_EQ(ExitCodeOf(CheckToken("a b")), kExitUsage);
  EXPECT_EQ(ExitCodeOf(CheckToken("a\nb")), kExitUsage);
  EXPECT_TRUE(CheckToken("ft_A-z0.9=").ok());
}

TEST(CheckContextName, TakesLettersDigitsAndThreeSigns) {
  EXPECT_TRUE(CheckContextName("prod-1.eu_2").ok());
  for (const std::string& name :
       {std::string(), std::string("-x"), std::string("a b"), std::string(64, 'a')}) {
    EXPECT_FALSE(CheckContextName(name).ok()) << name;
  }
}

}  // namespace
}  // namespace finetuned::cli
