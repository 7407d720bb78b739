#include "daemon/artifact_service.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "artifacts/beneath.h"
#include "artifacts/walk.h"
#include "daemon/canonical.h"
#include "daemon/checker.h"
#include "daemon/download.h"
#include "daemon/page_token.h"
#include "daemon/resource_name.h"
#include "daemon/run_service.h"
#include "daemon/run_view.h"

namespace finetuned {
namespace {

constexpr int kDefaultPageSize = 1000;

const google::protobuf::MethodDescriptor* Method(const char* name) {
  static const auto* service =
      v1::Artifact::descriptor()->file()->FindServiceByName("ArtifactService");
  return service->FindMethodByName(name);
}

// `workspaces/{w}/registeredModels/{m}/versions/{n}`.
bool IsVersionName(const std::string& parent) {
  return absl::StrContains(parent, "/registeredModels/");
}

absl::StatusOr<std::string> FolderOfVersion(const ServiceCore& core, const Identity& caller,
                                            const std::string& parent) {
  const std::vector<std::string> parts = absl::StrSplit(parent, '/');
  int version = 0;
  if (parts.size() != 6 || parts[4] != "versions" || !absl::SimpleAtoi(parts[5], &version) ||
      version < 1) {
    return InvalidArgument(
        {{"parent",
          "is not `workspaces/{workspace}/registeredModels/{model}/versions/{n}`, nor a run",
          "BAD_NAME"}});
  }
  FT_ASSIGN_OR_RETURN(
      const std::string model,
      ParseRegisteredModelName(parent.substr(0, parent.rfind("/versions/")), caller));
  FT_ASSIGN_OR_RETURN(const auto id, core.registry->Find(ViewerOf(caller), model));
  if (!id.has_value()) return RegisteredModelNotFound(model);
  FT_ASSIGN_OR_RETURN(const auto run, core.registry->RunOfVersion(*id, version));
  if (!run.has_value()) return RegisteredModelNotFound(absl::StrCat(model, " version ", version));
  return RegisterPath(caller.workspace, model, *run);
}

absl::StatusOr<std::string> FolderOfRun(const ServiceCore& core, const Identity& caller,
                                        const std::string& parent) {
  FT_RETURN_IF_ERROR(ParseRunName(parent, caller).status());
  FT_ASSIGN_OR_RETURN(const int64_t run_id, FindRun(core, caller, parent));
  FT_ASSIGN_OR_RETURN(const std::vector<Run> runs, core.reader->GetRuns({run_id}));
  if (runs.empty()) return RunNotFound(parent);
  return absl::StrCat(ArtifactPath(runs[0].workspace, runs[0].name), "/artifacts");
}

absl::StatusOr<WalkOptions> OptionsOf(const ServiceCore& core, const Identity& caller,
                                      const v1::ListArtifactsRequest& request,
                                      const std::string& scope) {
  FT_RETURN_IF_ERROR(PageSize(request.page_size()).status());
  WalkOptions options;
  options.recursive = request.recursive();
  options.limit = request.page_size() == 0 ? kDefaultPageSize : *PageSize(request.page_size());
  if (!request.page_token().empty()) {
    FT_ASSIGN_OR_RETURN(options.after,
                        ReadTextPageToken(core.page_token_key, scope, request.page_token()));
  }
  FT_ASSIGN_OR_RETURN(const ArtifactPlace place,
                      FindArtifact(core, caller, request.parent(), request.path()));
  options.top = place.top;
  options.path = place.path;
  return options;
}

absl::Status ListPage(const ServiceCore& core, WalkOptions options, const std::string& scope,
                      v1::ListArtifactsResponse* response) {
  const int limit = options.limit++;
  auto entries = Walk(ArtifactStore(core.artifact_root), options);
  if (!entries.ok()) {
    // A run that has left nothing yet has an empty folder.
    if (absl::IsNotFound(entries.status()) && options.path.empty()) return absl::OkStatus();
    return ArtifactError(entries.status(), {options.top, options.path});
  }
  if (static_cast<int>(entries->size()) > limit) {
    entries->resize(limit);
    response->set_next_page_token(
        MakeTextPageToken(core.page_token_key, scope, WalkKey(entries->back())));
  }
  for (const WalkEntry& entry : *entries) {
    v1::Artifact* artifact = response->add_artifacts();
    artifact->set_path(entry.path);
    artifact->set_folder(entry.is_folder);
    artifact->set_size_bytes(entry.size_bytes);
    artifact->set_sha256(entry.sha256);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ArtifactPlace> FindArtifact(const ServiceCore& core, const Identity& caller,
                                           const std::string& parent, const std::string& path) {
  ArtifactPlace place;
  if (IsVersionName(parent)) {
    FT_ASSIGN_OR_RETURN(place.top, FolderOfVersion(core, caller, parent));
  } else {
    FT_ASSIGN_OR_RETURN(place.top, FolderOfRun(core, caller, parent));
  }
  // As a checkpoint's path is told, relative to the artifact root; and as people end a folder.
  absl::string_view rest = absl::StripSuffix(path, "/");
  if (rest == place.top) rest = "";
  absl::ConsumePrefix(&rest, place.top + "/");
  place.path = std::string(rest);
  if (!SplitArtifactPath(place.top + "/" + place.path).ok() && !place.path.empty()) {
    return InvalidArgument(
        {{"path", "is not a path relative to the parent's artifacts", "BAD_PATH"}});
  }
  return place;
}

absl::Status ArtifactError(const absl::Status& status, const ArtifactPlace& place) {
  if (absl::IsNotFound(status) || absl::IsInvalidArgument(status)) {
    return MakeError(absl::StatusCode::kNotFound, "ARTIFACT_NOT_FOUND",
                     absl::StrCat("path: there is no artifact ", place.path.substr(0, 200)));
  }
  return UnavailableError("ARTIFACTS_UNREADABLE",
                          absl::StrCat("the artifacts cannot be read now: ", status.message()),
                          absl::Seconds(5));
}

grpc::ServerUnaryReactor* ArtifactService::ListArtifacts(grpc::CallbackServerContext* context,
                                                         const v1::ListArtifactsRequest* request,
                                                         v1::ListArtifactsResponse* response) {
  return HandleUnary(
      core_.call, context, Method("ListArtifacts"), [=](const Identity& caller, const Done& done) {
        v1::ListArtifactsRequest canonical = *request;
        canonical.clear_page_size();
        canonical.clear_page_token();
        const std::string scope = absl::StrCat("artifacts/", caller.workspace_id, "/",
                                               caller.owner_id, "/", CanonicalBytes(canonical));
        const auto options = OptionsOf(core_, caller, *request, scope);
        if (!options.ok()) return done(options.status());
        const bool accepted =
            core_.files->Submit([this, options = *options, scope, response, done] {
              done(ListPage(core_, options, scope, response));
            });
        if (!accepted) done(downloads_.Stopping());
      });
}

grpc::ServerWriteReactor<v1::ReadArtifactResponse>* ArtifactService::ReadArtifact(
    grpc::CallbackServerContext* context, const v1::ReadArtifactRequest* request) {
  return StartDownload(core_, core_.files, &downloads_, context, Method("ReadArtifact"), *request);
}

}  // namespace finetuned
