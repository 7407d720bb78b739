#include "cli/grammar.h"

#include <ostream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/completion.h"
#include "cli/errors.h"
#include "cli/grammar_create.h"
#include "cli/grammar_examples.h"
#include "cli/grammar_parts.h"

namespace finetuned::cli {
namespace {

constexpr char kExitCodes[] =
    "Exit status:\n"
    "  0 ok               4 no token, or not allowed     10 the run ended FAILED  \\ run wait,\n"
    "  1 failure          5 conflict, quota, state       11 the run ended STOPPED / --exit-status\n"
    "  2 wrong usage      6 no answer in time            65 the server refused the data\n"
    "  3 not found                                      130 interrupted\n"
    "Data go to standard output, everything else to standard error.";

void AddGlobalFlags(CLI::App& app, GlobalFlags& flags) {
  const char* group = "Global flags";
  app.add_option("--server", flags.connection.server, "Address of the server, host:port")
      ->group(group);
  app.add_option("--token", flags.connection.token,
                 "Token; others on this machine can see it, so prefer --token-file")
      ->group(group);
  app.add_option("--token-file", flags.connection.token_file, "File with the token")->group(group);
  app.add_option(
         "--ca-file", flags.connection.ca_file,
         "Authorities of the server's certificate, in PEM; those of the system when left out")
      ->group(group);
  app.add_option("--context", flags.connection.context, "Context of the configuration file")
      ->group(group);
  app.add_option("-o,--output", flags.output, "table, wide, csv, json, jsonl, yaml or name")
      ->group(group);
  app.add_option("--color", flags.color, "auto, always or never")->group(group);
  app.add_option("--timeout", flags.timeout,
                 "Time limit, e.g. 30s (the default) or 2m; none for watch and wait")
      ->group(group);
}

void AddList(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] = AddCommand<ListFlags>(parent, name, "List runs, newest first");
  command->add_option("--state", flags->states, "Only runs in this state; repeat, or a,b")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--name", flags->names, "Only this run; repeat, or a,b")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--user", flags->users, "Only runs of this e-mail address; repeat, or a,b")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--experiment", flags->experiment,
                      "Only runs of this experiment: its path, resource name or uid");
  command->add_option("--source", flags->source,
                      "Only runs that started from what this run has left");
  // One value each time the flag is given: a label may have a comma.
  command
      ->add_option("--label", flags->labels, "Only runs with this label, key=value; repeat for all")
      ->allow_extra_args(false);
  command->add_option("--before", flags->before,
                      "Created before: 2026-01-31, an RFC 3339 time, yesterday, or 2h (ago)");
  command->add_option("--after", flags->after, "Created after, in the same forms");
  command->add_flag("--oldest-first", flags->oldest_first, "In the order of their creation");
  command->add_option("--limit", flags->limit, "The most that are listed")->capture_default_str();
  command->add_flag("-w,--watch", flags->watch,
                    "Again every 2 s until Ctrl-C: in place on a terminal, else what changes");
  AddTableFlags(grammar, command);
  Bind(grammar, command, flags, &ListRuns);
}

void AddWatch(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] = AddCommand<WatchFlags>(parent, name, "Follow a run to its end");
  command->add_option("NAME", flags->name, "The run")->required();
  command->add_option("--from", flags->from, "Number of the first event shown")
      ->capture_default_str();
  AddWatchFlags(command, *flags);
  Bind(grammar, command, flags, &WatchRun);
}

void AddDiff(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] = AddCommand<DiffFlags>(
      parent, name, "Show where two runs differ, in what they are and in what became of them");
  command->add_option("NAME", flags->name, "A run")->required();
  command->add_option("OTHER", flags->other, "Another run")->required();
  Bind(grammar, command, flags, &DiffRuns);
}

void AddEvents(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] = AddCommand<EventsFlags>(parent, name, "List the events of a run");
  command->add_option("NAME", flags->name, "The run")->required();
  command->add_option("--after", flags->after_seq, "Only events after this number");
  command->add_option("--limit", flags->limit, "The most that are listed; 0 for all");
  AddTableFlags(grammar, command);
  Bind(grammar, command, flags, &ListEvents);
}

