#pragma once

#include <string>

#include "absl/time/time.h"
#include "finetuned/v1/worker_service.pb.h"
#include "worker/attempt_dir.h"
#include "worker/attempt_facts.h"
#include "worker/engine.h"

// The decisions of one attempt's life. Pure: values in, values out.

namespace finetuned {

// Where an attempt stands on its worker. kEnded: the trainer is gone, its end is on disk and waits
// to be reported. kAbandoned: the lease is lost; it only remains to kill the trainer and to forget
// the attempt.
enum class AttemptPhase { kStarting, kRunning, kStopping, kEnded, kAbandoned };
enum class AttemptInput { kStarted, kStopWanted, kLeaseLost, kTrainerGone };

struct AttemptStep {
  AttemptPhase phase;
  // Ask the trainer to stop.
  bool stop = false;
  // Kill it at once.
  bool kill = false;
  // Put its end on disk.
  bool record_end = false;
  // Delete the attempt's folder.
  bool forget = false;
};

AttemptStep StepAttempt(AttemptPhase phase, AttemptInput input);

// The stop to carry out when `wanted` arrives while `current` is being carried out: a stop is never
// taken back, and one that ends the run for good wins over one after which it goes on.
v1::StopKind CombineStops(v1::StopKind current, v1::StopKind wanted);

// What the trainer left to explain its end.
struct LastWords {
  // The end of standard error, at most 4 KiB.
  std::string stderr_tail;
  // Content of the error file; empty for none.
  std::string error_file;
};

// How the attempt ended, from all that is known; `now` stands in for an end time that nobody
// recorded. `observation` is kExited or kLost.
v1::AttemptEnd MakeEnd(const AttemptFacts& facts, const AttemptNotes& notes,
                       const Observation& observation, const LastWords& words, absl::Time now);

// The end of an attempt whose trainer was never started: because a stop came first, or because it
// could not be; `why` is for a person then.
v1::AttemptEnd MakeNotStartedEnd(const AttemptNotes& notes, const std::string& why, absl::Time now);

// The end of an attempt that was given a checkpoint which is not what was published; `why` is for a
// person. The service gives the next attempt the one before.
v1::AttemptEnd MakeDamagedEnd(const std::string& why, absl::Time now);

// Makes the end of a training that has finished into that of one whose weights could not be put
// where they are registered. Unless it is final, it is tried again.
void MakeUnregistered(v1::AttemptEnd& end, const std::string& why, bool is_final);

// Whether the worker's right to run has ended: its trainers are stopped. Both are times since boot;
// `answered` is when the newest renewal that was answered had been sent.
bool MustSelfStop(absl::Duration now, absl::Duration answered, absl::Duration self_stop);

}  // namespace finetuned
