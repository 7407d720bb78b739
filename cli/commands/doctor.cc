#include "cli/doctor.h"

#include <algorithm>
#include <ostream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/print_json.h"

// What stands between a person and the server, looked at one thing after another.

namespace finetuned::cli {
namespace {

using Json = nlohmann::ordered_json;
using Result = Check::Result;

class Doctor {
 public:
  explicit Doctor(Session& session) : session_(session), io_(session.io()) {}

  absl::StatusOr<std::vector<Check>> Run() {
    if (Configuration() && Address()) {
      Token();
      Rights();
      Installation();
      Artifacts();
    } else {
      for (const char* name :
           {"health", "token", "rights", "clock", "quota", "workers", "artifacts"}) {
        Skip(name, "There is no server to ask.");
      }
    }
    Version();
    // Half an answer would be taken for a whole one.
    if (io_.interrupt.requested()) return InterruptedError();
    return std::move(checks_);
  }

 private:
  void Add(Check check) { checks_.push_back(std::move(check)); }
  void Ok(const char* name, const std::string& detail) { Add({name, Result::kOk, detail, "", ""}); }
  void Skip(const char* name, const std::string& why) {
    Add({name, Result::kSkipped, why, "", ""});
  }
  // What an error says, with what it means and what to do.
  void Fail(const char* name, const absl::Status& status, Result result = Result::kFailed) {
    ErrorContext context;
    context.server = settings_.server.value;
    context.token_sent = !settings_.token.value.empty();
    const ErrorParts parts = ExplainError(status, context);
    Add({name, result, parts.what, parts.why, parts.next});
  }

  bool Configuration() {
    const auto file = session_.LoadConfigFile();
    if (!file.ok()) {
      Fail("configuration", file.status());
      Skip("address", "The configuration file must be read first.");
      return false;
    }
    const auto settings = session_.ResolveConnection();
    if (!settings.ok()) {
      Fail("configuration", settings.status());
      Skip("address", "It is not known which server is meant.");
      return false;
    }
    settings_ = *settings;
    const std::string found =
        file->exists ? absl::StrCat(file->path, " with ", file->config.contexts.size(),
                                    file->config.contexts.size() == 1 ? " context" : " contexts")
                     : absl::StrCat("no ", file->path);
    const std::string detail = absl::StrCat(
        found, "; context ", settings_.context.value.empty() ? "none" : settings_.context.value,
        ", server ", settings_.server.value, " (", settings_.server.origin, "), token ",
        settings_.token.value.empty() ? "none"
                                      : absl::StrCat("set (", settings_.token.origin, ")"));
    std::vector<std::string> warnings = settings_.warnings;
    if (file->exists && file->exposed) {
      warnings.push_back("Others may read the tokens in the file; close it with: chmod 600 " +
                         file->path);
    }
    if (!warnings.empty()) {
      Add({"configuration", Result::kWarning, detail, absl::StrJoin(warnings, " "),
           "finetune context view --show-origin"});
    } else {
      Ok("configuration", detail);
    }
    return true;
  }

  bool Address() {
    const auto client = session_.GetClient();
    if (!client.ok()) {
      Fail("address", client.status());
      return false;
    }
    client_ = *client;
    const auto health = client_->CheckHealth();
    if (absl::IsUnavailable(health.status()) || absl::IsDeadlineExceeded(health.status())) {
      Fail("address", health.status());
      return false;
    }
    Ok("address", absl::StrCat(settings_.server.value, " answers."));
    if (health.ok()) {
      health_ = *health;
      if (health_.serving) {
        Ok("health", "The server takes calls.");
      } else {
        Add({"health", Result::kFailed, "The server says that it does not take calls.",
             "It is starting, shutting down, or has lost its database.",
             "the same command in a minute; then the daemon's log"});
      }
    } else if (absl::IsUnimplemented(health.status())) {
      Add({"health", Result::kWarning, "The server has no health service.",
           "Something else than finetuned may listen there.", "finetune context list"});
    } else {
      Fail("health", health.status());
    }
    return true;
  }

  void Token() {
    auto quota = client_->GetQuota(v1::GetQuotaRequest());
    if (quota.ok()) {
      quota_ = *std::move(quota);
      Ok("token", absl::StrCat("It is ", quota_->owner(), "'s."));
    } else if (absl::IsPermissionDenied(quota.status())) {
      Ok("token", "It is accepted.");
    } else {
      Fail("token", quota.status());
    }
  }

