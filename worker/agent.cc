#include "worker/agent.h"

#include <algorithm>

#include "base/backoff.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/logging.h"
#include "base/status.h"
#include "base/time.h"
#include "base/uuid.h"
#include "worker/capacity.h"
#include "worker/process_engine.h"
#include "worker/sweeper.h"

namespace finetuned {
namespace {

constexpr absl::Duration kWatchInterval = absl::Milliseconds(200);
constexpr absl::Duration kAcquireHold = absl::Seconds(30);
constexpr absl::Duration kMaxRenewHold = absl::Seconds(10);
constexpr absl::Duration kMaxCallTimeout = absl::Seconds(10);
constexpr absl::Duration kOpenTimeout = absl::Seconds(15);
constexpr absl::Duration kKillWait = absl::Seconds(30);
constexpr absl::Duration kPublishWait = absl::Seconds(60);
constexpr absl::Duration kReportWait = absl::Seconds(10);
constexpr absl::Duration kSweepInterval = absl::Minutes(5);
constexpr int kMaxLeasesPerCall = 64;

// A refusal that trying again cannot change.
bool IsRefusal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnimplemented: return true;
    default: return false;
  }
}

absl::Duration OrDefault(const google::protobuf::Duration& proto, absl::Duration otherwise) {
  const absl::Duration value = FromProtoDuration(proto);
  return value > absl::ZeroDuration() ? value : otherwise;
}

absl::Duration SelfStopOf(const v1::ProtocolTimes& times) {
  return OrDefault(times.self_stop_duration(), absl::Minutes(10));
}

}  // namespace

int Agent::Run() {
  std::thread session_thread([this] { SessionLoop(); });
  std::thread acquire_thread([this] { AcquireLoop(); });
  std::thread report_thread([this] { ReportLoop(); });
  std::thread sweep_thread([this] { SweepLoop(); });
  bool stop = false;
  while (!stop && WaitUnlessFinished(kWatchInterval)) {
    WatchOnce();
    MutexLock lock(mutex_);
    stop = stop_asked_;
  }
  if (stop && options_.config.stop_trainers_on_exit()) StopTrainersAndReport();
  Finish(kExitOk);
  session_thread.join();
  acquire_thread.join();
  report_thread.join();
  sweep_thread.join();
  int exit_code;
  {
    MutexLock lock(mutex_);
    exit_code = exit_code_;
  }
  if (exit_code == kExitSuperseded) {
    KillAll();
  } else if (session() != 0) {
    // So that the daemon knows at once that nothing is taken here for a while.
    Renew(absl::ZeroDuration(), /*draining=*/true);
  }
  for (const auto& attempt : Snapshot()) attempt->Detach();
  return exit_code;
}

void Agent::Stop() {
  MutexLock lock(mutex_);
  stop_asked_ = true;
  changed_.NotifyAll();
}

void Agent::Finish(int exit_code) {
  {
    MutexLock lock(mutex_);
    if (!finished_) exit_code_ = exit_code;
    finished_ = true;
    changed_.NotifyAll();
  }
  client_->CancelAll();
}

bool Agent::WaitUnlessFinished(absl::Duration duration) {
  MutexLock lock(mutex_);
  const absl::Duration until = options_.clock->SinceBoot() + duration;
  while (!finished_ && !stop_asked_) {
    const absl::Duration left = until - options_.clock->SinceBoot();
    if (left <= absl::ZeroDuration() || changed_.WaitFor(mutex_, left)) break;
  }
  return !finished_;
}

void Agent::WatchOnce() {
  const bool over = term_.Over();
  std::vector<std::shared_ptr<Attempt>> gone;
  for (const auto& attempt : Snapshot()) {
    if (attempt->forgotten()) gone.push_back(attempt);
    if (over) attempt->SelfStop();
  }
  if (gone.empty()) return;
  {
    MutexLock lock(mutex_);
    for (const auto& attempt : gone) {
      attempts_.erase(attempt->key());
      desired_.erase(attempt->key());
    }
    changed_.NotifyAll();
  }
  // There is more room than the call in flight says.
  client_->Cancel(DaemonClient::Kind::kAcquire);
}

