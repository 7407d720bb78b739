#include "base/link.h"

#include <string>

#include <gtest/gtest.h>

namespace finetuned {
namespace {

TEST(IsLink, TakesPagesOfTheWeb) {
  EXPECT_TRUE(IsLink("mlflow", "https://mlflow.example.com/#/experiments/1/runs/0a"));
  EXPECT_TRUE(IsLink("wandb", "http://127.0.0.1:8080"));
  EXPECT_TRUE(IsLink("a-b_2", "https://example.com?x=1&y=2"));
}

TEST(IsLink, RefusesWhatAPageMustNotShow) {
  for (const char* page :
       {"", "https://", "https:///path", "javascript:alert(1)", "file:///etc/passwd", "//host/x",
        "HTTPS://host", "https://user:secret@host/", "https://host/a b", "https://host/\x01",
        "https://host/\"><script>", "https://h\xc3\xb6st/"}) {
    EXPECT_FALSE(IsLink("mlflow", page)) << page;
  }
  EXPECT_FALSE(IsLink("mlflow", "https://host/" + std::string(kMaxLinkBytes, 'a')));
  for (const char* name : {"", "MLflow", "1st", "mlflow/run_url", "a b"}) {
    EXPECT_FALSE(IsLink(name, "https://host/")) << name;
  }
}

}  // namespace
}  // namespace finetuned