void AddFeed(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] =
      AddCommand<FeedFlags>(parent, name, "The events of all runs that you see, oldest first");
  command->add_flag("-f,--follow", flags->follow, "Go on with what comes, until Ctrl-C");
  command->add_flag("--new", flags->from_now, "With --follow: only what comes from now on");
  command->add_option("--experiment", flags->experiment,
                      "Only runs of this experiment; its path, resource name or uid");
  command->add_option("--user", flags->users, "Only runs of this owner; repeat, or a,b")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--type", flags->types, "Only this type, e.g. completed; repeat, or a,b")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--cursor", flags->cursor,
                      "Go on from where a stream with the same filters was left");
  Bind(grammar, command, flags, &FollowFeed);
}

void AddLogs(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] = AddCommand<LogsFlags>(parent, name, "Print what a run's trainer wrote");
  command->add_option("NAME", flags->name, "The run")->required();
  command->add_option("--attempt", flags->attempt,
                      "Number of the attempt; the newest when left out");
  command->add_flag("--stdout", flags->use_stdout, "Standard output instead of standard error");
  command->add_flag("-f,--follow", flags->follow, "Go on until the run ends");
  command->add_option("--tail", flags->tail, "Only the last lines");
  Bind(grammar, command, flags, &ReadLogs);
}

void AddUpdate(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] =
      AddCommand<UpdateFlags>(parent, name, "Change the labels of a run, or how it is scheduled");
  command->add_option("NAME", flags->name, "The run: its name, resource name or uid")->required();
  command
      ->add_option("--label", flags->labels,
                   "key=value, added or replaced; other labels stay; repeat")
      ->allow_extra_args(false);
  command
      ->add_option("--remove-label", flags->remove_labels,
                   "Key of a label to remove; repeat, or a,b")
      ->delimiter(',')
      ->allow_extra_args(false);
  const char* group = "Scheduling, until the run has ended";
  command->add_option("--priority", flags->priority, "high, auto, low or lowest")->group(group);
  command->add_option("--max-retries", flags->max_retries, "Retries of a failed trainer")
      ->group(group);
  command->add_option("--max-run-time", flags->max_run_time, "Wall-clock limit, e.g. 2h, or none")
      ->group(group);
  command
      ->add_option("--max-queue-time", flags->max_queue_time,
                   "Fail the run unless it has started by then, e.g. 2h, or none")
      ->group(group);
  command->add_option("--etag", flags->etag,
                      "Change only the run that has this etag, of `run get -o json`");
  Bind(grammar, command, flags, &UpdateRun);
}

void AddPause(Grammar& grammar, CLI::App& run) {
  auto [command, flags] = AddCommand<PauseFlags>(
      run, "pause", "Stop a run for a while: it keeps a checkpoint and holds nothing");
  command->add_option("NAME", flags->name, "The run: its name, resource name or uid")->required();
  command->add_option("--reason", flags->reason, "Shown in the event");
  Bind(grammar, command, flags, &PauseRun);
  BindName(grammar, run.add_subcommand("resume", "Let a paused run go on from its checkpoint"),
           &ResumeRun);
}

void AddMetrics(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] =
      AddCommand<MetricsFlags>(parent, name, "Draw the losses of a run, or print its numbers");
  command->add_option("NAME", flags->name, "The run: its name, resource name or uid")->required();
  command
      ->add_option("-m,--metric", flags->metrics,
                   "A metric instead of the losses, e.g. lr; repeat, or a,b; `all` for every one")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option(
      "--points", flags->points,
      "At most so many points of each metric, with its extremes: 0 for all, or 10 to "
      "5000; 1000 are drawn, all are printed");
  command->add_option("--from-step", flags->from_step, "Only steps from this one on");
  command->add_option("--to-step", flags->to_step, "Only steps up to this one");
  command->add_flag("-f,--follow", flags->follow,
                    "Go on with what is reported, until the run has ended");
  AddTableFlags(grammar, command);
  Bind(grammar, command, flags, &ShowMetrics);
}

void AddDelete(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] = AddCommand<DeleteFlags>(
      parent, name, "Remove runs that have ended from every listing, for good; files stay");
  command->add_option("NAME", flags->names, "The runs")->required();
  command->add_flag("-y,--yes", flags->yes, "Do not ask");
  Bind(grammar, command, flags, &DeleteRuns);
}

