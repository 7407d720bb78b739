#include "cli/errors.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "cli/sanitize.h"

namespace finetuned::cli {
namespace {

// Payloads that mark errors made here; no server can set them, because its details have google.rpc
// types.
constexpr char kUsageUrl[] = "finetune/usage";
constexpr char kWhyUrl[] = "finetune/why";
constexpr char kNextUrl[] = "finetune/next";
constexpr char kInterruptedUrl[] = "finetune/interrupted";
constexpr char kQuotaFailureUrl[] = "type.googleapis.com/google.rpc.QuotaFailure";

constexpr size_t kMaxDistance = 2;
constexpr size_t kMaxSuggestions = 3;
// Names longer than this are not compared, which takes time by the product of the lengths.
constexpr size_t kMaxComparedLength = 128;

std::string Payload(const absl::Status& status, const char* url) {
  const auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : "";
}

// The three parts, and lines between what and why.
struct Explanation {
  std::string what;
  std::vector<std::string> details;
  std::string why;
  std::string next;
};

std::string Quoted(const std::string& name) { return absl::StrCat("`", Sanitize(name), "`"); }

void AddQuotaDetails(const absl::Status& status, Explanation& explanation) {
  google::rpc::QuotaFailure failure;
  if (failure.ParseFromString(Payload(status, kQuotaFailureUrl))) {
    for (const auto& violation : failure.violations()) {
      explanation.details.push_back(
          absl::StrCat(Sanitize(violation.subject()), ": ", Sanitize(violation.description())));
    }
  }
  const auto metadata = ErrorMetadata(status);
  const auto limit = metadata.find("limit");
  const auto usage = metadata.find("usage");
  if (limit != metadata.end() && usage != metadata.end()) {
    const auto quota = metadata.find("quota");
    const std::string what = quota == metadata.end() ? "active_runs" : Sanitize(quota->second);
    explanation.details.push_back(absl::StrCat(Sanitize(usage->second), " of ",
                                               Sanitize(limit->second), " ",
                                               absl::StrReplaceAll(what, {{"_", " "}})));
  }
  const auto runs = metadata.find("runs");
  if (runs == metadata.end()) return;
  const std::vector<std::string> holders =
      absl::StrSplit(runs->second, absl::ByAnyChar(", "), absl::SkipEmpty());
  for (const std::string& holder : holders) {
    explanation.details.push_back(absl::StrCat("held by ", Sanitize(holder)));
  }
}

Explanation ExplainUnavailable(const absl::Status& status, const ErrorContext& context) {
  const std::string message = Sanitize(std::string(status.message()));
  if (!ErrorReason(status).empty()) {
    return {absl::StrCat("The server at ", context.server, " cannot do this now: ", message),
            {},
            "This passes: the same command may be given again.",
            ""};
  }
  return {absl::StrCat("No answer from the server at ", context.server, "."),
          {message},
          "Nothing listens there, or the network lost the connection.",
          "finetuned dev   (starts a server on this machine), or finetune context list"};
}

Explanation ExplainNotFound(const std::string& message, const ErrorContext& context) {
  if (context.run.empty() && context.experiment.empty()) return {message, {}, "", ""};
  const bool is_run = !context.run.empty();
  Explanation explanation;
  explanation.what = is_run
                         ? absl::StrCat("There is no run ", Quoted(context.run), ".")
                         : absl::StrCat("There is no experiment ", Quoted(context.experiment), ".");
  if (!message.empty()) explanation.details.push_back(message);
  explanation.why =
      is_run ? "It does not exist, or it belongs to somebody else; the server says no more."
             : "No run that you see is in it; it comes into being with its first run.";
  if (!context.suggestions.empty()) {
    explanation.details.push_back("Did you mean " +
                                  absl::StrJoin(context.suggestions, ", ",
                                                [](std::string* out, const std::string& name) {
                                                  absl::StrAppend(out, Quoted(name));
                                                }) +
                                  "?");
  }
  explanation.next = is_run ? "finetune run list" : "finetune experiment list";
  return explanation;
}

// Advice about a run that exists and does not allow what was asked.
Explanation ExplainRunState(const std::string& reason, const std::string& message,
                            const ErrorContext& context) {
  const std::string run = context.run.empty() ? "NAME" : ShellWord(context.run);
  if (reason == "RUN_TERMINAL") {
    return {message,
            {},
            "A run that has ended stays as it is; only its labels can still change.",
            absl::StrCat("finetune run clone ", run, "   (makes another like it)")};
  }
  if (reason == "RUN_NOT_TERMINAL") {
    return {message,
            {},
            "Only a run that has ended can be deleted.",
            absl::StrCat("finetune run cancel ", run, ", and delete it once it is STOPPED")};
  }
  if (reason == "RUN_NOT_PAUSED" || reason == "RUN_STOPPING") {
    return {message, {}, "Nothing was changed.", absl::StrCat("finetune run watch ", run)};
  }
  return {message,
          {},
          "An etag changes with every change of the run, its progress included.",
          absl::StrCat("finetune run get ", run, " -o json   (shows the run and its etag)")};
}

Explanation ExplainConflict(const absl::Status& status, const std::string& message,
                            const ErrorContext& context) {
  const std::string reason = ErrorReason(status);
  if (reason == "RUN_TERMINAL" || reason == "RUN_NOT_TERMINAL" || reason == "RUN_NOT_PAUSED" ||
      reason == "RUN_STOPPING" || reason == "ETAG_MISMATCH") {
    return ExplainRunState(reason, message, context);
  }
  if (status.code() == absl::StatusCode::kAlreadyExists) {
    return {message,
            {},
            "A name is used once, also after the run is deleted.",
            "finetune run create --name ANOTHER ...   (or leave --name out)"};
  }
  if (status.code() == absl::StatusCode::kResourceExhausted) {
    Explanation explanation{message,
                            {},
                            "A slot frees when one of your active runs ends.",
                            "finetune quota   (shows the runs that hold it)"};
    AddQuotaDetails(status, explanation);
    if (reason == "PAUSED_RUNS_QUOTA") {
      explanation.why = "A place frees when one of your paused runs is resumed or canceled.";
      explanation.next = "finetune run list --state paused";
      return explanation;
    }
    if (reason != "ACTIVE_RUNS_QUOTA" && explanation.details.empty()) {
      explanation.why = "The server limits how much one caller may have open.";
    }
    return explanation;
  }
  if (reason == "MODEL_NOT_ALLOWED") {
    return {message, {}, "Nothing was stored.", "finetune run create --model ONE-OF-THESE ..."};
  }
  if (reason == "NO_SUCH_CAPACITY") {
    return {message, {}, "No worker could ever hold the run.", "finetune worker list"};
  }
  return {message, {}, "", ""};
}

Explanation ExplainRetention(const std::string& message) {
  return {message,
          {},
          "An admin of the workspace has said how long they are kept; the run itself stays.",
          "finetune workspace get   (says how long)"};
}

Explanation ExplainServerError(const absl::Status& status, const ErrorContext& context) {
  const std::string message = Sanitize(std::string(status.message()));
  switch (status.code()) {
    case absl::StatusCode::kUnavailable: return ExplainUnavailable(status, context);
    case absl::StatusCode::kDeadlineExceeded:
      return {absl::StrCat("The server at ", context.server, " did not answer in time."),
              {},
              "It is busy or far away; what was asked may still have been done.",
              "the same command with a longer --timeout, e.g. --timeout 2m"};
    case absl::StatusCode::kUnauthenticated:
      return {context.token_sent ? "The server does not accept the token." : "No token was sent.",
              {message},
              context.token_sent ? "It has expired, was revoked, or belongs to another server."
                                 : "Every call needs a token that says who you are.",
              "finetune context set NAME --server ADDRESS --token-file FILE"};
    case absl::StatusCode::kPermissionDenied:
      return {message,
              {},
              "The token's role, or the server's configuration, does not allow it.",
              "finetune context view   (shows which token is used)"};
    case absl::StatusCode::kNotFound:
      if (ErrorReason(status) == "PAST_RETENTION") return ExplainRetention(message);
      if (ErrorReason(status) == "ARTIFACT_NOT_FOUND") {
        return {"There is no such file or folder.",
                {message},
                "",
                absl::StrCat("finetune artifacts list ", Sanitize(context.run), " -r")};
      }
      return ExplainNotFound(message, context);
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted: return ExplainConflict(status, message, context);
    case absl::StatusCode::kInvalidArgument: {
      const auto violations = Violations(status);
      if (violations.empty()) return {message, {}, "", ""};
      Explanation explanation{"The server refused the request.", {}, "", ""};
      for (const FieldViolation& violation : violations) {
        explanation.details.push_back(
            absl::StrCat(Sanitize(violation.field), ": ", Sanitize(violation.description)));
      }
      explanation.why = "Nothing was stored or changed.";
      if (!context.command.empty()) {
        explanation.next = absl::StrCat(context.command, " --help   (says what each flag takes)");
      }
      return explanation;
    }
    case absl::StatusCode::kUnimplemented:
      return {"The server does not know this call.",
              {message},
              "It is older than this program.",
              "finetune version"};
    default:
      if (ErrorReason(status) == "CURSOR_EXPIRED") return ExplainRetention(message);
      return {message.empty() ? "The call failed." : message,
              {},
              absl::StrCat("The server answered ", absl::StatusCodeToString(status.code()), "."),
              ""};
  }
}

Explanation Explain(const absl::Status& status, const ErrorContext& context) {
  if (status.GetPayload(kInterruptedUrl).has_value()) return {"Interrupted.", {}, "", ""};
  const bool local = status.GetPayload(kUsageUrl).has_value() ||
                     status.GetPayload(kWhyUrl).has_value() || context.server.empty();
  if (!local) return ExplainServerError(status, context);
  return {SanitizeBlock(std::string(status.message())),
          {},
          Payload(status, kWhyUrl),
          Payload(status, kNextUrl)};
}

// Levenshtein's distance.
size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

absl::Status UsageError(const std::string& message, const std::string& next) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsageUrl, absl::Cord());
  if (!next.empty()) status.SetPayload(kNextUrl, absl::Cord(next));
  return status;
}

