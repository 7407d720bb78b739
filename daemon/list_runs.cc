#include <optional>

#include "absl/strings/str_cat.h"
#include "base/time.h"
#include "daemon/canonical.h"
#include "daemon/filters.h"
#include "daemon/page_token.h"
#include "daemon/resource_name.h"
#include "daemon/run_service.h"
#include "daemon/run_view.h"
#include "daemon/text.h"
#include "daemon/validate_run.h"
#include "db/listing.h"

namespace finetuned {
namespace {

constexpr int kMaxNames = 1000;

void ReadStates(const v1::ListRunsRequest& request, RunFilter* filter, Checker* check) {
  for (const int state : request.states()) {
    if (!v1::Run::State_IsValid(state) || state == v1::Run::STATE_UNSPECIFIED) {
      return check->Add("states", "has a value that is no state", "BAD_STATE");
    }
    filter->states.push_back(static_cast<RunState>(state));
  }
}

void ReadNames(const v1::ListRunsRequest& request, const Identity& caller, RunFilter* filter,
               Checker* check) {
  if (request.names_size() > kMaxNames) {
    return check->Add("names", "has more than 1000 names", "TOO_MANY");
  }
  for (int i = 0; i < request.names_size(); ++i) {
    const auto name = ParseRunName(request.names(i), caller);
    if (name.ok()) {
      filter->names.push_back(*name);
    } else if (name.status().code() == absl::StatusCode::kInvalidArgument) {
      check->Add(absl::StrCat("names[", i, "]"), "can be no run's name", "BAD_NAME");
    } else {
      filter->names.push_back("-");  // Of another workspace: matches nothing here.
    }
  }
}

void ReadTime(const char* field, const google::protobuf::Timestamp& time, absl::Time* out,
              Checker* check) {
  if (IsValid(time)) {
    *out = FromProtoTime(time);
  } else {
    check->Add(field, "is not a time between the years 1 and 9999", "BAD_TIME");
  }
}

// Checks the filters and turns them into what the listing takes.
absl::StatusOr<RunFilter> FilterOf(const v1::ListRunsRequest& request, const Identity& caller) {
  Checker check;
  RunFilter filter;
  const absl::Status parent = CheckParent(request.parent(), caller);
  check.AddAll(parent);
  check.AddAll(PageSize(request.page_size()).status());
  ReadStates(request, &filter, &check);
  ReadNames(request, caller, &filter, &check);
  CheckEmails(request.user_emails(), &check);
  filter.user_emails = {request.user_emails().begin(), request.user_emails().end()};
  if (request.has_before()) ReadTime("before", request.before(), &filter.before, &check);
  if (request.has_after()) ReadTime("after", request.after(), &filter.after, &check);
  filter.experiment = ReadExperiment(request.experiment(), caller, &check);
  if (!request.source_run().empty()) {
    const auto source = ParseRunName(request.source_run(), caller);
    if (source.status().code() == absl::StatusCode::kInvalidArgument) {
      check.Add("source_run", "can be no run's name", "BAD_NAME");
    }
    filter.source_run = source.ok() ? *source : "-";
  }
  CheckLabels(request.labels(), "labels", &check);
  filter.labels = {request.labels().begin(), request.labels().end()};
  filter.newest_first = request.order_by() != "create_time";
  check.Require(request.order_by().empty() || request.order_by() == "create_time" ||
                    request.order_by() == "create_time desc",
                "order_by", "is neither `create_time desc` nor `create_time`", "BAD_ORDER");
  if (!check.violations().empty()) return InvalidArgument(check.violations());
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
  const std::string scope = absl::StrCat("runs/", caller.workspace_id, "/", caller.owner_id, "/",
                                         CanonicalBytes(canonical));
  const auto token_at = [&](const RunPageKey& key) {
    return MakePageToken(core.page_token_key, scope,
                         {absl::ToUnixMicros(key.create_time), key.run_id});
  };
  std::optional<RunPageKey> after;
  if (!request.page_token().empty()) {
    FT_ASSIGN_OR_RETURN(const std::vector<int64_t> at,
                        ReadPageToken(core.page_token_key, scope, request.page_token(), 2));
    after = {absl::FromUnixMicros(at[0]), at[1]};
  }
  FT_ASSIGN_OR_RETURN(std::vector<RunPageKey> keys,
                      core.listing->ListRuns(ViewerOf(caller), filter, after, page_size + 1));
  if (static_cast<int>(keys.size()) > page_size) {
    keys.resize(page_size);
    response->set_next_page_token(token_at(keys.back()));
  }
  std::vector<int64_t> ids;
  for (const RunPageKey& key : keys) ids.push_back(key.run_id);
  FT_ASSIGN_OR_RETURN(const std::vector<Run> runs, core.reader->GetRuns(ids));
  size_t bytes = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    v1::Run run = ToProto(runs[i]);
    bytes += run.ByteSizeLong();
    if (i > 0 && bytes > kMaxResponseBytes) {
      response->set_next_page_token(token_at(keys[i - 1]));
      break;
    }
    *response->add_runs() = std::move(run);
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* RunService::ListRuns(grpc::CallbackServerContext* context,
                                               const v1::ListRunsRequest* request,
                                               v1::ListRunsResponse* response) {
  return HandleUnary(core_.call, context, Method("ListRuns"),
                     [=](const Identity& caller, const Done& done) {
                       done(ListPage(core_, caller, *request, response));
                     });
}

}  // namespace finetuned
