#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/create_request.h"
#include "cli/session.h"

// The commands. Each takes what its flags say, does its work, and returns the exit status, or the
// error that the caller reports. cli/grammar.cc turns a command line into these calls.

namespace finetuned::cli {

struct WatchFlags {
  std::string name;
  // The first event that is shown.
  int64_t from = 1;
  bool exit_status = false;
  std::string progress;
};
// Follows a run to its end, showing what happens. Exit status 10 and 11 only with exit_status.
absl::StatusOr<int> WatchRun(Session& session, const WatchFlags& flags);
// The same without showing anything but the end; always with the run's exit status.
absl::StatusOr<int> WaitForRun(Session& session, const std::string& name);

struct CreateRunFlags {
  CreateFlags create;
  // Of CreateRun: the file beneath the flags, `-` for standard input; empty for none.
  std::string file;
  // Of CloneRun: the run beneath them.
  std::string source;
  bool watch = false;
  WatchFlags watch_flags;
};
absl::StatusOr<int> CreateRun(Session& session, const CreateRunFlags& flags);
absl::StatusOr<int> CloneRun(Session& session, const CreateRunFlags& flags);

struct ListFlags {
  std::vector<std::string> states;
  std::vector<std::string> names;
  std::string before;
  std::string after;
  std::vector<std::string> users;
  std::optional<std::string> experiment;
  std::optional<std::string> source;
  std::vector<std::string> labels;
  bool oldest_first = false;
  int64_t limit = 100;
  // Again every two seconds, until Ctrl-C.
  bool watch = false;
};
absl::StatusOr<int> ListRuns(Session& session, const ListFlags& flags);

struct GetFlags {
  std::string name;
  // With every event, until the run ends.
  bool watch = false;
};
absl::StatusOr<int> GetRun(Session& session, const GetFlags& flags);
// Writes a run in the format asked for, as its page by default.
void PrintRun(Session& session, const v1::Run& run);

struct DiffFlags {
  std::string name;
  std::string other;
};
// Shows where two runs differ. Exit status 0 whether or not they do.
absl::StatusOr<int> DiffRuns(Session& session, const DiffFlags& flags);

struct EventsFlags {
  std::string name;
  int64_t after_seq = 0;
  // 0 for all.
  int64_t limit = 0;
};
absl::StatusOr<int> ListEvents(Session& session, const EventsFlags& flags);

struct FeedFlags {
  bool follow = false;
  std::optional<std::string> experiment;
  std::vector<std::string> users;
  // As the service calls them, in any case.
  std::vector<std::string> types;
  std::string cursor;
  bool from_now = false;
};
absl::StatusOr<int> FollowFeed(Session& session, const FeedFlags& flags);

absl::StatusOr<int> ListCheckpoints(Session& session, const std::string& name);

struct LogsFlags {
  std::string name;
  // 0 for the newest.
  int64_t attempt = 0;
  bool use_stdout = false;
  bool follow = false;
  // Last lines; negative for all.
  int64_t tail = -1;
};
absl::StatusOr<int> ReadLogs(Session& session, const LogsFlags& flags);

struct UpdateFlags {
  std::string name;
  std::vector<std::string> labels;
  std::vector<std::string> remove_labels;
  std::optional<std::string> priority;
  std::optional<int32_t> max_retries;
  // A duration, or `none`.
  std::optional<std::string> max_run_time;
  std::optional<std::string> max_queue_time;
  std::optional<std::string> etag;
};
absl::StatusOr<int> UpdateRun(Session& session, const UpdateFlags& flags);

absl::StatusOr<int> ListAttempts(Session& session, const std::string& name);

struct PauseFlags {
  std::string name;
  std::string reason;
};
absl::StatusOr<int> PauseRun(Session& session, const PauseFlags& flags);
absl::StatusOr<int> ResumeRun(Session& session, const std::string& name);

struct MetricsFlags {
  std::string name;
  // Names of metrics; empty for the losses.
  std::vector<std::string> metrics;
  // The most points of each; nothing for what suits the output.
  std::optional<int> points;
  int64_t from_step = 0;
  // 0 for no end.
  int64_t to_step = 0;
  bool follow = false;
};
absl::StatusOr<int> ShowMetrics(Session& session, const MetricsFlags& flags);

struct QueueFlags {
  int64_t limit = 50;
};
absl::StatusOr<int> ShowQueue(Session& session, const QueueFlags& flags);

struct DeleteFlags {
  std::vector<std::string> names;
  bool yes = false;
};
absl::StatusOr<int> DeleteRuns(Session& session, const DeleteFlags& flags);

struct CancelFlags {
  std::vector<std::string> names;
  // Instead of names: all its runs that are not terminal.
  std::optional<std::string> experiment;
  std::string reason;
  bool yes = false;
  bool dry_run = false;
};
absl::StatusOr<int> CancelRuns(Session& session, const CancelFlags& flags);
// The part of it with --experiment.
absl::StatusOr<int> CancelExperiment(Session& session, const CancelFlags& flags);

struct ListExperimentsFlags {
  int64_t limit = 100;
};
absl::StatusOr<int> ListExperiments(Session& session, const ListExperimentsFlags& flags);
absl::StatusOr<int> GetExperiment(Session& session, const std::string& name);

struct ListRegisteredModelsFlags {
  int64_t limit = 100;
};
absl::StatusOr<int> ListRegisteredModels(Session& session, const ListRegisteredModelsFlags& flags);
absl::StatusOr<int> GetRegisteredModel(Session& session, const std::string& name);

struct ListArtifactsFlags {
  // A run, or the resource name of a registered version.
  std::string parent;
  std::string path;
  bool recursive = false;
};
absl::StatusOr<int> ListArtifacts(Session& session, const ListArtifactsFlags& flags);

struct DownloadFlags {
  std::string parent;
  std::string path;
  std::string to;
  bool replace = false;
};
absl::StatusOr<int> DownloadArtifacts(Session& session, const DownloadFlags& flags);

struct DownloadModelFlags {
  std::string name;
  // The newest when left out.
  std::optional<int32_t> version;
  std::string to;
  bool replace = false;
};
absl::StatusOr<int> DownloadModel(Session& session, const DownloadModelFlags& flags);

absl::StatusOr<int> ListModels(Session& session);

absl::StatusOr<int> ShowWorkspace(Session& session);
struct WorkspaceFlags {
  // Whether everybody in it sees everybody's runs.
  std::optional<bool> share_runs;
  // Durations, or `forever`; empty ones change nothing.
  std::string keep_events;
  std::string keep_metrics;
  std::string keep_logs;
};
absl::StatusOr<int> UpdateWorkspace(Session& session, const WorkspaceFlags& flags);

absl::StatusOr<int> ShowQuota(Session& session);
absl::StatusOr<int> ListWorkers(Session& session);
absl::StatusOr<int> GetWorker(Session& session, const std::string& name);
struct DrainFlags {
  std::string name;
  bool stop_runs = false;
  bool undo = false;
};
absl::StatusOr<int> DrainWorker(Session& session, const DrainFlags& flags);

absl::StatusOr<int> ListContexts(Session& session);
absl::StatusOr<int> UseContext(Session& session, const std::string& name);
// Takes server and token from the global flags.
absl::StatusOr<int> SetContext(Session& session, const std::string& name);
absl::StatusOr<int> ViewContext(Session& session, bool show_origin);

absl::StatusOr<int> ShowVersion(Session& session);
// Looks at what stands between a person and the server. Exit status 1 when something failed.
absl::StatusOr<int> RunDoctor(Session& session);

// Prints the names that a shell may offer: `runs`, `experiments`, `contexts`, `models` or
// `registered`. Asks the server at most once in five seconds, for less than a second.
absl::StatusOr<int> CompleteNames(Session& session, const std::string& kind);

}  // namespace finetuned::cli
