#include "queue/wait.h"

#include "absl/strings/str_cat.h"

namespace finetuned {
namespace {

std::string Describe(const Shape& shape) {
  std::string text = absl::StrCat(shape.cpus, shape.cpus == 1 ? " CPU core" : " CPU cores");
  if (shape.gpus > 0) {
    absl::StrAppend(&text, ", ", shape.gpus, " ", shape.gpu_type, shape.gpu_type.empty() ? "" : " ",
                    shape.gpus == 1 ? "GPU" : "GPUs");
  }
  if (shape.memory_bytes > 0) {
    absl::StrAppend(&text, ", ", shape.memory_bytes >> 20, " MiB of memory");
  }
  return text;
}

bool HasMore(const Shape& a, const Shape& b) {
  if (a.gpus != b.gpus) return a.gpus > b.gpus;
  if (a.cpus != b.cpus) return a.cpus > b.cpus;
  return a.memory_bytes > b.memory_bytes;
}

}  // namespace

WaitExplanation ExplainWait(const Shape& needed, std::optional<int64_t> position,
                            std::optional<absl::Duration> retry_in,
                            const std::vector<WorkerRoom>& workers) {
  WaitExplanation explanation;
  bool large_enough = false;
  bool has_room = false;
  bool some_quarantined = false;
  for (const WorkerRoom& worker : workers) {
    if (worker.in_quarantine) {
      some_quarantined = some_quarantined || Fits(needed, worker.capacity);
      continue;
    }
    if (!explanation.free.has_value() || HasMore(worker.free, *explanation.free)) {
      explanation.free = worker.free;
    }
    large_enough = large_enough || Fits(needed, worker.capacity);
    has_room = has_room || Fits(needed, worker.free);
  }
  if (!position.has_value() && retry_in.has_value()) {
    explanation.reason = WaitReason::kRetryDelay;
    explanation.sentence =
        absl::StrCat("Its next attempt is queued in ",
                     absl::FormatDuration(absl::Ceil(*retry_in, absl::Seconds(1))), ".");
    return explanation;
  }
  if (!position.has_value()) {
    explanation.reason = WaitReason::kHoldingLimit;
    explanation.sentence =
        "Its owner has as many runs queued or held by workers as it may: one of them must end "
        "first.";
    return explanation;
  }
  const std::string place =
      *position > kMaxQueuePlace
          ? absl::StrCat("Behind more than ", kMaxQueuePlace - 1, " others in the queue. ")
          : absl::StrCat("Number ", *position, " in the queue. ");
  if (!large_enough && some_quarantined) {
    explanation.reason = WaitReason::kWorkersInQuarantine;
    explanation.sentence =
        place +
        "The workers that are large enough are in quarantine, because they have lost one attempt "
        "after the other: see `finetune worker list`.";
  } else if (workers.empty()) {
    explanation.reason = WaitReason::kNoWorker;
    explanation.sentence = place + "No worker is connected: start one with `finetuned worker`.";
  } else if (!large_enough) {
    explanation.reason = WaitReason::kNoSuchCapacity;
    explanation.sentence = absl::StrCat(place, "It needs ", Describe(needed),
                                        ", more than any connected worker has in all.");
  } else if (!has_room) {
    explanation.reason = WaitReason::kWorkersBusy;
    explanation.sentence = absl::StrCat(place, "It needs ", Describe(needed),
                                        "; the workers that are large enough are busy.");
  } else {
    explanation.reason = WaitReason::kAboutToStart;
    explanation.sentence = place + "A worker has room and is about to take it.";
  }
  return explanation;
}

}  // namespace finetuned
