#include "worker/gpus.h"

#include <stdlib.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "worker/capacity.h"

namespace finetuned {
namespace {

using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// As the program prints on a host with two, of which one does not tell its utilization.
constexpr char kTwo[] =
    "0, NVIDIA H100 80GB HBM3, 81559, 40000, 73\n"
    "1, NVIDIA H100 80GB HBM3, 81559, 500, [N/A]\n";

class GpusTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "gpus-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // A program that stands where nvidia-smi would.
  std::string Program(const std::string& script) {
    const std::string path = folder_ + "/smi";
    EXPECT_TRUE(WriteFileAtomically(path, "#!/bin/sh\n" + script, 0755).ok());
    return path;
  }

  std::string folder_;
};

TEST_F(GpusTest, AreReadAsTheProgramPrintsThem) {
  const auto gpus = QueryGpus(Program("cat <<X\n" + std::string(kTwo) + "X\n"));
  ASSERT_TRUE(gpus.ok()) << gpus.status();
  ASSERT_EQ(gpus->size(), 2u);
  EXPECT_EQ((*gpus)[0].name, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ((*gpus)[0].memory_bytes, int64_t{81559} << 20);
  EXPECT_EQ((*gpus)[0].used_bytes, int64_t{40000} << 20);
  EXPECT_EQ((*gpus)[0].utilization_percent, 73);
  EXPECT_EQ((*gpus)[1].index, 1);
  EXPECT_EQ((*gpus)[1].utilization_percent, -1);
  EXPECT_TRUE(ParseGpus("")->empty());
}

TEST_F(GpusTest, AProgramThatIsNotThereOrFailsIsToldApart) {
  EXPECT_TRUE(absl::IsNotFound(QueryGpus(folder_ + "/absent").status()));
  EXPECT_TRUE(absl::IsUnavailable(QueryGpus(Program("echo no driver; exit 9")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(QueryGpus(Program("echo 0, x")).status()));
  EXPECT_FALSE(QueryGpus(Program("yes")).ok());
}

TEST_F(GpusTest, AProgramThatHangsIsEnded) {
  for (const char* script : {"exec sleep 600", "exec sleep 600 >&-"}) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(QueryGpus(Program(script), absl::Seconds(1)).status()));
  }
  EXPECT_TRUE(QueryGpus(Program("exit 0")).ok());
}

TEST(GpuType, IsTheModelInOneWord) {
  for (const auto& [name, type] :
       std::vector<std::pair<std::string, std::string>>{{"NVIDIA H100 80GB HBM3", "h100"},
                                                        {"NVIDIA A100-SXM4-80GB", "a100"},
                                                        {"Tesla V100-SXM2-16GB", "v100"},
                                                        {"NVIDIA L40S", "l40s"},
                                                        {"NVIDIA GB200", "gb200"},
                                                        {"Something Else", "something-else"}}) {
    EXPECT_EQ(GpuType(name), type) << name;
  }
}

TEST(ResolveCapacity, TakesWhatIsFoundWhereNothingIsStated) {
  const std::vector<Gpu> two = *ParseGpus(kTwo);
  v1::Compute configured;
  EXPECT_EQ(ResolveCapacity(configured, two)->gpus(), 2);
  EXPECT_EQ(ResolveCapacity(configured, two)->gpu_type(), "h100");
  EXPECT_EQ(ResolveCapacity(configured, {})->gpus(), 0);
  configured.set_gpu_type("mine");
  EXPECT_EQ(ResolveCapacity(configured, two)->gpu_type(), "mine");
  configured.set_gpus(1);
  EXPECT_EQ(ResolveCapacity(configured, two)->gpus(), 1);
  configured.set_gpus(0);
  EXPECT_EQ(ResolveCapacity(configured, two)->gpus(), 0);
  EXPECT_EQ(ResolveCapacity(configured, two)->gpu_type(), "mine");
  // Of different types nobody can ask for one by name.
  std::vector<Gpu> mixed = two;
  mixed[1].name = "NVIDIA L40S";
  EXPECT_EQ(ResolveCapacity({}, mixed)->gpu_type(), "");
}

TEST_F(GpusTest, TheMonitorTellsOfTheGpusOfAnAttempt) {
  GpuMonitor monitor(Program("cat <<X\n" + std::string(kTwo) + "X\n"));
  EXPECT_TRUE(monitor.Metrics({0}).empty());
  monitor.Start();
  while (monitor.Metrics({0}).empty()) std::this_thread::yield();
  EXPECT_THAT(monitor.Metrics({0}),
              UnorderedElementsAre(Pair("gpu_memory_bytes", 40000.0 * (1 << 20)),
                                   Pair("gpu_utilization", 0.73)));
  EXPECT_THAT(monitor.Metrics({0, 1}),
              UnorderedElementsAre(Pair("gpu_memory_bytes", 40500.0 * (1 << 20)),
                                   Pair("gpu_utilization", 0.73)));
  EXPECT_THAT(monitor.Metrics({1}),
              UnorderedElementsAre(Pair("gpu_memory_bytes", 500.0 * (1 << 20))));
  EXPECT_TRUE(monitor.Metrics({7}).empty());
}

}  // namespace
}  // namespace finetuned