void Agent::StopTrainersAndReport() {
  Log(LogLevel::kInfo, "stopping all trainers");
  absl::Duration grace;
  {
    MutexLock lock(mutex_);
    draining_ = true;
    renew_again_ = true;
    stop_asked_ = false;
    grace = OrDefault(times_.grace_duration(), absl::Minutes(2));
  }
  client_->Cancel(DaemonClient::Kind::kAcquire);
  client_->Cancel(DaemonClient::Kind::kRenew);
  absl::Duration until = options_.clock->SinceBoot() + grace + kPublishWait;
  bool all_ended = false;
  for (const auto& attempt : Snapshot()) attempt->WantStop(v1::PREEMPT);
  while (!Snapshot().empty() && options_.clock->SinceBoot() < until) {
    if (!WaitUnlessFinished(kWatchInterval)) return;
    WatchOnce();
    if (all_ended) continue;
    const auto attempts = Snapshot();
    all_ended = std::all_of(attempts.begin(), attempts.end(),
                            [](const auto& attempt) { return attempt->end().has_value(); });
    // What is recorded the next agent can tell too: a daemon that is away holds up no shutdown.
    if (all_ended) until = std::min(until, options_.clock->SinceBoot() + kReportWait);
  }
}

void Agent::KillAll() {
  const absl::Duration until = options_.clock->SinceBoot() + kKillWait;
  bool alive = true;
  for (const auto& attempt : Snapshot()) attempt->Abandon();
  while (alive && options_.clock->SinceBoot() < until) {
    alive = false;
    for (const auto& attempt : Snapshot()) alive = alive || !attempt->forgotten();
    MutexLock lock(mutex_);
    if (alive) changed_.WaitFor(mutex_, kWatchInterval);
  }
}

void Agent::Changed() {
  MutexLock lock(mutex_);
  ++changes_;
  changed_.NotifyAll();
}

std::vector<std::shared_ptr<Attempt>> Agent::Snapshot() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Attempt>> all;
  for (const auto& [key, attempt] : attempts_) all.push_back(attempt);
  return all;
}

int64_t Agent::session() const {
  MutexLock lock(mutex_);
  return session_;
}

absl::Duration Agent::CallTimeout() const {
  MutexLock lock(mutex_);
  return std::min(kMaxCallTimeout, std::max(absl::Seconds(1), SelfStopOf(times_) / 3));
}

void Agent::HandleError(const char* what, const absl::Status& status, Backoff& backoff) {
  if (ErrorReason(status) == "SESSION_SUPERSEDED") {
    Log(LogLevel::kError, "another agent has taken this worker's name over; ending", {});
    return Finish(kExitSuperseded);
  }
  if (absl::IsCancelled(status)) return;
  Log(LogLevel::kWarning, "a call failed, trying again", {{"call", what}, {"error", status}});
  WaitUnlessFinished(std::max(backoff.Next(), std::min(RetryDelay(status), absl::Minutes(1))));
}

// ---- The session and its renewals.

void Agent::SessionLoop() {
  Backoff backoff({absl::Milliseconds(200), absl::Seconds(10)});
  while (session() == 0) {
    const absl::Status status = OpenSession();
    if (!status.ok() && IsRefusal(status) && !absl::IsCancelled(status)) {
      Log(LogLevel::kError, "the session is refused", {{"error", status}});
      // A mount point without its filesystem looks like another root.
      const bool other_root = ErrorReason(status) == "ARTIFACT_ROOT_MISMATCH";
      return Finish(other_root ? kExitUnavailable : kExitRefused);
    }
    if (!status.ok()) HandleError("OpenSession", status, backoff);
    MutexLock lock(mutex_);
    if (finished_) return;
  }
  backoff.Reset();
  while (true) {
    absl::Duration hold;
    bool draining;
    {
      MutexLock lock(mutex_);
      if (finished_) return;
      renew_again_ = false;
      draining = draining_;
      hold =
          std::min(kMaxRenewHold, OrDefault(times_.renew_interval_duration(), absl::Seconds(10)));
    }
    Renew(hold, draining);
  }
}

