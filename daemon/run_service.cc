#include "daemon/run_service.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "artifacts/artifact_store.h"
#include "base/time.h"
#include "daemon/page_token.h"
#include "daemon/resource_name.h"
#include "daemon/run_view.h"
#include "daemon/text.h"
#include "daemon/watch_events.h"
#include "queue/wait.h"

namespace finetuned {
namespace {

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;
constexpr int kMaxListNames = 1000;
constexpr int kMaxCancelNames = 100;
constexpr size_t kMaxReason = 256;
constexpr int kDefaultLogBytes = 64 << 10;
constexpr int kMaxLogBytes = 512 << 10;

const google::protobuf::MethodDescriptor* Method(const char* name) {
  static const auto* service =
      v1::GetRunRequest::descriptor()->file()->FindServiceByName("RunService");
  return service->FindMethodByName(name);
}

absl::StatusOr<int> PageSize(int32_t asked) {
  if (asked < 0) {
    return InvalidArgument({{"page_size", "is negative", "BAD_PAGE_SIZE"}});
  }
  return asked == 0 ? kDefaultPageSize : std::min(asked, kMaxPageSize);
}

// Why a waiting run waits.
absl::Status AddWait(const ServiceCore& core, const Run& run, v1::Run* proto) {
  FT_ASSIGN_OR_RETURN(const std::optional<int64_t> place, core.reader->QueuePlace(run));
  FT_ASSIGN_OR_RETURN(const std::vector<StoredWorker> workers, core.reader->ListWorkers());
  std::vector<WorkerRoom> rooms;
  for (const StoredWorker& worker : workers) {
    if (IsOnline(worker)) rooms.push_back({worker.capacity, FreeOf(worker)});
  }
  const WaitExplanation why = ExplainWait(ToShape(proto->spec().compute()), place, rooms);
  v1::Wait* wait = proto->mutable_wait();
  wait->set_reason(static_cast<v1::Wait::Reason>(why.reason));
  wait->set_position(place.value_or(0));
  *wait->mutable_needed() = proto->spec().compute();
  if (why.free.has_value()) *wait->mutable_free() = ToProto(*why.free);
  proto->set_state_reason(
      run.state_reason.empty() ? why.sentence : absl::StrCat(run.state_reason, " ", why.sentence));
  return absl::OkStatus();
}

// Checks the filters and turns them into what the reader takes.
absl::StatusOr<RunFilter> FilterOf(const v1::ListRunsRequest& request, const Identity& caller) {
  std::vector<FieldViolation> violations;
  const absl::Status parent = CheckParent(request.parent(), caller);
  Collect(parent, &violations);
  Collect(PageSize(request.page_size()).status(), &violations);
  RunFilter filter;
  for (const int state : request.states()) {
    if (!v1::Run::State_IsValid(state) || state == v1::Run::STATE_UNSPECIFIED) {
      violations.push_back({"states", "has a value that is no state", "BAD_STATE"});
      break;
    }
    filter.states.push_back(static_cast<RunState>(state));
  }
  if (request.names_size() > kMaxListNames) {
    violations.push_back({"names", "has more than 1000 names", "TOO_MANY"});
  } else {
    for (int i = 0; i < request.names_size(); ++i) {
      const auto name = ParseRunName(request.names(i), caller);
      if (name.ok()) {
        filter.names.push_back(*name);
      } else if (name.status().code() == absl::StatusCode::kInvalidArgument) {
        violations.push_back({absl::StrCat("names[", i, "]"), "can be no run's name", "BAD_NAME"});
      } else {
        filter.names.push_back("-");  // Of another workspace: matches nothing here.
      }
    }
  }
  const auto read_time = [&](const char* field, const google::protobuf::Timestamp& time,
                             absl::Time* out) {
    if (IsValid(time)) {
      *out = FromProtoTime(time);
    } else {
      violations.push_back({field, "is not a time between the years 1 and 9999", "BAD_TIME"});
    }
  };
  if (request.has_before()) read_time("before", request.before(), &filter.before);
  if (request.has_after()) read_time("after", request.after(), &filter.after);
  if (!violations.empty()) return InvalidArgument(violations);
  FT_RETURN_IF_ERROR(parent);
  return filter;
}

absl::Status ListPage(const ServiceCore& core, const Identity& caller,
                      const v1::ListRunsRequest& request, v1::ListRunsResponse* response) {
  FT_ASSIGN_OR_RETURN(const RunFilter filter, FilterOf(request, caller));
  FT_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  v1::ListRunsRequest canonical = request;
  canonical.clear_page_size();
  canonical.clear_page_token();
  const std::string scope =
      absl::StrCat(caller.workspace_id, "/", caller.owner_id, "/", canonical.SerializeAsString());
  RunPageKey at;
  if (!request.page_token().empty()) {
    FT_ASSIGN_OR_RETURN(at, ReadPageToken(core.page_token_key, scope, request.page_token()));
  }
  FT_ASSIGN_OR_RETURN(std::vector<RunPageKey> keys,
                      core.reader->ListRuns(ViewerOf(caller), filter, at, page_size + 1));
  if (static_cast<int>(keys.size()) > page_size) {
    keys.resize(page_size);
    response->set_next_page_token(MakePageToken(core.page_token_key, scope, keys.back()));
  }
  std::vector<int64_t> ids;
  for (const RunPageKey& key : keys) ids.push_back(key.run_id);
  FT_ASSIGN_OR_RETURN(const std::vector<Run> runs, core.reader->GetRuns(ids));
  size_t bytes = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    v1::Run run = ToProto(runs[i]);
    bytes += run.ByteSizeLong();
    if (i > 0 && bytes > kMaxResponseBytes) {
      response->set_next_page_token(MakePageToken(core.page_token_key, scope, keys[i - 1]));
      break;
    }
    *response->add_runs() = std::move(run);
  }
  return absl::OkStatus();
}

absl::Status CancelAll(const ServiceCore& core, const Identity& caller,
                       const v1::CancelRunsRequest& request, v1::CancelRunsResponse* response) {
  std::vector<FieldViolation> violations;
  if (request.names_size() < 1 || request.names_size() > kMaxCancelNames) {
    violations.push_back({"names", "must have 1 to 100 names", "BAD_COUNT"});
  }
  if (CharacterCount(request.reason()) > kMaxReason) {
    violations.push_back({"reason", "has more than 256 characters", "TOO_LONG"});
  } else if (HasControl(request.reason())) {
    violations.push_back({"reason", "has control characters", "BAD_REASON"});
  }
  std::vector<std::string> names;
  for (int i = 0; i < std::min(request.names_size(), kMaxCancelNames); ++i) {
    const auto name = ParseRunName(request.names(i), caller);
    if (name.ok()) {
      names.push_back(*name);
    } else if (name.status().code() == absl::StatusCode::kNotFound) {
      names.push_back("-");
    } else {
      violations.push_back({absl::StrCat("names[", i, "]"), "can be no run's name", "BAD_NAME"});
    }
  }
  if (!violations.empty()) return InvalidArgument(violations);
  FT_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                      core.reader->FindRuns(OwnerOf(caller), names));
  std::vector<int64_t> found;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(found),
               [](int64_t id) { return id != 0; });
  const std::string reason = request.reason().empty() ? "Canceled by user." : request.reason();
  FT_ASSIGN_OR_RETURN(const auto canceled, core.transitions->Cancel(found, reason));
  FT_ASSIGN_OR_RETURN(const std::vector<Run> runs, core.reader->GetRuns(found));
  std::map<int64_t, v1::Run> by_id;
  for (const Run& run : runs) by_id[run.run_id] = ToProto(run);
  size_t next = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    auto* result = response->add_results();
    const std::string& name = request.names(static_cast<int>(i));
    result->set_name(name);
    const absl::StatusOr<CancelResult> outcome =
        ids[i] == 0 ? absl::StatusOr<CancelResult>(RunNotFound(name.substr(name.rfind('/') + 1)))
                    : canceled[next++];
    *result->mutable_status() = ToProto(outcome.status());
    if (!outcome.ok()) continue;
    result->set_outcome(outcome->outcome == CancelResult::Outcome::kStopped
                            ? v1::CancelRunsResponse::Result::STOPPED
                        : outcome->outcome == CancelResult::Outcome::kStopping
                            ? v1::CancelRunsResponse::Result::STOPPING
                            : v1::CancelRunsResponse::Result::ALREADY_TERMINAL);
    *result->mutable_run() = by_id[ids[i]];
    if (outcome->outcome != CancelResult::Outcome::kAlreadyTerminal) {
      core.RunMoved(ids[i], outcome->from, outcome->to, /*desired_changed=*/true);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadLog(const ServiceCore& core, const Identity& caller,
                     const v1::ReadRunLogRequest& request, v1::ReadRunLogResponse* response) {
  std::vector<FieldViolation> violations;
  Collect(ParseRunName(request.name(), caller).status(), &violations);
  if (!v1::ReadRunLogRequest::Stream_IsValid(request.stream())) {
    violations.push_back({"stream", "is neither STDOUT nor STDERR", "BAD_STREAM"});
  }
  if (request.attempt() < 0) violations.push_back({"attempt", "is negative", "BAD_ATTEMPT"});
  if (request.max_bytes() < 0) violations.push_back({"max_bytes", "is negative", "BAD_SIZE"});
  if (!violations.empty()) return InvalidArgument(violations);
  FT_ASSIGN_OR_RETURN(const int64_t run_id, FindRun(core, caller, request.name()));
  FT_ASSIGN_OR_RETURN(const v1::Run run, ReadRun(core, run_id));
  const int64_t attempt = request.attempt() == 0 ? run.attempt() : request.attempt();
  const absl::Status none =
      MakeError(absl::StatusCode::kNotFound, "LOG_NOT_FOUND",
                absl::StrCat("attempt ", attempt, " of this run has no log yet"));
  if (attempt < 1 || attempt > run.attempt()) return none;
  const char* file =
      request.stream() == v1::ReadRunLogRequest::STDOUT ? "stdout.log" : "stderr.log";
  const int max_bytes =
      request.max_bytes() == 0 ? kDefaultLogBytes : std::min(request.max_bytes(), kMaxLogBytes);
  const ArtifactStore artifacts(core.artifact_root);
  const std::string path = absl::StrCat(run.artifact_path(), "/attempts/", attempt, "/", file);
  const auto head = artifacts.Head(path);
  if (!head.ok()) return head.status().code() == absl::StatusCode::kNotFound ? none : head.status();
  const int64_t offset = request.offset() >= 0
                             ? std::min(request.offset(), head->size_bytes)
                             : std::max<int64_t>(0, head->size_bytes + request.offset());
  FT_ASSIGN_OR_RETURN(ArtifactStore::Range range, artifacts.ReadRange(path, offset, max_bytes));
  response->set_data(std::move(range.data));
  response->set_next_offset(offset + static_cast<int64_t>(response->data().size()));
  response->set_attempt(attempt);
  response->set_complete(
      (attempt < run.attempt() || IsTerminal(static_cast<RunState>(run.state()))) &&
      response->next_offset() >= range.size_bytes);
  return absl::OkStatus();
}

}  // namespace