void AddCancel(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] = AddCommand<CancelFlags>(parent, name, "Stop runs for good");
  command->add_option("NAME", flags->names, "The runs");
  command->add_option("--experiment", flags->experiment,
                      "Instead: every run of this experiment that has not ended; its path, "
                      "resource name or uid");
  command->add_option("--reason", flags->reason, "Shown in the event");
  command->add_flag("-y,--yes", flags->yes, "Do not ask");
  command->add_flag("--dry-run", flags->dry_run, "Say what would happen and change nothing");
  Bind(grammar, command, flags, &CancelRuns);
}

void AddListExperiments(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] =
      AddCommand<ListExperimentsFlags>(parent, name, "List experiments, newest first");
  command->add_option("--limit", flags->limit, "The most that are listed")->capture_default_str();
  AddTableFlags(grammar, command);
  Bind(grammar, command, flags, &ListExperiments);
}

void AddGetExperiment(Grammar& grammar, CLI::App& parent, const std::string& name) {
  BindName(grammar, parent.add_subcommand(name, "Show one experiment"), &GetExperiment,
           "The experiment: its path, resource name or uid");
}

void AddListModels(Grammar& grammar, CLI::App& parent, const std::string& name) {
  CLI::App* command = parent.add_subcommand(name, "List the models that runs can start from");
  AddTableFlags(grammar, command);
  BindPlain(grammar, command, &ListModels);
}

void AddRegisteredModels(Grammar& grammar, CLI::App& model) {
  auto [command, flags] = AddCommand<ListRegisteredModelsFlags>(
      model, "registered", "List the models that completed runs have registered, newest first");
  command->add_option("--limit", flags->limit, "The most that are listed")->capture_default_str();
  AddTableFlags(grammar, command);
  Bind(grammar, command, flags, &ListRegisteredModels);
  BindName(grammar, model.add_subcommand("get", "Show a registered model and its versions"),
           &GetRegisteredModel, "The model: catalog.schema.model, or its resource name");
}

void AddDownloadFlags(CLI::App* command, std::string& to, bool& replace) {
  command->add_option("--to", to, "Where it goes; made here, under its own name, when left out");
  command->add_flag("--replace", replace, "Replace files that are there with other content");
}

void AddArtifacts(Grammar& grammar, CLI::App& artifacts) {
  const char* parent = "The run, or the resource name of a registered version";
  auto [list, list_flags] =
      AddCommand<ListArtifactsFlags>(artifacts, "list", "List what a run has left");
  list->add_option("RUN", list_flags->parent, parent)->required();
  list->add_option("PATH", list_flags->path, "A folder; all of it when left out");
  list->add_flag("-r,--recursive", list_flags->recursive, "All files beneath it");
  AddTableFlags(grammar, list);
  Bind(grammar, list, list_flags, &ListArtifacts);
  auto [download, flags] = AddCommand<DownloadFlags>(
      artifacts, "download", "Fetch a file or a folder; goes on where it was broken off");
  download->add_option("RUN", flags->parent, parent)->required();
  download->add_option("PATH", flags->path, "A file or a folder; all of it when left out");
  AddDownloadFlags(download, flags->to, flags->replace);
  Bind(grammar, download, flags, &DownloadArtifacts);
}

void AddDownloadModel(Grammar& grammar, CLI::App& model) {
  auto [command, flags] =
      AddCommand<DownloadModelFlags>(model, "download", "Fetch a version of a registered model");
  command->add_option("NAME", flags->name, "The model: catalog.schema.model")->required();
  command->add_option("--version", flags->version, "Its number; the newest when left out");
  AddDownloadFlags(command, flags->to, flags->replace);
  Bind(grammar, command, flags, &DownloadModel);
}

void AddQueue(Grammar& grammar, CLI::App& app) {
  auto [command, flags] = AddCommand<QueueFlags>(
      app, "queue", "The runs that wait: each with its place and what it waits for");
  command->add_option("--limit", flags->limit, "The most that are listed")->capture_default_str();
  AddTableFlags(grammar, command);
  command->group("Commands");
  Bind(grammar, command, flags, &ShowQueue);
}