  // The API has no call that names the role, so what it allows is tried without an effect.
  void Rights() {
    const auto workspace = [this] {
      v1::GetWorkspaceRequest request;
      request.set_name("workspaces/-");
      return client_->GetWorkspace(request);
    }();
    if (absl::IsUnauthenticated(workspace.status())) {
      Skip("rights", "The token is not accepted.");
      return;
    }
    if (!workspace.ok()) {
      Fail("rights", workspace.status(),
           absl::IsUnimplemented(workspace.status()) ? Result::kWarning : Result::kFailed);
      return;
    }
    // Refused by everybody, because it has neither model nor data, and never stored.
    v1::CreateRunRequest request;
    request.set_validate_only(true);
    request.mutable_run()->mutable_spec();
    const absl::Status create = client_->CreateRun(request).status();
    if (absl::IsPermissionDenied(create)) {
      Add({"rights", Result::kWarning,
           absl::StrCat("It may look at ", workspace->name(), ", and not create runs."),
           "The token's role is reader.",
           "finetuned token create --role user ...   (by whoever runs the server)"});
    } else if (absl::IsInvalidArgument(create) || absl::IsResourceExhausted(create) ||
               create.ok()) {
      Ok("rights", absl::StrCat("It may create runs in ", workspace->name(), "."));
    } else {
      Fail("rights", create);
    }
  }

  void Installation() {
    const auto workers = client_->ListWorkers(v1::ListWorkersRequest());
    Add(CheckClock(health_, workers.ok() ? &*workers : nullptr, io_.clock.Now()));
    if (quota_) {
      Add(CheckQuota(*quota_));
    } else {
      Skip("quota", "The token is not accepted, or does not allow to read it.");
    }
    if (!workers.ok()) {
      Fail("workers", workers.status());
      return;
    }
    Add(CheckWorkers(*workers));
    for (const v1::Worker& worker : workers->workers()) {
      if (worker.state() == v1::Worker::ONLINE) worker_versions_.insert(worker.version());
    }
  }

  void Artifacts() {
    v1::ListRunsRequest list;
    list.set_page_size(1);
    const auto runs = client_->ListRuns(list);
    if (!runs.ok()) {
      Fail("artifacts", runs.status());
      return;
    }
    if (runs->runs().empty()) {
      Skip("artifacts", "There is no run yet whose files could be listed.");
      return;
    }
    v1::ListArtifactsRequest request;
    request.set_parent(runs->runs(0).name());
    request.set_page_size(1);
    const absl::Status status = client_->ListArtifacts(request).status();
    // A run that has left nothing yet.
    if (status.ok() || absl::IsNotFound(status)) {
      Ok("artifacts", "Files of runs can be listed.");
    } else {
      Fail("artifacts", status, absl::IsUnimplemented(status) ? Result::kWarning : Result::kFailed);
    }
  }

  void Version() {
    std::string detail = absl::StrCat("This is finetune ", FINETUNE_VERSION,
                                      "; the API does not tell the server's version");
    if (!worker_versions_.empty()) {
      absl::StrAppend(&detail, ", its workers run ", absl::StrJoin(worker_versions_, ", "));
    }
    Skip("version", detail + ".");
  }

  Session& session_;
  Io& io_;
  Settings settings_;
  Client* client_ = nullptr;
  Health health_;
  std::optional<v1::Quota> quota_;
  std::set<std::string> worker_versions_;
  std::vector<Check> checks_;
};

Json ToObject(const Check& check) {
  return {{"name", check.name},
          {"result", ResultWord(check.result)},
          {"detail", check.detail},
          {"meaning", check.meaning},
          {"next", check.next}};
}

}  // namespace

absl::StatusOr<int> RunDoctor(Session& session) {
  FT_RETURN_IF_ERROR(session.RequireFormat(
      {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  FT_ASSIGN_OR_RETURN(const std::vector<Check> checks, Doctor(session).Run());
  if (session.format() == OutputFormat::kJsonl) {
    for (const Check& check : checks) PrintJson(session, ToObject(check));
  } else {
    Json list = Json::array();
    for (const Check& check : checks) list.push_back(ToObject(check));
    if (!PrintJson(session, {{"checks", list}})) {
      session.io().out << RenderChecks(checks, session.color(), session.io().utf8);
    }
  }
  session.io().out << std::flush;
  const auto failed = std::count_if(checks.begin(), checks.end(), [](const Check& check) {
    return check.result == Result::kFailed;
  });
  if (session.format() == OutputFormat::kTable) {
    session.Note(failed == 0
                     ? "Nothing failed."
                     : absl::StrCat(failed, failed == 1 ? " check" : " checks", " failed."));
  }
  return failed == 0 ? kExitOk : kExitFailure;
}

}  // namespace finetuned::cli
