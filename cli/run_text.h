#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "cli/style.h"
#include "finetuned/v1/event.pb.h"
#include "finetuned/v1/run.pb.h"

// What is said about a run to a person. Pure; everything from the server that it returns is
// sanitized.

namespace finetuned::cli {

// The last segment of `workspaces/{w}/runs/{r}`, which is good wherever a name is asked for.
std::string ShortName(const std::string& name);

// `RUNNING`. A number for a state that this version does not know.
std::string StateName(v1::Run::State state);
Style StateStyle(v1::Run::State state);
bool IsTerminal(v1::Run::State state);
// `TRAIN_UPDATED`, and its colour.
std::string EventTypeName(v1::RunEvent::Type type);
Style EventStyle(v1::RunEvent::Type type);
// Whether nothing follows an event of this type.
bool IsTerminalEvent(v1::RunEvent::Type type);

// How much of the training is done, 0 to 1; nothing while that cannot be said.
std::optional<double> ProgressFraction(const v1::Progress& progress);
// `43%`, or `batch 24` where no end is known; empty without progress.
std::string ProgressPercent(const v1::Progress& progress);
// `epoch 1/2`, `batch 24/56`, `10,000 tokens`: those that are known.
std::vector<std::string> ProgressParts(const v1::Progress& progress);
std::string FormatLoss(double loss);
// `43% loss 1.71 ETA 7m`; empty before the first batch.
std::string ProgressText(const v1::Run& run, absl::Time now, bool with_eta = true);

// `1 GPU (h200), 4 CPUs, 8 GiB`; what is not stated is left out; `nothing` when all is.
std::string ComputeText(const v1::Compute& compute);
// The place in the queue: `7`, `over 1000`, or `-` for none.
std::string PlaceText(const v1::Wait& wait);
// One sentence: why a PENDING run waits and what would help.
std::string WaitSentence(const v1::Wait& wait);
// One sentence: who has to do what after this failure. Empty when that is not known.
std::string FailureAdvice(const v1::Failure& failure);
// `before training`, `at step 56`, `after training`.
std::string EvaluationWhen(const v1::Evaluation& evaluation);
// Commands that make sense for a run in this state.
std::vector<std::string> NextCommands(const v1::Run& run);

// The page of one run: every fact a person asks for, as key and value.
std::string RunPage(const v1::Run& run, absl::Time now, bool color);

}  // namespace finetuned::cli
