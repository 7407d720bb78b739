#include "daemon/worker_service.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "artifacts/artifact_store.h"
#include "base/grpc_tls.h"
#include "base/hash.h"
#include "base/logging.h"
#include "base/time.h"
#include "daemon/gather.h"
#include "daemon/held_renewal.h"
#include "daemon/retention.h"
#include "daemon/run_view.h"
#include "daemon/text.h"
#include "daemon/worker_messages.h"

namespace finetuned {
namespace {

constexpr int kMaxLeasesPerCall = 64;
constexpr int kMaxItems = 256;
constexpr int kMaxReports = 1000;
constexpr int kMaxAttempts = 10000;
constexpr int kMaxLabels = 64;
constexpr size_t kMaxLabelKey = 63;
constexpr size_t kMaxLabelValue = 256;
constexpr size_t kMaxGpuType = 63;
// A version, or a boot id.
constexpr size_t kMaxWord = 64;
constexpr absl::Duration kMaxAcquireHold = absl::Seconds(30);
constexpr absl::Duration kMaxRenewHold = absl::Seconds(10);

const google::protobuf::MethodDescriptor* Method(const char* name) {
  static const auto* service =
      v1::OpenSessionRequest::descriptor()->file()->FindServiceByName("WorkerService");
  return service->FindMethodByName(name);
}

// Text of at most `max` characters, none of them a control character.
bool IsShort(const std::string& text, size_t max) {
  return CharacterCount(text) <= max && !HasControl(text);
}

absl::Status CheckHold(const google::protobuf::Duration& hold) {
  if (IsValid(hold) && FromProtoDuration(hold) >= absl::ZeroDuration()) return absl::OkStatus();
  return InvalidArgument({{"hold_duration", "is no duration, or negative", "BAD_DURATION"}});
}

absl::Status CheckSession(const v1::OpenSessionRequest& request) {
  std::vector<FieldViolation> violations;
  if (!IsWorkerName(request.worker())) {
    violations.push_back({"worker", "is not `^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`", "BAD_NAME"});
  }
  const v1::Compute& capacity = request.capacity();
  if (capacity.gpus() < 0 || capacity.cpus() < 1 || capacity.memory_bytes() < 0) {
    violations.push_back(
        {"capacity", "must have at least one CPU core and nothing negative", "BAD_CAPACITY"});
  }
  if (!IsShort(capacity.gpu_type(), kMaxGpuType)) {
    violations.push_back({"capacity",
                          "has a gpu_type with more than 63 characters or with control characters",
                          "BAD_CAPACITY"});
  }
  if (request.boot_id().empty() || !IsShort(request.boot_id(), kMaxWord)) {
    violations.push_back({"boot_id",
                          "must have 1 to 64 characters, none of them a control character",
                          "BAD_BOOT_ID"});
  }
  if (!IsShort(request.version(), kMaxWord)) {
    violations.push_back(
        {"version", "has more than 64 characters or control characters", "BAD_VERSION"});
  }
  if (request.labels_size() > kMaxLabels) {
    violations.push_back({"labels", "has more than 64 labels", "TOO_MANY"});
  } else {
    for (const auto& [key, value] : request.labels()) {
      if (!key.empty() && IsShort(key, kMaxLabelKey) && IsShort(value, kMaxLabelValue)) continue;
      violations.push_back(
          {"labels",
           "has a key that is empty or longer than 63 characters, a value longer than 256, or "
           "control characters",
           "BAD_LABEL"});
      break;
    }
  }
  if (request.attempts_size() > kMaxAttempts) {
    violations.push_back({"attempts", "has more than 10000 attempts", "TOO_MANY"});
  }
  if (!violations.empty()) return InvalidArgument(violations);
  return absl::OkStatus();
}

// Worker and daemon meet in the artifact root: proved by a file that one wrote and the other reads.
absl::Status CheckArtifactRoot(const ServiceCore& core, const v1::OpenSessionRequest& request) {
  const ArtifactStore store(core.artifact_root);
  FT_RETURN_IF_ERROR(store.Check());
  const auto nonce = store.ReadNonce(request.nonce_name());
  if (nonce.ok() && !nonce->empty() && ConstantTimeEqual(*nonce, request.nonce())) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kFailedPrecondition, "ARTIFACT_ROOT_MISMATCH",
      absl::StrCat("the daemon does not find the worker's nonce under its artifact_root ",
                   core.artifact_root,
                   ": give both the same folder of a filesystem that both see"));
}

// A token may be for one worker only, and where the configuration says so the certificate as well.
absl::Status CheckWorkerName(const ServiceCore& core, const Identity& caller,
                             const std::vector<std::string>& certified, const std::string& name) {
  if (!caller.worker.empty() && caller.worker != name) {
    return MakeError(absl::StatusCode::kPermissionDenied, "WORKER_NAME_NOT_YOURS",
                     absl::StrCat("worker: the token is for the worker ", caller.worker,
                                  "; set `name`, or make a token for this one"),
                     {{"worker", caller.worker}});
  }
  if (!core.check_worker_names || std::count(certified.begin(), certified.end(), name) > 0) {
    return absl::OkStatus();
  }
  return MakeError(absl::StatusCode::kPermissionDenied, "WORKER_NAME_NOT_CERTIFIED",
                   absl::StrCat("worker: the certificate is for ", absl::StrJoin(certified, ", "),
                                "; use one that has the worker's name, or set `name`"));
}

absl::Status Open(const ServiceCore& core, const Identity& caller,
                  const std::vector<std::string>& certified, const v1::OpenSessionRequest& request,
                  v1::OpenSessionResponse* response) {
  FT_RETURN_IF_ERROR(CheckSession(request));
  FT_RETURN_IF_ERROR(CheckWorkerName(core, caller, certified, request.worker()));
  FT_RETURN_IF_ERROR(CheckArtifactRoot(core, request));
  WorkerInfo worker;
  worker.name = request.worker();
  worker.boot_id = request.boot_id();
  worker.version = request.version();
  worker.capacity = ToShape(request.capacity());
  worker.labels_json = nlohmann::json(std::map<std::string, std::string>(request.labels().begin(),
                                                                         request.labels().end()))
                           .dump();
  std::vector<AttemptId> listed;
  for (const auto& attempt : request.attempts()) listed.push_back(ToAttemptId(attempt));
  FT_ASSIGN_OR_RETURN(const OpenedSession opened, core.leases->OpenSession(worker, listed));
  // What the worker does not have any more is lost, on its own word.
  for (const AttemptId& orphan : opened.orphaned) {
    const LossEvidence evidence{orphan.epoch, /*by_expiry=*/false, opened.session,
                                "The worker " + worker.name + " came back without it."};
    const auto lost = core.transitions->Lose(orphan.run_id, evidence);
    if (!lost.ok()) return lost.status();
    if (lost->has_value()) {
      core.metrics->LeaseLost("worker_came_back");
      core.RunMoved(orphan.run_id, (*lost)->from, (*lost)->to, true);
    }
  }
  FT_ASSIGN_OR_RETURN(const std::vector<LeasedRun> kept, core.leases->Describe(opened.kept));
  std::set<AttemptId> kept_ids;
  for (const LeasedRun& lease : kept) {
    kept_ids.insert(lease.attempt);
    *response->add_keep() = ToProto(lease);
  }
  for (const AttemptId& attempt : listed) {
    if (kept_ids.count(attempt) == 0) *response->add_kill() = ToProto(attempt);
  }
  response->set_session(opened.session);
  *response->mutable_times() = TimesOf(core.lease_times);
  Log(LogLevel::kInfo, "worker session opened",
      {{"worker", worker.name},
       {"session", opened.session},
       {"kept", kept.size()},
       {"killed", response->kill_size()},
       {"lost", opened.orphaned.size()}});
  return absl::OkStatus();
}

absl::Status CheckItemCount(int count) {
  if (count <= kMaxItems) return absl::OkStatus();
  return InvalidArgument({{"items", "has more than 256 items", "TOO_MANY"}});
}

// Each attempt at most once: two items of one call would race each other.
template <typename Items>
absl::Status CheckDistinct(const Items& items) {
  std::set<AttemptId> seen;
  for (const auto& item : items) {
    if (!seen.insert(ToAttemptId(item.attempt())).second) {
      return InvalidArgument({{"items", "has an attempt twice", "DUPLICATE"}});
    }
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* WorkerService::OpenSession(grpc::CallbackServerContext* context,
                                                     const v1::OpenSessionRequest* request,
                                                     v1::OpenSessionResponse* response) {
  return HandleUnary(sessions_.call, context, Method("OpenSession"),
                     [=](const Identity& caller, const Done& done) {
                       const std::vector<std::string> certified =
                           PeerNames(*context->auth_context());
                       done(Open(sessions_, caller, certified, *request, response));
                     });
}

grpc::ServerUnaryReactor* WorkerService::AcquireLeases(grpc::CallbackServerContext* context,
                                                       const v1::AcquireLeasesRequest* request,
                                                       v1::AcquireLeasesResponse* response) {
  return HandleUnary(
      core_.call, context, Method("AcquireLeases"), [=](const Identity&, const Done& done) {
        if (request->max_count() < 1 || request->max_count() > kMaxLeasesPerCall) {
          return done(InvalidArgument({{"max_count", "must be from 1 to 64", "BAD_COUNT"}}));
        }
        if (request->held_size() > kMaxAttempts) {
          return done(InvalidArgument({{"held", "has more than 10000 attempts", "TOO_MANY"}}));
        }
        const absl::Status hold = CheckHold(request->hold_duration());
        if (!hold.ok()) return done(hold);
        Dispatcher::Poll poll;
        poll.session = request->session();
        poll.free = ToShape(request->free());
        poll.max_count = static_cast<size_t>(request->max_count());
        for (const auto& attempt : request->held()) poll.held.push_back(ToAttemptId(attempt));
        poll.deadline = core_.clock->SinceBoot() +
                        std::min(FromProtoDuration(request->hold_duration()), kMaxAcquireHold);
        poll.is_gone = [context] { return context->IsCancelled(); };
        poll.answer = [this, response, done](absl::StatusOr<std::vector<LeasedRun>> leases) {
          if (!leases.ok()) return done(leases.status());
          for (const LeasedRun& lease : *leases) {
            *response->add_leases() = ToProto(lease);
            core_.RunMoved(lease.attempt.run_id, RunState::kPending, RunState::kStarting, false);
            if (lease.attempt.epoch == 1) core_.metrics->QueueWaited(lease.waited);
          }
          done(absl::OkStatus());
        };
        core_.dispatcher->Submit(std::move(poll));
      });
}

grpc::ServerUnaryReactor* WorkerService::RenewLeases(grpc::CallbackServerContext* context,
                                                     const v1::RenewLeasesRequest* request,
                                                     v1::RenewLeasesResponse* response) {
  return HandleUnary(
      core_.call, context, Method("RenewLeases"), [=](const Identity&, const Done& done) {
        if (request->items_size() > kMaxAttempts) {
          return done(InvalidArgument({{"items", "has more than 10000 items", "TOO_MANY"}}));
        }
        const absl::Status checked = CheckHold(request->hold_duration());
        if (!checked.ok()) return done(checked);
        const absl::Duration hold =
            std::min(FromProtoDuration(request->hold_duration()), kMaxRenewHold);
        StartRenewal(core_, context, request, response, hold, done);
      });
}

grpc::ServerUnaryReactor* WorkerService::ReportEvents(grpc::CallbackServerContext* context,
                                                      const v1::ReportEventsRequest* request,
                                                      v1::ReportEventsResponse* response) {
  return HandleUnary(
      core_.call, context, Method("ReportEvents"), [=](const Identity&, const Done& done) {
        absl::Status checked = CheckItemCount(request->items_size());
        if (checked.ok()) checked = CheckDistinct(request->items());
        if (!checked.ok() || request->items_size() == 0) return done(checked);
        const int count = request->items_size();
        const auto gather = Gather<ReportResult>::Make(
            static_cast<size_t>(count),
            [this, request, response, done](Gather<ReportResult>::Results results) {
              for (size_t i = 0; i < results.size(); ++i) {
                // The database is away: the whole call is to be repeated.
                if (results[i].status().code() == absl::StatusCode::kUnavailable) {
                  return done(results[i].status());
                }
                const auto& item = request->items(static_cast<int>(i));
                auto* result = response->add_results();
                *result->mutable_attempt() = item.attempt();
                *result->mutable_status() = ToProto(results[i].status());
                if (!results[i].ok()) continue;
                result->set_acked_report(results[i]->acked_report);
                if (!results[i]->stored) continue;
                core_.metrics->EventsStored(static_cast<size_t>(item.reports_size()));
                core_.RunMoved(item.attempt().run_id(), results[i]->from, results[i]->to, false);
              }
              done(absl::OkStatus());
            });
        // With the answer to the last item the request may be gone.
        for (int i = 0; i < count; ++i) {
          const auto& item = request->items(i);
          auto callback = Gather<ReportResult>::At(gather, static_cast<size_t>(i));
          ReportItem report{
              request->session(), item.attempt().run_id(), item.attempt().epoch(), {}};
          absl::Status status;
          if (item.reports_size() > kMaxReports) {
            status = InvalidArgument({{"items.reports", "has more than 1000 reports", "TOO_MANY"}});
          }
          for (const auto& entry : item.reports()) {
            if (!status.ok()) break;
            auto incoming = ToIncomingReport(entry);
            status = incoming.status();
            if (incoming.ok()) report.reports.push_back(*std::move(incoming));
          }
          if (!status.ok()) {
            callback(status);
          } else {
            core_.report_batcher->Submit(std::move(report), std::move(callback));
          }
        }
      });
}

grpc::ServerUnaryReactor* WorkerService::CompleteAttempts(
    grpc::CallbackServerContext* context, const v1::CompleteAttemptsRequest* request,
    v1::CompleteAttemptsResponse* response) {
  return HandleUnary(
      core_.call, context, Method("CompleteAttempts"), [=](const Identity&, const Done& done) {
        absl::Status checked = CheckItemCount(request->items_size());
        if (checked.ok()) checked = CheckDistinct(request->items());
        if (!checked.ok() || request->items_size() == 0) return done(checked);
        const int count = request->items_size();
        const auto gather = Gather<CompletionResult>::Make(
            static_cast<size_t>(count),
            [this, request, response, done](Gather<CompletionResult>::Results results) {
              for (size_t i = 0; i < results.size(); ++i) {
                if (results[i].status().code() == absl::StatusCode::kUnavailable) {
                  return done(results[i].status());
                }
                const auto& item = request->items(static_cast<int>(i));
                auto* result = response->add_results();
                *result->mutable_attempt() = item.attempt();
                *result->mutable_status() = ToProto(results[i].status());
                if (!results[i].ok()) continue;
                result->set_run_state(static_cast<v1::Run::State>(results[i]->to));
                if (results[i]->stored) {
                  core_.RunMoved(item.attempt().run_id(), results[i]->from, results[i]->to, true);
                }
              }
              done(absl::OkStatus());
            });
        // With the answer to the last item the request may be gone.
        for (int i = 0; i < count; ++i) {
          const auto& item = request->items(i);
          CompletionItem completion{request->session(), item.attempt().run_id(),
                                    item.attempt().epoch(), item.last_report(),
                                    ToAttemptEnd(item.end())};
          core_.complete_batcher->Submit(
              std::move(completion), Gather<CompletionResult>::At(gather, static_cast<size_t>(i)));
        }
      });
}

grpc::ServerUnaryReactor* WorkerService::SweepFiles(grpc::CallbackServerContext* context,
                                                    const v1::SweepFilesRequest* request,
                                                    v1::SweepFilesResponse* response) {
  // It may wait for rows; renewals must not wait for it.
  return HandleUnary(sessions_.call, context, Method("SweepFiles"),
                     [=](const Identity&, const Done& done) {
                       done(finetuned::SweepFiles(sessions_, *request, response));
                     });
}

}  // namespace finetuned
