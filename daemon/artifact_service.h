#pragma once

#include "daemon/service_core.h"
#include "daemon/stream_limits.h"
#include "finetuned/v1/artifact_service.grpc.pb.h"

namespace finetuned {

// Files that runs leave; proto/finetuned/v1/artifact_service.proto is its contract. Who may read is
// decided on the executor of all calls; files are read on the executor of files.
class ArtifactService final : public v1::ArtifactService::CallbackService {
 public:
  static constexpr int kMaxDownloadsPerOwner = 16;
  static constexpr size_t kPieceBytes = 512 << 10;

  explicit ArtifactService(const ServiceCore* core)
      : core_(*core),
        downloads_(kMaxDownloadsPerOwner, "TOO_MANY_DOWNLOADS", "go on from the offset reached") {}

  // Ends all downloads resumably; new ones are refused. Called when the daemon shuts down.
  void EndStreams() { downloads_.Close(); }

  grpc::ServerUnaryReactor* ListArtifacts(grpc::CallbackServerContext* context,
                                          const v1::ListArtifactsRequest* request,
                                          v1::ListArtifactsResponse* response) override;
  grpc::ServerWriteReactor<v1::ReadArtifactResponse>* ReadArtifact(
      grpc::CallbackServerContext* context, const v1::ReadArtifactRequest* request) override;

 private:
  const ServiceCore& core_;
  StreamLimits downloads_;
};

// Where an artifact lies, both relative to the artifact root.
struct ArtifactPlace {
  // The parent's artifacts.
  std::string top;
  // Relative to `top`; empty for all of it.
  std::string path;
};

// Blocks on Postgres. INVALID_ARGUMENT; NOT_FOUND for a parent that the caller may not see.
absl::StatusOr<ArtifactPlace> FindArtifact(const ServiceCore& core, const Identity& caller,
                                           const std::string& parent, const std::string& path);

// An error of the filesystem as callers see it: NOT_FOUND `ARTIFACT_NOT_FOUND`, also for what is no
// artifact, such as a symbolic link; UNAVAILABLE for what may pass.
absl::Status ArtifactError(const absl::Status& status, const ArtifactPlace& place);

}  // namespace finetuned
