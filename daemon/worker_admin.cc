// Workers as people see and drain them.

#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "base/time.h"
#include "daemon/run_service.h"
#include "daemon/run_view.h"
#include "daemon/worker_messages.h"

namespace finetuned {
namespace {

constexpr size_t kMaxShownName = 64;

absl::StatusOr<v1::Worker> ReadWorker(const ServiceCore& core, const Identity& caller,
                                      const std::string& name) {
  FT_ASSIGN_OR_RETURN(const auto workers, core.reader->ListWorkers({name}));
  if (workers.empty()) {
    return MakeError(absl::StatusCode::kNotFound, "WORKER_NOT_FOUND",
                     absl::StrCat("there is no worker ", name.substr(0, kMaxShownName),
                                  "; ListWorkers has all"));
  }
  v1::Worker proto = ToProto(workers[0]);
  FT_ASSIGN_OR_RETURN(const auto attempts, core.reader->AttemptsOfWorker(name));
  const Viewer viewer = ViewerOf(caller);
  for (const StoredWorkerAttempt& stored : attempts) {
    v1::WorkerAttempt* attempt = proto.add_attempts();
    const bool seen = stored.workspace_id == viewer.workspace_id &&
                      (viewer.sees_workspace || stored.owner_id == viewer.owner_id);
    if (seen) attempt->set_run(RunName(stored.workspace, stored.run));
    attempt->set_attempt(stored.epoch);
    attempt->set_state(static_cast<v1::Run::State>(stored.state));
    *attempt->mutable_compute() = ToProto(stored.shape);
    *attempt->mutable_create_time() = ToProtoTime(stored.create_time);
  }
  return proto;
}

absl::Status CheckName(const std::string& name) {
  if (IsWorkerName(name)) return absl::OkStatus();
  return InvalidArgument({{"name", "is not `^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`", "BAD_NAME"}});
}

absl::Status Drain(const ServiceCore& core, const Identity& caller,
                   const v1::DrainWorkerRequest& request, v1::Worker* response) {
  FT_RETURN_IF_ERROR(CheckName(request.name()));
  if (request.undo() && request.stop_runs()) {
    return InvalidArgument({{"stop_runs", "is not for undo", "BAD_VALUE"}});
  }
  FT_ASSIGN_OR_RETURN(const bool known, core.leases->RequestDrain(request.name(), !request.undo()));
  if (known) {
    Log(LogLevel::kInfo, request.undo() ? "worker back in use" : "worker drained",
        {{"worker", request.name()}, {"by", caller.email}, {"stop_runs", request.stop_runs()}});
  }
  if (request.undo()) core.QueueChanged();
  if (known && request.stop_runs()) {
    // What it got before it was drained; nothing new comes.
    FT_ASSIGN_OR_RETURN(const auto attempts, core.reader->AttemptsOfWorker(request.name()));
    for (const StoredWorkerAttempt& attempt : attempts) {
      FT_ASSIGN_OR_RETURN(const auto moved, core.transitions->StopForDrain(
                                                attempt.run_id, attempt.epoch, request.name()));
      if (moved.has_value()) core.RunMoved(attempt.run_id, moved->from, moved->to, true);
    }
  }
  FT_ASSIGN_OR_RETURN(*response, ReadWorker(core, caller, request.name()));
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* RunService::GetWorker(grpc::CallbackServerContext* context,
                                                const v1::GetWorkerRequest* request,
                                                v1::Worker* response) {
  return HandleUnary(core_.call, context, Method("GetWorker"),
                     [=](const Identity& caller, const Done& done) {
                       const absl::Status name = CheckName(request->name());
                       if (!name.ok()) return done(name);
                       auto worker = ReadWorker(core_, caller, request->name());
                       if (worker.ok()) *response = *std::move(worker);
                       done(worker.status());
                     });
}

grpc::ServerUnaryReactor* RunService::DrainWorker(grpc::CallbackServerContext* context,
                                                  const v1::DrainWorkerRequest* request,
                                                  v1::Worker* response) {
  return HandleUnary(core_.changes, context, Method("DrainWorker"),
                     [=](const Identity& caller, const Done& done) {
                       done(Drain(core_, caller, *request, response));
                     });
}

}  // namespace finetuned
