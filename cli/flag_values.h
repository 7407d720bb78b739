#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "finetuned/v1/run.pb.h"

// What people write behind a flag, as the API has it. Pure. Usage error for what cannot be read.

namespace finetuned::cli {

// A state by its name, in any case.
absl::StatusOr<v1::Run::State> ParseState(const std::string& text);

// `chat`, `instruction`, `continued-pretrain`, or the API's name, in any case.
absl::StatusOr<v1::RunSpec::TaskType> ParseTask(const std::string& text);

// `high`, `auto`, `low`, `lowest`, in any case.
absl::StatusOr<v1::Scheduling::Priority> ParsePriority(const std::string& text);

// The values of --label, each `key=value`; a key is given once.
absl::StatusOr<std::map<std::string, std::string>> ParseLabels(
    const std::vector<std::string>& texts);

}  // namespace finetuned::cli
