#include "worker/attempt.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "artifacts/attempt_files.h"
#include "artifacts/publish.h"
#include "base/backoff.h"
#include "base/logging.h"
#include "base/status.h"
#include "base/time.h"
#include "worker/last_words.h"

namespace finetuned {
namespace {

constexpr size_t kPublishErrorBytes = 1000;
// About ten minutes: what has been trained is worth waiting for a disk that is full.
constexpr int kRegisterTries = 64;
constexpr absl::Duration kMaxSilentStep = absl::Seconds(1);

// Errors that the next try cannot heal.
bool IsFinal(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) || absl::IsDataLoss(status);
}

// What is no file that could be read, now or later.
bool IsNoFile(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsPermissionDenied(status);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Attempt>> Attempt::Open(const AttemptDir& dir,
                                                       const Options& options) {
  std::shared_ptr<Attempt> attempt(new Attempt(dir, options));
  FT_ASSIGN_OR_RETURN(attempt->lease_, dir.ReadLease());
  FT_ASSIGN_OR_RETURN(AttemptNotes notes, dir.ReadNotes());
  FT_ASSIGN_OR_RETURN(attempt->journal_, Journal::Open(dir.File("journal")));
  FT_RETURN_IF_ERROR(attempt->journal_->Ack(attempt->lease_.acked_report()));
  attempt->gpus_ = notes.gpus;
  attempt->ResetTail();
  attempt->log_bound_.emplace(options.store, attempt->AttemptPath(""), options.log_limits);
  const absl::StatusOr<v1::AttemptEnd> end = dir.ReadEnd();
  if (!end.ok() && !absl::IsNotFound(end.status())) return end.status();
  {
    MutexLock lock(attempt->mutex_);
    attempt->notes_ = std::move(notes);
    if (end.ok()) {
      attempt->phase_ = AttemptPhase::kEnded;
      attempt->end_ = *end;
    }
  }
  attempt->thread_ = std::thread([raw = attempt.get()] { raw->Run(); });
  return attempt;
}

Attempt::~Attempt() { Detach(); }

void Attempt::Detach() {
  {
    MutexLock lock(mutex_);
    detaching_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Attempt::Run() {
  while (true) {
    const bool more = Tick();
    MutexLock lock(mutex_);
    if (!more || detaching_) return;
    if (!woken_) wake_.WaitFor(mutex_, options_.poll_interval);
    woken_ = false;
    if (detaching_) return;
  }
}

bool Attempt::Tick() {
  AttemptPhase phase;
  bool completed;
  {
    MutexLock lock(mutex_);
    phase = phase_;
    completed = completed_;
  }
  PruneCheckpoints();
  switch (phase) {
    case AttemptPhase::kStarting: StartTrainer(); break;
    case AttemptPhase::kRunning:
    case AttemptPhase::kStopping: Follow(); break;
    case AttemptPhase::kEnded: break;
    case AttemptPhase::kAbandoned: FinishAbandoned(); break;
  }
  if (completed) {
    const absl::Status status = dir_.Remove();
    if (!status.ok()) {
      Log(LogLevel::kError, "the folder of an attempt cannot be removed", {{"error", status}});
    }
    MutexLock lock(mutex_);
    forgotten_ = true;
  }
  const bool gone = forgotten();
  if (gone) options_.on_change();
  return !gone;
}

void Attempt::StartTrainer() {
  absl::StatusOr<Observation> seen = options_.engine->Observe(dir_);
  absl::Status status = seen.status();
  if (seen.ok() && seen->state == Observation::State::kNotStarted) {
    AttemptNotes notes;
    {
      MutexLock lock(mutex_);
      notes = notes_;
    }
    // A stop that came first needs no trainer.
    if (notes.stop != v1::STOP_KIND_UNSPECIFIED) return EndWithoutTrainer(notes, "");
    const absl::Status checkpoint = CheckResumeFrom();
    if (absl::IsDataLoss(checkpoint)) {
      const std::string why(checkpoint.message());
      return EndUnstarted(MakeDamagedEnd(why, options_.clock->Now()), why);
    }
    {
      // Reading it may have taken long: nothing is started that is not wanted any more.
      MutexLock lock(mutex_);
      if (detaching_ || phase_ == AttemptPhase::kAbandoned) return;
      notes = notes_;
    }
    if (notes.stop != v1::STOP_KIND_UNSPECIFIED) return EndWithoutTrainer(notes, "");
    const absl::StatusOr<TrainerSpec> spec =
        checkpoint.ok() ? options_.prepare(lease_, dir_, notes) : checkpoint;
    status = spec.ok() ? options_.engine->Start(dir_, *spec) : spec.status();
    if (!status.ok()) {
      const absl::Duration now = options_.clock->SinceBoot();
      if (!start_fails_since_.has_value()) start_fails_since_ = now;
      // A worker that cannot start trainers must not hold runs for ever.
      if (now - *start_fails_since_ >= options_.start_time) {
        return EndWithoutTrainer(notes, std::string(status.message()));
      }
    }
  }
  if (!status.ok()) {
    Log(LogLevel::kError, "cannot start a trainer, trying again",
        {{"run", lease_.run()}, {"error", status}});
    WaitAndGoOn(absl::Seconds(1));
    return;
  }
  Log(LogLevel::kInfo, "trainer started or adopted",
      {{"run", lease_.run()}, {"attempt", lease_.attempt().epoch()}});
  MutexLock lock(mutex_);
  phase_ = StepAttempt(phase_, AttemptInput::kStarted).phase;
  woken_ = true;
  if (phase_ == AttemptPhase::kAbandoned) {
    const absl::Status killed = options_.engine->Kill(dir_);
    if (!killed.ok()) Log(LogLevel::kError, "cannot kill a trainer", {{"error", killed}});
  } else if (notes_.stop != v1::STOP_KIND_UNSPECIFIED) {
    SignalStop();
  }
}

bool Attempt::MayStart() const {
  MutexLock lock(mutex_);
  return !detaching_ && phase_ != AttemptPhase::kAbandoned &&
         notes_.stop == v1::STOP_KIND_UNSPECIFIED;
}

absl::Status Attempt::CheckResumeFrom() {
  if (lease_.resume_from().empty() || resume_checked_) return absl::OkStatus();
  FT_RETURN_IF_ERROR(options_.store->CheckMounted());
  const absl::StatusOr<Published> published = ReadPublished(*options_.store, lease_.resume_from());
  const absl::Status status =
      published.ok() ? VerifyPublished(*options_.store, lease_.resume_from(), published->manifest,
                                       [this] { return MayStart(); })
                     : published.status();
  resume_checked_ = status.ok();
  if (!absl::IsNotFound(status) && !absl::IsInvalidArgument(status) && !absl::IsDataLoss(status)) {
    return status;
  }
  // Perhaps it has gone away meanwhile, or was never there: of a filesystem that is not mounted
  // everything is absent.
  FT_RETURN_IF_ERROR(options_.store->CheckMounted());
  FT_RETURN_IF_ERROR(options_.store->Head(lease_.artifact_path()).status());
  return absl::DataLossError(status.message());
}

void Attempt::EndWithoutTrainer(const AttemptNotes& notes, const std::string& why) {
  EndUnstarted(MakeNotStartedEnd(notes, why, options_.clock->Now()), why);
}

void Attempt::EndUnstarted(const v1::AttemptEnd& end, const std::string& why) {
  if (!StoreEnd(end)) {
    WaitAndGoOn(absl::Seconds(1));
    return;
  }
  Log(why.empty() ? LogLevel::kInfo : LogLevel::kError, "attempt ended without a trainer",
      {{"run", lease_.run()}, {"attempt", lease_.attempt().epoch()}, {"error", why}});
  options_.on_change();
}

void Attempt::Follow() {
  {
    MutexLock lock(mutex_);
    if (signal_due_) SignalStop();
  }
  const absl::StatusOr<Observation> seen = options_.engine->Observe(dir_);
  if (!seen.ok()) {
    Log(LogLevel::kError, "cannot observe a trainer",
        {{"run", lease_.run()}, {"error", seen.status()}});
    return;
  }
  const bool gone =
      seen->state == Observation::State::kExited || seen->state == Observation::State::kLost;
  if (!facts_.started && seen->exit.start_error == 0) {
    Journal::Entry entry;
    entry.event.emplace();
    entry.event->set_type(v1::RunEvent::STARTED);
    *entry.event->mutable_worker_time() = ToProtoTime(options_.clock->Now());
    facts_.started = true;
    entry.offset = tail_->offset();
    entry.facts = facts_;
    if (!journal_->Append({entry}).ok()) return ResetTail();
    options_.on_change();
  }
  // Observed before the lines are read: all that the trainer wrote is there then.
  const bool drained = Drain(gone);
  if (drained && gone) RecordEnd(*seen);
  if (drained && !gone) WatchForStall();
  log_bound_->Check(options_.clock->SinceBoot());
}

void Attempt::WatchForStall() {
  const absl::Duration now = options_.clock->SinceBoot();
  // In small steps: while this thread was busy elsewhere, or the host asleep, nobody listened.
  silent_ += std::min(now - looked_.value_or(now), kMaxSilentStep);
  looked_ = now;
  if (silent_ < options_.stall_time) return;
  MutexLock lock(mutex_);
  if (phase_ == AttemptPhase::kRunning) CarryOutStop(v1::PREEMPT, false, silent_);
}

bool Attempt::Drain(bool gone) {
  while (!journal_->full()) {
    const absl::StatusOr<std::vector<EventTail::Line>> lines = tail_->Read(gone);
    absl::Status status = lines.status();
    if (lines.ok()) {
      status = KeepLines(*lines);
      if (status.ok() && lines->empty()) return true;
    } else if (gone && IsNoFile(status)) {
      // The trainer has put something else in its place, and nobody will mend it.
      Journal::Entry entry;
      entry.event = OtherEvent(
          "the event file cannot be read any more: " + ToValidUtf8(std::string(status.message())),
          options_.clock->Now());
      entry.offset = tail_->offset();
      entry.facts = facts_;
      return journal_->Append({entry}).ok();
    }
    if (!status.ok()) {
      Log(LogLevel::kWarning, "reports cannot be kept now, trying again",
          {{"run", lease_.run()}, {"error", status}});
      ResetTail();
      return false;
    }
    MutexLock lock(mutex_);
    if (detaching_ || phase_ == AttemptPhase::kAbandoned) return false;
  }
  return false;
}

absl::Status Attempt::KeepLines(const std::vector<EventTail::Line>& lines) {
  std::vector<Journal::Entry> ready;
  const auto take = [&](std::vector<Journal::Entry> entries) {
    for (Journal::Entry& entry : entries) {
      // Of several that only say how far the lines go, the last says it all.
      if (!ready.empty() && !ready.back().event.has_value() && !entry.event.has_value()) {
        ready.back() = std::move(entry);
      } else {
        ready.push_back(std::move(entry));
      }
    }
  };
  const auto keep = [&]() -> absl::Status {
    if (ready.empty()) return absl::OkStatus();
    KeepMetrics(ready);
    FT_RETURN_IF_ERROR(journal_->Append(std::move(ready)));
    ready.clear();
    // Set by the journal.
    facts_.checkpoint_report = journal_->facts().checkpoint_report;
    options_.on_change();
    return absl::OkStatus();
  };
  if (!lines.empty()) silent_ = absl::ZeroDuration();
  for (const EventTail::Line& line : lines) {
    const Translated translated = TranslateLine(line.text, options_.clock->Now(), facts_);
    Journal::Entry entry;
    entry.event = translated.event;
    if (entry.event.has_value() && entry.event->has_progress() && !gpus_.empty()) {
      for (const auto& [name, value] : options_.gpu_metrics(gpus_)) {
        (*entry.event->mutable_progress()->mutable_metrics())[name] = value;
      }
    }
    entry.offset = line.end_offset;
    if (translated.checkpoint.has_value()) {
      take(limiter_.Flush());
      FT_RETURN_IF_ERROR(keep());
      FT_RETURN_IF_ERROR(PublishLine(*translated.checkpoint, entry));
    }
    entry.facts = facts_;
    take(limiter_.Offer(std::move(entry), options_.clock->SinceBoot()));
  }
  take(limiter_.Poll(options_.clock->SinceBoot()));
  return keep();
}

void Attempt::KeepMetrics(std::vector<Journal::Entry>& entries) {
  const bool reports = std::any_of(entries.begin(), entries.end(), [](const Journal::Entry& entry) {
    return entry.event.has_value();
  });
  if (reports) {
    const absl::Status status = metrics_->Advance(options_.clock->Now(), [this] {
      return gpus_.empty() ? std::map<std::string, double>() : options_.gpu_metrics(gpus_);
    });
    if (!status.ok()) {
      Log(LogLevel::kWarning, "the numbers of a trainer cannot be kept now, trying again",
          {{"run", lease_.run()}, {"error", status}});
    }
  }
  const MetricLog::Position& position = metrics_->position();
  facts_.metric_lines_bytes = position.lines_bytes;
  facts_.metric_file_bytes = position.file_bytes;
  for (Journal::Entry& entry : entries) {
    entry.facts.metric_lines_bytes = position.lines_bytes;
    entry.facts.metric_file_bytes = position.file_bytes;
  }
}

absl::Status Attempt::PublishLine(const CheckpointLine& line, Journal::Entry& entry) {
  absl::StatusOr<v1::RunEvent> event = TryWhileHeld(
      "a checkpoint", line.name, options_.publish_tries, [] { return true; },
      [&] { return publisher_.Publish(lease_, line, [this] { return MayPublish(); }); });
  if (absl::IsCancelled(event.status())) return event.status();
  if (event.ok()) {
    entry.event = *std::move(event);
    *entry.event->mutable_worker_time() = ToProtoTime(options_.clock->Now());
    facts_.checkpoint_name = line.name;
    facts_.checkpoint_step = line.step;
    facts_.publish_error.clear();
  } else {
    facts_.publish_error =
        CutUtf8(ToValidUtf8(std::string(event.status().message())), kPublishErrorBytes);
    entry.event = OtherEvent("checkpoint " + line.name + " not published: " + facts_.publish_error,
                             options_.clock->Now());
  }
  return absl::OkStatus();
}

template <typename Publish>
auto Attempt::TryWhileHeld(const char* what, const std::string& name, int tries,
                           const std::function<bool()>& wanted, const Publish& publish)
    -> decltype(publish()) {
  Backoff backoff({absl::Milliseconds(200), absl::Seconds(10)});
  int failures = 0;
  while (true) {
    if (!wanted()) return absl::CancelledError("not wanted any more");
    if (!MayPublish()) {
      // Not held for certain: it is confirmed, or lost, with the next answer.
      if (!WaitAndGoOn(absl::Milliseconds(200))) return absl::CancelledError("abandoned");
      continue;
    }
    auto result = publish();
    if (result.ok()) return result;
    const absl::Status& status = result.status();
    // The right, or the wish, was lost on the way.
    if (!wanted() || (absl::IsFailedPrecondition(status) && !MayPublish())) continue;
    Log(LogLevel::kWarning, absl::StrCat(what, " cannot be published"),
        {{"run", lease_.run()}, {"checkpoint", name}, {"error", status}});
    if (IsFinal(status) || ++failures >= tries) return status;
    if (!WaitAndGoOn(backoff.Next())) return absl::CancelledError("abandoned");
  }
}

void Attempt::RecordEnd(const Observation& observation) {
  absl::Status status = absl::OkStatus();
  std::vector<Journal::Entry> rest = limiter_.Flush();
  if (!rest.empty()) {
    KeepMetrics(rest);
    status = journal_->Append(std::move(rest));
  }
  if (status.ok()) status = journal_->Flush();
  if (!status.ok()) return ResetTail();
  AttemptNotes notes;
  {
    MutexLock lock(mutex_);
    notes = notes_;
  }
  v1::AttemptEnd end = MakeEnd(facts_, notes, observation,
                               ReadLastWords(*options_.store, AttemptPath("stderr.log"), dir_),
                               options_.clock->Now());
  if (end.finished() && !lease_.register_path().empty() && !RegisterModel(end)) return;
  if (!StoreEnd(end)) return;
  Log(LogLevel::kInfo, "trainer ended",
      {{"run", lease_.run()},
       {"attempt", lease_.attempt().epoch()},
       {"finished", end.finished() ? 1 : 0},
       {"exit_code", end.exit_code()},
       {"signal", end.signal()},
       {"cpu_seconds", observation.exit.cpu_seconds},
       {"max_rss_bytes", observation.exit.max_rss_bytes},
       {"failure", end.failure().code()}});
  options_.on_change();
}

bool Attempt::RegisterModel(v1::AttemptEnd& end) {
  // Nobody wants the weights of a canceled run, and copying may take long.
  const auto wanted = [this] {
    MutexLock lock(mutex_);
    return !detaching_ && phase_ != AttemptPhase::kAbandoned && notes_.stop != v1::CANCEL;
  };
  const auto files = TryWhileHeld("a model", facts_.checkpoint_name, kRegisterTries, wanted, [&] {
    return publisher_.Register(lease_, facts_.checkpoint_name, wanted,
                               [this] { return MayPublish(); });
  });
  if (files.ok()) {
    *end.mutable_model() = *files;
  } else if (absl::IsCancelled(files.status())) {
    MutexLock lock(mutex_);
    return !detaching_ && phase_ != AttemptPhase::kAbandoned;
  } else {
    MakeUnregistered(end, std::string(files.status().message()), IsFinal(files.status()));
  }
  return true;
}

bool Attempt::StoreEnd(const v1::AttemptEnd& end) {
  MutexLock lock(mutex_);
  const AttemptStep step = StepAttempt(phase_, AttemptInput::kTrainerGone);
  if (!step.record_end) return false;
  const absl::Status status = dir_.WriteEnd(end);
  if (!status.ok()) {
    Log(LogLevel::kError, "cannot record the end of an attempt, trying again", {{"error", status}});
    return false;
  }
  phase_ = step.phase;
  end_ = end;
  return true;
}

void Attempt::FinishAbandoned() {
  const absl::StatusOr<Observation> seen = options_.engine->Observe(dir_);
  if (!seen.ok()) return;
  if (seen->state == Observation::State::kRunning) {
    const absl::Status status = options_.engine->Kill(dir_);
    if (!status.ok()) Log(LogLevel::kError, "cannot kill a trainer", {{"error", status}});
    return;
  }
  if (!StepAttempt(AttemptPhase::kAbandoned, AttemptInput::kTrainerGone).forget) return;
  const absl::Status status = dir_.Remove();
  // A shim that the agent before had just started: it is seen and killed in the next round.
  if (absl::IsUnavailable(status)) return;
  if (!status.ok()) {
    Log(LogLevel::kError, "the folder of an attempt cannot be removed", {{"error", status}});
  }
  MutexLock lock(mutex_);
  forgotten_ = true;
}

void Attempt::ResetTail() {
  facts_ = journal_->facts();
  tail_.emplace(dir_.File("events.jsonl"), journal_->offset());
  limiter_ = ProgressLimiter();
  metrics_.emplace(options_.store, AttemptPath(kMetricFileName), dir_.File("events.jsonl"),
                   MetricLog::Position{facts_.metric_lines_bytes, facts_.metric_file_bytes});
}

std::string Attempt::AttemptPath(const std::string& file) const {
  const std::string folder =
      lease_.artifact_path() + "/attempts/" + std::to_string(lease_.attempt().epoch());
  return file.empty() ? folder : folder + "/" + file;
}

void Attempt::PruneCheckpoints() {
  const AttemptFacts facts = journal_->facts();
  if (facts.checkpoint_report <= pruned_report_ || facts.checkpoint_report > journal_->acked() ||
      !MayPublish()) {
    return;
  }
  pruned_report_ = facts.checkpoint_report;
  const absl::Status status = publisher_.Prune(lease_, facts.checkpoint_step);
  if (!status.ok()) {
    Log(LogLevel::kWarning, "old checkpoints cannot be deleted",
        {{"run", lease_.run()}, {"error", status}});
  }
}

void Attempt::WantStop(v1::StopKind stop) {
  MutexLock lock(mutex_);
  CarryOutStop(stop, false, absl::ZeroDuration());
}

void Attempt::SelfStop() {
  MutexLock lock(mutex_);
  if (!notes_.self_stopped) CarryOutStop(v1::PREEMPT, true, absl::ZeroDuration());
}

void Attempt::CarryOutStop(v1::StopKind stop, bool self_stop, absl::Duration silent) {
  if (phase_ == AttemptPhase::kEnded || phase_ == AttemptPhase::kAbandoned) return;
  const v1::StopKind combined = CombineStops(notes_.stop, stop);
  if (combined == notes_.stop && !self_stop) return;
  notes_.stop = combined;
  notes_.self_stopped = notes_.self_stopped || self_stop;
  notes_.silent = std::max(notes_.silent, silent);
  Log(LogLevel::kInfo, "stopping a trainer",
      {{"run", lease_.run()},
       {"stop", StopWord(combined)},
       {"self_stop", self_stop ? 1 : 0},
       {"silent_seconds", absl::ToDoubleSeconds(silent)}});
  // Before the signal: the next agent must know whose it was.
  const absl::Status status = dir_.WriteNotes(notes_);
  if (!status.ok()) Log(LogLevel::kError, "cannot record a stop", {{"error", status}});
  if (phase_ != AttemptPhase::kStarting) SignalStop();
}

void Attempt::SignalStop() {
  absl::Status status = dir_.WriteControl(notes_.stop, options_.clock->Now() + notes_.grace);
  if (!status.ok()) Log(LogLevel::kError, "cannot write the control file", {{"error", status}});
  phase_ = StepAttempt(phase_, AttemptInput::kStopWanted).phase;
  status = options_.engine->Stop(dir_);
  signal_due_ = !status.ok();
  if (signal_due_) {
    Log(LogLevel::kError, "cannot signal a trainer, trying again", {{"error", status}});
    return;
  }
  woken_ = true;
  wake_.NotifyAll();
}

void Attempt::Abandon() {
  MutexLock lock(mutex_);
  if (phase_ == AttemptPhase::kAbandoned) return;
  // An ended one is not current any more as soon as its end is stored: a renewal may hear that
  // first.
  const bool ended = phase_ == AttemptPhase::kEnded;
  const AttemptStep step = StepAttempt(phase_, AttemptInput::kLeaseLost);
  phase_ = step.phase;
  end_.reset();
  Log(ended ? LogLevel::kInfo : LogLevel::kWarning,
      "lease not current any more, the attempt is forgotten",
      {{"run", lease_.run()}, {"attempt", lease_.attempt().epoch()}});
  if (step.kill) {
    const absl::Status status = options_.engine->Kill(dir_);
    if (!status.ok()) Log(LogLevel::kError, "cannot kill a trainer", {{"error", status}});
  }
  woken_ = true;
  wake_.NotifyAll();
}

void Attempt::Completed() {
  MutexLock lock(mutex_);
  completed_ = true;
  woken_ = true;
  wake_.NotifyAll();
}

std::optional<v1::AttemptEnd> Attempt::end() const {
  MutexLock lock(mutex_);
  return completed_ ? std::nullopt : end_;
}

bool Attempt::abandoned() const {
  MutexLock lock(mutex_);
  return phase_ == AttemptPhase::kAbandoned;
}

bool Attempt::forgotten() const {
  MutexLock lock(mutex_);
  return forgotten_;
}

bool Attempt::WaitAndGoOn(absl::Duration duration) {
  MutexLock lock(mutex_);
  if (!detaching_ && phase_ != AttemptPhase::kAbandoned) wake_.WaitFor(mutex_, duration);
  return !detaching_ && phase_ != AttemptPhase::kAbandoned;
}

bool Attempt::MayPublish() const {
  {
    MutexLock lock(mutex_);
    if (detaching_ || phase_ == AttemptPhase::kAbandoned) return false;
  }
  return options_.lease_is_held();
}

}  // namespace finetuned
