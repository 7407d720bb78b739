#include "queue/run.h"

#include "absl/strings/str_cat.h"

namespace finetuned {

const char* Name(StopKind kind) {
  switch (kind) {
    case StopKind::kNone: return "";
    case StopKind::kCancel: return "CANCEL";
    case StopKind::kPause: return "PAUSE";
    case StopKind::kPreempt: return "PREEMPT";
    case StopKind::kDeadline: return "DEADLINE";
  }
  return "";
}

std::optional<StopKind> ParseStopKind(std::string_view name) {
  for (const StopKind kind : {StopKind::kNone, StopKind::kCancel, StopKind::kPause,
                              StopKind::kPreempt, StopKind::kDeadline}) {
    if (name == Name(kind)) return kind;
  }
  return std::nullopt;
}

const char* Name(Attribution attribution) {
  switch (attribution) {
    case Attribution::kUnknown: return "";
    case Attribution::kUser: return "USER";
    case Attribution::kInternal: return "INTERNAL";
    case Attribution::kNetwork: return "NETWORK";
    case Attribution::kInfrastructure: return "INFRASTRUCTURE";
    case Attribution::kOutOfMemory: return "OUT_OF_MEMORY";
    case Attribution::kStalled: return "STALLED";
    case Attribution::kPreempted: return "PREEMPTED";
    case Attribution::kData: return "DATA";
  }
  return "";
}

std::optional<Attribution> ParseAttribution(std::string_view name) {
  for (const Attribution attribution : kAllAttributions) {
    if (name == Name(attribution)) return attribution;
  }
  return std::nullopt;
}

std::string EtagOf(int64_t last_seq, absl::Time update_time) {
  return absl::StrCat(last_seq, "-", absl::ToUnixMicros(update_time));
}

}  // namespace finetuned
