#include "daemon/run_service.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "artifacts/artifact_store.h"
#include "artifacts/attempt_files.h"
#include "base/time.h"
#include "daemon/artifact_service.h"
#include "daemon/checker.h"
#include "daemon/page_token.h"
#include "daemon/resource_name.h"
#include "daemon/run_view.h"
#include "daemon/stream.h"
#include "daemon/watch_events.h"
#include "queue/wait.h"

namespace finetuned {
namespace {

constexpr int kDefaultLogBytes = 64 << 10;
constexpr int kMaxLogBytes = 512 << 10;

// Why a waiting run waits.
absl::Status AddWait(const ServiceCore& core, const Run& run, v1::Run* proto) {
  FT_ASSIGN_OR_RETURN(const std::optional<int64_t> place, core.reader->QueuePlace(run));
  FT_ASSIGN_OR_RETURN(const std::vector<StoredWorker> workers, core.reader->ListWorkers());
  std::vector<WorkerRoom> rooms;
  for (const StoredWorker& worker : workers) {
    if (!IsOnline(worker)) continue;
    rooms.push_back({worker.capacity, FreeOf(worker), InQuarantine(worker)});
  }
  std::optional<absl::Duration> retry_in;
  if (run.retry_time.has_value()) {
    retry_in = std::max(*run.retry_time - RealClock::Get().Now(), absl::ZeroDuration());
  }
  const WaitExplanation why = ExplainWait(ToShape(proto->spec().compute()), place, retry_in, rooms);
  v1::Wait* wait = proto->mutable_wait();
  wait->set_reason(static_cast<v1::Wait::Reason>(why.reason));
  wait->set_position(place.value_or(0));
  *wait->mutable_needed() = proto->spec().compute();
  if (why.reason == WaitReason::kRetryDelay) {
    *wait->mutable_retry_time() = ToProtoTime(*run.retry_time);
  }
  if (why.free.has_value()) *wait->mutable_free() = ToProto(*why.free);
  proto->set_state_reason(
      run.state_reason.empty() ? why.sentence : absl::StrCat(run.state_reason, " ", why.sentence));
  return absl::OkStatus();
}

absl::Status ReadLog(const ServiceCore& core, const Identity& caller,
                     const v1::ReadRunLogRequest& request, v1::ReadRunLogResponse* response) {
  Checker check;
  check.AddAll(ParseRunName(request.name(), caller).status());
  check.Require(v1::ReadRunLogRequest::Stream_IsValid(request.stream()), "stream",
                "is neither STDOUT nor STDERR", "BAD_STREAM");
  check.Require(request.attempt() >= 0, "attempt", "is negative", "BAD_ATTEMPT");
  check.Require(request.max_bytes() >= 0, "max_bytes", "is negative", "BAD_SIZE");
  if (!check.violations().empty()) return InvalidArgument(check.violations());
  FT_ASSIGN_OR_RETURN(const int64_t run_id, FindRun(core, caller, request.name()));
  FT_ASSIGN_OR_RETURN(const v1::Run run, ReadRun(core, run_id));
  const int64_t attempt = request.attempt() == 0 ? run.attempt() : request.attempt();
  const absl::Status none =
      MakeError(absl::StatusCode::kNotFound, "LOG_NOT_FOUND",
                absl::StrCat("attempt ", attempt, " of this run has no log yet"));
  if (attempt < 1 || attempt > run.attempt()) return none;
  const char* file =
      request.stream() == v1::ReadRunLogRequest::STDOUT ? kStdoutLogName : kStderrLogName;
  const int max_bytes =
      request.max_bytes() == 0 ? kDefaultLogBytes : std::min(request.max_bytes(), kMaxLogBytes);
  const ArtifactStore artifacts(core.artifact_root);
  const std::string path = absl::StrCat(run.artifact_path(), "/attempts/", attempt, "/", file);
  const auto head = artifacts.Head(path);
  if (!head.ok()) {
    if (!absl::IsNotFound(head.status())) return ArtifactError(head.status(), {"", file});
    FT_RETURN_IF_ERROR(CheckRetention(core, RetainedFiles::kLogs, run_id));
    return none;
  }
  const int64_t offset = request.offset() >= 0
                             ? std::min(request.offset(), head->size_bytes)
                             : std::max<int64_t>(0, head->size_bytes + request.offset());
  auto kept = artifacts.ReadKept(path, offset, max_bytes);
  if (!kept.ok()) return ArtifactError(kept.status(), {"", file});
  response->set_data(std::move(kept->data));
  response->set_dropped_bytes(kept->offset - offset);
  response->set_next_offset(kept->offset + static_cast<int64_t>(response->data().size()));
  response->set_attempt(attempt);
  response->set_complete(
      (attempt < run.attempt() || IsTerminal(static_cast<RunState>(run.state()))) &&
      response->next_offset() >= kept->size_bytes);
  return absl::OkStatus();
}

}  // namespace

const google::protobuf::MethodDescriptor* RunService::Method(const char* name) {
  static const auto* service =
      v1::GetRunRequest::descriptor()->file()->FindServiceByName("RunService");
  return service->FindMethodByName(name);
}

absl::StatusOr<int64_t> FindRun(const ServiceCore& core, const Identity& caller,
                                const std::string& name) {
  FT_ASSIGN_OR_RETURN(const std::string last, ParseRunName(name, caller));
  FT_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                      core.reader->FindRuns(ViewerOf(caller), {last}));
  if (ids[0] == 0) return RunNotFound(last);
  return ids[0];
}

