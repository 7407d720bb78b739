#include "cli/output.h"

#include <gtest/gtest.h>

#include <map>

#include "cli/log_tail.h"
#include "cli/style.h"
#include "finetuned/v1/run_service.pb.h"

namespace finetuned::cli {
namespace {

TEST(ToJson, HasTheNamesOfTheProtoAndEmptyLists) {
  v1::ListRunsResponse response;
  EXPECT_EQ(ToJson(response, false), "{\"runs\":[],\"next_page_token\":\"\"}");
  v1::Quota quota;
  quota.set_owner("a@example.com");
  quota.set_active_limit(10);
  EXPECT_EQ(ToJson(quota, false),
            "{\"owner\":\"a@example.com\",\"active_limit\":10,\"active_usage\":0,"
            "\"active_runs\":[]}");
}

TEST(ToJson, SendsNoControlCharacterToATerminal) {
  v1::Quota quota;
  quota.set_owner("\x1b\u2067");
  const std::string json = ToJson(quota, true);
  EXPECT_EQ(json.find('\x1b'), std::string::npos);
  EXPECT_NE(json.find("\\u001b\\u2067"), std::string::npos);
}

TEST(JsonToYaml, QuotesStringsThatWouldBeReadAsSomethingElse) {
  EXPECT_EQ(JsonToYaml(R"({"number":1,"s":"1","t":"true","f":false,"w":"run-1","e":"",)"
                       R"("l":[],"m":{},"c":"a: b","list":["x",{"k":null}]})"),
            "number: 1\n"
            "s: \"1\"\n"
            "t: \"true\"\n"
            "f: false\n"
            "w: run-1\n"
            "e: \"\"\n"
            "l: []\n"
            "m: {}\n"
            "c: \"a: b\"\n"
            "list:\n"
            "  - x\n"
            "  - k: ~\n");
}

TEST(LastLines, CountsFromTheEnd) {
  EXPECT_EQ(LastLines("a\nb\nc\n", 2), "b\nc\n");
  EXPECT_EQ(LastLines("a\nb\nc", 2), "b\nc");
  EXPECT_EQ(LastLines("a\nb\n", 5), "a\nb\n");
  EXPECT_EQ(LastLines("a\n\n\n", 2), "\n\n");
  EXPECT_EQ(LastLines("a\n", 0), "");
  EXPECT_EQ(LastLines("", 3), "");
}

TEST(CountLines, CountsTheOneThatIsNotEnded) {
  EXPECT_EQ(CountLines(""), 0);
  EXPECT_EQ(CountLines("a"), 1);
  EXPECT_EQ(CountLines("a\n"), 1);
  EXPECT_EQ(CountLines("a\nb"), 2);
}

TEST(UseColor, FollowsTheFlagThenTheConventionsThenTheTerminal) {
  std::map<std::string, std::string> variables;
  const Environment env = [&variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
  EXPECT_TRUE(UseColor(ColorMode::kAuto, env, true));
  EXPECT_FALSE(UseColor(ColorMode::kAuto, env, false));
  variables["CLICOLOR"] = "0";
  EXPECT_FALSE(UseColor(ColorMode::kAuto, env, true));
  variables["CLICOLOR_FORCE"] = "1";
  EXPECT_TRUE(UseColor(ColorMode::kAuto, env, false));
  variables["NO_COLOR"] = "1";
  EXPECT_FALSE(UseColor(ColorMode::kAuto, env, true));
  EXPECT_TRUE(UseColor(ColorMode::kAlways, env, false));
  variables.clear();
  variables["TERM"] = "dumb";
  EXPECT_FALSE(UseColor(ColorMode::kAuto, env, true));
  EXPECT_FALSE(UseColor(ColorMode::kNever, env, true));
}

}  // namespace
}  // namespace finetuned::cli
