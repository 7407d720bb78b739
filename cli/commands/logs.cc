#include <algorithm>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/log_tail.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/units.h"

namespace finetuned::cli {
namespace {

constexpr int32_t kPieceBytes = 512 * 1024;
constexpr int64_t kFirstTailBytes = 64 * 1024;
// The most that is looked at for the last lines.
constexpr int64_t kMaxTailBytes = 16 << 20;
// There is no stream of log bytes: what grows is asked for again.
constexpr absl::Duration kPollInterval = absl::Seconds(1);

class LogReader {
 public:
  LogReader(Session& session, Client& client, const LogsFlags& flags)
      : session_(session), client_(client), flags_(flags) {
    request_.set_name(flags.name);
    request_.set_attempt(flags.attempt);
    request_.set_stream(flags.use_stdout ? v1::ReadRunLogRequest::STDOUT
                                         : v1::ReadRunLogRequest::STDERR);
    request_.set_max_bytes(kPieceBytes);
  }

  absl::StatusOr<int> Run() {
    // A wrong name is told from an attempt that has no log yet, and before anything is printed.
    FT_RETURN_IF_ERROR(ReadRun());
    if (flags_.tail >= 0) FT_RETURN_IF_ERROR(PrintTail());
    for (;;) {
      FT_RETURN_IF_ERROR(PrintToEnd());
      if (!flags_.follow) break;
      if (complete_ || missing_) {
        FT_RETURN_IF_ERROR(ReadRun());
        // A newer attempt ends the wait for this one, which may never have written a log.
        if (flags_.attempt == 0 && request_.attempt() > 0 && run_.attempt() > request_.attempt()) {
          BeginAttempt(request_.attempt() + 1);
          continue;
        }
        // A named attempt has nothing after it, an ended run no other attempt.
        if (complete_ && (flags_.attempt != 0 || IsTerminal(run_.state()))) break;
        if (IsTerminal(run_.state())) {
          // What came between the two looks; after the end nothing does.
          FT_RETURN_IF_ERROR(PrintToEnd());
          break;
        }
      }
      session_.io().pause(kPollInterval);
      if (session_.io().interrupt.requested()) return InterruptedError();
    }
    Write(sanitizer_.Flush());
    return kExitOk;
  }

 private:
  absl::Status ReadRun() {
    v1::GetRunRequest request;
    request.set_name(flags_.name);
    FT_ASSIGN_OR_RETURN(run_, client_.GetRun(request));
    return absl::OkStatus();
  }

  void BeginAttempt(int64_t attempt) {
    request_.set_attempt(attempt);
    request_.set_offset(0);
    complete_ = false;
    Write(sanitizer_.Flush());
    session_.Note(absl::StrCat("-- attempt ", attempt, " --"));
  }

  // One piece from where we are. Sets missing_ when there is no such log (yet) and that is to be
  // waited for.
  absl::StatusOr<std::string> ReadPiece() {
    absl::StatusOr<v1::ReadRunLogResponse> response = client_.ReadRunLog(request_);
    missing_ = absl::IsNotFound(response.status()) && flags_.follow;
    if (missing_) return "";
    if (absl::IsNotFound(response.status())) {
      return LocalError(absl::StatusCode::kNotFound, NoLogSentence(),
                        std::string(response.status().message()),
                        absl::StrCat("finetune run get ", ShortName(flags_.name)));
    }
    if (!response.ok()) return response.status();
    // From here on this very attempt, also when a newer one begins.
    request_.set_attempt(response->attempt());
    request_.set_offset(response->next_offset());
    complete_ = response->complete();
    if (response->dropped_bytes() > 0) {
      session_.Note(absl::StrCat("-- ", FormatBytes(response->dropped_bytes()),
                                 " of the log were dropped here: it was too large --"));
    }
    return std::move(*response->mutable_data());
  }

  std::string NoLogSentence() const {
    return run_.attempt() == 0
               ? absl::StrCat("Run ", ShortName(flags_.name), " has no log: it is ",
                              StateName(run_.state()), " and no attempt has started.")
               : absl::StrCat("Run ", ShortName(flags_.name), " has no such log.");
  }

  absl::Status PrintToEnd() {
    for (;;) {
      FT_ASSIGN_OR_RETURN(const std::string piece, ReadPiece());
      if (piece.empty()) return absl::OkStatus();
      Print(piece);
    }
  }

  // Reads ever larger ends of the log until one holds enough lines.
  absl::Status PrintTail() {
    for (int64_t window = kFirstTailBytes;; window = std::min(window * 4, kMaxTailBytes)) {
      request_.set_offset(-window);
      std::string end;
      for (;;) {
        FT_ASSIGN_OR_RETURN(const std::string piece, ReadPiece());
        if (piece.empty()) break;
        end += piece;
      }
      if (missing_) {
        request_.set_offset(0);
        return absl::OkStatus();
      }
      const bool whole = static_cast<int64_t>(end.size()) < window;
      if (whole || window == kMaxTailBytes || CountLines(end) > flags_.tail) {
        Print(LastLines(end, flags_.tail));
        return absl::OkStatus();
      }
    }
  }

  // As it is for a program; for a terminal without what would drive it.
  void Print(std::string_view bytes) {
    if (session_.io().out_is_terminal) {
      Write(sanitizer_.Feed(bytes));
    } else {
      Write(bytes);
    }
  }

  void Write(std::string_view text) { session_.io().out << text << std::flush; }

  Session& session_;
  Client& client_;
  const LogsFlags& flags_;
  v1::ReadRunLogRequest request_;
  v1::Run run_;
  StreamSanitizer sanitizer_;
  bool complete_ = false;
  bool missing_ = false;
};

}  // namespace

absl::StatusOr<int> ReadLogs(Session& session, const LogsFlags& flags) {
  FT_RETURN_IF_ERROR(session.RequireFormat({OutputFormat::kTable}));
  if (flags.attempt < 0) return UsageError("--attempt is the number of an attempt, from 1.");
  session.set_run(flags.name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  return LogReader(session, *client, flags).Run();
}

}  // namespace finetuned::cli