absl::Status LocalError(absl::StatusCode code, const std::string& what, const std::string& why,
                        const std::string& next) {
  absl::Status status(code, what);
  status.SetPayload(kWhyUrl, absl::Cord(why));
  if (!next.empty()) status.SetPayload(kNextUrl, absl::Cord(next));
  return status;
}

absl::Status InterruptedError() {
  absl::Status status = absl::CancelledError("interrupted");
  status.SetPayload(kInterruptedUrl, absl::Cord());
  return status;
}

int ExitCodeOf(const absl::Status& status) {
  if (status.GetPayload(kUsageUrl).has_value()) return kExitUsage;
  if (status.GetPayload(kInterruptedUrl).has_value()) return kExitInterrupted;
  // Of the same code as a state that does not allow something, but what the request says is wrong.
  const std::string reason = ErrorReason(status);
  if (reason == "MODEL_NOT_ALLOWED" || reason == "NO_SUCH_CAPACITY") return kExitInvalidData;
  switch (status.code()) {
    case absl::StatusCode::kOk: return kExitOk;
    case absl::StatusCode::kNotFound: return kExitNotFound;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied: return kExitAuth;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted: return kExitConflict;
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnavailable: return kExitUnavailable;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange: return kExitInvalidData;
    default: return kExitFailure;
  }
}

