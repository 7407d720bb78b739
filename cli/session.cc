#include "cli/session.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/errors.h"
#include "cli/run_text.h"
#include "cli/times.h"

namespace finetuned::cli {
namespace {

// Names that are looked at for a suggestion: one page, the newest.
constexpr int kSuggestionPage = 1000;

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Create(Io& io, const GlobalFlags& flags) {
  std::unique_ptr<Session> session(new Session(io, flags));
  FT_ASSIGN_OR_RETURN(session->format_, ParseOutputFormat(flags.output));
  FT_ASSIGN_OR_RETURN(const ColorMode color, ParseColorMode(flags.color));
  session->color_ = UseColor(color, io.env, io.out_is_terminal);
  session->err_color_ = UseColor(color, io.env, io.err_is_terminal);
  if (!flags.timeout.empty()) {
    FT_ASSIGN_OR_RETURN(const absl::Duration timeout, ParseDuration(flags.timeout));
    if (timeout <= absl::ZeroDuration()) return UsageError("--timeout must be above zero.");
    session->timeout_ = timeout;
  }
  return session;
}

absl::StatusOr<ConfigFile> Session::LoadConfigFile() const {
  FT_ASSIGN_OR_RETURN(const std::string path, ConfigPath(io_.env));
  return LoadConfig(path);
}

absl::StatusOr<Settings> Session::ResolveConnection() const {
  FT_ASSIGN_OR_RETURN(const ConfigFile file, LoadConfigFile());
  return ResolveSettings(flags_.connection, io_.env, file);
}

absl::StatusOr<Client*> Session::GetClient() {
  if (client_ != nullptr) return client_.get();
  FT_ASSIGN_OR_RETURN(const Settings settings, ResolveConnection());
  for (const std::string& warning : settings.warnings) Note("warning: " + warning);
  Client::Options options;
  options.server = settings.server.value;
  options.token = settings.token.value;
  options.ca_file = settings.ca_file.value;
  options.timeout = timeout_.value_or(Client::kDefaultTimeout);
  FT_ASSIGN_OR_RETURN(client_, Client::Create(options, io_));
  server_ = options.server;
  token_sent_ = !options.token.empty();
  return client_.get();
}

absl::Status Session::RequireFormat(std::initializer_list<OutputFormat> formats) const {
  if (std::find(formats.begin(), formats.end(), format_) != formats.end()) return absl::OkStatus();
  return UsageError(absl::StrCat("This command has no --output ", flags_.output, "."));
}

bool Session::is_table() const {
  return format_ == OutputFormat::kTable || format_ == OutputFormat::kWide ||
         format_ == OutputFormat::kCsv;
}

absl::Status Session::CheckColumns(const Listing& listing) const {
  if (is_table()) {
    FT_RETURN_IF_ERROR(listing.CheckSort(flags_.sort));
    return listing.CheckColumns(flags_.columns);
  }
  if (flags_.columns.empty() && flags_.sort.empty() && !flags_.no_headers) return absl::OkStatus();
  return UsageError("--columns, --sort and --no-headers are for --output table, wide and csv.");
}

std::string Session::RenderListing(const Listing& listing, int width) const {
  if (!is_table()) return "";
  Listing::Options options;
  options.wide = format_ == OutputFormat::kWide;
  options.csv = format_ == OutputFormat::kCsv;
  options.columns = flags_.columns;
  options.sort = flags_.sort;
  options.headers = !flags_.no_headers;
  options.color = color_;
  // What was asked for by name is shown whole.
  options.width = flags_.columns.empty() && !options.wide ? width : 0;
  return listing.Render(options);
}

bool Session::PrintMessage(const google::protobuf::Message& message) {
  switch (format_) {
    case OutputFormat::kJson: io_.out << ToJson(message, true) << "\n"; return true;
    case OutputFormat::kJsonl: io_.out << ToJson(message, false) << "\n"; return true;
    case OutputFormat::kYaml: io_.out << ToYaml(message); return true;
    default: return false;
  }
}

void Session::Note(const std::string& text) { io_.err << text << "\n" << std::flush; }

std::vector<std::string> Session::Suggestions() {
  std::vector<std::string> names;
  // A failure here only costs the suggestion.
  if (!run_.empty()) {
    v1::ListRunsRequest request;
    request.set_page_size(kSuggestionPage);
    if (auto list = client_->ListRuns(request); list.ok()) {
      for (const v1::Run& run : list->runs()) names.push_back(ShortName(run.name()));
    }
    return NearNames(ShortName(run_), names);
  }
  v1::ListExperimentsRequest request;
  request.set_page_size(kSuggestionPage);
  if (auto list = client_->ListExperiments(request); list.ok()) {
    for (const v1::Experiment& experiment : list->experiments()) {
      names.push_back(experiment.path());
    }
  }
  return NearNames(experiment_, names);
}

int Session::ReportError(const absl::Status& status) {
  ErrorContext context;
  context.server = server_;
  context.token_sent = token_sent_;
  context.command = command_;
  context.run = run_;
  context.experiment = experiment_;
  context.color = err_color_;
  const bool is_about_one = !run_.empty() || !experiment_.empty();
  if (absl::IsNotFound(status) && is_about_one && client_ != nullptr) {
    context.suggestions = Suggestions();
  }
  io_.out << std::flush;
  io_.err << RenderError(status, context) << std::flush;
  return ExitCodeOf(status);
}

}  // namespace finetuned::cli
