#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/health.h"
#include "cli/io.h"
#include "finetuned/v1/artifact_service.pb.h"
#include "finetuned/v1/experiment_service.pb.h"
#include "finetuned/v1/model_service.pb.h"
#include "finetuned/v1/run_service.pb.h"
#include "finetuned/v1/workspace_service.pb.h"

namespace finetuned::cli {

// Calls of the public services with the caller's token. Not safe for concurrent use.
//
// Every unary call is safe to repeat (a create carries its request_id), so UNAVAILABLE is tried
// again up to kMaxTries times with jittered waits, not before the server's own retry delay, and
// within the time limit. Errors are those of the service; DEADLINE_EXCEEDED when the time limit is
// over; the mark of InterruptedError() after Ctrl-C.
//
// UpdateRun, ResumeRun, DeleteRun and CancelRuns of an experiment do no harm twice, but the answer
// to the second try may be about what the first one did, when only its answer was lost:
// ETAG_MISMATCH for an etag that it changed, RUN_NOT_PAUSED for a run that it resumed, NOT_FOUND
// for a run that it deleted, no result for runs that it stopped. They say whether there was more
// than one try, so that their caller can look.
class Client {
 public:
  static constexpr int kMaxTries = 4;
  static constexpr absl::Duration kDefaultTimeout = absl::Seconds(30);

  struct Options {
    // `host:port` or `unix:/path`.
    std::string server;
    // Empty: calls are made without one and the server says what it thinks of that.
    std::string token;
    // Authorities in PEM that the server's certificate is checked against. Empty: a server of this
    // machine is called without TLS, others with the authorities of the system.
    std::string ca_file;
    // Time limit of each unary call with its repetitions.
    absl::Duration timeout = kDefaultTimeout;
  };

  // A stream of answers. To be read to its end, or destroyed, which cancels it.
  template <typename Response>
  class Stream {
   public:
    // A healthy stream says something every 10 s, so after this long it is dead, whatever TCP
    // thinks.
    static constexpr absl::Duration kSilenceLimit = absl::Seconds(35);

    virtual ~Stream() = default;
    // Blocks for the next message. False at the end of the stream, of `limit`, or of kSilenceLimit;
    // then see status().
    virtual bool Next(absl::Duration limit, Response* response) = 0;
    // How the stream ended: OK, or the service's error; UNAVAILABLE after silence;
    // DEADLINE_EXCEEDED after `limit`. Only after Next() was false.
    virtual const absl::Status& status() const = 0;
  };
  using EventStream = Stream<v1::WatchEventsResponse>;
  using MetricStream = Stream<v1::ReadMetricsResponse>;
  using ArtifactStream = Stream<v1::ReadArtifactResponse>;

  // Connects with the first call. A token never crosses a network in clear text: servers of other
  // machines are called over TLS. Usage error for what is not an address, and for a ca_file without
  // certificates.
  static absl::StatusOr<std::unique_ptr<Client>> Create(const Options& options, Io& io);
  ~Client();

  // Asks the health service once; see AskHealth().
  absl::StatusOr<Health> CheckHealth();
  absl::StatusOr<v1::Run> CreateRun(const v1::CreateRunRequest& request);
  absl::StatusOr<v1::Run> GetRun(const v1::GetRunRequest& request);
  absl::StatusOr<v1::Run> UpdateRun(const v1::UpdateRunRequest& request, bool* repeated);
  absl::StatusOr<v1::Run> PauseRun(const v1::PauseRunRequest& request);
  absl::StatusOr<v1::Run> ResumeRun(const v1::ResumeRunRequest& request, bool* repeated);
  absl::Status DeleteRun(const v1::DeleteRunRequest& request, bool* repeated);
  absl::StatusOr<v1::ListRunsResponse> ListRuns(const v1::ListRunsRequest& request);
  absl::StatusOr<v1::CancelRunsResponse> CancelRuns(const v1::CancelRunsRequest& request,
                                                    bool* repeated = nullptr);
  absl::StatusOr<v1::ListRunEventsResponse> ListRunEvents(const v1::ListRunEventsRequest& request);
  absl::StatusOr<v1::ListCheckpointsResponse> ListCheckpoints(
      const v1::ListCheckpointsRequest& request);
  absl::StatusOr<v1::ListAttemptsResponse> ListAttempts(const v1::ListAttemptsRequest& request);
  absl::StatusOr<v1::ReadRunLogResponse> ReadRunLog(const v1::ReadRunLogRequest& request);
  absl::StatusOr<v1::Quota> GetQuota(const v1::GetQuotaRequest& request);
  absl::StatusOr<v1::ListWorkersResponse> ListWorkers(const v1::ListWorkersRequest& request);
  absl::StatusOr<v1::Worker> GetWorker(const v1::GetWorkerRequest& request);
  absl::StatusOr<v1::Worker> DrainWorker(const v1::DrainWorkerRequest& request);
  absl::StatusOr<v1::ListExperimentsResponse> ListExperiments(
      const v1::ListExperimentsRequest& request);
  absl::StatusOr<v1::Experiment> GetExperiment(const v1::GetExperimentRequest& request);
  absl::StatusOr<v1::ListModelsResponse> ListModels(const v1::ListModelsRequest& request);
  absl::StatusOr<v1::ListRegisteredModelsResponse> ListRegisteredModels(
      const v1::ListRegisteredModelsRequest& request);
  absl::StatusOr<v1::RegisteredModel> GetRegisteredModel(
      const v1::GetRegisteredModelRequest& request);
  absl::StatusOr<v1::Workspace> GetWorkspace(const v1::GetWorkspaceRequest& request);
  absl::StatusOr<v1::Workspace> UpdateWorkspace(const v1::UpdateWorkspaceRequest& request);
  absl::StatusOr<v1::ListArtifactsResponse> ListArtifacts(const v1::ListArtifactsRequest& request);
  // Open a stream; at most one at a time. Never null: an error is found by Next().
  std::unique_ptr<EventStream> WatchEvents(const v1::WatchEventsRequest& request);
  std::unique_ptr<MetricStream> ReadMetrics(const v1::ReadMetricsRequest& request);
  std::unique_ptr<ArtifactStream> ReadArtifact(const v1::ReadArtifactRequest& request);

 private:
  // gRPC stays in client.cc.
  class Rpc;
  explicit Client(std::unique_ptr<Rpc> rpc);

  std::unique_ptr<Rpc> rpc_;
};

// Whether an address stays on this machine: `unix:`, 127.0.0.0/8, ::1, localhost. Usage error for
// an address without a port.
absl::StatusOr<bool> IsLocalAddress(const std::string& server);

}  // namespace finetuned::cli
