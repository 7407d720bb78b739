#include "worker/attempt_rules.h"

#include <cstring>

#include "base/time.h"
#include "nlohmann/json.hpp"
#include "worker/event_tail.h"

namespace finetuned {
namespace {

using nlohmann::json;

constexpr size_t kMaxMessageBytes = 8 * 1024;
// Of sysexits.h: usage, data, configuration; and a temporary failure.
constexpr int kExitUsage = 64;
constexpr int kExitData = 65;
constexpr int kExitConfig = 78;
constexpr int kExitTemporary = 75;

int Strength(v1::StopKind stop) {
  switch (stop) {
    case v1::CANCEL: return 4;
    case v1::DEADLINE: return 3;
    case v1::PAUSE: return 2;
    case v1::PREEMPT: return 1;
    default: return 0;
  }
}

v1::Failure::Attribution AttributionOf(const std::string& word) {
  if (word == "user") return v1::Failure::USER;
  if (word == "data") return v1::Failure::DATA;
  if (word == "internal") return v1::Failure::INTERNAL;
  if (word == "network") return v1::Failure::NETWORK;
  if (word == "infrastructure") return v1::Failure::INFRASTRUCTURE;
  if (word == "oom") return v1::Failure::OUT_OF_MEMORY;
  return v1::Failure::ATTRIBUTION_UNSPECIFIED;
}

std::string Code(const std::string& text, const std::string& otherwise) {
  for (const char c : text) {
    if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) return otherwise;
  }
  return text.empty() || text.size() > 63 ? otherwise : text;
}

void Set(v1::Failure& failure, const std::string& code, const std::string& message,
         v1::Failure::Attribution attribution) {
  failure.set_code(code);
  failure.set_message(message);
  failure.set_attribution(attribution);
}

// Ours: {code, message, attribution}; torchelastic's: {message: {message: ...}} or {message: ...}.
bool FromErrorFile(const std::string& text, v1::Failure& failure) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return false;
  const auto word = [&](const json& from, const char* key) {
    const auto found = from.find(key);
    return found != from.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  std::string message = word(document, "message");
  if (message.empty() && document.contains("message") && document["message"].is_object()) {
    message = word(document["message"], "message");
  }
  const std::string code = word(document, "code");
  if (message.empty() && code.empty()) return false;
  Set(failure, Code(code, "TRAINER_FAILED"), CutUtf8(message, kMaxMessageBytes),
      AttributionOf(word(document, "attribution")));
  return true;
}

void FromExit(const ExitRecord& exit, const AttemptFacts& facts, v1::Failure& failure) {
  if (exit.start_error != 0) {
    Set(failure, "TRAINER_NOT_STARTED",
        std::string("The trainer could not be started: ") + strerror(exit.start_error) +
            ". The worker's trainer_command and trainer_dir have to be corrected.",
        v1::Failure::INFRASTRUCTURE);
  } else if (exit.signal != 0) {
    Set(failure, "KILLED_BY_SIGNAL",
        "The trainer was ended by signal " + std::to_string(exit.signal) +
            ", which the worker did not send.",
        v1::Failure::INFRASTRUCTURE);
  } else if (exit.exit_code == 0 && !facts.train_finished) {
    Set(failure, "EXITED_EARLY", "The trainer ended without having finished training.",
        v1::Failure::INTERNAL);
  } else if (exit.exit_code == 0 && !facts.publish_error.empty()) {
    Set(failure, "CHECKPOINT_NOT_PUBLISHED",
        "The final checkpoint could not be published: " + facts.publish_error,
        v1::Failure::INFRASTRUCTURE);
  } else if (exit.exit_code == 0) {
    Set(failure, "NO_FINAL_CHECKPOINT", "The trainer finished without saving its last batch.",
        v1::Failure::INTERNAL);
  } else if (exit.exit_code == kExitData || exit.exit_code == kExitUsage ||
             exit.exit_code == kExitConfig) {
    Set(failure, "BAD_INPUT",
        "The trainer refused its input (exit status " + std::to_string(*exit.exit_code) + ").",
        v1::Failure::USER);
  } else if (exit.exit_code == kExitTemporary) {
    Set(failure, "TEMPORARY_FAILURE", "The trainer asks to be tried again later.",
        v1::Failure::NETWORK);
  } else {
    Set(failure, "TRAINER_FAILED",
        "The trainer ended with exit status " + std::to_string(exit.exit_code.value_or(-1)) + ".",
        v1::Failure::INTERNAL);
  }
}

v1::Failure MakeFailure(const AttemptFacts& facts, const AttemptNotes& notes,
                        const Observation& observation, const LastWords& words,
                        bool out_of_memory) {
  const ExitRecord& exit = observation.exit;
  v1::Failure failure;
  if (observation.state == Observation::State::kLost) {
    Set(failure, observation.host_restarted ? "HOST_RESTARTED" : "TRAINER_LOST",
        observation.host_restarted ? "The worker's host restarted."
                                   : "The trainer is gone without a trace.",
        v1::Failure::INFRASTRUCTURE);
  } else if (notes.self_stopped || exit.deadline_passed) {
    Set(failure, "WORKER_DISCONNECTED",
        "The worker could not reach the service for too long and stopped the trainer.",
        v1::Failure::INFRASTRUCTURE);
  } else if (notes.silent > absl::ZeroDuration()) {
    Set(failure, "TRAINER_STALLED",
        "The trainer lived and said nothing for " +
            absl::FormatDuration(absl::Trunc(notes.silent, absl::Seconds(1))) +
            ", so the worker stopped it. Its logs may say what it waited for; the worker's "
            "trainer_stall_duration says how long it may be silent.",
        v1::Failure::STALLED);
  } else if (!facts.failure_code.empty() || !facts.failure_message.empty()) {
    Set(failure, Code(facts.failure_code, "TRAINER_FAILED"), facts.failure_message,
        AttributionOf(facts.failure_attribution));
  } else if (!FromErrorFile(words.error_file, failure)) {
    FromExit(exit, facts, failure);
  }
  if (out_of_memory) {
    failure.set_attribution(v1::Failure::OUT_OF_MEMORY);
    if (facts.failure_code.empty()) {
      Set(failure, "OUT_OF_MEMORY",
          "Memory ran out. Use a smaller batch or context_length, or ask for more memory.",
          v1::Failure::OUT_OF_MEMORY);
    }
  }
  if (exit.exit_code.has_value()) failure.set_exit_code(*exit.exit_code);
  failure.set_signal(exit.signal);
  // All of it came from programs: what the daemon cannot read would keep every end from it.
  failure.set_message(ToValidUtf8(failure.message()));
  failure.set_stderr_tail(ToValidUtf8(words.stderr_tail));
  return failure;
}

}  // namespace

