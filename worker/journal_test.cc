#include "worker/journal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/test_support.h"

namespace finetuned {
namespace {

Journal::Entry Entry(v1::RunEvent::Type type, int64_t offset, int64_t step = 0) {
  Journal::Entry entry;
  entry.event.emplace();
  entry.event->set_type(type);
  if (type == v1::RunEvent::TRAIN_UPDATED) entry.event->mutable_progress()->set_step(step);
  entry.offset = offset;
  entry.facts.last_step = step;
  return entry;
}

class JournalTest : public ::testing::Test {
 protected:
  std::unique_ptr<Journal> Open(const Journal::Limits& limits = Journal::Limits()) {
    auto journal = Journal::Open(path_, limits);
    EXPECT_TRUE(journal.ok()) << journal.status();
    return *std::move(journal);
  }
  const std::string path_ = NewTempFolder() + "/journal";
};

TEST_F(JournalTest, ReportsAreNumberedFromOneAndSurviveARestart) {
  auto journal = Open();
  ASSERT_TRUE(
      journal->Append({Entry(v1::RunEvent::STARTED, 0), Entry(v1::RunEvent::TRAIN_UPDATED, 10, 7)})
          .ok());
  Journal::Entry facts_only;
  facts_only.offset = 25;
  facts_only.facts.preempt_acknowledged = true;
  ASSERT_TRUE(journal->Append({facts_only}).ok());
  journal = Open();
  EXPECT_EQ(journal->last_number(), 2);
  EXPECT_EQ(journal->offset(), 25);
  EXPECT_TRUE(journal->facts().preempt_acknowledged);
  const auto pending = journal->Pending(10, 1 << 20);
  ASSERT_EQ(pending.size(), 2u);
  EXPECT_EQ(pending[0].number(), 1);
  EXPECT_EQ(pending[1].event().progress().step(), 7);
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::TRAIN_FINISHED, 30)}).ok());
  EXPECT_EQ(journal->last_number(), 3);
}

TEST_F(JournalTest, EveryTornEndIsCutAndTheRestIsWhole) {
  auto journal = Open();
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::STARTED, 5)}).ok());
  const size_t first = ReadFile(path_)->size();
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::TRAIN_FINISHED, 9)}).ok());
  const std::string whole = *ReadFile(path_);
  journal.reset();
  for (size_t size = first; size < whole.size(); ++size) {
    ASSERT_TRUE(WriteFileAtomically(path_, whole.substr(0, size)).ok());
    journal = Open();
    ASSERT_EQ(journal->last_number(), 1) << size;
    ASSERT_EQ(journal->offset(), 5) << size;
    // The same report gets the same number again.
    ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::TRAIN_FINISHED, 9)}).ok());
    journal = Open();
    ASSERT_EQ(journal->last_number(), 2) << size;
  }
  std::string damaged = whole;
  damaged[first + 20] = static_cast<char>(damaged[first + 20] ^ 1);
  ASSERT_TRUE(WriteFileAtomically(path_, damaged).ok());
  EXPECT_EQ(Open()->last_number(), 1);
}

TEST_F(JournalTest, AcknowledgedReportsAreDroppedForGood) {
  auto journal = Open();
  for (int i = 1; i <= 5; ++i) {
    ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::EVALUATED, i)}).ok());
  }
  ASSERT_TRUE(journal->Ack(3).ok());
  ASSERT_TRUE(journal->Ack(2).ok());
  EXPECT_EQ(journal->acked(), 3);
  journal = Open();
  const auto pending = journal->Pending(10, 1 << 20);
  ASSERT_EQ(pending.size(), 2u);
  EXPECT_EQ(pending[0].number(), 4);
  EXPECT_EQ(journal->Pending(10, 1).size(), 1u);
}

