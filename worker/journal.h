#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "finetuned/v1/worker_service.pb.h"
#include "worker/attempt_facts.h"

namespace finetuned {

// The durable list of one attempt's reports that the daemon has not acknowledged. A report is here
// before it is sent, and stays until it is acknowledged, over crashes of the agent and of the host.
// Reports are numbered 1, 2, 3, ... without a gap.
//
// Every record also holds how far into the trainer's event file it reaches, and the facts known
// there. A restarted agent reads on from offset() with facts(): no line is lost, none is reported
// twice.
//
// On disk: frames of {length, CRC-32, payload}, appended and synced. A torn frame at the end, left
// by a crash, is cut off when the journal is opened; a damaged one further in ends it there
// likewise, and the lines behind are read again.
//
// Safe for concurrent use: one thread appends, another sends and acknowledges.
class Journal {
 public:
  struct Limits {
    // Above this many unacknowledged reports TRAIN_UPDATED is merged: only the newest is kept, and
    // numbered later.
    size_t merge_above = 1000;
    // Above these the journal is full: the caller stops reading the trainer's lines, which wait in
    // their file.
    size_t full_reports = 10'000;
    size_t full_bytes = 64 << 20;
    // The file is rewritten with what is unacknowledged only when it has grown to this.
    size_t rewrite_bytes = 1 << 20;
  };

  // Opens or creates the journal. INTERNAL or RESOURCE_EXHAUSTED when the file cannot be read or
  // written.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(const std::string& path,
                                                       const Limits& limits);
  static absl::StatusOr<std::unique_ptr<Journal>> Open(const std::string& path) {
    return Open(path, Limits());
  }
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // One thing to keep: a report (without its number), or only new facts.
  struct Entry {
    std::optional<v1::RunEvent> event;
    int64_t offset = 0;
    AttemptFacts facts;
  };
  // Keeps entries in their order and syncs once. Sets facts.checkpoint_report for CHECKPOINT_SAVED.
  // After an error none of them counts as kept, the file is as before, and the call may be
  // repeated.
  absl::Status Append(std::vector<Entry> entries) ABSL_LOCKS_EXCLUDED(mutex_);

  // Keeps the merged TRAIN_UPDATED that is held back, if there is one: at the end of the attempt.
  absl::Status Flush() ABSL_LOCKS_EXCLUDED(mutex_);

  // All reports up to `number` are committed at the daemon. Lower than before is ignored.
  absl::Status Ack(int64_t number) ABSL_LOCKS_EXCLUDED(mutex_);

  // Gives an unacknowledged report another content: one that the daemon refuses would block all
  // behind it.
  void Replace(int64_t number, const v1::RunEvent& event) ABSL_LOCKS_EXCLUDED(mutex_);

  // The first unacknowledged reports, at most so many and so many bytes (but one at least).
  std::vector<v1::Report> Pending(size_t max_count, size_t max_bytes) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  bool full() const ABSL_LOCKS_EXCLUDED(mutex_);
  // The number of the newest report; 0 before the first.
  int64_t last_number() const ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t acked() const ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t offset() const ABSL_LOCKS_EXCLUDED(mutex_);
  AttemptFacts facts() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Kept {
    v1::Report report;
    size_t bytes = 0;
  };

  Journal(std::string path, const Limits& limits)
      : path_(std::move(path)), limits_(limits), rewrite_at_(limits.rewrite_bytes) {}
  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AppendLocked(std::vector<Entry> entries) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Write(const std::string& frames) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Rewrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Rewrites the file when most of it says nothing any more.
  absl::Status RewriteIfWorthIt() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Opens the file unless it is open.
  absl::Status EnsureOpen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether the path leads to another file than the one that is open.
  bool IsReplaced() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropAcked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  const Limits limits_;
  mutable Mutex mutex_;
  int fd_ ABSL_GUARDED_BY(mutex_) = -1;
  // Length of the file up to the last whole frame.
  size_t file_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // Grows with what a rewrite leaves, so that one is always worth its cost.
  size_t rewrite_at_ ABSL_GUARDED_BY(mutex_);
  std::deque<Kept> kept_ ABSL_GUARDED_BY(mutex_);
  size_t kept_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t acked_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t offset_ ABSL_GUARDED_BY(mutex_) = 0;
  AttemptFacts facts_ ABSL_GUARDED_BY(mutex_);
  // The newest TRAIN_UPDATED held back while there are too many unacknowledged reports.
  std::optional<Entry> merged_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