void Collect(const absl::Status& status, std::vector<FieldViolation>* violations) {
  for (FieldViolation& violation : Violations(status)) violations->push_back(std::move(violation));
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

grpc::ServerUnaryReactor* RunService::ListRuns(grpc::CallbackServerContext* context,
                                               const v1::ListRunsRequest* request,
                                               v1::ListRunsResponse* response) {
  return HandleUnary(core_.call, context, Method("ListRuns"),
                     [=](const Identity& caller, const Done& done) {
                       done(ListPage(core_, caller, *request, response));
                     });
}

grpc::ServerUnaryReactor* RunService::CancelRuns(grpc::CallbackServerContext* context,
                                                 const v1::CancelRunsRequest* request,
                                                 v1::CancelRunsResponse* response) {
  return HandleUnary(core_.call, context, Method("CancelRuns"),
                     [=](const Identity& caller, const Done& done) {
                       done(CancelAll(core_, caller, *request, response));
                     });
}

grpc::ServerUnaryReactor* RunService::ListRunEvents(grpc::CallbackServerContext* context,
                                                    const v1::ListRunEventsRequest* request,
                                                    v1::ListRunEventsResponse* response) {
  return HandleUnary(
      core_.call, context, Method("ListRunEvents"), [=](const Identity& caller, const Done& done) {
        std::vector<FieldViolation> violations;
        const auto page_size = PageSize(request->page_size());
        Collect(page_size.status(), &violations);
        Collect(ParseRunName(request->name(), caller).status(), &violations);
        Collect(CheckCursor(request->after_seq(), kAnySeq), &violations);
        if (!violations.empty()) return done(InvalidArgument(violations));
        const auto run_id = FindRun(core_, caller, request->name());
        if (!run_id.ok()) return done(run_id.status());
        const auto marks = core_.reader->Watch({*run_id});
        if (!marks.ok()) return done(marks.status());
        const int64_t last_seq = marks->at(*run_id).last_seq;
        const absl::Status cursor = CheckCursor(request->after_seq(), last_seq);
        if (!cursor.ok()) return done(cursor);
        const auto events = core_.reader->ListEvents(*run_id, request->after_seq(), *page_size);
        if (!events.ok()) return done(events.status());
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

grpc::ServerWriteReactor<v1::WatchEventsResponse>* RunService::WatchEvents(
    grpc::CallbackServerContext* context, const v1::WatchEventsRequest* request) {
  return StartWatch(core_, &streams_, context, Method("WatchEvents"), *request);
}

grpc::ServerUnaryReactor* RunService::ReadRunLog(grpc::CallbackServerContext* context,
                                                 const v1::ReadRunLogRequest* request,
                                                 v1::ReadRunLogResponse* response) {
  return HandleUnary(core_.call, context, Method("ReadRunLog"),
                     [=](const Identity& caller, const Done& done) {
                       done(ReadLog(core_, caller, *request, response));
                     });
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
