#include "tests/faults/races.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace finetuned {
namespace {

// A wrong lease's errors and the like by their reason, so that checks can name them.
std::string Failed(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  return absl::StrCat("error ", reason.empty() ? status.ToString() : reason);
}

std::string Cancel(Stores& stores, const Scene& scene) {
  const auto results = stores.transitions.Cancel({scene.run_id}, "Canceled by user.");
  if (!results.ok()) return Failed(results.status());
  if (!(*results)[0].ok()) return Failed((*results)[0].status());
  switch ((*results)[0]->outcome) {
    case CancelResult::Outcome::kStopped: return "stopped";
    case CancelResult::Outcome::kStopping: return "stopping";
    case CancelResult::Outcome::kAlreadyTerminal: break;
  }
  return "terminal";
}

std::string Pause(Stores& stores, const Scene& scene) {
  const auto result = stores.transitions.Pause(scene.run_id, "Paused by user.");
  if (!result.ok()) return Failed(result.status());
  return result->to == RunState::kPaused ? "paused" : "pausing";
}

std::string Resume(Stores& stores, const Scene& scene) {
  const auto admission = stores.admission.Resume(scene.run_id);
  if (!admission.ok()) return Failed(admission.status());
  return admission->outcome == Admission::Outcome::kAdmitted ? "resumed" : "quota";
}

std::string Release(Stores& stores, const Scene&) {
  const auto released = stores.admission.ReleaseRuns();
  return released.ok() ? absl::StrCat("released ", *released) : Failed(released.status());
}

Act Complete(const AttemptEnd& end) {
  return [end](Stores& stores, const Scene& scene) -> std::string {
    AttemptEnd mine = end;
    if (end.finished) mine.model = ModelFiles{"ep1-ba1", 1, "00"};
    const auto results = stores.transitions.Complete(
        {{scene.session, scene.run_id, scene.epoch, /*last_report=*/0, mine}});
    if (!results.ok()) return Failed(results.status());
    if (!(*results)[0].ok()) return Failed((*results)[0].status());
    return (*results)[0]->stored ? Name((*results)[0]->to) : "stored before";
  };
}

AttemptEnd Finished() {
  AttemptEnd end;
  end.exit_code = 0;
  end.finished = true;
  return end;
}

AttemptEnd Crashed() {
  AttemptEnd end;
  end.signal = 9;
  return end;
}

Act Report(std::vector<EventType> types, int64_t first = 2) {
  return [types = std::move(types), first](Stores& stores, const Scene& scene) -> std::string {
    std::vector<IncomingReport> reports;
    for (const EventType type : types) {
      IncomingReport report;
      report.number = static_cast<int64_t>(reports.size()) + first;
      report.type = type;
      if (type == EventType::kCheckpointSaved)
        report.checkpoint = SavedCheckpoint{"c", "p/c", 1, ""};
      reports.push_back(report);
    }
    const auto results =
        stores.transitions.Report({{scene.session, scene.run_id, scene.epoch, reports}});
    if (!results.ok()) return Failed(results.status());
    return (*results)[0].ok() ? "acked" : Failed((*results)[0].status());
  };
}

std::string LoseExpired(Stores& stores, const Scene& scene) {
  const auto moved =
      stores.transitions.Lose(scene.run_id, {scene.epoch, /*by_expiry=*/true, /*except_session=*/0,
                                             "Its worker was not heard of for too long."});
  if (!moved.ok()) return Failed(moved.status());
  return moved->has_value() ? "lost" : "nothing";
}

std::string Renew(Stores& stores, const Scene& scene) {
  const auto results = stores.leases.Renew({{scene.session, {{scene.run_id, scene.epoch}}, false}});
  if (!results.ok()) return Failed(results.status());
  if (!(*results)[0].ok()) return Failed((*results)[0].status());
  if (!(*results)[0]->session_is_current) return "superseded";
  const auto held = (*results)[0]->held.find({scene.run_id, scene.epoch});
  if (held == (*results)[0]->held.end()) return "not held";
  return absl::StrCat("held ", Name(held->second));
}

Act Acquire(bool other) {
  return [other](Stores& stores, const Scene& scene) -> std::string {
    const auto leased = AcquireOne(stores.leases, other ? scene.other_session : scene.session);
    if (!leased.ok()) return Failed(leased.status());
    return leased->has_value() ? absl::StrCat("leased ", (*leased)->run_id) : "nothing";
  };
}

// As the daemon does it: the new session, and then what the worker has not listed.
std::string OpenAnew(Stores& stores, const Scene& scene) {
  const WorkerInfo worker{scene.worker, "another boot", "1", Shape{0, "", 64, 0}, "{}"};
  const auto opened = stores.leases.OpenSession(worker, {});
  if (!opened.ok()) return Failed(opened.status());
  std::string lost = "opened";
  for (const AttemptId& orphan : opened->orphaned) {
    const auto moved = stores.transitions.Lose(
        orphan.run_id,
        {orphan.epoch, /*by_expiry=*/false, opened->session, "The worker came back without it."});
    if (!moved.ok()) return Failed(moved.status());
    if (moved->has_value()) lost = "opened and lost";
  }
  return lost;
}

// The lease has expired, and another worker gets the run.
std::string Reassign(Stores& stores, const Scene& scene) {
  const std::string lost = LoseExpired(stores, scene);
  return lost == "lost" ? "lost and " + Acquire(true)(stores, scene) : lost;
}

// A session of another worker, which has nothing to do with the run.
std::string OpenOther(Stores& stores, const Scene& scene) {
  Scene other = scene;
  other.worker += "-other";
  return OpenAnew(stores, other);
}

std::string Drain(Stores& stores, const Scene& scene) {
  const auto known = stores.leases.RequestDrain(scene.worker, true);
  if (!known.ok()) return Failed(known.status());
  const auto moved = stores.transitions.StopForDrain(scene.run_id, scene.epoch, scene.worker);
  if (!moved.ok()) return Failed(moved.status());
  return moved->has_value() ? "told" : "nothing";
}

std::string RaisePriority(Stores& stores, const Scene& scene) {
  RunEdit edit;
  edit.priority = Priority::kHigh;
  const absl::Status status = stores.edits.UpdateRun(scene.run_id, "", edit);
  return status.ok() ? "updated" : Failed(status);
}

// Of the first of the owner's other runs, which waits.
std::string RaiseOther(Stores& stores, const Scene& scene) {
  Scene other = scene;
  other.run_id = scene.others.at(0);
  return RaisePriority(stores, other);
}

std::string Delete(Stores& stores, const Scene& scene) {
  const absl::Status status = stores.edits.DeleteRun(scene.run_id, "");
  return status.ok() ? "deleted" : Failed(status);
}

std::string Outcome(const absl::StatusOr<std::vector<absl::StatusOr<Admission>>>& results) {
  if (!results.ok()) return Failed(results.status());
  if (!(*results)[0].ok()) return Failed((*results)[0].status());
  switch ((*results)[0]->outcome) {
    case Admission::Outcome::kAdmitted: return "admitted";
    case Admission::Outcome::kReplayed: return "replayed";
    case Admission::Outcome::kRequestIdReused: return "reused";
    case Admission::Outcome::kNameTaken: return "name taken";
    case Admission::Outcome::kModelTaken: return "model taken";
    case Admission::Outcome::kQuotaReached: break;
  }
  return "quota";
}

// `who` tells creates apart where they are to differ.
Act Create(const std::string& who, bool same_request = false) {
  return [who, same_request](Stores& stores, const Scene& scene) {
    NewRun run;
    run.workspace_id = scene.workspace_id;
    run.owner_id = scene.owner_id;
    run.shape.cpus = 1;
    run.name = absl::StrCat("new-", scene.run_id, "-", who);
    // Uuids of this scene and this create.
    const std::string tail = absl::StrCat(100000000000 + scene.run_id);
    run.uid = absl::StrCat("00000000-0000-0000-000", who.size(), "-", tail);
    run.request_id =
        absl::StrCat("00000000-0000-0000-001", same_request ? 0 : who.size(), "-", tail);
    run.request_hash = "hash";
    run.model = "m/m";
    run.experiment_path = absl::StrCat("/new/", scene.run_id);
    run.labels_json = "{}";
    return Outcome(stores.admission.Admit({std::make_shared<const NewRun>(run)}));
  };
}

using Answers = std::vector<std::string>;

// A cancel that was acknowledged wins, and one that came too late says so.
std::string CancelHolds(const std::string& state, const std::string& answer) {
  const bool stopped = state == "STOPPED";
  const bool will_stop = absl::StrContains(state, " CANCEL");
  if (answer == "stopped" && !stopped) return "an acknowledged cancel did not stop the run";
  if (answer == "stopping" && !stopped && !will_stop) return "an acknowledged cancel was lost";
  if (answer == "terminal" && stopped) return "a cancel does not know what it has done";
  if (absl::StartsWith(answer, "error")) return "a cancel failed: " + answer;
  return "";
}

std::string FirstCancels(const std::string& state, const Answers& answers) {
  return CancelHolds(state, answers[0]);
}

std::string PauseHolds(const std::string& state, const std::string& answer) {
  const bool went_on = state == "PENDING" || state == "STARTING" || state == "RUNNING";
  if ((answer == "paused" || answer == "pausing") && went_on)
    return "an acknowledged pause was lost";
  const bool too_late = answer == "error RUN_TERMINAL" || answer == "error RUN_STOPPING";
  if (absl::StartsWith(answer, "error") && !too_late) return "a pause failed: " + answer;
  return "";
}

std::string FirstPauses(const std::string& state, const Answers& answers) {
  return PauseHolds(state, answers[0]);
}

std::string NoneFails(const std::string&, const Answers& answers) {
  for (const std::string& answer : answers) {
    if (absl::StartsWith(answer, "error")) return answer;
  }
  return "";
}

std::string ExactlyOne(const Answers& answers, const std::string& wanted) {
  int count = 0;
  for (const std::string& answer : answers) count += absl::StartsWith(answer, wanted) ? 1 : 0;
  return count == 1 ? "" : absl::StrCat(count, " of them answered ", wanted, ", not one");
}

SceneOptions At(Stage stage, bool expired = false) {
  SceneOptions options;
  options.stage = stage;
  options.expired = expired;
  return options;
}

SceneOptions WithLimit(Stage stage, int active_limit) {
  SceneOptions options = At(stage);
  options.active_limit = active_limit;
  return options;
}

SceneOptions Holding(Stage stage, int others) {
  SceneOptions options = At(stage);
  options.holding_limit = 1;
  options.others = others;
  return options;
}

}  // namespace

