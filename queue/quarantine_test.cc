#include "queue/quarantine.h"

#include <gtest/gtest.h>

namespace finetuned {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

absl::Time Minute(int minute) { return kStart + absl::Minutes(minute); }

Quarantine Decide(const std::vector<WorkerAttempt>& attempts) {
  return DecideQuarantine(attempts, QuarantinePolicy());
}

// Each of another run.
WorkerAttempt Lost(int from, int to) {
  static int64_t run_id = 0;
  WorkerAttempt attempt{++run_id, Minute(from), Minute(to)};
  attempt.attribution = Attribution::kInfrastructure;
  return attempt;
}

WorkerAttempt Ended(int from, int to, Attribution attribution) {
  WorkerAttempt attempt = Lost(from, to);
  attempt.attribution = attribution;
  return attempt;
}

TEST(Quarantine, BeginsWithTheThirdLossInARowAndGrowsWithEach) {
  EXPECT_FALSE(Decide({}).end_time.has_value());
  EXPECT_FALSE(Decide({Lost(2, 3), Lost(0, 1)}).end_time.has_value());
  const Quarantine third = Decide({Lost(4, 5), Lost(2, 3), Lost(0, 1)});
  EXPECT_EQ(third.losses, 3);
  EXPECT_EQ(third.end_time, Minute(5 + 2));
  const Quarantine fourth = Decide({Lost(6, 7), Lost(4, 5), Lost(2, 3), Lost(0, 1)});
  EXPECT_EQ(fourth.end_time, Minute(7 + 4));
  std::vector<WorkerAttempt> many;
  for (int i = 30; i > 0; --i) many.push_back(Lost(2 * i, 2 * i + 1));
  EXPECT_EQ(Decide(many).end_time, Minute(61 + 30));
  QuarantinePolicy policy;
  policy.losses = 1;
  EXPECT_TRUE(DecideQuarantine(many, policy).end_time.has_value());
  policy.losses = 0;
  EXPECT_FALSE(DecideQuarantine(many, policy).end_time.has_value());
}

TEST(Quarantine, LossesOfTheHostCount) {
  WorkerAttempt gone{7, Minute(4), Minute(5)};
  gone.worker_lost = true;
  EXPECT_EQ(Decide({gone, Lost(2, 3), Lost(0, 1)}).losses, 3);
  EXPECT_TRUE(CountsAgainstWorker(Attribution::kInfrastructure, false));
  EXPECT_TRUE(CountsAgainstWorker(Attribution::kUnknown, true));
}

TEST(Quarantine, ALargeWorkerIsJudgedByItsCrashesAndNotByWhatEachTook) {
  std::vector<WorkerAttempt> attempts;
  for (int crash = 3; crash > 0; --crash) {
    for (int i = 0; i < 64; ++i) attempts.push_back(Lost(10 * crash, 10 * crash + 5));
  }
  ASSERT_LE(attempts.size(), size_t{kQuarantineHistory});
  EXPECT_EQ(Decide(attempts).losses, 3);
}

TEST(Quarantine, WhatShowsThatTheWorkerIsWellEndsTheRow) {
  for (const Attribution who : {Attribution::kUnknown, Attribution::kNetwork, Attribution::kStalled,
                                Attribution::kUser, Attribution::kData, Attribution::kInternal,
                                Attribution::kOutOfMemory, Attribution::kPreempted}) {
    EXPECT_EQ(Decide({Lost(6, 7), Ended(4, 5, who), Lost(2, 3), Lost(0, 1)}).losses, 1);
  }
  WorkerAttempt running{7, Minute(8), std::nullopt};
  const std::vector<WorkerAttempt> losses = {Lost(6, 7), Lost(4, 5), Lost(2, 3)};
  std::vector<WorkerAttempt> attempts = losses;
  attempts.insert(attempts.begin(), running);
  EXPECT_EQ(Decide(attempts).losses, 3);
  attempts[0].saved = true;
  EXPECT_EQ(Decide(attempts).losses, 0);
}

TEST(Quarantine, OneRunThatIsLostAgainAndAgainDoesNotSpeakAgainstTheWorker) {
  std::vector<WorkerAttempt> attempts = {Lost(6, 7), Lost(4, 5), Lost(2, 3), Lost(0, 1)};
  for (WorkerAttempt& attempt : attempts) attempt.run_id = 7;
  EXPECT_EQ(Decide(attempts).losses, 4);
  EXPECT_FALSE(Decide(attempts).end_time.has_value());
  attempts.back().run_id = 8;
  EXPECT_TRUE(Decide(attempts).end_time.has_value());
}

TEST(Quarantine, ACutThatTookSeveralAttemptsIsOneLoss) {
  EXPECT_EQ(Decide({Lost(2, 10), Lost(1, 10), Lost(0, 9)}).losses, 1);
  EXPECT_EQ(Decide({Lost(12, 15), Lost(11, 15), Lost(2, 10), Lost(1, 10)}).losses, 2);
  // One that ends when the next begins came before it.
  EXPECT_EQ(Decide({Lost(2, 3), Lost(1, 2), Lost(0, 1)}).losses, 3);
}

}  // namespace
}  // namespace finetuned
