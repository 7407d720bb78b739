#include "cli/completion.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/completion_scripts.h"
#include "cli/errors.h"
#include "finetuned/v1/recipe.pb.h"
#include "finetuned/v1/run.pb.h"

namespace finetuned::cli {
namespace {

using Kind = Candidates::Kind;

// The values of an enum as people write them, without the first, which is `not given`.
Candidates EnumWords(const google::protobuf::EnumDescriptor* type) {
  Candidates candidates{Kind::kWords, {}};
  for (int i = 1; i < type->value_count(); ++i) {
    candidates.words.push_back(absl::AsciiStrToLower(type->value(i)->name()));
  }
  return candidates;
}

const std::map<std::string, Candidates>& FlagCandidates() {
  static const auto* candidates = new std::map<std::string, Candidates>{
      {"--color", {Kind::kWords, {"auto", "always", "never"}}},
      {"--context", {Kind::kNames, {"contexts"}}},
      {"--eval-data", {Kind::kFiles, {}}},
      {"--experiment", {Kind::kNames, {"experiments"}}},
      {"--file", {Kind::kFiles, {}}},
      {"--lora-target",
       {Kind::kWords,
        {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}}},
      {"--model", {Kind::kNames, {"models"}}},
      {"--optimizer", {Kind::kWords, {"lion", "adamw"}}},
      {"--output", {Kind::kWords, {"table", "wide", "csv", "json", "jsonl", "yaml", "name"}}},
      {"--precision", EnumWords(v1::Recipe::Precision_descriptor())},
      {"--priority", EnumWords(v1::Scheduling::Priority_descriptor())},
      {"--progress", {Kind::kWords, {"auto", "bar", "plain", "none"}}},
      {"--schedule", EnumWords(v1::Recipe::Schedule_descriptor())},
      {"--share-runs", {Kind::kWords, {"true", "false"}}},
      {"--source", {Kind::kNames, {"runs"}}},
      {"--state", EnumWords(v1::Run::State_descriptor())},
      {"--task", {Kind::kWords, {"chat", "instruction", "continued-pretrain"}}},
      {"--to", {Kind::kFiles, {}}},
      {"--token-file", {Kind::kFiles, {}}},
      {"--train-data", {Kind::kFiles, {}}},
      {"--validate-inputs", {Kind::kWords, {"true", "false"}}},
  };
  return *candidates;
}

Candidates ValueOf(const CLI::Option& option) {
  for (const std::string& name : option.get_lnames()) {
    const auto found = FlagCandidates().find("--" + name);
    if (found != FlagCandidates().end()) return found->second;
  }
  return {};
}

Candidates ArgumentOf(const std::string& path, const CLI::Option& option) {
  const std::string name = option.get_name(/*positional=*/true);
  if (name == "SHELL") return {Kind::kWords, {"bash", "zsh", "fish"}};
  if (name != "NAME" && name != "RUN" && name != "OTHER") return {};
  if (absl::StartsWith(path, "context")) return {Kind::kNames, {"contexts"}};
  if (absl::StartsWith(path, "model")) return {Kind::kNames, {"registered"}};
  if (absl::StrContains(path, "experiment")) return {Kind::kNames, {"experiments"}};
  return {Kind::kNames, {"runs"}};
}

void AddFlags(const CLI::App& app, std::vector<CompletionFlag>& flags) {
  for (const CLI::Option* option : app.get_options()) {
    CompletionFlag flag;
    for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
    if (flag.names.empty()) continue;
    flag.description = option->get_description();
    flag.takes_value = option->get_items_expected_max() > 0;
    if (flag.takes_value) flag.value = ValueOf(*option);
    flags.push_back(std::move(flag));
  }
}

void AddCommand(const CLI::App& root, const CLI::App& app, const std::string& path,
                std::vector<CompletionCommand>& tree) {
  CompletionCommand command;
  command.path = path;
  command.description = app.get_description();
  AddFlags(app, command.flags);
  if (&app != &root) AddFlags(root, command.flags);
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      command.argument = ArgumentOf(path, *option);
      break;
    }
  }
  // The parser wants to be told that all are meant, and is not const then.
  const auto beneath = app.get_subcommands([](const CLI::App*) { return true; });
  std::vector<const CLI::App*> shown;
  for (const CLI::App* each : beneath) {
    if (each->get_group().empty()) continue;
    command.commands.emplace_back(each->get_name(), each->get_description());
    shown.push_back(each);
  }
  tree.push_back(std::move(command));
  for (const CLI::App* each : shown) {
    AddCommand(root, *each, absl::StrCat(path, path.empty() ? "" : " ", each->get_name()), tree);
  }
}

}  // namespace

std::vector<CompletionCommand> CompletionTree(const CLI::App& app) {
  std::vector<CompletionCommand> tree;
  AddCommand(app, app, "", tree);
  // Every command has its own -h, and so the root's twice.
  for (CompletionCommand& command : tree) {
    std::vector<CompletionFlag> flags;
    for (CompletionFlag& flag : command.flags) {
      const bool known = std::any_of(flags.begin(), flags.end(), [&flag](const auto& other) {
        return other.names[0] == flag.names[0];
      });
      if (!known) flags.push_back(std::move(flag));
    }
    command.flags = std::move(flags);
  }
  return tree;
}

absl::StatusOr<std::string> CompletionScript(const CLI::App& app, const std::string& shell) {
  const std::vector<CompletionCommand> tree = CompletionTree(app);
  if (shell == "bash") return BashScript(tree);
  if (shell == "zsh") return ZshScript(tree);
  if (shell == "fish") return FishScript(tree);
  return UsageError(
      absl::StrCat("There is no completion for `", shell, "`; give bash, zsh or fish."),
      "finetune completion --help");
}

std::vector<std::string> FlagsWithCandidates() {
  std::vector<std::string> names;
  for (const auto& [name, candidates] : FlagCandidates()) names.push_back(name);
  return names;
}

}  // namespace finetuned::cli
