#include "worker/event_translate.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "worker/progress_limiter.h"

namespace finetuned {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

TEST(Translate, DataModelResumedAndFinished) {
  AttemptFacts facts;
  auto data = TranslateLine(
      R"({"type":"data_validated","examples":5120,"tokens":1048576,"eval_examples":3})", kNow,
      facts);
  EXPECT_EQ(data.event->type(), v1::RunEvent::DATA_VALIDATED);
  EXPECT_EQ(data.event->data().examples(), 5120);
  EXPECT_EQ(data.event->data().eval_examples(), 3);
  EXPECT_EQ(data.event->worker_time().seconds(), 1'700'000'000);
  auto model = TranslateLine(R"({"type":"model_initialized","model":"x"})", kNow, facts);
  EXPECT_EQ(model.event->type(), v1::RunEvent::MODEL_INITIALIZED);
  EXPECT_EQ(model.event->message(), "x");
  EXPECT_EQ(TranslateLine(R"({"type":"resumed","checkpoint":"ep1-ba50","step":50})", kNow, facts)
                .event->type(),
            v1::RunEvent::RESUMED);
  EXPECT_EQ(facts.checkpoint_name, "ep1-ba50");
  EXPECT_EQ(facts.checkpoint_step, 50);
  EXPECT_FALSE(facts.train_finished);
  EXPECT_EQ(TranslateLine(R"({"type":"train_finished"})", kNow, facts).event->type(),
            v1::RunEvent::TRAIN_FINISHED);
  EXPECT_TRUE(facts.train_finished);
}

TEST(Translate, ProgressHasLossMetricsAndHowLongItTook) {
  AttemptFacts facts;
  TranslateLine(R"({"ts":"2026-11-23T16:40:00Z","type":"model_initialized"})", kNow, facts);
  const auto line = TranslateLine(
      R"({"ts":"2026-11-23T16:40:10Z","type":"progress","epoch":1,"epochs":1,"batch":5,"batches":56,)"
      R"("tokens":8192,"max_tokens":null,"step":5,"total_batches":20,)"
      R"("metrics":{"train/loss":1.71,"lr":5e-7,"bad":"x"}})",
      kNow, facts);
  const v1::Progress& progress = line.event->progress();
  EXPECT_EQ(progress.batches(), 56);
  EXPECT_EQ(progress.total_steps(), 20);
  EXPECT_DOUBLE_EQ(progress.train_loss(), 1.71);
  EXPECT_EQ(progress.metrics().size(), 1u);
  EXPECT_EQ(progress.trained_duration().seconds(), 10);
  EXPECT_EQ(progress.trained_steps(), 5);
  EXPECT_EQ(progress.trained_tokens(), 8192);
  EXPECT_EQ(facts.last_step, 5);
}

TEST(Translate, TimeSpentInCheckpointsIsNotTrainingTime) {
  AttemptFacts facts;
  TranslateLine(R"({"ts":"2026-11-23T16:40:00Z","type":"model_initialized"})", kNow, facts);
  TranslateLine(R"({"ts":"2026-11-23T16:40:10Z","type":"progress","step":5,"total_batches":20})",
                kNow, facts);
  const auto saved = TranslateLine(
      R"({"ts":"2026-11-23T16:45:10Z","type":"checkpoint","path":"ep0-ba5","step":5,"tokens":9,)"
      R"("huggingface":"huggingface/ba5","metrics":{"eval/loss":2.5},"complete":true})",
      kNow, facts);
  ASSERT_TRUE(saved.checkpoint.has_value());
  EXPECT_FALSE(saved.event.has_value());
  EXPECT_EQ(saved.checkpoint->name, "ep0-ba5");
  EXPECT_EQ(saved.checkpoint->huggingface, "huggingface/ba5");
  EXPECT_DOUBLE_EQ(saved.checkpoint->metrics.at("eval/loss"), 2.5);
  const auto line = TranslateLine(
      R"({"ts":"2026-11-23T16:45:20Z","type":"progress","step":10,"total_batches":20})", kNow,
      facts);
  EXPECT_EQ(line.event->progress().trained_duration().seconds(), 20);
  EXPECT_EQ(line.event->progress().trained_steps(), 10);
  EXPECT_EQ(FactsFromJson(FactsToJson(facts)).excluded_us, facts.excluded_us);
}

TEST(Translate, AClockThatGoesBackTakesNoTimeAway) {
  AttemptFacts facts;
  TranslateLine(R"({"ts":"2026-11-23T16:40:00Z","type":"model_initialized"})", kNow, facts);
  const auto line =
      TranslateLine(R"({"ts":"2026-11-23T16:30:00Z","type":"progress","step":1})", kNow, facts);
  ASSERT_TRUE(line.event.has_value());
  EXPECT_GE(line.event->progress().trained_duration().seconds(), 0);
  EXPECT_GE(line.event->progress().trained_duration().nanos(), 0);
}

TEST(Translate, AfterAResumeOnlyWhatThisAttemptDidIsCounted) {
  AttemptFacts facts;
  TranslateLine(R"({"type":"resumed","checkpoint":"ep0-ba900","step":900,"tokens":900000,)"
                R"("ts":"2026-11-23T16:40:00.000Z"})",
                kNow, facts);
  const auto progress = TranslateLine(
      R"({"type":"progress","step":901,"batch":901,"tokens":901000,"max_tokens":1000000,)"
      R"("ts":"2026-11-23T16:40:01.000Z"})",
      kNow, facts);
  ASSERT_TRUE(progress.event.has_value());
  EXPECT_EQ(progress.event->progress().trained_duration().seconds(), 1);
  EXPECT_EQ(progress.event->progress().trained_steps(), 1);
  EXPECT_EQ(progress.event->progress().trained_tokens(), 1000);
}

TEST(Translate, AnIncompleteCheckpointIsNotPublished) {
  AttemptFacts facts;
  const auto line =
      TranslateLine(R"({"type":"checkpoint","path":"ep1-ba5","complete":false})", kNow, facts);
  EXPECT_FALSE(line.checkpoint.has_value());
  EXPECT_FALSE(line.event.has_value());
}

TEST(Translate, EvaluationSaysWhen) {
  AttemptFacts facts;
  const auto line = TranslateLine(
      R"({"type":"eval","step":7,"when":"after","metrics":{"eval/loss":0.5,"eval/acc":0.9}})", kNow,
      facts);
  EXPECT_EQ(line.event->type(), v1::RunEvent::EVALUATED);
  EXPECT_EQ(line.event->evaluation().when(), v1::Evaluation::AFTER);
  EXPECT_DOUBLE_EQ(line.event->evaluation().loss(), 0.5);
  EXPECT_EQ(line.event->evaluation().metrics().size(), 1u);
}

TEST(Translate, AnAnswerIsAnEventOfItsOwn) {
  AttemptFacts facts;
  const auto line = TranslateLine(
      R"({"type":"eval_prompt","step":50,"when":"checkpoint","prompt":"What?","response":"\u00fc\n"})",
      kNow, facts);
  EXPECT_EQ(line.event->type(), v1::RunEvent::PROMPT_ANSWERED);
  EXPECT_EQ(line.event->prompt_answer().when(), v1::Evaluation::CHECKPOINT);
  EXPECT_EQ(line.event->prompt_answer().step(), 50);
  EXPECT_EQ(line.event->prompt_answer().prompt(), "What?");
  EXPECT_EQ(line.event->prompt_answer().response(), "\u00fc\n");
  const auto longest = TranslateLine(
      "{\"type\":\"eval_prompt\",\"response\":\"" + std::string(50000, 'x') + "\"}", kNow, facts);
  EXPECT_EQ(longest.event->prompt_answer().response().size(), size_t{16 << 10});
}

TEST(Translate, FailedAndPreemptAckOnlyChangeTheFacts) {
  AttemptFacts facts;
  EXPECT_FALSE(
      TranslateLine(
          R"({"type":"failed","code":"UNKNOWN_EXAMPLE_TYPE","message":"m","attribution":"user"})",
          kNow, facts)
          .event.has_value());
  EXPECT_EQ(facts.failure_code, "UNKNOWN_EXAMPLE_TYPE");
  EXPECT_EQ(facts.failure_attribution, "user");
  EXPECT_FALSE(TranslateLine(R"({"type":"preempt_ack","checkpoint":"ep1-ba5"})", kNow, facts)
                   .event.has_value());
  EXPECT_TRUE(facts.preempt_acknowledged);
}

TEST(Translate, LinksAreKeptWhereTheyCanBeShown) {
  AttemptFacts facts;
  const Translated linked = TranslateLine(
      R"({"type":"linked","links":{"mlflow":"https://m/1","wandb":"file:///x","n":1}})", kNow,
      facts);
  ASSERT_TRUE(linked.event.has_value());
  EXPECT_EQ(linked.event->type(), v1::RunEvent::LINKED);
  ASSERT_EQ(linked.event->links().pages_size(), 1);
  EXPECT_EQ(linked.event->links().pages().at("mlflow"), "https://m/1");
  // Nothing of it can be shown.
  EXPECT_EQ(TranslateLine(R"({"type":"linked","links":[1]})", kNow, facts).event->type(),
            v1::RunEvent::OTHER);
  std::string many = R"({"type":"linked","links":{"a0":"https://m")";
  for (int i = 1; i < 40; ++i) many += ",\"a" + std::to_string(i) + "\":\"https://m\"";
  EXPECT_EQ(TranslateLine(many + "}}", kNow, facts).event->links().pages_size(), 16);
}

TEST(Translate, ThatATrainerWorksIsNoEvent) {
  AttemptFacts facts;
  const Translated working = TranslateLine(R"({"type":"working"})", kNow, facts);
  EXPECT_FALSE(working.event.has_value());
  EXPECT_FALSE(working.checkpoint.has_value());
}

TEST(Translate, WhatIsNotKnownIsKeptAsItCame) {
  AttemptFacts facts;
  const std::string unknown = R"({"type":"gpu","temperature":[1,2]})";
  EXPECT_EQ(TranslateLine(unknown, kNow, facts).event->raw_json(), unknown);
  EXPECT_EQ(TranslateLine("not json", kNow, facts).event->raw_json(), R"({"unparsed":"not json"})");
  EXPECT_EQ(TranslateLine("[1]", kNow, facts).event->type(), v1::RunEvent::OTHER);
  EXPECT_FALSE(TranslateLine("   ", kNow, facts).event.has_value());
  const auto huge = TranslateLine(std::string(64 * 1024, '"'), kNow, facts);
  EXPECT_LE(huge.event->raw_json().size(), kMaxRawJsonBytes);
}

TEST(Translate, NumbersThatAreNoneDoNotSpoilTheLine) {
  AttemptFacts facts;
  const auto line = TranslateLine(
      R"({"type":"progress","step":5,"metrics":{"train/loss":NaN,"NaN \" Infinity":-Infinity,"lr":1e-3}})",
      kNow, facts);
  ASSERT_EQ(line.event->type(), v1::RunEvent::TRAIN_UPDATED);
  EXPECT_FALSE(line.event->progress().has_train_loss());
  EXPECT_EQ(line.event->progress().metrics().size(), 1u);
  EXPECT_EQ(WithoutNonFinite(R"({"a":"NaN","b":NaN})"), R"({"a":"NaN","b":null})");
  // Only a whole number is looked at: no part of one is too large.
  const std::string fraction = "0." + std::string(400, '1');
  EXPECT_EQ(WithoutNonFinite("[" + fraction + ",1e999,-2e308]"), "[" + fraction + ",null,null]");
  const auto odd =
      TranslateLine(R"({"type":"progress","step":-5,"tokens":1e300,"batch":"x"})", kNow, facts);
  EXPECT_EQ(odd.event->progress().step(), 0);
  EXPECT_EQ(odd.event->progress().tokens(), 0);
}