absl::Status Agent::OpenSession() {
  const std::string nonce = HexEncode(RandomBytes(16));
  const std::string nonce_name = NewUuid(options_.clock->Now());
  FT_RETURN_IF_ERROR(store_.Check());
  FT_RETURN_IF_ERROR(store_.WriteNonce(nonce_name, nonce));
  v1::OpenSessionRequest request;
  request.set_worker(options_.config.name());
  request.set_boot_id(BootId());
  *request.mutable_capacity() = capacity_;
  *request.mutable_labels() = options_.config.labels();
  request.set_version(options_.version);
  request.set_nonce_name(nonce_name);
  request.set_nonce(nonce);
  {
    MutexLock lock(mutex_);
    for (const auto& [key, attempt] : attempts_) *request.add_attempts() = RefOf(key);
    for (const AttemptKey& key : unstarted_) *request.add_attempts() = RefOf(key);
  }
  const absl::Duration sent = options_.clock->SinceBoot();
  const absl::StatusOr<v1::OpenSessionResponse> response =
      client_->OpenSession(request, kOpenTimeout);
  const absl::Status deleted = store_.DeleteNonce(nonce_name);
  if (!deleted.ok()) Log(LogLevel::kWarning, "cannot delete a nonce", {{"error", deleted}});
  if (!response.ok()) return response.status();
  store_.ConfirmRoot();
  ApplySession(*response, sent);
  Log(LogLevel::kInfo, "session opened",
      {{"session", response->session()},
       {"kept", response->keep_size()},
       {"killed", response->kill_size()},
       {"daemon", options_.config.daemon()}});
  return absl::OkStatus();
}

void Agent::ApplySession(const v1::OpenSessionResponse& response, absl::Duration sent) {
  term_.Answered(sent, SelfStopOf(response.times()));
  std::map<AttemptKey, const v1::Lease*> keep;
  for (const v1::Lease& lease : response.keep()) keep[KeyOf(lease.attempt())] = &lease;
  for (const auto& attempt : Snapshot()) {
    const auto found = keep.find(attempt->key());
    if (found == keep.end()) {
      attempt->Abandon();
      continue;
    }
    const absl::Status acked = attempt->journal().Ack(found->second->acked_report());
    if (!acked.ok()) Log(LogLevel::kWarning, "cannot rewrite a journal", {{"error", acked}});
    attempt->WantStop(found->second->desired_stop());
  }
  MutexLock lock(mutex_);
  for (const auto& [key, lease] : keep) desired_[key] = lease->desired_stop();
  for (const AttemptKey& key : unstarted_) {
    const AttemptDir dir(options_.config.work_dir(), key);
    if (keep.count(key) == 0) {
      const absl::Status removed = dir.Remove();
      if (removed.ok()) continue;
      Log(LogLevel::kError, "cannot remove an attempt", {{"error", removed}});
      // A shim of the agent before has just started in it: it is killed like any that is lost.
      if (std::shared_ptr<Attempt> attempt = OpenAttempt(dir)) {
        attempt->Abandon();
        attempts_[key] = std::move(attempt);
      }
    } else if (std::shared_ptr<Attempt> attempt = OpenAttempt(dir)) {
      attempt->WantStop(keep[key]->desired_stop());
      attempts_[key] = std::move(attempt);
    }
  }
  unstarted_.clear();
  times_ = response.times();
  session_ = response.session();
  changed_.NotifyAll();
}

