#include "cli/run_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/time.h"
#include "cli/sanitize.h"
#include "cli/times.h"
#include "cli/units.h"

namespace finetuned::cli {
namespace {

std::string Count(int64_t count, const char* noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

// Groups of three digits: `10,000`.
std::string Grouped(int64_t number) {
  std::string digits = absl::StrCat(number);
  const int first = number < 0 ? 1 : 0;
  for (int at = static_cast<int>(digits.size()) - 3; at > first; at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

}  // namespace

std::string ShortName(const std::string& name) {
  return Sanitize(name.substr(name.rfind('/') + 1));
}

std::string StateName(v1::Run::State state) {
  const std::string name = v1::Run::State_Name(state);
  return name.empty() ? absl::StrCat("STATE_", static_cast<int>(state)) : name;
}

Style StateStyle(v1::Run::State state) {
  switch (state) {
    case v1::Run::COMPLETED: return Style::kGreen;
    case v1::Run::FAILED: return Style::kRed;
    case v1::Run::RUNNING:
    case v1::Run::STARTING: return Style::kBlue;
    case v1::Run::PENDING:
    case v1::Run::QUEUED:
    case v1::Run::PAUSED:
    case v1::Run::TERMINATING: return Style::kYellow;
    default: return Style::kNone;
  }
}

bool IsTerminal(v1::Run::State state) {
  return state == v1::Run::COMPLETED || state == v1::Run::FAILED || state == v1::Run::STOPPED;
}

std::string EventTypeName(v1::RunEvent::Type type) {
  const std::string name = v1::RunEvent::Type_Name(type);
  return name.empty() ? absl::StrCat("EVENT_", static_cast<int>(type)) : name;
}

Style EventStyle(v1::RunEvent::Type type) {
  switch (type) {
    case v1::RunEvent::COMPLETED: return Style::kGreen;
    case v1::RunEvent::FAILED: return Style::kRed;
    case v1::RunEvent::CANCELED:
    case v1::RunEvent::REQUEUED:
    case v1::RunEvent::PAUSED:
    case v1::RunEvent::STOP_REQUESTED: return Style::kYellow;
    case v1::RunEvent::RESUME_REQUESTED:
    case v1::RunEvent::UPDATED: return Style::kBlue;
    default: return Style::kNone;
  }
}

bool IsTerminalEvent(v1::RunEvent::Type type) {
  return type == v1::RunEvent::COMPLETED || type == v1::RunEvent::CANCELED ||
         type == v1::RunEvent::FAILED;
}

std::optional<double> ProgressFraction(const v1::Progress& progress) {
  double done = 0;
  double all = 0;
  if (progress.total_steps() > 0) {
    done = static_cast<double>(progress.step());
    all = static_cast<double>(progress.total_steps());
  } else if (progress.max_tokens() > 0) {
    done = static_cast<double>(progress.tokens());
    all = static_cast<double>(progress.max_tokens());
  } else if (progress.batches() > 0) {
    const double batches = static_cast<double>(progress.batches());
    const double epochs = static_cast<double>(std::max<int64_t>(progress.epochs(), 1));
    const double epochs_before = static_cast<double>(std::max<int64_t>(progress.epoch(), 1) - 1);
    done = (progress.epochs() > 0 ? epochs_before * batches : 0) +
           static_cast<double>(progress.batch());
    all = epochs * batches;
  } else {
    return std::nullopt;
  }
  return std::clamp(done / all, 0.0, 1.0);
}

std::string ProgressPercent(const v1::Progress& progress) {
  if (const auto fraction = ProgressFraction(progress)) {
    // Down, so that 100% is said only when all is done.
    return absl::StrFormat("%d%%", static_cast<int>(*fraction * 100));
  }
  if (progress.step() > 0) return absl::StrCat("step ", progress.step());
  return progress.batch() > 0 ? absl::StrCat("batch ", progress.batch()) : "";
}

std::vector<std::string> ProgressParts(const v1::Progress& progress) {
  std::vector<std::string> parts;
  const auto add = [&parts](const char* name, int64_t value, int64_t all) {
    if (value == 0 && all == 0) return;
    parts.push_back(all > 0 ? absl::StrCat(name, " ", value, "/", all)
                            : absl::StrCat(name, " ", value));
  };
  add("epoch", progress.epoch(), progress.epochs());
  add("batch", progress.batch(), progress.batches());
  if (progress.max_tokens() > 0) {
    parts.push_back(
        absl::StrCat(Grouped(progress.tokens()), "/", Grouped(progress.max_tokens()), " tokens"));
  }
  return parts;
}

std::string FormatLoss(double loss) { return absl::StrFormat("%.4g", loss); }

std::string ProgressText(const v1::Run& run, absl::Time now, bool with_eta) {
  if (!run.has_progress()) return "";
  std::string text = ProgressPercent(run.progress());
  if (run.progress().has_train_loss()) {
    absl::StrAppend(&text, " loss ", FormatLoss(run.progress().train_loss()));
  }
  if (with_eta && run.has_estimated_end_time() && run.state() == v1::Run::RUNNING) {
    const absl::Duration left = FromProtoTime(run.estimated_end_time()) - now;
    if (left > absl::ZeroDuration()) absl::StrAppend(&text, " ETA ", FormatAge(left));
  }
  return text;
}

std::string ComputeText(const v1::Compute& compute) {
  std::vector<std::string> parts;
  if (compute.nodes() > 1) parts.push_back(Count(compute.nodes(), "node"));
  if (compute.gpus() > 0) {
    parts.push_back(Count(compute.gpus(), "GPU"));
    if (!compute.gpu_type().empty()) {
      absl::StrAppend(&parts.back(), " (", Sanitize(compute.gpu_type()), ")");
    }
  }
  if (compute.cpus() > 0) parts.push_back(Count(compute.cpus(), "CPU"));
  if (compute.memory_bytes() > 0) parts.push_back(FormatBytes(compute.memory_bytes()));
  return parts.empty() ? "nothing" : absl::StrJoin(parts, ", ");
}

std::string PlaceText(const v1::Wait& wait) {
  // The server does not count further.
  constexpr int64_t kMaxPlace = 1000;
  if (wait.position() == 0) return "-";
  return wait.position() > kMaxPlace ? absl::StrCat("over ", kMaxPlace)
                                     : absl::StrCat(wait.position());
}

std::string WaitSentence(const v1::Wait& wait) {
  const std::string place =
      wait.position() > 0 ? absl::StrCat(" Place in the queue: ", PlaceText(wait), ".") : "";
  const std::string needs = ComputeText(wait.needed());
  switch (wait.reason()) {
    case v1::Wait::NO_WORKER:
      return "No worker is connected; one must be started with `finetuned worker`." + place;
    case v1::Wait::NO_SUCH_CAPACITY:
      return absl::StrCat("No connected worker is large enough: the run needs ", needs,
                          "; see `finetune worker list`.");
    case v1::Wait::WORKERS_BUSY:
      return absl::StrCat("The workers that are large enough are busy: the run needs ", needs,
                          "; at most ", ComputeText(wait.free()), " is free on one.", place);
    case v1::Wait::ABOUT_TO_START: return "A worker has room and takes the run next." + place;
    case v1::Wait::HOLDING_LIMIT:
      return "You hold as many workers as you may; the run starts when one of yours ends." + place;
    case v1::Wait::RETRY_DELAY:
      return "Attempts were lost or failed one after the other; the next is tried after a while.";
    case v1::Wait::WORKERS_IN_QUARANTINE:
      return "The workers that are large enough are in quarantine, because they have lost one "
             "attempt after the other; see `finetune worker list`." +
             place;
    default: return "Waiting for a worker." + place;
  }
}

std::string FailureAdvice(const v1::Failure& failure) {
  switch (failure.attribution()) {
    case v1::Failure::USER: return "Correct the data or the arguments and create the run again.";
    case v1::Failure::DATA: return "Correct the data and create the run again.";
    case v1::Failure::PREEMPTED: return "It was stopped in favour of something else.";
    case v1::Failure::INTERNAL:
      return "The trainer itself failed: read its log, and create the run again with "
             "--max-retries if it may pass.";
    case v1::Failure::NETWORK:
      return "The network failed for longer than retries bridge: create the run again.";
    case v1::Failure::INFRASTRUCTURE:
      return "The worker or its host was lost too often: create the run again, and tell whoever "
             "runs the workers.";
    case v1::Failure::STALLED:
      return "The trainer hung again and again: its log says what it did last.";
    case v1::Failure::OUT_OF_MEMORY:
      return "Memory ran out: lower --context-length, or ask for more with --memory or --gpus.";
    default: return "";
  }
}

std::string EvaluationWhen(const v1::Evaluation& evaluation) {
  switch (evaluation.when()) {
    case v1::Evaluation::BEFORE: return "before training";
    case v1::Evaluation::AFTER: return "after training";
    default: return absl::StrCat("at step ", evaluation.step());
  }
}

std::vector<std::string> NextCommands(const v1::Run& run) {
  const std::string name = ShortName(run.name());
  switch (run.state()) {
    case v1::Run::COMPLETED:
      return {"finetune run checkpoints " + name, "finetune run events " + name};
    case v1::Run::FAILED: return {"finetune run logs " + name, "finetune run events " + name};
    case v1::Run::STOPPED: return {"finetune run checkpoints " + name, "finetune run logs " + name};
    case v1::Run::RUNNING:
      return {"finetune run watch " + name, "finetune run logs -f " + name,
              "finetune run pause " + name, "finetune run cancel " + name};
    case v1::Run::PAUSED:
      return {"finetune run resume " + name, "finetune run checkpoints " + name,
              "finetune run cancel " + name};
    default: return {"finetune run watch " + name, "finetune run cancel " + name};
  }
}

}  // namespace finetuned::cli
