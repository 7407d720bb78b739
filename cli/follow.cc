#include "cli/follow.h"

#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/errors.h"
#include "cli/run_text.h"
#include "cli/stream_retry.h"

namespace finetuned::cli {
namespace {

class Follower {
 public:
  Follower(Client& client, Io& io, const FollowOptions& options, FollowObserver& observer)
      : client_(client),
        io_(io),
        options_(options),
        observer_(observer),
        last_seq_(options.after_seq),
        retry_(io, options.limit) {}

  absl::StatusOr<v1::Run> Run() {
    for (;;) {
      const absl::Status status = ReadStream();
      if (io_.interrupt.requested()) return InterruptedError();
      if (terminal_) return FinalRun();
      if (SkipDropped(status)) continue;
      if (gaps_ >= kMaxGaps) {
        return absl::DataLossError(
            absl::StrCat("the server leaves out events after number ", last_seq_));
      }
      FT_RETURN_IF_ERROR(retry_.Wait(status, [&] { observer_.OnLost(status); }));
    }
  }

 private:
  // Reads one stream to its end.
  absl::Status ReadStream() {
    v1::WatchEventsRequest request;
    request.set_name(options_.name);
    request.set_after_seq(last_seq_);
    const auto stream = client_.WatchEvents(request);
    v1::WatchEventsResponse response;
    while (stream->Next(retry_.left(), &response)) {
      if (retry_.NoteMessage()) observer_.OnRecovered();
      if (!Deliver(response)) return absl::UnavailableError("events are missing in the stream");
    }
    return stream->status();
  }

  // Goes on behind events that are past their retention; false when it is something else.
  bool SkipDropped(const absl::Status& status) {
    int64_t earliest = 0;
    if (ErrorReason(status) != "CURSOR_EXPIRED" ||
        !absl::SimpleAtoi(ErrorMetadata(status)["earliest_seq"], &earliest) ||
        earliest <= last_seq_ + 1) {
      return false;
    }
    last_seq_ = earliest - 1;
    observer_.OnDropped(last_seq_);
    return true;
  }

  // False when an event is missing before one of these.
  bool Deliver(const v1::WatchEventsResponse& response) {
    for (const v1::RunEvent& event : response.events()) {
      if (event.seq() <= last_seq_) continue;  // Seen on an earlier stream.
      if (event.seq() > last_seq_ + 1) {
        ++gaps_;
        return false;
      }
      last_seq_ = event.seq();
      gaps_ = 0;
      terminal_ = terminal_ || IsTerminalEvent(event.type());
      observer_.OnEvent(event);
    }
    if (response.has_run()) {
      last_run_ = response.run();
      // A terminal run without more events: the starting point was its end.
      terminal_ =
          terminal_ || (IsTerminal(last_run_->state()) && last_run_->last_seq() <= last_seq_);
      observer_.OnRun(*last_run_);
    }
    return true;
  }

  // The terminal event's message need not carry the run as it became.
  absl::StatusOr<v1::Run> FinalRun() {
    if (last_run_.has_value() && IsTerminal(last_run_->state())) return *last_run_;
    v1::GetRunRequest request;
    request.set_name(options_.name);
    FT_ASSIGN_OR_RETURN(v1::Run run, client_.GetRun(request));
    return run;
  }

  Client& client_;
  Io& io_;
  const FollowOptions& options_;
  FollowObserver& observer_;
  int64_t last_seq_;
  StreamRetry retry_;
  std::optional<v1::Run> last_run_;
  bool terminal_ = false;
  int gaps_ = 0;
};

}  // namespace

absl::StatusOr<v1::Run> FollowRun(Client& client, Io& io, const FollowOptions& options,
                                  FollowObserver& observer) {
  return Follower(client, io, options, observer).Run();
}

}  // namespace finetuned::cli
