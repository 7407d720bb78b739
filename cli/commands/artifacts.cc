#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/download.h"
#include "cli/errors.h"
#include "cli/listing.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/table.h"
#include "cli/times.h"
#include "cli/units.h"

namespace finetuned::cli {
namespace {

constexpr int kPageSize = 1000;
constexpr int kHashShown = 12;
constexpr absl::Duration kRedrawInterval = absl::Milliseconds(100);
constexpr int kBarColumns = 20;
constexpr char kClearLine[] = "\r\x1b[K";

// The last part of a path; of nothing, that of the parent.
std::string LastPart(const std::string& path, const std::string& parent) {
  const std::string whole(absl::StripSuffix(path.empty() ? parent : path, "/"));
  return whole.substr(whole.rfind('/') + 1);
}

// A bar on a terminal, redrawn in place, and otherwise a line for each file.
class DownloadView {
 public:
  explicit DownloadView(Session& session)
      : session_(session), start_(session.io().clock.SinceBoot()) {}

  void Show(const DownloadProgress& progress) {
    Io& io = session_.io();
    if (!io.err_is_terminal) {
      if (progress.files < progress.total_files && progress.files != shown_files_) {
        session_.Note(absl::StrCat("fetching ", Sanitize(progress.path)));
        shown_files_ = progress.files;
      }
      return;
    }
    const absl::Duration now = io.clock.SinceBoot();
    const bool done = progress.files == progress.total_files;
    if (!done && shown_ && now - last_shown_ < kRedrawInterval) return;
    last_shown_ = now;
    shown_ = !done;
    if (!done && first_bytes_ < 0) first_bytes_ = progress.bytes;
    io.err << kClearLine << (done ? "" : Line(progress, now)) << std::flush;
  }

  // Takes the bar away, where an error has left it.
  void End() {
    if (shown_) session_.io().err << kClearLine << std::flush;
    shown_ = false;
  }

 private:
  std::string Line(const DownloadProgress& progress, absl::Duration now) const {
    const double fraction =
        progress.total_bytes == 0
            ? 0
            : static_cast<double>(progress.bytes) / static_cast<double>(progress.total_bytes);
    const int filled = static_cast<int>(fraction * kBarColumns);
    // Of what came over the wire; what was there already came for nothing.
    const double rate = static_cast<double>(progress.bytes - first_bytes_) /
                        std::max(0.001, absl::ToDoubleSeconds(now - start_));
    std::string eta;
    if (rate > 1) {
      eta = absl::StrCat("  ETA ",
                         HumanDuration(absl::Seconds(
                             static_cast<double>(progress.total_bytes - progress.bytes) / rate)));
    }
    const int width = session_.io().width > 0 ? session_.io().width : 80;
    return FitToWidth(
        absl::StrFormat("[%s%s] %3d%%  %s of %s  %s/s%s  %s", std::string(filled, '#'),
                        std::string(kBarColumns - filled, '.'), static_cast<int>(fraction * 100),
                        FormatBytes(progress.bytes), FormatBytes(progress.total_bytes),
                        FormatBytes(static_cast<int64_t>(rate)), eta, Sanitize(progress.path)),
        width - 1);
  }

  Session& session_;
  const absl::Duration start_;
  absl::Duration last_shown_;
  bool shown_ = false;
  int shown_files_ = -1;
  int64_t first_bytes_ = -1;
};

}  // namespace

absl::StatusOr<int> ListArtifacts(Session& session, const ListArtifactsFlags& flags) {
  Listing listing({"PATH", "SIZE", "SHA-256"}, {"BYTES", "FULL SHA-256"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  session.set_run(flags.parent);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::ListArtifactsRequest request;
  request.set_parent(flags.parent);
  request.set_path(flags.path);
  request.set_recursive(flags.recursive);
  request.set_page_size(kPageSize);
  // One answer, as if the whole listing were one page.
  v1::ListArtifactsResponse all;
  do {
    request.set_page_token(all.next_page_token());
    FT_ASSIGN_OR_RETURN(v1::ListArtifactsResponse page, client->ListArtifacts(request));
    all.set_next_page_token(page.next_page_token());
    for (auto& artifact : *page.mutable_artifacts()) *all.add_artifacts() = std::move(artifact);
  } while (!all.next_page_token().empty());

  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::Artifact& artifact : all.artifacts()) session.PrintMessage(artifact);
  } else if (session.format() == OutputFormat::kName) {
    for (const v1::Artifact& artifact : all.artifacts()) out << Sanitize(artifact.path()) << "\n";
  } else if (!session.PrintMessage(all)) {
    for (const v1::Artifact& artifact : all.artifacts()) {
      listing.AddRow({artifact.folder() ? artifact.path() + "/" : artifact.path(),
                      artifact.folder() ? "-" : FormatBytes(artifact.size_bytes()),
                      artifact.sha256().substr(0, kHashShown),
                      artifact.folder() ? "-" : absl::StrCat(artifact.size_bytes()),
                      artifact.sha256()});
    }
    out << session.RenderListing(listing);
  }
  out << std::flush;
  if (session.is_table()) {
    if (all.artifacts_size() == 0) {
      session.Note("Nothing there yet: a run leaves something with its first checkpoint.");
    } else {
      session.Note(absl::StrCat("next:  finetune artifacts download ", flags.parent, " PATH"));
    }
  }
  return kExitOk;
}

absl::StatusOr<int> DownloadArtifacts(Session& session, const DownloadFlags& flags) {
  FT_RETURN_IF_ERROR(session.RequireFormat({OutputFormat::kTable, OutputFormat::kName}));
  session.set_run(flags.parent);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  DownloadOptions options;
  options.parent = flags.parent;
  options.path = flags.path;
  options.replace = flags.replace;
  options.to = flags.to.empty() ? LastPart(flags.path, flags.parent) : flags.to;
  if (options.to.empty() || options.to == "." || options.to == "..") {
    if (flags.to.empty()) return UsageError("Say with --to where it goes.");
  }
  DownloadView view(session);
  const auto summary = Download(*client, session.io(), options,
                                [&](const DownloadProgress& progress) { view.Show(progress); });
  view.End();
  if (!summary.ok()) {
    if (!absl::IsNotFound(summary.status()) && !absl::IsAlreadyExists(summary.status())) {
      session.Note("What has arrived is kept: the same command goes on from there.");
    }
    return summary.status();
  }
  session.Note(absl::StrCat(
      summary->files, summary->files == 1 ? " file, " : " files, ", FormatBytes(summary->bytes),
      summary->kept > 0 ? absl::StrCat(", ", summary->kept, " of them there already") : "",
      summary->unchecked > 0 ? absl::StrCat(", ", summary->unchecked, " without a known hash")
                             : ", every hash as published"));
  session.io().out << Sanitize(options.to) << "\n" << std::flush;
  return kExitOk;
}

absl::StatusOr<int> DownloadModel(Session& session, const DownloadModelFlags& flags) {
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::GetRegisteredModelRequest request;
  request.set_name(flags.name);
  FT_ASSIGN_OR_RETURN(const v1::RegisteredModel model, client->GetRegisteredModel(request));
  const int version = flags.version.value_or(model.latest_version());
  DownloadFlags download;
  download.parent = absl::StrCat(model.name(), "/versions/", version);
  download.to =
      flags.to.empty() ? absl::StrCat(LastPart("", model.name()), "-v", version) : flags.to;
  download.replace = flags.replace;
  return DownloadArtifacts(session, download);
}

}  // namespace finetuned::cli
