#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "artifacts/artifact_store.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "finetuned/v1/worker_service.pb.h"
#include "worker/attempt_dir.h"
#include "worker/attempt_rules.h"
#include "worker/engine.h"
#include "worker/event_tail.h"
#include "worker/journal.h"
#include "worker/log_bound.h"
#include "worker/metric_log.h"
#include "worker/progress_limiter.h"
#include "worker/publisher.h"

namespace finetuned {

// One attempt on this worker, from its lease to the deletion of its folder. A thread of its own
// starts the trainer, tails its events, publishes its checkpoints and records its end; others ask
// for stops and send what is in the journal. All that matters is on disk before it is acted on, so
// that destroying the object, or killing the agent, at any instant loses nothing: the trainer runs
// on and the next object goes on from the folder.
//
// Public methods are safe for concurrent use and do not wait for the trainer.
class Attempt {
 public:
  struct Options {
    const Engine* engine = nullptr;
    const ArtifactStore* store = nullptr;
    const Clock* clock = nullptr;
    // Makes what the engine needs to start the trainer.
    std::function<absl::StatusOr<TrainerSpec>(const v1::Lease&, const AttemptDir&,
                                              const AttemptNotes&)>
        prepare;
    // Whether the worker's leases are certain to be held now.
    std::function<bool()> lease_is_held;
    // Further metrics of the GPUs with these indices, for the trainer's progress.
    std::function<std::map<std::string, double>(const std::vector<int>&)> gpu_metrics =
        [](const std::vector<int>&) { return std::map<std::string, double>(); };
    // Something is to be sent, or the attempt is forgotten. Called without locks.
    std::function<void()> on_change;
    absl::Duration poll_interval = absl::Milliseconds(100);
    // How often publishing a checkpoint is tried when the filesystem fails.
    int publish_tries = 8;
    // How long starting the trainer is tried before the attempt ends without it.
    absl::Duration start_time = absl::Minutes(2);
    // How long a trainer may say nothing before it is taken to hang and stopped.
    absl::Duration stall_time = absl::Minutes(30);
    LogBound::Limits log_limits;
  };

  // Goes on with, or begins, the attempt whose folder exists. Errors: those of reading the folder.
  static absl::StatusOr<std::shared_ptr<Attempt>> Open(const AttemptDir& dir,
                                                       const Options& options);
  // Ends the thread; the trainer runs on.
  ~Attempt();

  // Carries out a stop, once; a stronger kind replaces a weaker one. Unspecified is ignored.
  void WantStop(v1::StopKind stop) ABSL_LOCKS_EXCLUDED(mutex_);
  // Stops the trainer because the right to run has ended.
  void SelfStop() ABSL_LOCKS_EXCLUDED(mutex_);
  // The lease is lost: kills the trainer and forgets the attempt.
  void Abandon() ABSL_LOCKS_EXCLUDED(mutex_);
  // Its end is stored by the daemon: forgets it.
  void Completed() ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the thread and waits for it; the trainer runs on.
  void Detach() ABSL_LOCKS_EXCLUDED(mutex_);

  const AttemptKey& key() const { return dir_.key(); }
  const v1::Lease& lease() const { return lease_; }
  const std::vector<int>& gpus() const { return gpus_; }
  Journal& journal() { return *journal_; }
  // The end, when it is recorded and the attempt is not abandoned.
  std::optional<v1::AttemptEnd> end() const ABSL_LOCKS_EXCLUDED(mutex_);
  bool abandoned() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the folder is gone: nothing is left to do.
  bool forgotten() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Attempt(const AttemptDir& dir, const Options& options)
      : dir_(dir), options_(options), publisher_(*options.store) {}

  void Run();
  // One round; false when the attempt is forgotten.
  bool Tick();
  void StartTrainer();
  void Follow();
  void FinishAbandoned();
  void RecordEnd(const Observation& observation);
  // Puts the end on disk; whether this attempt still had one to record, and it is there.
  bool StoreEnd(const v1::AttemptEnd& end) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the checkpoint to go on from is what was published. Reads all of it. DATA_LOSS when it
  // is not; other errors may pass.
  absl::Status CheckResumeFrom() ABSL_LOCKS_EXCLUDED(mutex_);
  bool MayStart() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the attempt of a trainer that was never started.
  void EndWithoutTrainer(const AttemptNotes& notes, const std::string& why);
  void EndUnstarted(const v1::AttemptEnd& end, const std::string& why);
  // Takes the trainer's new lines into the journal. Whether all there are, of a trainer that is
  // gone or not, are in.
  bool Drain(bool gone);
  absl::Status KeepLines(const std::vector<EventTail::Line>& lines);
  // Brings the metric file up to date, and says so in the entries: their reports make it readable.
  void KeepMetrics(std::vector<Journal::Entry>& entries);
  absl::Status PublishLine(const CheckpointLine& line, Journal::Entry& entry);
  // Copies the final weights to where they are registered, and says so in `end`; or that they could
  // not be. False when the attempt is not this agent's any more.
  bool RegisterModel(v1::AttemptEnd& end);
  // Tries for as long as it is wanted, the lease is or may be held, and the error may pass.
  // CANCELLED when it is not wanted, or the attempt not this agent's, any more.
  template <typename Publish>
  auto TryWhileHeld(const char* what, const std::string& name, int tries,
                    const std::function<bool()>& wanted, const Publish& publish)
      -> decltype(publish());
  void ResetTail();
  void PruneCheckpoints();
  // Stops a trainer that has said nothing for too long.
  void WatchForStall() ABSL_LOCKS_EXCLUDED(mutex_);
  void CarryOutStop(v1::StopKind stop, bool self_stop, absl::Duration silent)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SignalStop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits, and tells whether the attempt is neither abandoned nor being detached.
  bool WaitAndGoOn(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of the attempt's folder, or a file in it, relative to the artifact root.
  std::string AttemptPath(const std::string& file) const;
  bool MayPublish() const ABSL_LOCKS_EXCLUDED(mutex_);

  const AttemptDir dir_;
  const Options options_;
  const Publisher publisher_;
  // Set by Open, then constant.
  v1::Lease lease_;
  std::vector<int> gpus_;
  std::unique_ptr<Journal> journal_;

  // Used by the thread only.
  std::optional<EventTail> tail_;
  std::optional<MetricLog> metrics_;
  ProgressLimiter limiter_;
  AttemptFacts facts_;
  int64_t pruned_report_ = 0;
  // How long the trainer has said nothing, and when that was last looked at.
  absl::Duration silent_ = absl::ZeroDuration();
  std::optional<absl::Duration> looked_;
  std::optional<LogBound> log_bound_;
  // Since when starting the trainer has failed.
  std::optional<absl::Duration> start_fails_since_;
  // It is read once, however often the start is tried.
  bool resume_checked_ = false;

  mutable Mutex mutex_;
  CondVar wake_;
  AttemptPhase phase_ ABSL_GUARDED_BY(mutex_) = AttemptPhase::kStarting;
  AttemptNotes notes_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::AttemptEnd> end_ ABSL_GUARDED_BY(mutex_);
  bool completed_ ABSL_GUARDED_BY(mutex_) = false;
  bool detaching_ ABSL_GUARDED_BY(mutex_) = false;
  bool forgotten_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  // The signal of a stop could not be given yet.
  bool signal_due_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace finetuned