void Agent::Renew(absl::Duration hold, bool draining) {
  v1::RenewLeasesRequest request;
  request.set_draining(draining);
  *request.mutable_hold_duration() = ToProtoDuration(hold);
  absl::Duration self_stop;
  {
    MutexLock lock(mutex_);
    request.set_session(session_);
    self_stop = SelfStopOf(times_);
    for (const auto& [key, attempt] : attempts_) {
      v1::RenewLeasesRequest::Item& item = *request.add_items();
      *item.mutable_attempt() = RefOf(key);
      item.set_known_stop(desired_[key]);
    }
  }
  const absl::Duration sent = options_.clock->SinceBoot();
  const auto response = client_->RenewLeases(request, hold + CallTimeout());
  if (!response.ok()) return HandleError("RenewLeases", response.status(), renew_backoff_);
  renew_backoff_.Reset();
  if (response->has_times()) {
    MutexLock lock(mutex_);
    times_ = response->times();
    self_stop = SelfStopOf(times_);
  }
  term_.Answered(sent, self_stop);
  const bool something_new = ApplyRenewal(*response);
  // A daemon that does not hold the call must not be asked without pause.
  const absl::Duration next = sent + std::min(hold, absl::Seconds(1));
  MutexLock lock(mutex_);
  while (!something_new && !renew_again_ && !finished_) {
    const absl::Duration left = next - options_.clock->SinceBoot();
    if (left <= absl::ZeroDuration() || changed_.WaitFor(mutex_, left)) break;
  }
}

bool Agent::ApplyRenewal(const v1::RenewLeasesResponse& response) {
  bool something_new = false;
  for (const auto& result : response.results()) {
    const AttemptKey key = KeyOf(result.attempt());
    std::shared_ptr<Attempt> attempt;
    {
      MutexLock lock(mutex_);
      const auto found = attempts_.find(key);
      if (found == attempts_.end()) continue;
      attempt = found->second;
      if (desired_[key] != result.desired_stop()) something_new = true;
      desired_[key] = result.desired_stop();
    }
    const absl::Status status = FromProto(result.status());
    if (ErrorReason(status) == "LEASE_LOST") {
      attempt->Abandon();
    } else if (status.ok()) {
      attempt->WantStop(result.desired_stop());
    } else {
      Log(LogLevel::kWarning, "a lease is not renewed",
          {{"run", attempt->lease().run()}, {"error", status}});
    }
  }
  return something_new;
}

// ---- Acquisition.

void Agent::AcquireLoop() {
  Backoff backoff({absl::Milliseconds(200), absl::Seconds(10)});
  while (true) {
    v1::AcquireLeasesRequest request;
    {
      MutexLock lock(mutex_);
      std::vector<v1::Compute> used;
      for (const auto& [key, attempt] : attempts_) {
        used.push_back(attempt->lease().spec().compute());
        *request.add_held() = RefOf(key);
      }
      *request.mutable_free() = FreeCapacity(capacity_, used);
      if (finished_) return;
      // Without the right to run, what is taken now would be stopped at once.
      if (session_ == 0 || draining_ || stop_asked_ || request.free().cpus() == 0 ||
          !term_.Held()) {
        changed_.WaitFor(mutex_, absl::Seconds(1));
        continue;
      }
      request.set_session(session_);
    }
    request.set_max_count(std::min(kMaxLeasesPerCall, request.free().cpus()));
    *request.mutable_hold_duration() = ToProtoDuration(kAcquireHold);
    const absl::Duration sent = options_.clock->SinceBoot();
    const auto response = client_->AcquireLeases(request, kAcquireHold + kMaxCallTimeout);
    if (!response.ok()) {
      HandleError("AcquireLeases", response.status(), backoff);
      continue;
    }
    bool taken = false;
    bool refused = false;
    for (const v1::Lease& lease : response->leases()) {
      const bool ok = TakeLease(lease);
      taken = taken || ok;
      refused = refused || !ok;
    }
    if (taken) client_->Cancel(DaemonClient::Kind::kRenew);
    if (!refused) backoff.Reset();
    // Neither a lease that cannot be taken nor an answer at once may make a busy loop.
    if (refused || (response->leases_size() == 0 &&
                    options_.clock->SinceBoot() - sent < absl::Milliseconds(100))) {
      WaitUnlessFinished(backoff.Next());
    }
  }
}