std::string RenderError(const absl::Status& status, const ErrorContext& context) {
  const Explanation explanation = Explain(status, context);
  std::string text =
      absl::StrCat(Paint(Style::kRed, "error:", context.color), " ", explanation.what, "\n");
  for (const std::string& detail : explanation.details) {
    if (!detail.empty()) absl::StrAppend(&text, "  ", detail, "\n");
  }
  if (!explanation.why.empty()) absl::StrAppend(&text, "why:   ", explanation.why, "\n");
  if (!explanation.next.empty()) absl::StrAppend(&text, "next:  ", explanation.next, "\n");
  return text;
}

ErrorParts ExplainError(const absl::Status& status, const ErrorContext& context) {
  const Explanation explanation = Explain(status, context);
  std::string what = explanation.what;
  for (const std::string& detail : explanation.details) {
    if (!detail.empty()) absl::StrAppend(&what, " ", detail);
  }
  return {what, explanation.why, explanation.next};
}

std::vector<std::string> NearNames(const std::string& name,
                                   const std::vector<std::string>& candidates) {
  std::vector<std::pair<size_t, std::string>> near;
  for (const std::string& candidate : candidates) {
    if (candidate == name || std::max(name.size(), candidate.size()) > kMaxComparedLength) continue;
    const size_t distance = EditDistance(name, candidate);
    if (distance <= kMaxDistance) near.emplace_back(distance, candidate);
  }
  std::stable_sort(near.begin(), near.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> result;
  for (auto& [distance, candidate] : near) {
    if (result.size() == kMaxSuggestions) break;
    result.push_back(std::move(candidate));
  }
  return result;
}

}  // namespace finetuned::cli
