#include "cli/metric_stream.h"

#include <utility>
#include <vector>

#include "base/status.h"
#include "cli/stream_retry.h"

namespace finetuned::cli {

absl::Status ReadMetricStream(Client& client, Io& io, v1::ReadMetricsRequest request,
                              absl::Duration limit,
                              const std::function<void(const v1::ReadMetricsResponse&)>& on_message,
                              const std::function<void(const absl::Status&)>& on_lost) {
  StreamRetry retry(io, limit);
  for (;;) {
    const auto stream = client.ReadMetrics(request);
    std::vector<v1::ReadMetricsResponse> before_cursor;
    v1::ReadMetricsResponse message;
    while (stream->Next(retry.left(), &message)) {
      retry.NoteMessage();
      before_cursor.push_back(message);
      if (message.cursor().empty()) continue;
      for (const v1::ReadMetricsResponse& one : before_cursor) on_message(one);
      before_cursor.clear();
      request.set_cursor(message.cursor());
    }
    const absl::Status& status = stream->status();
    if (status.ok() && before_cursor.empty()) return status;
    FT_RETURN_IF_ERROR(retry.Wait(status, [&] { on_lost(status); }));
  }
}

}  // namespace finetuned::cli