bool Agent::TakeLease(const v1::Lease& lease) {
  const AttemptKey key = KeyOf(lease.attempt());
  AttemptNotes notes;
  {
    MutexLock lock(mutex_);
    if (attempts_.count(key) != 0) return true;
    std::set<int> in_use;
    for (const auto& [other, attempt] : attempts_) {
      in_use.insert(attempt->gpus().begin(), attempt->gpus().end());
    }
    notes.gpus = AssignGpus(capacity_.gpus(), in_use, lease.spec().compute().gpus());
    notes.grace = OrDefault(times_.grace_duration(), absl::Minutes(2));
  }
  const AttemptDir dir(options_.config.work_dir(), key);
  const absl::Status created = dir.Create(lease, notes);
  if (!created.ok()) {
    // Not listed as held, it is offered again.
    Log(LogLevel::kError, "a lease cannot be taken", {{"run", lease.run()}, {"error", created}});
    return false;
  }
  std::shared_ptr<Attempt> attempt = OpenAttempt(dir);
  if (attempt == nullptr) return false;
  attempt->WantStop(lease.desired_stop());
  Log(LogLevel::kInfo, "lease acquired", {{"run", lease.run()}, {"attempt", key.second}});
  MutexLock lock(mutex_);
  // It came while the trainers were being stopped.
  if (draining_) attempt->WantStop(v1::PREEMPT);
  attempts_[key] = std::move(attempt);
  desired_[key] = lease.desired_stop();
  renew_again_ = true;
  changed_.NotifyAll();
  return true;
}

// ---- Reports.

void Agent::ReportLoop() {
  Reporter reporter(*client_);
  Backoff backoff({absl::Milliseconds(100), absl::Seconds(5)});
  uint64_t seen = 0;
  bool more = false;
  while (true) {
    int64_t session = 0;
    {
      MutexLock lock(mutex_);
      if (!more && !finished_ && changes_ == seen) changed_.WaitFor(mutex_, absl::Seconds(1));
      if (finished_) return;
      seen = changes_;
      session = session_;
    }
    if (session == 0) {
      WaitUnlessFinished(kWatchInterval);
      continue;
    }
    const absl::StatusOr<bool> forward = reporter.Send(session, Snapshot(), CallTimeout());
    if (!forward.ok()) {
      HandleError("ReportEvents", forward.status(), backoff);
      more = true;
      continue;
    }
    backoff.Reset();
    more = *forward;
  }
}

// ---- What is past its retention.

void Agent::SweepLoop() {
  // Jittered, so that workers do not come all at once.
  Backoff interval({kSweepInterval, kSweepInterval});
  while (true) {
    {
      MutexLock lock(mutex_);
      while (session_ == 0 && !finished_) changed_.WaitFor(mutex_, kWatchInterval);
      if (finished_) return;
    }
    const absl::Status swept = Sweep();
    // A daemon of the version before has nothing swept.
    if (!swept.ok() && !absl::IsCancelled(swept) && !absl::IsUnimplemented(swept)) {
      Log(LogLevel::kWarning, "what is past its retention is deleted later", {{"error", swept}});
    }
    if (!WaitUnlessFinished(interval.Next())) return;
  }
}

absl::Status Agent::Sweep() {
  v1::SweepFilesRequest request;
  while (true) {
    FT_ASSIGN_OR_RETURN(const v1::SweepFilesResponse response,
                        client_->SweepFiles(request, kMaxCallTimeout));
    if (response.artifact_paths().empty()) return absl::OkStatus();
    FT_RETURN_IF_ERROR(DeleteSweptFiles(store_, response, [this] {
      MutexLock lock(mutex_);
      return !finished_;
    }));
    Log(LogLevel::kInfo, "files of runs were deleted: they were past their retention",
        {{"what", v1::SweepFilesResponse::Files_Name(response.files())},
         {"runs", response.artifact_paths_size()}});
    request.set_receipt(response.receipt());
  }
}

}  // namespace finetuned
