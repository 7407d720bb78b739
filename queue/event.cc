#include "queue/event.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace finetuned {
const char* Name(EventType type) {
  switch (type) {
    case EventType::kCreated: return "CREATED";
    case EventType::kStarted: return "STARTED";
    case EventType::kDataValidated: return "DATA_VALIDATED";
    case EventType::kModelInitialized: return "MODEL_INITIALIZED";
    case EventType::kTrainUpdated: return "TRAIN_UPDATED";
    case EventType::kTrainFinished: return "TRAIN_FINISHED";
    case EventType::kCompleted: return "COMPLETED";
    case EventType::kCanceled: return "CANCELED";
    case EventType::kFailed: return "FAILED";
    case EventType::kEvaluated: return "EVALUATED";
    case EventType::kCheckpointSaved: return "CHECKPOINT_SAVED";
    case EventType::kRequeued: return "REQUEUED";
    case EventType::kStopRequested: return "STOP_REQUESTED";
    case EventType::kResumed: return "RESUMED";
    case EventType::kOther: return "OTHER";
    case EventType::kUpdated: return "UPDATED";
    case EventType::kPromptAnswered: return "PROMPT_ANSWERED";
    case EventType::kPaused: return "PAUSED";
    case EventType::kResumeRequested: return "RESUME_REQUESTED";
    case EventType::kLinked: return "LINKED";
  }
  return "?";
}

std::optional<EventType> ParseEventType(std::string_view name) {
  for (const EventType type : kAllEventTypes) {
    if (name == Name(type)) return type;
  }
  return std::nullopt;
}

bool IsReportable(EventType type) {
  switch (type) {
    case EventType::kStarted:
    case EventType::kDataValidated:
    case EventType::kModelInitialized:
    case EventType::kTrainUpdated:
    case EventType::kTrainFinished:
    case EventType::kEvaluated:
    case EventType::kPromptAnswered:
    case EventType::kCheckpointSaved:
    case EventType::kResumed:
    case EventType::kLinked:
    case EventType::kOther: return true;
    default: return false;
  }
}

std::string CreatedMessage() { return "Run created."; }
std::string StartedMessage() { return "Run started."; }
std::string DataValidatedMessage() { return "Training data validated."; }

std::string ModelInitializedMessage(const std::string& model) {
  return absl::StrCat("Model data downloaded and initialized for base model `", model, "`.");
}

std::string TrainUpdatedMessage(const ProgressNumbers& progress) {
  std::string message;
  if (progress.max_tokens > 0) {
    absl::StrAppend(&message, "[token=", progress.tokens, "/", progress.max_tokens, "]");
  } else {
    if (progress.epochs > 0) {
      absl::StrAppend(&message, "[epoch=", progress.epoch, "/", progress.epochs, "]");
    }
    absl::StrAppend(&message, "[batch=", progress.batch, "/", progress.batches, "]");
  }
  if (progress.remaining.has_value()) {
    absl::StrAppend(&message, "[ETA=", FormatEta(*progress.remaining), "]");
  }
  if (progress.train_loss.has_value()) {
    absl::StrAppend(&message, absl::StrFormat(" Train loss: %.2f", *progress.train_loss));
  }
  return message;
}

std::string TrainFinishedMessage() { return "Training completed."; }
std::string CompletedMessage() { return "Run completed. Final weights uploaded."; }
std::string CanceledMessage() { return "Run canceled."; }

std::string EvaluatedMessage(double loss, int64_t step) {
  return absl::StrFormat("Eval loss: %.4f after %d batches.", loss, step);
}

std::string PromptAnsweredMessage(const std::string& prompt, const std::string& response,
                                  int64_t step) {
  const auto beginning = [](const std::string& text) {
    size_t length = std::min(text.size(), kShownOfAnswer);
    // Not within a character.
    while (length < text.size() && length > 0 && (text[length] & 0xc0) == 0x80) --length;
    return length < text.size() ? text.substr(0, length) + "..." : text;
  };
  return absl::StrCat("Answered after ", step, " batches: ", beginning(prompt), " -> ",
                      beginning(response));
}

std::string CheckpointSavedMessage(const std::string& path) {
  return absl::StrCat("Checkpoint saved: ", path);
}

std::string ResumedMessage(const std::string& checkpoint) {
  return absl::StrCat("Resumed from checkpoint ", checkpoint, ".");
}

std::string PausedMessage(bool has_checkpoint) {
  return has_checkpoint ? "Run paused. It continues from its newest checkpoint when it is resumed."
                        : "Run paused. It has no checkpoint and starts from the beginning when it "
                          "is resumed.";
}

std::string ResumeRequestedMessage(bool has_checkpoint) {
  return has_checkpoint ? "Resumed by user: waits for a worker to continue from the newest "
                          "checkpoint."
                        : "Resumed by user: waits for a worker to start from the beginning.";
}

std::string LinkedMessage(const std::map<std::string, std::string>& pages) {
  std::string message = "Also at";
  const char* separator = " ";
  for (const auto& [name, page] : pages) {
    absl::StrAppend(&message, separator, name, ": ", page);
    separator = ", ";
  }
  return message;
}

std::optional<absl::Duration> EstimateRemaining(const ProgressNumbers& progress) {
  const bool in_tokens = progress.max_tokens > 0;
  if (!in_tokens && progress.total_steps <= 0) return std::nullopt;
  // In doubles: no number of a worker overflows them.
  const auto done =
      static_cast<double>(in_tokens ? progress.trained_tokens : progress.trained_steps);
  const double left =
      in_tokens ? static_cast<double>(progress.max_tokens) - static_cast<double>(progress.tokens)
                : static_cast<double>(progress.total_steps) - static_cast<double>(progress.step);
  if (left <= 0) return absl::ZeroDuration();
  if (done <= 0 || progress.trained <= absl::ZeroDuration()) return std::nullopt;
  return std::min(absl::Seconds(absl::ToDoubleSeconds(progress.trained) / done * left),
                  kLongestEstimate);
}

std::string FormatEta(absl::Duration remaining) {
  const double seconds = std::max(1.0, std::ceil(absl::ToDoubleSeconds(remaining)));
  if (seconds < 60) return absl::StrFormat("%.0fs", seconds);
  if (seconds < 3600) return absl::StrFormat("%.0fmin", std::ceil(seconds / 60));
  if (seconds < 86400) return absl::StrFormat("%.0fhr", std::ceil(seconds / 3600));
  return absl::StrFormat("%.0fd", std::ceil(seconds / 86400));
}

}  // namespace finetuned