void AddWorkspace(Grammar& grammar, CLI::App& workspace) {
  BindPlain(grammar, workspace.add_subcommand("get", "Show your workspace"), &ShowWorkspace);
  auto [command, flags] =
      AddCommand<WorkspaceFlags>(workspace, "update", "Change your workspace; for admins");
  command->add_option("--share-runs", flags->share_runs,
                      "true: everybody in it sees everybody's runs; false: only their own");
  const auto add_keep = [command = command](const char* flag, std::string& value,
                                            const char* what) {
    command
        ->add_option(flag, value,
                     absl::StrCat("How long ", what,
                                  " are kept after a run's end, e.g. 90d; "
                                  "`forever` for good"))
        ->type_name("DURATION");
  };
  add_keep("--keep-events", flags->keep_events, "events");
  add_keep("--keep-metrics", flags->keep_metrics, "metrics");
  add_keep("--keep-logs", flags->keep_logs, "logs");
  Bind(grammar, command, flags, &UpdateWorkspace);
}

void AddGet(Grammar& grammar, CLI::App& parent, const std::string& name) {
  auto [command, flags] = AddCommand<GetFlags>(parent, name, "Show one run");
  command->add_option("NAME", flags->name, "The run: its name, resource name or uid")->required();
  command->add_flag("-w,--watch", flags->watch,
                    "Until the run ends: in place on a terminal, else what changes");
  Bind(grammar, command, flags, &GetRun);
}

CLI::App* AddNoun(CLI::App& app, const std::string& name, const std::string& description,
                  const std::string& group = "Commands") {
  CLI::App* noun = app.add_subcommand(name, description);
  noun->require_subcommand(1)->group(group);
  return noun;
}

void AddWorkers(Grammar& grammar, CLI::App& worker) {
  BindName(grammar, worker.add_subcommand("get", "Show a worker and what runs on it"), &GetWorker,
           "The worker");
  auto [command, flags] = AddCommand<DrainFlags>(
      worker, "drain", "Take a worker out of use: it gets nothing new; for admins");
  command->add_option("NAME", flags->name, "The worker")->required();
  command->add_flag("--stop-runs", flags->stop_runs,
                    "Also stop what runs there, with a checkpoint; it goes on elsewhere");
  command->add_flag("--undo", flags->undo, "Take it back into use");
  Bind(grammar, command, flags, &DrainWorker);
}

void AddContexts(Grammar& grammar, CLI::App& context) {
  CLI::App* list = context.add_subcommand("list", "List the contexts");
  AddTableFlags(grammar, list);
  BindPlain(grammar, list, &ListContexts);
  BindName(grammar, context.add_subcommand("use", "Choose the context that commands use"),
           &UseContext, "The context");
  BindName(grammar,
           context.add_subcommand("set", "Make or change a context from --server, --token-file"),
           &SetContext, "The context");
  CLI::App* view = context.add_subcommand("view", "Show which server and token are used");
  auto show_origin = std::make_shared<bool>(false);
  view->add_flag("--show-origin", *show_origin, "And which flag, variable or file says so");
  view->callback([&grammar, show_origin] {
    grammar.action = [show_origin](Session& session) { return ViewContext(session, *show_origin); };
  });
}

void AddCompletion(Grammar& grammar, CLI::App& app) {
  CLI::App* script = app.add_subcommand("completion", "Print a shell's script for the Tab key");
  auto shell = std::make_shared<std::string>();
  script->add_option("SHELL", *shell, "bash, zsh or fish")->required();
  script->group("Commands")->callback([&grammar, shell] {
    grammar.action = [&grammar, shell](Session& session) -> absl::StatusOr<int> {
      FT_ASSIGN_OR_RETURN(const std::string text, CompletionScript(grammar.app, *shell));
      session.io().out << text << std::flush;
      return kExitOk;
    };
  });
  // What the scripts call.
  CLI::App* names = app.add_subcommand(kCompleteCommand, "Print names that a shell may offer");
  BindName(grammar, names, &CompleteNames, "runs, experiments, contexts, models or registered");
  names->group("");
}

