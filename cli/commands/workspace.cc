#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/run_text.h"
#include "cli/table.h"
#include "cli/times.h"

// The caller's own workspace: a token belongs to one and sees no other.

namespace finetuned::cli {
namespace {

constexpr char kOwn[] = "workspaces/-";
constexpr char kForever[] = "forever";

// As it is given: in whole days where it is.
std::string KeptDuration(absl::Duration duration) {
  const int64_t hours = absl::ToInt64Hours(duration);
  if (duration != absl::Hours(hours) || hours % 24 != 0) return HumanDuration(duration);
  return absl::StrCat(hours / 24, "d");
}

std::string KeptFor(bool limited, const google::protobuf::Duration& duration) {
  return limited ? absl::StrCat(KeptDuration(FromProtoDuration(duration)), " after a run's end")
                 : "for good";
}

// Puts what a flag says of a field of the retention into the request; nothing when it is empty.
absl::Status Keep(const std::string& flag, const std::string& value, const std::string& field,
                  v1::UpdateWorkspaceRequest* request) {
  if (value.empty()) return absl::OkStatus();
  request->mutable_update_mask()->add_paths(absl::StrCat("retention.", field));
  if (value == kForever) return absl::OkStatus();
  const absl::StatusOr<absl::Duration> duration = ParseDuration(value);
  if (!duration.ok()) {
    return UsageError(absl::StrCat(flag, ": ", duration.status().message()),
                      "`forever` keeps them for good.");
  }
  v1::Retention* retention = request->mutable_workspace()->mutable_retention();
  retention->GetReflection()
      ->MutableMessage(retention, v1::Retention::descriptor()->FindFieldByName(field))
      ->CopyFrom(ToProtoDuration(*duration));
  return absl::OkStatus();
}

void Print(Session& session, const v1::Workspace& workspace) {
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kName) {
    out << ShortName(workspace.name()) << "\n";
  } else if (!session.PrintMessage(workspace)) {
    KeyValues page;
    page.Add("Name", ShortName(workspace.name()));
    page.Add("Share runs", workspace.share_runs()
                               ? "true: everybody in it sees everybody's runs"
                               : "false: everybody sees their own runs, an admin sees all");
    const v1::Retention& kept = workspace.retention();
    page.Add("Events kept", KeptFor(kept.has_events_duration(), kept.events_duration()));
    page.Add("Metrics kept", KeptFor(kept.has_metrics_duration(), kept.metrics_duration()));
    page.Add("Logs kept", KeptFor(kept.has_logs_duration(), kept.logs_duration()));
    if (workspace.has_create_time()) {
      page.Add("Created", FormatUtc(FromProtoTime(workspace.create_time())));
    }
    out << page.Render(session.color());
  }
  out << std::flush;
}

}  // namespace

absl::StatusOr<int> ShowWorkspace(Session& session) {
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::GetWorkspaceRequest request;
  request.set_name(kOwn);
  FT_ASSIGN_OR_RETURN(const v1::Workspace workspace, client->GetWorkspace(request));
  Print(session, workspace);
  return kExitOk;
}

absl::StatusOr<int> UpdateWorkspace(Session& session, const WorkspaceFlags& flags) {
  v1::UpdateWorkspaceRequest request;
  request.mutable_workspace()->set_name(kOwn);
  if (flags.share_runs.has_value()) {
    request.mutable_workspace()->set_share_runs(*flags.share_runs);
    request.mutable_update_mask()->add_paths("share_runs");
  }
  FT_RETURN_IF_ERROR(Keep("--keep-events", flags.keep_events, "events_duration", &request));
  FT_RETURN_IF_ERROR(Keep("--keep-metrics", flags.keep_metrics, "metrics_duration", &request));
  FT_RETURN_IF_ERROR(Keep("--keep-logs", flags.keep_logs, "logs_duration", &request));
  if (request.update_mask().paths().empty()) {
    return UsageError(
        "what is to change? There are --share-runs, --keep-events, --keep-metrics and --keep-logs");
  }
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  FT_ASSIGN_OR_RETURN(const v1::Workspace workspace, client->UpdateWorkspace(request));
  Print(session, workspace);
  if (flags.share_runs.has_value()) session.Note("Every daemon goes by it within 30 seconds.");
  return kExitOk;
}

}  // namespace finetuned::cli
