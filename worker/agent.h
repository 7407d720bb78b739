#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "artifacts/artifact_store.h"
#include "artifacts/beneath.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "finetuned/config/v1/config.pb.h"
#include "worker/attempt.h"
#include "worker/daemon_client.h"
#include "worker/engine.h"
#include "worker/gpus.h"
#include "worker/lease_term.h"
#include "worker/reporter.h"

namespace finetuned {

// The node agent: one session with the daemon, and the attempts it holds. Four threads talk to the
// daemon (session and renewals; acquisition; reports and ends; sweeping), the caller's thread
// watches over the right to run, each attempt has its own.
//
// A daemon that cannot be reached stops nothing: every call is repeated, with jittered backoff,
// until the lease term is over. The agent may be killed at any instant; the next one goes on from
// the work folder.
class Agent {
 public:
  // Exit status of finetuned-worker.
  static constexpr int kExitOk = 0;
  // The configuration is wrong, or the daemon refuses the session for good.
  static constexpr int kExitRefused = 1;
  // The artifact root is not there, or is another than the daemon's: is it mounted?
  static constexpr int kExitUnavailable = 69;
  // Another agent has opened a session in this worker's name; its trainers here are killed.
  static constexpr int kExitSuperseded = 4;
  // Another agent runs in this work folder.
  static constexpr int kExitWorkDirInUse = 5;

  struct Options {
    config::v1::WorkerConfig config;
    const Engine* engine = nullptr;
    const Clock* clock = nullptr;
    std::string version;
  };

  // Checks the configuration, locks the work folder and reads the attempts in it. INVALID_ARGUMENT
  // for a configuration that cannot work; FAILED_PRECONDITION when another agent has the folder;
  // UNAVAILABLE when the artifact root is not there; others when the folder cannot be read.
  static absl::StatusOr<std::unique_ptr<Agent>> Create(Options options);
  ~Agent();

  // Works until Stop or until the daemon ends it; returns the exit status. To be called once.
  int Run();
  // Ends Run. From any thread, at any time, repeatedly.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  explicit Agent(Options options);
  // What this host offers; begins to watch its GPUs.
  absl::Status FindCapacity();
  absl::Status LoadAttempts();
  std::shared_ptr<Attempt> OpenAttempt(const AttemptDir& dir);
  // Kills the trainer of an attempt that cannot be gone on with, and waits until it is gone.
  absl::Status KillTrainer(const AttemptDir& dir) const;

  // The four threads.
  void SessionLoop();
  void AcquireLoop();
  void ReportLoop();
  void SweepLoop();

  // Deletes what is past its retention, all that there is.
  absl::Status Sweep();
  absl::Status OpenSession();
  void ApplySession(const v1::OpenSessionResponse& response, absl::Duration sent)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Renew(absl::Duration hold, bool draining);
  bool ApplyRenewal(const v1::RenewLeasesResponse& response) ABSL_LOCKS_EXCLUDED(mutex_);
  bool TakeLease(const v1::Lease& lease) ABSL_LOCKS_EXCLUDED(mutex_);
  // What follows from an error of a call in a session; waits before the next try.
  void HandleError(const char* what, const absl::Status& status, Backoff& backoff);

  void Finish(int exit_code) ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitUnlessFinished(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mutex_);
  void WatchOnce();
  void StopTrainersAndReport();
  void KillAll();
  void Changed() ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<std::shared_ptr<Attempt>> Snapshot() const ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t session() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Duration CallTimeout() const ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  const ArtifactStore store_;
  std::unique_ptr<DaemonClient> client_;
  LeaseTerm term_;
  v1::Compute capacity_;
  // Null without GPUs.
  std::unique_ptr<GpuMonitor> gpus_;
  OwnedFd work_dir_lock_;
  // Used by the session's thread, and by Run when that has ended.
  Backoff renew_backoff_{{absl::Milliseconds(200), absl::Seconds(5)}};

  mutable Mutex mutex_;
  mutable CondVar changed_;
  // Bumped by everything that may give the report loop work.
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t session_ ABSL_GUARDED_BY(mutex_) = 0;
  v1::ProtocolTimes times_ ABSL_GUARDED_BY(mutex_);
  std::map<AttemptKey, std::shared_ptr<Attempt>> attempts_ ABSL_GUARDED_BY(mutex_);
  // Attempts with a folder whose trainer was never started: begun only when the daemon says to keep
  // them.
  std::set<AttemptKey> unstarted_ ABSL_GUARDED_BY(mutex_);
  // The stop that the daemon was heard to want, by attempt.
  std::map<AttemptKey, v1::StopKind> desired_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_asked_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  // The attempts have changed since the renewal in flight was sent.
  bool renew_again_ ABSL_GUARDED_BY(mutex_) = false;
  int exit_code_ ABSL_GUARDED_BY(mutex_) = kExitOk;
};

}  // namespace finetuned