// What fingers used to kubectl and mcli type.
void AddAliases(Grammar& grammar, CLI::App& app) {
  const std::string group = "Short forms";
  CLI::App* get = AddNoun(
      app, "get", "get runs = run list, get run NAME = run get; experiments, models", group);
  AddList(grammar, *get, "runs");
  AddGet(grammar, *get, "run");
  AddListExperiments(grammar, *get, "experiments");
  AddGetExperiment(grammar, *get, "experiment");
  AddListModels(grammar, *get, "models");
  CLI::App* describe = AddNoun(app, "describe", "describe run NAME = run get", group);
  AddGet(grammar, *describe, "run");
  CLI::App* stop = AddNoun(app, "stop", "stop run NAME = run cancel", group);
  AddCancel(grammar, *stop, "run");
  CLI::App* remove = AddNoun(app, "delete", "delete run NAME = run delete", group);
  AddDelete(grammar, *remove, "run");
  AddLogs(grammar, app, "logs");
  AddList(grammar, app, "list");
  AddWatch(grammar, app, "watch");
  for (const char* name : {"logs", "list", "watch"}) app.get_subcommand(name)->group(group);
}

}  // namespace

Grammar::Grammar()
    : app("Fine-tune foundation models: create runs, watch them, use what they leave.",
          "finetune") {
  // Inherited by the commands, so that global flags may stand anywhere.
  app.fallthrough();
  // Exactly one, on every level: with a maximum the parser does not take a run called `list` for a
  // command.
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "Explain this command");
  AddGlobalFlags(app, global);

  CLI::App* run = AddNoun(app, "run", "Runs: create, watch, look at, change, pause, cancel");
  AddCreate(*this, *run, "create");
  AddClone(*this, *run, "clone");
  AddGet(*this, *run, "get");
  AddDiff(*this, *run, "diff");
  AddList(*this, *run, "list");
  AddWatch(*this, *run, "watch");
  AddEvents(*this, *run, "events");
  AddLogs(*this, *run, "logs");
  CLI::App* checkpoints = run->add_subcommand("checkpoints", "List the checkpoints of a run");
  AddTableFlags(*this, checkpoints);
  BindName(*this, checkpoints, &ListCheckpoints);
  CLI::App* attempts = run->add_subcommand(
      "attempts", "List which workers had a run, for how long, and how it ended");
  AddTableFlags(*this, attempts);
  BindName(*this, attempts, &ListAttempts);
  AddMetrics(*this, *run, "metrics");
  AddUpdate(*this, *run, "update");
  AddPause(*this, *run);
  AddCancel(*this, *run, "cancel");
  AddDelete(*this, *run, "delete");
  BindName(*this,
           run->add_subcommand("wait", "Wait for the end: exit status 0, 10 FAILED, 11 STOPPED"),
           &WaitForRun);

  CLI::App* experiment = AddNoun(app, "experiment", "Experiments: the groups that runs are in");
  AddListExperiments(*this, *experiment, "list");
  AddGetExperiment(*this, *experiment, "get");
  CLI::App* model = AddNoun(app, "model", "Models: those runs start from, and those they register");
  AddListModels(*this, *model, "list");
  AddRegisteredModels(*this, *model);
  AddDownloadModel(*this, *model);
  AddArtifacts(*this, *AddNoun(app, "artifacts", "Artifacts: the files that runs leave"));
  AddWorkspace(*this, *AddNoun(app, "workspace", "Your workspace: who sees whose runs"));
  BindPlain(*this,
            app.add_subcommand("quota", "Your quota and the runs that hold it")->group("Commands"),
            &ShowQuota);
  AddQueue(*this, app);
  AddFeed(*this, app, "events");
  app.get_subcommand("events")->group("Commands");
  CLI::App* worker = AddNoun(app, "worker", "Workers of the installation");
  CLI::App* workers = worker->add_subcommand("list", "List the workers");
  AddTableFlags(*this, workers);
  BindPlain(*this, workers, &ListWorkers);
  AddWorkers(*this, *worker);
  AddContexts(*this, *AddNoun(app, "context", "Servers and tokens in the configuration file"));
  BindPlain(*this,
            app.add_subcommand("doctor", "Look at what stands between you and the server")
                ->group("Commands"),
            &RunDoctor);
  BindPlain(*this, app.add_subcommand("version", "Print the version")->group("Commands"),
            &ShowVersion);
  AddCompletion(*this, app);
  AddAliases(*this, app);
  AddExamples(app);
  // After the commands, which would inherit it.
  app.footer(kExitCodes);
}

}  // namespace finetuned::cli
