#include <algorithm>
#include <filesystem>
#include <ostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/sanitize.h"

// What shells ask for: scripts once, names at every press of the key.

namespace finetuned::cli {
namespace {

// A person waits at the key: server, retries and all are done after this.
constexpr absl::Duration kLimit = absl::Milliseconds(700);
constexpr absl::Duration kCacheAge = absl::Seconds(5);
constexpr int kMaxNames = 200;
constexpr size_t kMaxCacheBytes = 1 << 20;

std::string LastPart(const std::string& name) { return name.substr(name.rfind('/') + 1); }

absl::StatusOr<std::vector<std::string>> AskServer(Client& client, const std::string& kind) {
  std::vector<std::string> names;
  if (kind == "runs") {
    v1::ListRunsRequest request;
    request.set_page_size(kMaxNames);
    FT_ASSIGN_OR_RETURN(const auto list, client.ListRuns(request));
    for (const v1::Run& run : list.runs()) names.push_back(LastPart(run.name()));
  } else if (kind == "experiments") {
    v1::ListExperimentsRequest request;
    request.set_page_size(kMaxNames);
    FT_ASSIGN_OR_RETURN(const auto list, client.ListExperiments(request));
    for (const v1::Experiment& each : list.experiments()) names.push_back(each.path());
  } else if (kind == "registered") {
    v1::ListRegisteredModelsRequest request;
    request.set_page_size(kMaxNames);
    FT_ASSIGN_OR_RETURN(const auto list, client.ListRegisteredModels(request));
    for (const v1::RegisteredModel& model : list.models()) names.push_back(LastPart(model.name()));
  } else if (kind == "models") {
    FT_ASSIGN_OR_RETURN(const auto list, client.ListModels(v1::ListModelsRequest()));
    for (const v1::Model& model : list.models()) names.push_back(model.name());
  } else {
    return absl::InvalidArgumentError("no such kind");
  }
  return names;
}

// The file for what one caller sees on one server; empty where there is no place for it.
std::string CachePath(const Environment& env, const Settings& settings, const std::string& kind) {
  std::string folder = env("XDG_CACHE_HOME").value_or("");
  if (folder.empty() || folder[0] != '/') {
    const std::string home = env("HOME").value_or("");
    if (home.empty() || home[0] != '/') return "";
    folder = home + "/.cache";
  }
  const std::string key =
      absl::StrJoin({settings.server.value, settings.token.value, kind}, std::string(1, '\0'));
  return absl::StrCat(folder, "/finetune/names-", Sha256Hex(key).substr(0, 32));
}

// Nothing where the file is too old, or not ours.
std::optional<std::vector<std::string>> ReadCache(const std::string& path, absl::Time now) {
  const auto text = path.empty() ? absl::NotFoundError("") : ReadFile(path, kMaxCacheBytes);
  if (!text.ok()) return std::nullopt;
  std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  int64_t written = 0;
  if (lines.empty() || !absl::SimpleAtoi(lines[0], &written)) return std::nullopt;
  const absl::Duration age = now - absl::FromUnixMillis(written);
  if (age < absl::ZeroDuration() || age >= kCacheAge) return std::nullopt;
  lines.erase(lines.begin());
  return lines;
}

void WriteCache(const std::string& path, absl::Time now, const std::vector<std::string>& names) {
  if (path.empty()) return;
  const std::string folder = std::filesystem::path(path).parent_path().string();
  // Without a cache the next press of the key asks the server again.
  if (!MakeDirectories(folder, 0700).ok()) return;
  const std::string text =
      absl::StrCat(absl::ToUnixMillis(now), "\n", absl::StrJoin(names, "\n"), "\n");
  WriteFileAtomically(path, text, 0600).IgnoreError();
}

absl::StatusOr<std::vector<std::string>> Names(Session& session, const std::string& kind) {
  std::vector<std::string> names;
  if (kind == "contexts") {
    FT_ASSIGN_OR_RETURN(const ConfigFile file, session.LoadConfigFile());
    for (const Context& context : file.config.contexts) names.push_back(context.name);
    return names;
  }
  FT_ASSIGN_OR_RETURN(const Settings settings, session.ResolveConnection());
  Io& io = session.io();
  const std::string path = CachePath(io.env, settings, kind);
  if (auto cached = ReadCache(path, io.clock.Now())) return *cached;
  Client::Options options;
  options.server = settings.server.value;
  options.token = settings.token.value;
  options.timeout = kLimit;
  FT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, Client::Create(options, io));
  const auto answer = AskServer(*client, kind);
  // No answer is kept as well, so that a server that is away is waited for once.
  if (answer.ok()) names = *answer;
  // What a terminal would not show as it is can be typed by nobody.
  names.erase(std::remove_if(
                  names.begin(), names.end(),
                  [](const std::string& name) { return name.empty() || Sanitize(name) != name; }),
              names.end());
  WriteCache(path, io.clock.Now(), names);
  return names;
}

}  // namespace

absl::StatusOr<int> CompleteNames(Session& session, const std::string& kind) {
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> names, Names(session, kind));
  for (const std::string& name : names) session.io().out << name << "\n";
  session.io().out << std::flush;
  return kExitOk;
}

}  // namespace finetuned::cli
