// What is remembered of a token, for how long, and of how many.

#include "daemon/authenticator.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "tests/support/test_daemon.h"

namespace finetuned {
namespace {

class AuthenticatorTest : public testing::Test {
 protected:
  static constexpr size_t kMaxCached = 4;

  std::string NewToken(const std::string& email) {
    const auto token = store_.CreateToken("default", email, "user", absl::ZeroDuration());
    EXPECT_TRUE(token.ok()) << token.status();
    return token.value_or("");
  }
  absl::StatusOr<Identity> Authenticate(const std::string& token) {
    return authenticator_.Authenticate(absl::StrCat("Bearer ", token));
  }
  // Whether it is still known here after Postgres has forgotten it.
  bool IsCached(const std::string& token) { return Authenticate(token).ok(); }
  void RevokeAll() { installation_.Sql("update tokens set revoke_time = clock_timestamp()"); }

  TestInstallation installation_;
  Pool pool_{{installation_.database().daemon_url}};
  IdentityStore store_{&pool_};
  FakeClock clock_;
  Authenticator authenticator_{&store_, &clock_, kMaxCached};
};

TEST_F(AuthenticatorTest, AnOwnerIsMadeAtItsFirstCallAndFoundWithEveryTokenOfIts) {
  const std::string first = NewToken("ann@example.com"), second = NewToken("ann@example.com");
  EXPECT_EQ(installation_.Sql("select count(*) from owners"), "0");
  const auto made = Authenticate(first);
  ASSERT_TRUE(made.ok()) << made.status();
  const auto found = Authenticate(second);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->owner_id, made->owner_id);
  EXPECT_EQ(found->email, "ann@example.com");
  EXPECT_EQ(installation_.Sql("select string_agg(owner_id::text, ' ') from owners"),
            absl::StrCat(made->owner_id));
}

TEST_F(AuthenticatorTest, ARevokedTokenWorksForAsLongAsItIsRemembered) {
  const std::string token = NewToken("ann@example.com");
  ASSERT_TRUE(Authenticate(token).ok());
  RevokeAll();
  clock_.Advance(Authenticator::kCacheTime - absl::Seconds(1));
  EXPECT_TRUE(Authenticate(token).ok());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ErrorReason(Authenticate(token).status()), "TOKEN_UNKNOWN");
}

TEST_F(AuthenticatorTest, WhatIsOverMakesRoomForOneMore) {
  std::vector<std::string> tokens;
  for (size_t i = 0; i <= kMaxCached; ++i) tokens.push_back(NewToken(absl::StrCat(i, "@x.com")));
  for (size_t i = 0; i + 1 < kMaxCached; ++i) ASSERT_TRUE(Authenticate(tokens[i]).ok());
  clock_.Advance(Authenticator::kCacheTime);
  ASSERT_TRUE(Authenticate(tokens[kMaxCached - 1]).ok());
  ASSERT_TRUE(Authenticate(tokens[kMaxCached]).ok());
  RevokeAll();
  EXPECT_TRUE(IsCached(tokens[kMaxCached - 1]));
  EXPECT_TRUE(IsCached(tokens[kMaxCached]));
  EXPECT_FALSE(IsCached(tokens[0]));
}

TEST_F(AuthenticatorTest, OneThatIsLookedUpAgainTakesNobodysRoom) {
  std::vector<std::string> tokens;
  for (size_t i = 0; i < kMaxCached; ++i) tokens.push_back(NewToken(absl::StrCat(i, "@x.com")));
  ASSERT_TRUE(Authenticate(tokens[0]).ok());
  clock_.Advance(Authenticator::kCacheTime);
  for (size_t i = 1; i < kMaxCached; ++i) ASSERT_TRUE(Authenticate(tokens[i]).ok());
  ASSERT_TRUE(Authenticate(tokens[0]).ok());
  RevokeAll();
  for (const std::string& token : tokens) EXPECT_TRUE(IsCached(token));
}

TEST_F(AuthenticatorTest, MoreTokensInUseThanThereIsRoomForAreForgottenTogether) {
  std::vector<std::string> tokens;
  for (size_t i = 0; i <= kMaxCached; ++i) tokens.push_back(NewToken(absl::StrCat(i, "@x.com")));
  for (const std::string& token : tokens) ASSERT_TRUE(Authenticate(token).ok());
  RevokeAll();
  EXPECT_TRUE(IsCached(tokens[kMaxCached]));
  for (size_t i = 0; i < kMaxCached; ++i) EXPECT_FALSE(IsCached(tokens[i]));
}

}  // namespace
}  // namespace finetuned