TEST_F(JournalTest, TheFileIsRewrittenAndKeepsNumbersOffsetAndFacts) {
  Journal::Limits limits;
  limits.rewrite_bytes = 2000;
  auto journal = Open(limits);
  for (int i = 1; i <= 100; ++i) {
    ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::TRAIN_UPDATED, i * 10, i)}).ok());
    ASSERT_TRUE(journal->Ack(i - 1).ok());
  }
  EXPECT_LT(ReadFile(path_)->size(), 4000u);
  journal = Open(limits);
  EXPECT_EQ(journal->last_number(), 100);
  EXPECT_EQ(journal->offset(), 1000);
  EXPECT_EQ(journal->facts().last_step, 100);
  ASSERT_EQ(journal->Pending(10, 1 << 20).size(), 1u);
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::TRAIN_FINISHED, 1010)}).ok());
  EXPECT_EQ(Open(limits)->last_number(), 101);
}

TEST_F(JournalTest, FactsAloneDoNotMakeItGrow) {
  Journal::Limits limits;
  limits.rewrite_bytes = 4096;
  auto journal = Open(limits);
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::STARTED, 0)}).ok());
  for (int i = 1; i <= 1000; ++i) {
    Journal::Entry facts_only;
    facts_only.offset = i;
    facts_only.facts.last_step = i;
    ASSERT_TRUE(journal->Append({facts_only}).ok());
  }
  EXPECT_LT(ReadFile(path_)->size(), 3 * limits.rewrite_bytes);
  journal = Open(limits);
  EXPECT_EQ(journal->offset(), 1000);
  EXPECT_EQ(journal->facts().last_step, 1000);
  EXPECT_EQ(journal->Pending(10, 1 << 20).size(), 1u);
}

TEST_F(JournalTest, AboveTheLimitOnlyProgressIsMergedAndTheNewestIsKept) {
  Journal::Limits limits;
  limits.merge_above = 2;
  auto journal = Open(limits);
  ASSERT_TRUE(
      journal
          ->Append({Entry(v1::RunEvent::STARTED, 1), Entry(v1::RunEvent::TRAIN_UPDATED, 2, 1),
                    Entry(v1::RunEvent::TRAIN_UPDATED, 3, 2),
                    Entry(v1::RunEvent::TRAIN_UPDATED, 4, 3)})
          .ok());
  EXPECT_EQ(journal->last_number(), 2);
  EXPECT_EQ(journal->offset(), 2) << "merged lines are read again after a restart";
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::EVALUATED, 5, 3)}).ok());
  auto pending = journal->Pending(10, 1 << 20);
  ASSERT_EQ(pending.size(), 4u);
  EXPECT_EQ(pending[2].event().progress().step(), 3);
  EXPECT_EQ(pending[3].event().type(), v1::RunEvent::EVALUATED);
  // Room again: what is held back comes out by itself.
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::TRAIN_UPDATED, 6, 4)}).ok());
  EXPECT_EQ(journal->last_number(), 4);
  ASSERT_TRUE(journal->Ack(4).ok());
  EXPECT_EQ(journal->last_number(), 5);
  EXPECT_EQ(journal->offset(), 6);
}

TEST_F(JournalTest, FlushKeepsWhatIsMerged) {
  Journal::Limits limits;
  limits.merge_above = 0;
  auto journal = Open(limits);
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::TRAIN_UPDATED, 6, 4)}).ok());
  EXPECT_EQ(journal->last_number(), 0);
  ASSERT_TRUE(journal->Flush().ok());
  EXPECT_EQ(journal->last_number(), 1);
  EXPECT_EQ(Open(limits)->facts().last_step, 4);
}

TEST_F(JournalTest, ItIsFullAtItsLimitAndNotAfterAnAcknowledgement) {
  Journal::Limits limits;
  limits.full_reports = 2;
  auto journal = Open(limits);
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::STARTED, 1)}).ok());
  EXPECT_FALSE(journal->full());
  ASSERT_TRUE(journal->Append({Entry(v1::RunEvent::EVALUATED, 1)}).ok());
  EXPECT_TRUE(journal->full());
  ASSERT_TRUE(journal->Ack(1).ok());
  EXPECT_FALSE(journal->full());
}

}  // namespace
}  // namespace finetuned
