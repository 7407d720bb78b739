#include "cli/flag_values.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

// `continued-pretrain` and `Continued_Pretrain` as CONTINUED_PRETRAIN.
std::string EnumName(const std::string& text) {
  std::string name = absl::AsciiStrToUpper(text);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace

absl::StatusOr<v1::Run::State> ParseState(const std::string& text) {
  v1::Run::State state = v1::Run::STATE_UNSPECIFIED;
  if (v1::Run::State_Parse(EnumName(text), &state) && state != v1::Run::STATE_UNSPECIFIED) {
    return state;
  }
  return UsageError(absl::StrCat(
      "--state is `", text,
      "`; give pending, queued, starting, running, terminating, paused, completed, failed or "
      "stopped."));
}

absl::StatusOr<v1::RunSpec::TaskType> ParseTask(const std::string& text) {
  const std::string name = EnumName(text);
  if (name == "CHAT") return v1::RunSpec::CHAT_COMPLETION;
  if (name == "INSTRUCTION") return v1::RunSpec::INSTRUCTION_FINETUNE;
  v1::RunSpec::TaskType task = v1::RunSpec::TASK_TYPE_UNSPECIFIED;
  if (v1::RunSpec::TaskType_Parse(name, &task) && task != v1::RunSpec::TASK_TYPE_UNSPECIFIED) {
    return task;
  }
  return UsageError(absl::StrCat(
      "--task is `", text,
      "`; give chat (CHAT_COMPLETION), instruction (INSTRUCTION_FINETUNE) or continued-pretrain "
      "(CONTINUED_PRETRAIN)."));
}

absl::StatusOr<v1::Scheduling::Priority> ParsePriority(const std::string& text) {
  v1::Scheduling::Priority priority = v1::Scheduling::PRIORITY_UNSPECIFIED;
  if (v1::Scheduling::Priority_Parse(EnumName(text), &priority) &&
      priority != v1::Scheduling::PRIORITY_UNSPECIFIED) {
    return priority;
  }
  return UsageError(absl::StrCat("--priority is `", text, "`; give high, auto, low or lowest."));
}

absl::StatusOr<std::map<std::string, std::string>> ParseLabels(
    const std::vector<std::string>& texts) {
  std::map<std::string, std::string> labels;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return UsageError(absl::StrCat("--label is `", text, "`; write it as key=value."));
    }
    const std::string key = text.substr(0, equals);
    if (!labels.emplace(key, text.substr(equals + 1)).second) {
      return UsageError(absl::StrCat("--label gives `", key, "` twice."));
    }
  }
  return labels;
}

}  // namespace finetuned::cli
