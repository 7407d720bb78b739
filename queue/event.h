#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace finetuned {

// Kinds of events. The values and names are those of finetuned.v1.RunEvent.Type.
enum class EventType {
  kCreated = 1,
  kStarted = 2,
  kDataValidated = 3,
  kModelInitialized = 4,
  kTrainUpdated = 5,
  kTrainFinished = 6,
  kCompleted = 7,
  kCanceled = 8,
  kFailed = 9,
  kEvaluated = 10,
  kCheckpointSaved = 11,
  kRequeued = 12,
  kStopRequested = 13,
  kResumed = 14,
  kOther = 15,
  kUpdated = 16,
  kPromptAnswered = 17,
  kPaused = 18,
  kResumeRequested = 19,
  kLinked = 20,
};

inline constexpr std::array<EventType, 20> kAllEventTypes = {
    EventType::kCreated,          EventType::kStarted,         EventType::kDataValidated,
    EventType::kModelInitialized, EventType::kTrainUpdated,    EventType::kTrainFinished,
    EventType::kCompleted,        EventType::kCanceled,        EventType::kFailed,
    EventType::kEvaluated,        EventType::kCheckpointSaved, EventType::kRequeued,
    EventType::kStopRequested,    EventType::kResumed,         EventType::kOther,
    EventType::kUpdated,          EventType::kPromptAnswered,  EventType::kPaused,
    EventType::kResumeRequested,  EventType::kLinked,
};

const char* Name(EventType type);
std::optional<EventType> ParseEventType(std::string_view name);

// Whether a worker may report events of this type; the others are the service's own.
bool IsReportable(EventType type);

// An event as it is stored.
struct Event {
  int64_t seq = 0;
  absl::Time event_time;
  int64_t epoch = 0;
  EventType type = EventType::kOther;
  std::string message;
  // Serialised RunEvent with worker_time and detail only.
  std::string detail;
};

// What a message about progress is made of; fields as in finetuned.v1.Progress.
struct ProgressNumbers {
  int64_t epoch = 0;
  int64_t epochs = 0;
  int64_t batch = 0;
  int64_t batches = 0;
  int64_t tokens = 0;
  int64_t max_tokens = 0;
  int64_t step = 0;
  int64_t total_steps = 0;
  absl::Duration trained;
  int64_t trained_steps = 0;
  int64_t trained_tokens = 0;
  std::optional<absl::Duration> remaining;
  std::optional<double> train_loss;
};

// The messages of the hosted product, word for word where it has them.
std::string CreatedMessage();
std::string StartedMessage();
std::string DataValidatedMessage();
std::string ModelInitializedMessage(const std::string& model);
// `[epoch=1/1][batch=50/56][ETA=5min] Train loss: 1.71`; in tokens where the duration is.
std::string TrainUpdatedMessage(const ProgressNumbers& progress);
std::string TrainFinishedMessage();
std::string CompletedMessage();
std::string CanceledMessage();
std::string EvaluatedMessage(double loss, int64_t step);
// `Answered after 50 batches: <prompt> -> <response>`, of each the beginning, so many bytes.
inline constexpr size_t kShownOfAnswer = 100;
std::string PromptAnsweredMessage(const std::string& prompt, const std::string& response,
                                  int64_t step);
std::string CheckpointSavedMessage(const std::string& path);
std::string ResumedMessage(const std::string& checkpoint);
std::string PausedMessage(bool has_checkpoint);
std::string ResumeRequestedMessage(bool has_checkpoint);
// `Also at mlflow: https://...`.
std::string LinkedMessage(const std::map<std::string, std::string>& pages);

// The time left in the run's own unit, tokens or batches, at the pace of this attempt. Nothing
// while there is no pace, or no end is known.
std::optional<absl::Duration> EstimateRemaining(const ProgressNumbers& progress);
// Ten years say as much as more.
inline constexpr absl::Duration kLongestEstimate = absl::Hours(24 * 3650);

// `45s`, `5min`, `2hr`, `3d`: rounded up, so that it never says 0 while there is something left.
std::string FormatEta(absl::Duration remaining);

}  // namespace finetuned
