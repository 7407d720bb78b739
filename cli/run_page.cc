#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/time.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/table.h"
#include "cli/times.h"

namespace finetuned::cli {
namespace {

// The matrices that adapters can stand beside.
constexpr int kLoraTargets = 7;

std::string TimeText(const google::protobuf::Timestamp& proto, absl::Time now) {
  const absl::Time time = FromProtoTime(proto);
  return absl::StrCat(FormatUtc(time), " (", FormatRelative(time, now), ")");
}

std::string ProgressLine(const v1::Run& run, absl::Time now) {
  std::vector<std::string> parts;
  const std::string percent = ProgressPercent(run.progress());
  if (!percent.empty()) parts.push_back(percent);
  for (std::string& part : ProgressParts(run.progress())) parts.push_back(std::move(part));
  if (run.progress().has_train_loss()) {
    parts.push_back("loss " + FormatLoss(run.progress().train_loss()));
  }
  if (run.has_estimated_end_time() && !IsTerminal(run.state())) {
    const absl::Duration left = FromProtoTime(run.estimated_end_time()) - now;
    if (left > absl::ZeroDuration()) parts.push_back("ETA " + HumanDuration(left));
  }
  return absl::StrJoin(parts, ", ");
}

// What is not the usual: a recipe that nobody touched says nothing.
std::string RecipeLine(const v1::Recipe& recipe) {
  std::vector<std::string> parts;
  if (recipe.has_lora()) {
    parts.push_back(absl::StrCat("LoRA rank ", recipe.lora().rank()));
    if (recipe.lora().target_modules_size() < kLoraTargets) {
      parts.back() += absl::StrCat(" of ", absl::StrJoin(recipe.lora().target_modules(), ", "));
    }
  }
  if (recipe.optimizer() == v1::Recipe::ADAMW) parts.push_back("AdamW");
  if (recipe.schedule() == v1::Recipe::COSINE) parts.push_back("cosine");
  if (recipe.schedule() == v1::Recipe::CONSTANT) parts.push_back("constant rate");
  parts.push_back(absl::StrCat("batches of ", recipe.batch_size()));
  if (recipe.micro_batch_size() < recipe.batch_size()) {
    parts.back() += absl::StrCat(" in pieces of ", recipe.micro_batch_size());
  }
  if (recipe.packing()) parts.push_back("packed");
  if (recipe.precision() == v1::Recipe::BFLOAT16) parts.push_back("bfloat16");
  return absl::StrJoin(parts, ", ");
}

void AddSpec(const v1::Run& run, KeyValues& page) {
  const v1::RunSpec& spec = run.spec();
  page.Add("Model", spec.model());
  page.Add("Task", v1::RunSpec::TaskType_Name(spec.task_type()));
  page.Add("Training data", spec.train_data_path());
  page.Add("Evaluation data", spec.eval_data_path());
  if (spec.eval_prompts_size() > 0) {
    page.Add("Eval prompts", absl::StrCat(spec.eval_prompts_size()));
  }
  page.Add("Custom weights", spec.custom_weights_path());
  page.Add("Started from", ShortName(run.source_run()));
  page.Add("Duration", spec.training_duration());
  if (spec.has_learning_rate()) {
    page.Add("Learning rate", absl::StrFormat("%g", spec.learning_rate()));
  }
  if (spec.context_length() > 0) page.Add("Context length", absl::StrCat(spec.context_length()));
  if (spec.has_recipe()) page.Add("Recipe", RecipeLine(spec.recipe()));
  // The path for people, the name for programs; commands take both.
  std::vector<std::string> experiment = {spec.experiment_path(), run.experiment()};
  experiment.erase(std::remove(experiment.begin(), experiment.end(), ""), experiment.end());
  page.Add("Experiment", absl::StrJoin(experiment, "\n"));
  if (run.registered_version().empty()) page.Add("Register to", spec.register_to());
  page.Add("Registered as", run.registered_version());
  if (!spec.save_interval().empty()) {
    page.Add("Checkpoints",
             absl::StrCat("every ", spec.save_interval(),
                          spec.save_num_to_keep() > 0
                              ? absl::StrCat(", the newest ", spec.save_num_to_keep(), " kept")
                              : ", all kept"));
  }
  if (spec.has_compute()) page.Add("Needs", ComputeText(spec.compute()));
  if (spec.scheduling().priority() != v1::Scheduling::PRIORITY_UNSPECIFIED) {
    page.Add("Priority", v1::Scheduling::Priority_Name(spec.scheduling().priority()));
  }
  if (spec.scheduling().max_retries() > 0) {
    page.Add("Retries", absl::StrCat("up to ", spec.scheduling().max_retries()));
  }
  if (spec.scheduling().has_max_run_time()) {
    page.Add("Time limit", HumanDuration(FromProtoDuration(spec.scheduling().max_run_time())));
  }
  if (spec.scheduling().has_max_queue_time()) {
    page.Add("Queue limit", HumanDuration(FromProtoDuration(spec.scheduling().max_queue_time())));
  }
}

void AddFailure(const v1::Failure& failure, KeyValues& page) {
  page.Add("Failure",
           Cell(absl::StrCat(failure.code(), failure.code().empty() ? "" : ": ", failure.message()),
                Style::kRed));
  page.Add("Caused by", v1::Failure::Attribution_Name(failure.attribution()));
  if (failure.has_exit_code()) page.Add("Exit status", absl::StrCat(failure.exit_code()));
  if (failure.signal() != 0) page.Add("Signal", absl::StrCat(failure.signal()));
  page.Add("Advice", FailureAdvice(failure));
  page.Add("Last output", Cell(failure.stderr_tail(), Style::kDim));
}

}  // namespace

std::string RunPage(const v1::Run& run, absl::Time now, bool color) {
  KeyValues page;
  page.Add("Name", ShortName(run.name()));
  page.Add("UID", run.uid());
  page.Add("State", Cell(StateName(run.state()), StateStyle(run.state())));
  page.Add("Reason", run.state_reason());
  if (run.has_wait()) page.Add("Why waiting", WaitSentence(run.wait()));
  if (run.stop_requested() != v1::STOP_KIND_UNSPECIFIED) {
    page.Add("Stop requested", v1::StopKind_Name(run.stop_requested()));
  }
  if (run.has_failure()) AddFailure(run.failure(), page);
  if (run.has_progress()) page.Add("Progress", ProgressLine(run, now));
  if (run.attempt() > 0) page.Add("Attempt", absl::StrCat(run.attempt()));
  page.Add("Worker", run.worker());
  page.Add("Latest checkpoint", run.latest_checkpoint());
  page.Add("Owner", run.owner());
  if (run.has_create_time()) page.Add("Created", TimeText(run.create_time(), now));
  if (run.has_start_time()) page.Add("Started", TimeText(run.start_time(), now));
  if (run.has_end_time()) page.Add("Ended", TimeText(run.end_time(), now));
  if (run.has_start_time()) {
    const absl::Time end = run.has_end_time() ? FromProtoTime(run.end_time()) : now;
    page.Add("Took", HumanDuration(end - FromProtoTime(run.start_time())));
  }
  AddSpec(run, page);
  std::vector<std::string> labels;
  for (const auto& [key, value] : run.labels()) labels.push_back(key + "=" + value);
  std::sort(labels.begin(), labels.end());
  page.Add("Labels", absl::StrJoin(labels, ", "));
  std::vector<std::string> links;
  for (const auto& [name, link] : run.links()) links.push_back(name + ": " + link);
  std::sort(links.begin(), links.end());
  page.Add("Links", Sanitize(absl::StrJoin(links, ", ")));
  page.Add("Artifacts", run.artifact_path());
  if (!run.name().empty()) page.Add("Next", absl::StrJoin(NextCommands(run), "\n"));
  return page.Render(color);
}

}  // namespace finetuned::cli
