#include "cli/follow.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/backoff.h"
#include "base/status.h"
#include "cli/errors.h"
#include "cli/run_text.h"

namespace finetuned::cli {
namespace {

constexpr absl::Duration kFirstRetry = absl::Milliseconds(250);
constexpr absl::Duration kMaxRetry = absl::Seconds(10);

// Whether asking again from the last event may go better. `connected`: the stream had worked, so a
// full table of streams may still hold the one that was lost.
bool IsResumable(const absl::Status& status, bool connected) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDeadlineExceeded: return true;
    case absl::StatusCode::kResourceExhausted: return connected;
    default: return false;
  }
}

class Follower {
 public:
  Follower(Client& client, Io& io, const FollowOptions& options, FollowObserver& observer)
      : client_(client),
        io_(io),
        options_(options),
        observer_(observer),
        last_seq_(options.after_seq),
        end_(io.clock.SinceBoot() + options.limit),
        backoff_({kFirstRetry, kMaxRetry}) {}

  absl::StatusOr<v1::Run> Run() {
    for (;;) {
      const absl::Status status = ReadStream();
      if (io_.interrupt.requested()) return InterruptedError();
      if (terminal_) return FinalRun();
      if (gaps_ >= kMaxGaps) {
        return absl::DataLossError(
            absl::StrCat("the server leaves out events after number ", last_seq_));
      }
      // The stream's own limit is in whole milliseconds and so may be over a little before ours.
      if (io_.clock.SinceBoot() >= end_ - absl::Milliseconds(2)) {
        return absl::DeadlineExceededError("the time limit is over");
      }
      FT_RETURN_IF_ERROR(PrepareRetry(status));
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
    while (stream->Next(end_ - io_.clock.SinceBoot(), &response)) {
      NoteSuccess();
      if (!Deliver(response)) return absl::UnavailableError("events are missing in the stream");
    }
    return stream->status();
  }

  void NoteSuccess() {
    if (lost_) observer_.OnRecovered();
    lost_ = false;
    connected_ = true;
    tries_ = 1;
    outage_start_.reset();
    backoff_.Reset();
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

  // Waits before the next try, or says that there will be none.
  absl::Status PrepareRetry(const absl::Status& status) {
    if (!IsResumable(status, connected_)) return status;
    if (!connected_) {
      if (tries_++ >= Client::kMaxTries) {
        return status.ok() ? absl::UnavailableError("the stream ends without the run's end")
                           : status;
      }
    } else if (!lost_) {
      lost_ = true;
      outage_start_ = io_.clock.SinceBoot();
      observer_.OnLost(status);
    } else if (outage_start_.has_value() &&
               io_.clock.SinceBoot() - *outage_start_ >= kOutageLimit) {
      return status.ok() ? absl::UnavailableError("the stream keeps ending") : status;
    }
    io_.pause(
        std::min(std::max(backoff_.Next(), RetryDelay(status)), end_ - io_.clock.SinceBoot()));
    return io_.interrupt.requested() ? InterruptedError() : absl::OkStatus();
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
  const absl::Duration end_;
  Backoff backoff_;
  std::optional<v1::Run> last_run_;
  bool terminal_ = false;
  // A message has come on some stream.
  bool connected_ = false;
  // A break has been told to the observer.
  bool lost_ = false;
  std::optional<absl::Duration> outage_start_;
  int tries_ = 1;
  int gaps_ = 0;
};

}  // namespace

absl::StatusOr<v1::Run> FollowRun(Client& client, Io& io, const FollowOptions& options,
                                  FollowObserver& observer) {
  return Follower(client, io, options, observer).Run();
}

}  // namespace finetuned::cli