std::vector<Race> AllRaces() {
  const std::pair<std::string, Act> cancel = {"cancel", Cancel};
  const std::pair<std::string, Act> pause = {"pause", Pause};
  const std::pair<std::string, Act> resume = {"resume", Resume};
  const std::pair<std::string, Act> finish = {"finish", Complete(Finished())};
  const std::pair<std::string, Act> crash = {"crash", Complete(Crashed())};
  const std::pair<std::string, Act> lose = {"reaper", LoseExpired};
  const std::pair<std::string, Act> renew = {"renew", Renew};
  const std::pair<std::string, Act> acquire = {"acquire", Acquire(true)};
  const std::pair<std::string, Act> open = {"open session", OpenAnew};
  const std::pair<std::string, Act> drain = {"drain", Drain};
  const std::pair<std::string, Act> update = {"update", RaisePriority};
  const std::pair<std::string, Act> progress = {
      "report", Report({EventType::kTrainUpdated, EventType::kCheckpointSaved})};
  const std::pair<std::string, Act> trained = {"trained", Report({EventType::kTrainFinished})};

  SceneOptions registering = At(Stage::kTrained);
  registering.registers = true;

  std::vector<Race> races;
  const auto add = [&races](Race race) { races.push_back(std::move(race)); };
  // Cancel wins or completion wins.
  add({"cancel and finish", registering, {cancel, finish}, FirstCancels});
  add({"cancel and crash", At(Stage::kRunning), {cancel, crash}, FirstCancels});
  add({"cancel and acquire",
       At(Stage::kPending),
       {cancel, acquire},
       [](const std::string& state, const Answers& answers) -> std::string {
         if (answers[0] == "stopped" && answers[1] != "nothing") return "a stopped run was leased";
         return CancelHolds(state, answers[0]);
       }});
  add({"cancel and reaper", At(Stage::kRunning, true), {cancel, lose}, FirstCancels});
  add({"cancel and report", At(Stage::kRunning), {cancel, progress}, FirstCancels});
  add({"cancel and trained", At(Stage::kRunning), {cancel, trained}, FirstCancels});
  add({"cancel and pause", At(Stage::kRunning), {cancel, pause}, FirstCancels});
  add({"cancel and resume", At(Stage::kPaused), {cancel, resume}, FirstCancels});
  add({"cancel twice", At(Stage::kRunning), {cancel, {"again", Cancel}}, FirstCancels});
  // A pause.
  add({"pause and finish", At(Stage::kTrained), {pause, finish}, FirstPauses});
  add({"pause and crash",
       At(Stage::kRunning),
       {pause, crash},
       [](const std::string& state, const Answers& answers) -> std::string {
         // A crash that came first queues the run again, and then it is paused at once.
         return state == "PAUSED" ? "" : "the run is " + state + " after " + answers[0];
       }});
  add({"pause and acquire", At(Stage::kPending), {pause, acquire}, FirstPauses});
  add({"pause and reaper", At(Stage::kRunning, true), {pause, lose}, FirstPauses});
  add({"resume twice",
       At(Stage::kPaused),
       {resume, {"again", Resume}},
       [](const std::string&, const Answers& answers) { return ExactlyOne(answers, "resumed"); }});
  add({"resume and create at the limit",
       WithLimit(Stage::kPaused, 1),
       {resume, {"create", Create("a")}},
       [](const std::string&, const Answers& answers) { return ExactlyOne(answers, "quota"); }});
  // Leases.
  add({"acquire twice",
       At(Stage::kPending),
       {acquire, {"other", Acquire(false)}},
       [](const std::string&, const Answers& answers) { return ExactlyOne(answers, "leased"); }});
  add({"renew and reaper",
       At(Stage::kRunning, true),
       {renew, lose},
       [](const std::string&, const Answers& answers) -> std::string {
         const bool held = absl::StartsWith(answers[0], "held");
         if (held == (answers[1] == "lost")) return "the lease is renewed and lost, or neither";
         return "";
       }});
  add({"report and reaper", At(Stage::kRunning, true), {progress, lose}});
  add({"finish and reaper",
       At(Stage::kTrained, true),
       {finish, lose},
       [](const std::string& state, const Answers& answers) -> std::string {
         if ((answers[0] == "COMPLETED") != (state == "COMPLETED")) return "an end was lost";
         if ((answers[0] == "COMPLETED") == (answers[1] == "lost"))
           return "ended and lost, or neither";
         return "";
       }});
  add({"reaper twice",
       At(Stage::kRunning, true),
       {lose, {"other", LoseExpired}},
       [](const std::string&, const Answers& answers) { return ExactlyOne(answers, "lost"); }});
  add({"finish twice",
       At(Stage::kTrained),
       {finish, {"again", Complete(Finished())}},
       [](const std::string&, const Answers& answers) {
         return ExactlyOne(answers, "COMPLETED");
       }});
  add({"finish and report",
       At(Stage::kTrained),
       {finish, {"report", Report({EventType::kOther}, 3)}}});
  // The lease has expired: whatever the old worker says meanwhile, another gets the run, once.
  const auto reassigned = [](const std::string&, const Answers& answers) -> std::string {
    if (answers[0] == "lost and nothing") return "";  // Passed over while it was locked.
    return absl::StartsWith(answers[0], "lost and leased") ? "" : "the run was not reassigned";
  };
  const std::pair<std::string, Act> reassign = {"reassign", Reassign};
  add({"reassign and report", At(Stage::kRunning, true), {reassign, progress}, reassigned});
  add({"reassign and renew",
       At(Stage::kRunning, true),
       {reassign, renew},
       [reassigned](const std::string& state, const Answers& answers) -> std::string {
         const bool held = absl::StartsWith(answers[1], "held");
         if (held && answers[0] == "nothing") return "";
         return held ? "renewed and lost" : reassigned(state, answers);
       }});
  add({"reassign and finish",
       At(Stage::kTrained, true),
       {reassign, finish},
       [reassigned](const std::string& state, const Answers& answers) -> std::string {
         const bool completed = answers[1] == "COMPLETED";
         if (completed) return answers[0] == "nothing" ? "" : "completed and lost";
         return reassigned(state, answers);
       }});
  add({"another worker's session and report",
       At(Stage::kRunning),
       {{"open session", OpenOther}, progress},
       [](const std::string& state, const Answers& answers) -> std::string {
         if (answers[0] != "opened") return "a worker lost the run of another";
         return answers[1] == "acked" && state == "RUNNING" ? "" : "a report was not taken";
       }});
  add({"open session and renew", At(Stage::kRunning), {open, renew}});
  add({"open session and finish",
       At(Stage::kTrained),
       {open, finish},
       [](const std::string& state, const Answers& answers) -> std::string {
         return (answers[1] == "COMPLETED") == (state == "COMPLETED") ? "" : "an end was lost";
       }});
  add({"open session and report", At(Stage::kRunning), {open, progress}});
  add({"open session and acquire", At(Stage::kPending), {open, {"acquire", Acquire(false)}}});
  add({"drain and acquire", At(Stage::kPending), {drain, {"acquire", Acquire(false)}}});
  add({"drain and finish", At(Stage::kTrained), {drain, finish}});
  add({"drain and cancel", At(Stage::kRunning), {cancel, drain}, FirstCancels});
  // Admission.
  add({"create twice at the limit",
       WithLimit(Stage::kPending, 2),
       {{"create", Create("a")}, {"other", Create("bb")}},
       [](const std::string&, const Answers& answers) { return ExactlyOne(answers, "admitted"); }});
  add({"one request twice",
       At(Stage::kPending),
       {{"create", Create("a", true)}, {"again", Create("a", true)}},
       [](const std::string&, const Answers& answers) -> std::string {
         const std::string one = ExactlyOne(answers, "admitted");
         return one.empty() ? ExactlyOne(answers, "replayed") : one;
       }});
  add({"one name twice",
       At(Stage::kPending),
       {{"create", Create("a")}, {"other", Create("a")}},
       [](const std::string&, const Answers& answers) { return ExactlyOne(answers, "admitted"); }});
  add({"finish and create at the limit",
       WithLimit(Stage::kTrained, 1),
       {finish, {"create", Create("a")}}});
  // The queue.
  add({"update and acquire", At(Stage::kPending), {update, acquire}});
  add({"update and cancel", At(Stage::kPending), {cancel, update}, FirstCancels});
  add({"update and pause", At(Stage::kPending), {pause, update}, FirstPauses});
  add({"delete and cancel", At(Stage::kPending), {cancel, {"delete", Delete}}, FirstCancels});
  // With a holding limit the end of one lets the next into the queue.
  add({"finish and create, one held",
       Holding(Stage::kTrained, 1),
       {finish, {"create", Create("a")}}});
  add({"finish and cancel, one held", Holding(Stage::kTrained, 1), {cancel, finish}, FirstCancels});
  add({"pause and create, one held",
       Holding(Stage::kPending, 1),
       {pause, {"create", Create("a")}},
       FirstPauses});
  add({"resume and create, one held",
       Holding(Stage::kPaused, 1),
       {resume, {"create", Create("a")}}});
  add({"update and finish, one held", Holding(Stage::kTrained, 1), {update, finish}});
  add({"finish and update of what waits, one held",
       Holding(Stage::kTrained, 1),
       {finish, {"update", RaiseOther}}});
  // The limit was raised, and whoever comes first releases what it lets in.
  SceneOptions raised = Holding(Stage::kTrained, 3);
  raised.raised_holding_limit = 2;
  const std::pair<std::string, Act> release = {"release", Release};
  add({"release twice", raised, {release, {"other", Release}}, NoneFails});
  add({"release and finish", raised, {release, finish}, NoneFails});
  add({"release and create", raised, {release, {"create", Create("a")}}, NoneFails});
  return races;
}