absl::StatusOr<v1::Run> ReadRun(const ServiceCore& core, int64_t run_id) {
  FT_ASSIGN_OR_RETURN(const std::vector<Run> runs, core.reader->GetRuns({run_id}));
  if (runs.empty()) return RunNotFound("");
  v1::Run proto = ToProto(runs[0]);
  if (runs[0].state == RunState::kPending) FT_RETURN_IF_ERROR(AddWait(core, runs[0], &proto));
  return proto;
}

absl::Status CheckRetention(const ServiceCore& core, RetainedFiles files, int64_t run_id) {
  FT_ASSIGN_OR_RETURN(const bool past, core.retention->IsPast(files, run_id));
  if (!past) return absl::OkStatus();
  const char* what = files == RetainedFiles::kLogs ? "logs" : "metrics";
  return MakeError(absl::StatusCode::kNotFound, "PAST_RETENTION",
                   absl::StrCat("name: the ", what,
                                " of this run are past the retention of its workspace and were "
                                "deleted"));
}

grpc::ServerUnaryReactor* RunService::GetRun(grpc::CallbackServerContext* context,
                                             const v1::GetRunRequest* request, v1::Run* response) {
  return HandleUnary(core_.call, context, Method("GetRun"),
                     [=](const Identity& caller, const Done& done) {
                       const auto run_id = FindRun(core_, caller, request->name());
                       if (!run_id.ok()) return done(run_id.status());
                       auto run = ReadRun(core_, *run_id);
                       if (run.ok()) *response = *std::move(run);
                       done(run.status());
                     });
}

grpc::ServerUnaryReactor* RunService::ListRunEvents(grpc::CallbackServerContext* context,
                                                    const v1::ListRunEventsRequest* request,
                                                    v1::ListRunEventsResponse* response) {
  return HandleUnary(
      core_.call, context, Method("ListRunEvents"), [=](const Identity& caller, const Done& done) {
        Checker check;
        const auto page_size = PageSize(request->page_size());
        check.AddAll(page_size.status());
        check.AddAll(ParseRunName(request->name(), caller).status());
        check.AddAll(CheckCursor(request->after_seq(), kAnySeq));
        if (!check.violations().empty()) return done(InvalidArgument(check.violations()));
        const auto run_id = FindRun(core_, caller, request->name());
        if (!run_id.ok()) return done(run_id.status());
        const auto marks = core_.reader->Watch({*run_id});
        if (!marks.ok()) return done(marks.status());
        const int64_t last_seq = marks->at(*run_id).last_seq;
        const absl::Status cursor = CheckCursor(request->after_seq(), last_seq);
        if (!cursor.ok()) return done(cursor);
        const auto events = core_.reader->ListEvents(*run_id, request->after_seq(), *page_size);
        if (!events.ok()) return done(events.status());
        if (events->empty() && request->after_seq() < last_seq) {
          return done(RunEventsDropped(last_seq));
        }
        AddEvents(*events, response->mutable_events());
        response->set_last_seq(last_seq);
        done(absl::OkStatus());
      });
}