AttemptStep StepAttempt(AttemptPhase phase, AttemptInput input) {
  AttemptStep step{phase};
  switch (input) {
    case AttemptInput::kStarted:
      if (phase == AttemptPhase::kStarting) step.phase = AttemptPhase::kRunning;
      break;
    case AttemptInput::kStopWanted:
      // Before the start there is nothing to stop; it is asked for again then. Later ones only
      // change what is wanted.
      if (phase == AttemptPhase::kRunning) {
        step.phase = AttemptPhase::kStopping;
        step.stop = true;
      }
      break;
    case AttemptInput::kLeaseLost:
      step.phase = AttemptPhase::kAbandoned;
      step.kill = phase != AttemptPhase::kEnded;
      break;
    case AttemptInput::kTrainerGone:
      if (phase == AttemptPhase::kAbandoned) {
        step.forget = true;
      } else if (phase != AttemptPhase::kEnded) {
        step.phase = AttemptPhase::kEnded;
        step.record_end = true;
      }
      break;
  }
  return step;
}

v1::StopKind CombineStops(v1::StopKind current, v1::StopKind wanted) {
  return Strength(wanted) > Strength(current) ? wanted : current;
}

v1::AttemptEnd MakeEnd(const AttemptFacts& facts, const AttemptNotes& notes,
                       const Observation& observation, const LastWords& words, absl::Time now) {
  const ExitRecord& exit = observation.exit;
  const bool lost = observation.state == Observation::State::kLost;
  v1::AttemptEnd end;
  end.set_lost(lost);
  end.set_stop(notes.stop);
  *end.mutable_end_time() = ToProtoTime(lost ? now : exit.end_time);
  if (!lost) {
    if (exit.exit_code.has_value()) end.set_exit_code(*exit.exit_code);
    end.set_signal(exit.signal);
    // A signal that reached the shim from elsewhere, as when the host shuts down, was not the
    // worker's.
    end.set_signaled_by_worker(exit.signaled && (notes.stop != v1::STOP_KIND_UNSPECIFIED ||
                                                 notes.self_stopped || exit.deadline_passed));
    if (exit.deadline_passed && notes.stop == v1::STOP_KIND_UNSPECIFIED) end.set_stop(v1::PREEMPT);
  }
  const bool final_is_published = !facts.checkpoint_name.empty() && facts.publish_error.empty() &&
                                  facts.checkpoint_step >= facts.last_step;
  end.set_finished(!lost && exit.exit_code == 0 && exit.start_error == 0 && facts.train_finished &&
                   final_is_published);
  const bool killed = !end.signaled_by_worker() && (exit.signal == 9 || exit.exit_code == 137);
  end.set_out_of_memory(!lost && !end.finished() &&
                        ((exit.oom_kill && killed) || facts.failure_attribution == "oom"));
  // A stop that was carried out is no failure, whatever the status; the trainer's own words still
  // count.
  const bool stopped =
      end.stop() != v1::STOP_KIND_UNSPECIFIED && !lost && !end.out_of_memory() &&
      !notes.self_stopped && notes.silent == absl::ZeroDuration() && !exit.deadline_passed &&
      facts.failure_code.empty() &&
      (end.signaled_by_worker() || exit.exit_code == 0 || exit.exit_code == kExitTemporary);
  if (!end.finished() && !stopped) {
    *end.mutable_failure() = MakeFailure(facts, notes, observation, words, end.out_of_memory());
  }
  return end;
}

