#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "daemon/checker.h"
#include "daemon/resource_name.h"
#include "daemon/run_service.h"
#include "daemon/run_view.h"
#include "daemon/text.h"
#include "db/listing.h"

namespace finetuned {
namespace {

constexpr int kMaxRuns = 100;
constexpr size_t kMaxReason = 256;

// One run that is to be canceled: as it was called, and its id; 0 for one that is not there.
struct Target {
  std::string name;
  int64_t run_id = 0;
};

// What is canceled; `more` when an experiment may have further runs.
struct Targets {
  std::vector<Target> runs;
  bool more = false;
};

absl::Status CheckRequest(const v1::CancelRunsRequest& request, const Identity& caller) {
  Checker check;
  if (request.experiment().empty()) {
    check.Require(request.names_size() >= 1 && request.names_size() <= kMaxRuns, "names",
                  "must have 1 to 100 names", "BAD_COUNT");
  } else {
    check.Require(request.names().empty(), "names", "must be empty where experiment is given",
                  "BAD_COUNT");
    check.AddAll(ParseExperimentName("experiment", request.experiment(), caller).status());
  }
  if (CharacterCount(request.reason()) > kMaxReason) {
    check.Add("reason", "has more than 256 characters", "TOO_LONG");
  } else if (HasControl(request.reason())) {
    check.Add("reason", "has control characters", "BAD_REASON");
  }
  for (int i = 0; i < std::min(request.names_size(), kMaxRuns); ++i) {
    const absl::Status name = ParseRunName(request.names(i), caller).status();
    if (name.code() == absl::StatusCode::kInvalidArgument) {
      check.Add(absl::StrCat("names[", i, "]"), "can be no run's name", "BAD_NAME");
    }
  }
  if (!check.violations().empty()) return InvalidArgument(check.violations());
  return absl::OkStatus();
}

absl::StatusOr<Targets> NamedRuns(const ServiceCore& core, const Identity& caller,
                                  const v1::CancelRunsRequest& request) {
  std::vector<std::string> names;
  for (const std::string& name : request.names()) {
    // One of another workspace is looked for by a name that nothing has.
    names.push_back(ParseRunName(name, caller).value_or("-"));
  }
  FT_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                      core.reader->FindRuns(OwnerOf(caller), names));
  Targets targets;
  for (size_t i = 0; i < ids.size(); ++i) {
    targets.runs.push_back({request.names(static_cast<int>(i)), ids[i]});
  }
  return targets;
}

absl::StatusOr<Targets> RunsOfExperiment(const ServiceCore& core, const Identity& caller,
                                         const v1::CancelRunsRequest& request) {
  const Viewer owner = OwnerOf(caller);
  FT_ASSIGN_OR_RETURN(const std::string name,
                      ParseExperimentName("experiment", request.experiment(), caller));
  FT_ASSIGN_OR_RETURN(const auto experiment, core.listing->FindExperiment(owner, name));
  if (!experiment.has_value()) return ExperimentNotFound();
  FT_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                      core.listing->CancelableRuns(owner, *experiment, kMaxRuns));
  FT_ASSIGN_OR_RETURN(const std::vector<Run> runs, core.reader->GetRuns(ids));
  Targets targets;
  for (const Run& run : runs) {
    targets.runs.push_back({RunName(run.workspace, run.name), run.run_id});
  }
  targets.more = static_cast<int>(ids.size()) == kMaxRuns;
  return targets;
}

v1::CancelRunsResponse::Result::Outcome OutcomeOf(const CancelResult& result) {
  switch (result.outcome) {
    case CancelResult::Outcome::kStopped: return v1::CancelRunsResponse::Result::STOPPED;
    case CancelResult::Outcome::kStopping: return v1::CancelRunsResponse::Result::STOPPING;
    case CancelResult::Outcome::kAlreadyTerminal: break;
  }
  return v1::CancelRunsResponse::Result::ALREADY_TERMINAL;
}

absl::Status CancelAll(const ServiceCore& core, const Identity& caller,
                       const v1::CancelRunsRequest& request, v1::CancelRunsResponse* response) {
  FT_RETURN_IF_ERROR(CheckRequest(request, caller));
  FT_ASSIGN_OR_RETURN(const Targets targets, request.experiment().empty()
                                                 ? NamedRuns(core, caller, request)
                                                 : RunsOfExperiment(core, caller, request));
  std::vector<int64_t> found;
  for (const Target& target : targets.runs) {
    if (target.run_id != 0) found.push_back(target.run_id);
  }
  const std::string reason = request.reason().empty() ? "Canceled by user." : request.reason();
  FT_ASSIGN_OR_RETURN(const auto canceled, core.transitions->Cancel(found, reason));
  FT_ASSIGN_OR_RETURN(const std::vector<Run> runs, core.reader->GetRuns(found));
  std::map<int64_t, v1::Run> by_id;
  for (const Run& run : runs) by_id[run.run_id] = ToProto(run);
  size_t next = 0;
  for (const Target& target : targets.runs) {
    auto* result = response->add_results();
    result->set_name(target.name);
    const absl::StatusOr<CancelResult> outcome =
        target.run_id == 0 ? absl::StatusOr<CancelResult>(
                                 RunNotFound(target.name.substr(target.name.rfind('/') + 1)))
                           : canceled[next++];
    *result->mutable_status() = ToProto(outcome.status());
    if (!outcome.ok()) continue;
    result->set_outcome(OutcomeOf(*outcome));
    *result->mutable_run() = by_id[target.run_id];
    if (outcome->outcome != CancelResult::Outcome::kAlreadyTerminal) {
      core.RunMoved(target.run_id, outcome->from, outcome->to, /*desired_changed=*/true);
    }
  }
  response->set_more(targets.more);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* RunService::CancelRuns(grpc::CallbackServerContext* context,
                                                 const v1::CancelRunsRequest* request,
                                                 v1::CancelRunsResponse* response) {
  return HandleUnary(core_.changes, context, Method("CancelRuns"),
                     [=](const Identity& caller, const Done& done) {
                       done(CancelAll(core_, caller, *request, response));
                     });
}

}  // namespace finetuned