grpc::ServerUnaryReactor* RunService::ListCheckpoints(grpc::CallbackServerContext* context,
                                                      const v1::ListCheckpointsRequest* request,
                                                      v1::ListCheckpointsResponse* response) {
  return HandleUnary(core_.call, context, Method("ListCheckpoints"),
                     [=](const Identity& caller, const Done& done) {
                       const auto run_id = FindRun(core_, caller, request->name());
                       if (!run_id.ok()) return done(run_id.status());
                       const auto checkpoints = core_.reader->ListCheckpoints(*run_id);
                       if (!checkpoints.ok()) return done(checkpoints.status());
                       for (const auto& checkpoint : *checkpoints) {
                         *response->add_checkpoints() = ToProto(checkpoint);
                       }
                       done(absl::OkStatus());
                     });
}

grpc::ServerUnaryReactor* RunService::ListAttempts(grpc::CallbackServerContext* context,
                                                   const v1::ListAttemptsRequest* request,
                                                   v1::ListAttemptsResponse* response) {
  return HandleUnary(core_.call, context, Method("ListAttempts"),
                     [=](const Identity& caller, const Done& done) {
                       const auto run_id = FindRun(core_, caller, request->name());
                       if (!run_id.ok()) return done(run_id.status());
                       const auto attempts = core_.reader->ListAttempts(*run_id);
                       if (!attempts.ok()) return done(attempts.status());
                       for (const auto& attempt : *attempts) {
                         *response->add_attempts() = ToProto(attempt);
                       }
                       done(absl::OkStatus());
                     });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* RunService::WatchEvents(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return StartWatch(core_, &streams_, context, Method("WatchEvents"), *request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* RunService::ReadMetrics(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  v1::ReadMetricsRequest parsed;
  std::unique_ptr<StreamSource> source;
  if (ParseRequest(*request, &parsed)) source = MakeMetricSource(core_, std::move(parsed));
  // It reads files.
  return StartStream(core_, core_.files, &streams_, context, Method("ReadMetrics"),
                     std::move(source));
}

grpc::ServerUnaryReactor* RunService::ReadRunLog(grpc::CallbackServerContext* context,
                                                 const v1::ReadRunLogRequest* request,
                                                 v1::ReadRunLogResponse* response) {
  return HandleUnary(core_.call, context, Method("ReadRunLog"),
                     [=](const Identity& caller, const Done& done) {
                       OnFiles(done, [=] { done(ReadLog(core_, caller, *request, response)); });
                     });
}

void RunService::OnFiles(const Done& done, std::function<void()> task) {
  if (core_.files->Submit(std::move(task))) return;
  done(UnavailableError("OVERLOADED",
                        "the daemon is stopping or has too many calls waiting for files",
                        absl::Seconds(1)));
}

grpc::ServerUnaryReactor* RunService::GetQuota(grpc::CallbackServerContext* context,
                                               const v1::GetQuotaRequest*, v1::Quota* response) {
  return HandleUnary(
      core_.call, context, Method("GetQuota"), [=](const Identity& caller, const Done& done) {
        const auto quota = core_.reader->GetQuota(caller.owner_id, core_.active_runs_limit);
        if (!quota.ok()) return done(quota.status());
        const auto names = core_.reader->ActiveRuns(caller.owner_id);
        if (!names.ok()) return done(names.status());
        response->set_owner(caller.email);
        response->set_active_usage(quota->first);
        response->set_active_limit(quota->second);
        for (const auto& name : *names) response->add_active_runs(name);
        done(absl::OkStatus());
      });
}

grpc::ServerUnaryReactor* RunService::ListWorkers(grpc::CallbackServerContext* context,
                                                  const v1::ListWorkersRequest*,
                                                  v1::ListWorkersResponse* response) {
  return HandleUnary(core_.call, context, Method("ListWorkers"),
                     [=](const Identity&, const Done& done) {
                       const auto workers = core_.reader->ListWorkers();
                       if (!workers.ok()) return done(workers.status());
                       for (const auto& worker : *workers)
                         *response->add_workers() = ToProto(worker);
                       done(absl::OkStatus());
                     });
}

}  // namespace finetuned