Journal::Entry Update(int64_t step) {
  Journal::Entry entry;
  entry.event.emplace();
  entry.event->set_type(v1::RunEvent::TRAIN_UPDATED);
  entry.event->mutable_progress()->set_step(step);
  return entry;
}

TEST(ProgressLimiter, OneASecondTheNewestAndTheLastBeforeAnyOther) {
  FakeClock clock;
  ProgressLimiter limiter;
  EXPECT_EQ(limiter.Offer(Update(1), clock.SinceBoot()).size(), 1u);
  EXPECT_TRUE(limiter.Offer(Update(2), clock.SinceBoot()).empty());
  EXPECT_TRUE(limiter.Offer(Update(3), clock.SinceBoot()).empty());
  clock.Advance(absl::Milliseconds(999));
  EXPECT_TRUE(limiter.Poll(clock.SinceBoot()).empty());
  clock.Advance(absl::Milliseconds(1));
  auto out = limiter.Poll(clock.SinceBoot());
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].event->progress().step(), 3);
  EXPECT_TRUE(limiter.Offer(Update(4), clock.SinceBoot()).empty());
  Journal::Entry other;
  other.event.emplace();
  other.event->set_type(v1::RunEvent::EVALUATED);
  out = limiter.Offer(std::move(other), clock.SinceBoot());
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0].event->progress().step(), 4);
  EXPECT_EQ(out[1].event->type(), v1::RunEvent::EVALUATED);
  EXPECT_TRUE(limiter.Offer(Update(5), clock.SinceBoot()).empty());
  EXPECT_EQ(limiter.Flush().size(), 1u);
  EXPECT_TRUE(limiter.Flush().empty());
}

}  // namespace
}  // namespace finetuned
