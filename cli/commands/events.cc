#include <ostream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/stream_retry.h"
#include "cli/times.h"

// The events of many runs in one stream.

namespace finetuned::cli {
namespace {

absl::StatusOr<v1::RunEvent::Type> TypeOf(const std::string& text) {
  v1::RunEvent::Type type = v1::RunEvent::TYPE_UNSPECIFIED;
  const std::string name = absl::StrReplaceAll(absl::AsciiStrToUpper(text), {{"-", "_"}});
  if (v1::RunEvent::Type_Parse(name, &type) && type != v1::RunEvent::TYPE_UNSPECIFIED) return type;
  std::string all;
  for (int number = v1::RunEvent::CREATED; v1::RunEvent::Type_IsValid(number); ++number) {
    absl::StrAppend(&all, all.empty() ? "" : ", ",
                    EventTypeName(static_cast<v1::RunEvent::Type>(number)));
  }
  return UsageError(absl::StrCat("There is no event type `", text, "`; there are ", all, "."));
}

absl::StatusOr<v1::WatchEventsRequest> RequestOf(const FeedFlags& flags) {
  v1::WatchEventsRequest request;
  request.set_parent("workspaces/-");
  if (flags.experiment.has_value()) {
    // Taken for no filter by the server.
    if (flags.experiment->empty()) return UsageError("--experiment is empty.");
    request.set_experiment(*flags.experiment);
  }
  for (const std::string& user : flags.users) request.add_user_emails(user);
  for (const std::string& text : flags.types) {
    FT_ASSIGN_OR_RETURN(const v1::RunEvent::Type type, TypeOf(text));
    request.add_types(type);
  }
  request.set_cursor(flags.cursor);
  request.set_from_now(flags.from_now);
  return request;
}

// How the same stream goes on, with its filters.
std::string NextCommand(const FeedFlags& flags, const std::string& cursor) {
  std::string command = "finetune events --follow";
  if (flags.experiment.has_value()) absl::StrAppend(&command, " --experiment ", *flags.experiment);
  for (const std::string& user : flags.users) absl::StrAppend(&command, " --user ", user);
  for (const std::string& type : flags.types) absl::StrAppend(&command, " --type ", type);
  return absl::StrCat(command, " --cursor ", cursor);
}

void Print(Session& session, const v1::RunEvent& event) {
  if (session.format() == OutputFormat::kJsonl) {
    session.PrintMessage(event);
    return;
  }
  session.io().out << FormatUtc(FromProtoTime(event.event_time())) << "  "
                   << Sanitize(ShortName(event.run())) << "  "
                   << Paint(EventStyle(event.type()), EventTypeName(event.type()), session.color())
                   << "  " << Sanitize(event.message()) << "\n";
}

}  // namespace

absl::StatusOr<int> FollowFeed(Session& session, const FeedFlags& flags) {
  FT_RETURN_IF_ERROR(session.RequireFormat({OutputFormat::kTable, OutputFormat::kJsonl}));
  if (flags.from_now && (!flags.follow || !flags.cursor.empty())) {
    return UsageError("--new is what comes from now on: give --follow with it, and no --cursor.");
  }
  FT_ASSIGN_OR_RETURN(v1::WatchEventsRequest request, RequestOf(flags));
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  Io& io = session.io();
  StreamRetry retry(io, session.timeout().value_or(absl::InfiniteDuration()));
  for (;;) {
    const auto stream = client->WatchEvents(request);
    v1::WatchEventsResponse message;
    while (stream->Next(retry.left(), &message)) {
      retry.NoteMessage();
      for (const v1::RunEvent& event : message.events()) Print(session, event);
      io.out << std::flush;
      if (message.cursor().empty()) continue;
      // A daemon of the version before does not say that there is no more; then it goes nowhere.
      const bool stands = message.events_size() == 0 && message.cursor() == request.cursor();
      request.set_cursor(message.cursor());
      request.set_from_now(false);
      if (!flags.follow && (message.caught_up() || stands)) return kExitOk;
    }
    const absl::Status ended = stream->status();
    const std::string earliest = ErrorMetadata(ended)["earliest_cursor"];
    if (ErrorReason(ended) == "CURSOR_EXPIRED" && !earliest.empty() &&
        earliest != request.cursor()) {
      session.Note(
          "Events behind the cursor are past their retention and are gone; going on with "
          "what is there.");
      request.set_cursor(earliest);
      continue;
    }
    const absl::Status again = retry.Wait(ended, [&] {
      session.Note(absl::StrCat("Lost the server (", Sanitize(std::string(ended.message())),
                                "); reconnecting ..."));
    });
    if (again.ok()) continue;
    if (io.interrupt.requested() && !request.cursor().empty()) {
      session.Note("Go on from here:  " + NextCommand(flags, request.cursor()));
    }
    return again;
  }
}

}  // namespace finetuned::cli
