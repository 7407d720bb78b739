#include "base/config.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/status.h"
#include "finetuned/config/v1/config.pb.h"

namespace finetuned {
namespace {

using config::v1::DaemonConfig;

std::string WriteYaml(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/config_test.yaml";
  EXPECT_TRUE(WriteFileAtomically(path, text).ok());
  return path;
}

TEST(Config, ReadsScalarsListsNestedMessagesAndDurations) {
  ConfigSources sources;
  sources.file = WriteYaml(
      "listen: 127.0.0.1:1\ndata_roots:\n  - /a\n  - /b\nlease:\n  grace_duration: 2m\n"
      "default_compute:\n  cpus: 3\nreflection: true\n");
  DaemonConfig config;
  ASSERT_TRUE(LoadConfig(sources, &config).ok());
  EXPECT_EQ(config.listen(), "127.0.0.1:1");
  ASSERT_EQ(config.data_roots_size(), 2);
  EXPECT_EQ(config.data_roots(1), "/b");
  EXPECT_EQ(config.lease().grace_duration().seconds(), 120);
  EXPECT_EQ(config.default_compute().cpus(), 3);
  EXPECT_TRUE(config.reflection());
}

TEST(Config, VariablesOverrideTheFileAndFlagsOverrideVariables) {
  ConfigSources sources;
  sources.file = WriteYaml("listen: file\nworker_listen: file\nmetrics_listen: file\n");
  sources.environment_prefix = "FINETUNED_";
  sources.environment = {{"FINETUNED_WORKER_LISTEN", "variable"},
                         {"FINETUNED_METRICS_LISTEN", "variable"},
                         {"FINETUNED_LEASE_GRACE_DURATION", "7s"},
                         {"FINETUNED_DATA_ROOTS", "/x,/y"}};
  sources.overrides = {{"metrics_listen", "flag"}};
  DaemonConfig config;
  ASSERT_TRUE(LoadConfig(sources, &config).ok());
  EXPECT_EQ(config.listen(), "file");
  EXPECT_EQ(config.worker_listen(), "variable");
  EXPECT_EQ(config.metrics_listen(), "flag");
  EXPECT_EQ(config.lease().grace_duration().seconds(), 7);
  EXPECT_EQ(config.data_roots_size(), 2);
}

TEST(Config, AnUnknownFieldIsRefusedWithItsLineAndTheFieldsThereAre) {
  ConfigSources sources;
  sources.file = WriteYaml("listen: a\nlisten_adress: b\n");
  DaemonConfig config;
  const absl::Status status = LoadConfig(sources, &config);
  EXPECT_EQ(ErrorReason(status), "BAD_CONFIG");
  EXPECT_NE(status.ToString().find("line 2: listen_adress: is not a field"), std::string::npos)
      << status;
}

TEST(Config, ValuesOfTheWrongKindAreRefusedWithWhereTheyCameFrom) {
  DaemonConfig config;
  ConfigSources sources;
  sources.overrides = {{"active_runs_limit", "ten"}};
  EXPECT_NE(LoadConfig(sources, &config).ToString().find("active_runs_limit: \"ten\""),
            std::string::npos);
  sources.overrides = {{"lease.grace_duration", "120"}};
  EXPECT_NE(LoadConfig(sources, &config).ToString().find("not a duration"), std::string::npos);
  sources.overrides = {{"reflection", "maybe"}};
  EXPECT_FALSE(LoadConfig(sources, &config).ok());
  sources.overrides.clear();
  sources.file = WriteYaml("a: [1\n");
  EXPECT_FALSE(LoadConfig(sources, &config).ok());
  sources.file = "/nowhere/config.yaml";
  EXPECT_EQ(LoadConfig(sources, &config).code(), absl::StatusCode::kNotFound);
}

TEST(Config, EveryPathOfAMessageIsListed) {
  const auto paths = ConfigPaths(DaemonConfig::descriptor());
  EXPECT_NE(std::find(paths.begin(), paths.end(), "lease.reassign_duration"), paths.end());
  EXPECT_NE(std::find(paths.begin(), paths.end(), "default_compute.gpus"), paths.end());
}

}  // namespace
}  // namespace finetuned