v1::AttemptEnd MakeNotStartedEnd(const AttemptNotes& notes, const std::string& why,
                                 absl::Time now) {
  v1::AttemptEnd end;
  end.set_stop(notes.stop);
  *end.mutable_end_time() = ToProtoTime(now);
  if (notes.stop != v1::STOP_KIND_UNSPECIFIED && !notes.self_stopped) {
    end.set_signaled_by_worker(true);
    return end;
  }
  v1::Failure& failure = *end.mutable_failure();
  if (notes.self_stopped) {
    Set(failure, "WORKER_DISCONNECTED",
        "The worker could not reach the service for too long before the trainer was started.",
        v1::Failure::INFRASTRUCTURE);
  } else {
    Set(failure, "TRAINER_NOT_STARTED",
        CutUtf8(ToValidUtf8("The worker could not start the trainer: " + why), kMaxMessageBytes),
        v1::Failure::INFRASTRUCTURE);
  }
  return end;
}

v1::AttemptEnd MakeDamagedEnd(const std::string& why, absl::Time now) {
  v1::AttemptEnd end;
  *end.mutable_end_time() = ToProtoTime(now);
  Set(*end.mutable_failure(), "CHECKPOINT_DAMAGED",
      CutUtf8(ToValidUtf8("The checkpoint is not what was published: " + why), kMaxMessageBytes),
      v1::Failure::INFRASTRUCTURE);
  return end;
}

void MakeUnregistered(v1::AttemptEnd& end, const std::string& why, bool is_final) {
  end.set_finished(false);
  Set(*end.mutable_failure(), "MODEL_NOT_REGISTERED",
      CutUtf8(ToValidUtf8("The final weights could not be registered: " + why), kMaxMessageBytes),
      is_final ? v1::Failure::INTERNAL : v1::Failure::INFRASTRUCTURE);
}

bool MustSelfStop(absl::Duration now, absl::Duration answered, absl::Duration self_stop) {
  return now - answered > self_stop;
}

}  // namespace finetuned
