#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/flag_values.h"
#include "cli/times.h"

namespace finetuned::cli {
namespace {

// How often a run is read again because it changed between the reading and the change.
constexpr int kMaxRereads = 3;

// What the flags ask for.
struct Change {
  std::map<std::string, std::string> labels;
  std::vector<std::string> remove_labels;
  // The other fields, and all paths.
  v1::Scheduling scheduling;
  google::protobuf::FieldMask mask;

  bool HasLabels() const { return !labels.empty() || !remove_labels.empty(); }
};

absl::Status ReadLabelFlags(const UpdateFlags& flags, Change& change) {
  FT_ASSIGN_OR_RETURN(change.labels, ParseLabels(flags.labels));
  change.remove_labels = flags.remove_labels;
  for (const std::string& key : flags.remove_labels) {
    if (key.empty() || absl::StrContains(key, "=")) {
      return UsageError(absl::StrCat("--remove-label is `", key, "`; give the key alone."));
    }
    if (change.labels.count(key) != 0) {
      return UsageError(absl::StrCat("--label and --remove-label both name `", key, "`."));
    }
  }
  if (change.HasLabels()) change.mask.add_paths("labels");
  return absl::OkStatus();
}

absl::StatusOr<Change> ChangeOf(const UpdateFlags& flags) {
  Change change;
  FT_RETURN_IF_ERROR(ReadLabelFlags(flags, change));
  if (flags.priority) {
    FT_ASSIGN_OR_RETURN(const v1::Scheduling::Priority priority, ParsePriority(*flags.priority));
    change.scheduling.set_priority(priority);
    change.mask.add_paths("spec.scheduling.priority");
  }
  if (flags.max_retries) {
    change.scheduling.set_max_retries(*flags.max_retries);
    change.mask.add_paths("spec.scheduling.max_retries");
  }
  if (flags.max_run_time) {
    // Absent means no limit.
    if (absl::AsciiStrToLower(*flags.max_run_time) != "none") {
      FT_ASSIGN_OR_RETURN(const absl::Duration limit, ParseDuration(*flags.max_run_time));
      *change.scheduling.mutable_max_run_time() = ToProtoDuration(limit);
    }
    change.mask.add_paths("spec.scheduling.max_run_time");
  }
  if (flags.max_queue_time) {
    if (absl::AsciiStrToLower(*flags.max_queue_time) != "none") {
      FT_ASSIGN_OR_RETURN(const absl::Duration limit, ParseDuration(*flags.max_queue_time));
      *change.scheduling.mutable_max_queue_time() = ToProtoDuration(limit);
    }
    change.mask.add_paths("spec.scheduling.max_queue_time");
  }
  if (change.mask.paths().empty()) {
    return UsageError(
        "There is nothing to change: give --label, --remove-label, --priority, --max-retries, "
        "--max-run-time or --max-queue-time.",
        "finetune run update --help");
  }
  // Taken for none by the server, which is not what somebody means who gives one.
  if (flags.etag && flags.etag->empty()) return UsageError("--etag is empty.");
  return change;
}

// The labels after the change.
void ApplyLabels(const Change& change, google::protobuf::Map<std::string, std::string>& labels) {
  for (const std::string& key : change.remove_labels) labels.erase(key);
  for (const auto& [key, value] : change.labels) labels[key] = value;
}

// Whether nothing of the change is left to be made.
bool IsMade(const Change& change, const v1::Run& run) {
  for (const std::string& key : change.remove_labels) {
    if (run.labels().contains(key)) return false;
  }
  for (const auto& [key, value] : change.labels) {
    const auto found = run.labels().find(key);
    if (found == run.labels().end() || found->second != value) return false;
  }
  const v1::Scheduling& is = run.spec().scheduling();
  const v1::Scheduling& wanted = change.scheduling;
  for (const std::string& path : change.mask.paths()) {
    if (path == "spec.scheduling.priority" && is.priority() != wanted.priority()) return false;
    if (path == "spec.scheduling.max_retries" && is.max_retries() != wanted.max_retries()) {
      return false;
    }
    if (path == "spec.scheduling.max_run_time" &&
        FromProtoDuration(is.max_run_time()) != FromProtoDuration(wanted.max_run_time())) {
      return false;
    }
  }
  return true;
}

// One reading, where labels need it, and one change.
absl::StatusOr<v1::Run> Try(Client& client, const UpdateFlags& flags, const Change& change,
                            bool* repeated) {
  v1::UpdateRunRequest request;
  *request.mutable_update_mask() = change.mask;
  *request.mutable_run()->mutable_spec()->mutable_scheduling() = change.scheduling;
  if (change.HasLabels()) {
    v1::GetRunRequest get;
    get.set_name(flags.name);
    FT_ASSIGN_OR_RETURN(const v1::Run run, client.GetRun(get));
    *request.mutable_run()->mutable_labels() = run.labels();
    ApplyLabels(change, *request.mutable_run()->mutable_labels());
    // All labels are written, so one that somebody sets meanwhile would be lost without it.
    request.mutable_run()->set_etag(run.etag());
  }
  request.mutable_run()->set_name(flags.name);
  if (flags.etag) request.mutable_run()->set_etag(*flags.etag);
  return client.UpdateRun(request, repeated);
}

absl::StatusOr<v1::Run> Update(Session& session, Client& client, const UpdateFlags& flags,
                               const Change& change) {
  for (int rereads = 0;; ++rereads) {
    bool repeated = false;
    absl::StatusOr<v1::Run> run = Try(client, flags, change, &repeated);
    if (ErrorReason(run.status()) != "ETAG_MISMATCH") return run;
    if (!flags.etag) {
      if (rereads == kMaxRereads) return run;
      continue;
    }
    if (!repeated) return run;
    // The try whose answer was lost may have made the change, and so a new etag.
    v1::GetRunRequest get;
    get.set_name(flags.name);
    const absl::StatusOr<v1::Run> now = client.GetRun(get);
    if (!now.ok() || !IsMade(change, *now)) return run;
    session.Note("The answer to the first try was lost; the run is as it was asked for.");
    return now;
  }
}

}  // namespace

absl::StatusOr<int> UpdateRun(Session& session, const UpdateFlags& flags) {
  FT_ASSIGN_OR_RETURN(const Change change, ChangeOf(flags));
  session.set_run(flags.name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  FT_ASSIGN_OR_RETURN(const v1::Run run, Update(session, *client, flags, change));
  PrintRun(session, run);
  return kExitOk;
}

}  // namespace finetuned::cli
