#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/listing.h"
#include "cli/run_text.h"
#include "cli/sanitize.h"
#include "cli/table.h"
#include "cli/times.h"
#include "cli/units.h"

namespace finetuned::cli {
namespace {

constexpr int64_t kPageSize = 1000;
constexpr int64_t kMaxListed = 1000000;

// The part that commands take.
std::string ModelName(const v1::RegisteredModel& model) {
  return model.name().substr(model.name().rfind('/') + 1);
}

}  // namespace

absl::StatusOr<int> ListRegisteredModels(Session& session, const ListRegisteredModelsFlags& flags) {
  if (flags.limit < 1 || flags.limit > kMaxListed) {
    return UsageError(absl::StrCat("--limit must be from 1 to ", kMaxListed, "."));
  }
  Listing listing({"NAME", "VERSION", "OWNER", "AGE"}, {"CREATED"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  // One answer, as if the whole listing were one page.
  v1::ListRegisteredModelsResponse all;
  do {
    v1::ListRegisteredModelsRequest request;
    request.set_page_size(
        static_cast<int32_t>(std::min<int64_t>(kPageSize, flags.limit - all.models_size())));
    request.set_page_token(all.next_page_token());
    FT_ASSIGN_OR_RETURN(v1::ListRegisteredModelsResponse page,
                        client->ListRegisteredModels(request));
    all.set_next_page_token(page.next_page_token());
    for (auto& model : *page.mutable_models()) *all.add_models() = std::move(model);
  } while (!all.next_page_token().empty() && all.models_size() < flags.limit);

  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kJsonl) {
    for (const v1::RegisteredModel& model : all.models()) session.PrintMessage(model);
  } else if (session.format() == OutputFormat::kName) {
    for (const v1::RegisteredModel& model : all.models()) out << Sanitize(ModelName(model)) << "\n";
  } else if (!session.PrintMessage(all)) {
    const absl::Time now = session.io().clock.Now();
    for (const v1::RegisteredModel& model : all.models()) {
      listing.AddRow({ModelName(model), absl::StrCat(model.latest_version()), model.owner(),
                      FormatAge(now - FromProtoTime(model.create_time())),
                      FormatUtc(FromProtoTime(model.create_time()))});
    }
    out << session.RenderListing(listing);
  }
  out << std::flush;
  if (session.is_table()) {
    if (all.models_size() == 0) {
      session.Note(
          "No registered models. One comes into being when its first run completes: finetune run "
          "create --register-to CATALOG.SCHEMA.MODEL ...");
    }
    if (!all.next_page_token().empty()) {
      session.Note(absl::StrCat("There are more; these are the newest ", all.models_size(),
                                ". Show more with --limit."));
    }
  }
  return kExitOk;
}

absl::StatusOr<int> GetRegisteredModel(Session& session, const std::string& name) {
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  v1::GetRegisteredModelRequest request;
  request.set_name(name);
  FT_ASSIGN_OR_RETURN(const v1::RegisteredModel model, client->GetRegisteredModel(request));
  std::ostream& out = session.io().out;
  if (session.format() == OutputFormat::kName) {
    out << Sanitize(ModelName(model)) << "\n";
  } else if (!session.PrintMessage(model)) {
    const absl::Time now = session.io().clock.Now();
    KeyValues page;
    page.Add("Model", ModelName(model));
    page.Add("Name", model.name());
    page.Add("Owner", model.owner());
    page.Add("Latest version", absl::StrCat(model.latest_version()));
    out << page.Render(session.color()) << "\n";
    Table table({"VERSION", "RUN", "BASE MODEL", "CHECKPOINT", "SIZE", "AGE", "PATH"});
    for (const v1::ModelVersion& version : model.versions()) {
      table.AddRow({absl::StrCat(version.version()), ShortName(version.run()), version.base_model(),
                    version.checkpoint(), FormatBytes(version.size_bytes()),
                    FormatAge(now - FromProtoTime(version.create_time())), version.path()});
    }
    // Never cut: a path is good as --custom-weights.
    out << table.Render(session.color());
    if (model.versions_size() < model.latest_version()) {
      session.Note(absl::StrCat("These are the newest ", model.versions_size(), " versions."));
    }
  }
  out << std::flush;
  return kExitOk;
}

}  // namespace finetuned::cli
