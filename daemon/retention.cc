#include "daemon/retention.h"

#include "base/status.h"
#include "daemon/page_token.h"
#include "daemon/run_view.h"

namespace finetuned {
namespace {

// Runs of an answer, but for those that ended at the same time as the last.
constexpr int kSweptRuns = 200;
// What a receipt is good for.
constexpr char kReceiptScope[] = "sweep";

}  // namespace

absl::Status SweepFiles(const ServiceCore& core, const v1::SweepFilesRequest& request,
                        v1::SweepFilesResponse* response) {
  if (!request.receipt().empty()) {
    const auto receipt = ReadPageToken(core.page_token_key, kReceiptScope, request.receipt(), 3);
    if (!receipt.ok()) {
      return InvalidArgument(
          {{"receipt", "is none of a daemon of this installation: ask without", "BAD_RECEIPT"}});
    }
    FT_RETURN_IF_ERROR(core.retention->MarkSwept(static_cast<RetainedFiles>((*receipt)[0]),
                                                 (*receipt)[1],
                                                 absl::FromUnixMicros((*receipt)[2])));
  }
  for (const auto& [files, name] :
       {std::pair(RetainedFiles::kLogs, v1::SweepFilesResponse::LOGS),
        std::pair(RetainedFiles::kMetrics, v1::SweepFilesResponse::METRICS)}) {
    FT_ASSIGN_OR_RETURN(const auto runs, core.retention->FindRuns(files, kSweptRuns));
    if (runs.empty()) continue;
    response->set_files(name);
    for (const RunPastRetention& run : runs) {
      response->add_artifact_paths(ArtifactPath(run.workspace, run.run));
    }
    response->set_receipt(MakePageToken(core.page_token_key, kReceiptScope,
                                        {static_cast<int64_t>(files), runs.back().workspace_id,
                                         absl::ToUnixMicros(runs.back().end_time)}));
    break;
  }
  return absl::OkStatus();
}

}  // namespace finetuned
