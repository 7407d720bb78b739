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

absl::StatusOr<int> ShareRuns(Session& session, const bool& share) {
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::UpdateWorkspaceRequest request;
  request.mutable_workspace()->set_name(kOwn);
  request.mutable_workspace()->set_share_runs(share);
  request.mutable_update_mask()->add_paths("share_runs");
  FT_ASSIGN_OR_RETURN(const v1::Workspace workspace, client->UpdateWorkspace(request));
  Print(session, workspace);
  session.Note("Every daemon goes by it within 30 seconds.");
  return kExitOk;
}

}  // namespace finetuned::cli
