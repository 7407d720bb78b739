#include "cli/app.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/errors.h"
#include "cli/grammar.h"
#include "cli/sanitize.h"

namespace finetuned::cli {
namespace {

// The command that was reached, and its words: `finetune run list`.
const CLI::App* Deepest(const CLI::App& app, std::string& words) {
  const CLI::App* deepest = &app;
  words = app.get_name();
  for (;;) {
    const auto next = deepest->get_subcommands();
    if (next.empty()) return deepest;
    deepest = next.front();
    absl::StrAppend(&words, " ", deepest->get_name());
  }
}

std::vector<std::string> SubcommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* each : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(each->get_name());
  }
  return names;
}

std::vector<std::string> FlagNames(const CLI::App& command, const CLI::App& root) {
  std::vector<std::string> names;
  for (const CLI::App* app : {&command, &root}) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

std::string DidYouMean(const std::string& word, const std::vector<std::string>& words) {
  const std::vector<std::string> near = NearNames(word, words);
  return near.empty() ? "" : absl::StrCat(" Did you mean `", near[0], "`?");
}

std::string UnknownFlagSentence(const std::string& argument, const CLI::App& app,
                                const CLI::App& command, const std::string& words) {
  const std::string flag = Sanitize(argument.substr(0, argument.find('=')));
  return absl::StrCat("`", words, "` has no flag ", flag, ".",
                      DidYouMean(flag, FlagNames(command, app)));
}

// One sentence for what the parser found.
std::string ParseErrorSentence(const CLI::ParseError& error, const CLI::App& app,
                               const CLI::App& command, const std::string& words,
                               const std::string& first_argument) {
  // By its type, because its name may be that of the command.
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::vector<std::string> extra = app.remaining(true);
    const std::string word = extra.empty() ? "" : Sanitize(extra.front());
    // `finetune rn list`: the parser passes over a word it does not know and finds a command behind
    // it.
    if (!extra.empty() && extra.front() == first_argument && !absl::StartsWith(word, "-")) {
      return absl::StrCat("`", app.get_name(), "` has no command `", word, "`.",
                          DidYouMean(word, SubcommandNames(app)));
    }
    if (absl::StartsWith(word, "-")) return UnknownFlagSentence(word, app, command, words);
    return absl::StrCat("`", words, "` takes no further argument `", word, "`.");
  }
  const std::vector<std::string> extra = app.remaining(true);
  // `--modle m`: that a flag is missing is said before that another is unknown, and helps nobody.
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !extra.empty() &&
      absl::StartsWith(extra.front(), "-")) {
    return UnknownFlagSentence(extra.front(), app, command, words);
  }
  std::string message = Sanitize(error.what());
  if (absl::StrContains(message, "subcommand is required")) {
    if (!extra.empty()) {
      const std::string word = Sanitize(extra.front());
      return absl::StrCat("`", words, "` has no command `", word, "`.",
                          DidYouMean(word, SubcommandNames(command)));
    }
    return absl::StrCat("`", words, "` needs a command.");
  }
  if (!absl::EndsWith(message, ".")) message += ".";
  return message;
}

int ReportParseError(const CLI::ParseError& error, const CLI::App& app,
                     const std::string& first_argument, Io& io) {
  std::string words;
  const CLI::App* command = Deepest(app, words);
  if (error.get_name() == "CallForHelp" || error.get_name() == "CallForAllHelp") {
    io.out << app.help();
    if (command != &app) io.out << "\nGlobal flags and exit status: finetune --help\n";
    io.out << std::flush;
    return kExitOk;
  }
  const absl::Status status = UsageError(
      ParseErrorSentence(error, app, *command, words, first_argument), words + " --help");
  io.err << RenderError(status, ErrorContext()) << std::flush;
  return kExitUsage;
}

}  // namespace

int RunApp(const std::vector<std::string>& arguments, Io& io) {
  Grammar grammar;
  const bool silent = !arguments.empty() && arguments.front() == kCompleteCommand;
  // The parser reports by exceptions; they end here. It takes its arguments last first.
  try {
    grammar.app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    if (silent) return kExitOk;
    return ReportParseError(error, grammar.app, arguments.empty() ? "" : arguments.front(), io);
  }
  absl::StatusOr<std::unique_ptr<Session>> session = Session::Create(io, grammar.global);
  if (!session.ok()) {
    if (silent) return kExitOk;
    io.err << RenderError(session.status(), ErrorContext()) << std::flush;
    return ExitCodeOf(session.status());
  }
  std::string words;
  const CLI::App* command = Deepest(grammar.app, words);
  (*session)->set_command(words);
  const OutputFormat format = (*session)->format();
  if ((format == OutputFormat::kWide || format == OutputFormat::kCsv) &&
      command->get_option_no_throw(kColumnsFlag) == nullptr) {
    return (*session)->ReportError(UsageError(absl::StrCat(
        "`", words, "` is no listing, and has no --output ", grammar.global.output, ".")));
  }
  const absl::StatusOr<int> result = grammar.action(**session);
  if (silent) return kExitOk;
  return result.ok() ? *result : (*session)->ReportError(result.status());
}

}  // namespace finetuned::cli