std::vector<Race> TripleRaces() {
  const std::pair<std::string, Act> cancel = {"cancel", Cancel};
  const std::pair<std::string, Act> pause = {"pause", Pause};
  const std::pair<std::string, Act> resume = {"resume", Resume};
  const std::pair<std::string, Act> finish = {"finish", Complete(Finished())};
  const std::pair<std::string, Act> lose = {"reaper", LoseExpired};
  std::vector<Race> races;
  races.push_back({"cancel, finish and reaper",
                   At(Stage::kTrained, true),
                   {cancel, finish, lose},
                   FirstCancels});
  races.push_back(
      {"cancel, pause and reaper", At(Stage::kRunning, true), {cancel, pause, lose}, FirstCancels});
  races.push_back({"cancel, resume and create at the limit",
                   WithLimit(Stage::kPaused, 1),
                   {cancel, resume, {"create", Create("a")}},
                   FirstCancels});
  races.push_back(
      {"three creates at the limit",
       WithLimit(Stage::kPending, 2),
       {{"create", Create("a")}, {"second", Create("bb")}, {"third", Create("ccc")}},
       [](const std::string&, const Answers& answers) { return ExactlyOne(answers, "admitted"); }});
  races.push_back({"finish, create and cancel, one held",
                   Holding(Stage::kTrained, 1),
                   {cancel, finish, {"create", Create("a")}},
                   FirstCancels});
  return races;
}

}  // namespace finetuned
