#include "daemon/metric_members.h"

#include <gtest/gtest.h>

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace finetuned {
namespace {

class MetricMembersTest : public testing::Test {
 protected:
  std::string Text() { return prometheus::TextSerializer().Serialize(registry_.Collect()); }
  bool Shows(const std::string& line) { return Text().find(line + "\n") != std::string::npos; }

  prometheus::Registry registry_;
};

TEST_F(MetricMembersTest, OneIsMadeForTheValuesOfBothLabelsAndFoundAgain) {
  MetricMembers<prometheus::Counter> calls(
      prometheus::BuildCounter().Name("calls").Register(registry_), "method", "code");
  calls.Of("Get", "OK").Increment();
  calls.Of("Get", "OK").Increment();
  calls.Of("Get", "NOT_FOUND").Increment();
  calls.Of("List", "OK").Increment();
  EXPECT_EQ(&calls.Of("Get", "OK"), &calls.Of("Get", "OK"));
  EXPECT_TRUE(Shows("calls{code=\"OK\",method=\"Get\"} 2")) << Text();
  EXPECT_TRUE(Shows("calls{code=\"NOT_FOUND\",method=\"Get\"} 1")) << Text();
  EXPECT_TRUE(Shows("calls{code=\"OK\",method=\"List\"} 1")) << Text();
}

TEST_F(MetricMembersTest, AFamilyOfOneLabelHasNoOther) {
  MetricMembers<prometheus::Histogram> sizes(
      prometheus::BuildHistogram().Name("sizes").Register(registry_), "kind", "",
      prometheus::Histogram::BucketBoundaries{1, 10});
  sizes.Of("create").Observe(5);
  EXPECT_TRUE(Shows("sizes_bucket{kind=\"create\",le=\"1\"} 0")) << Text();
  EXPECT_TRUE(Shows("sizes_bucket{kind=\"create\",le=\"10\"} 1")) << Text();
}

}  // namespace
}  // namespace finetuned
