#include <algorithm>
#include <filesystem>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/context_config.h"
#include "cli/errors.h"
#include "cli/listing.h"
#include "cli/print_json.h"
#include "cli/table.h"
#include "nlohmann/json.hpp"

// Commands that read and write the configuration file; none asks a server.

namespace finetuned::cli {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

absl::StatusOr<int> ListContexts(Session& session) {
  Listing listing({"CURRENT", "NAME", "SERVER", "TOKEN"});
  FT_RETURN_IF_ERROR(session.CheckColumns(listing));
  FT_ASSIGN_OR_RETURN(const ConfigFile file, session.LoadConfigFile());
  std::ostream& out = session.io().out;
  Json list = Json::array();
  for (const Context& context : file.config.contexts) {
    const bool current = context.name == file.config.current_context;
    listing.AddRow(
        {current ? "*" : "", context.name, context.server, context.token.empty() ? "none" : "set"});
    const Json object = {{"name", context.name},
                         {"server", context.server},
                         {"current", current},
                         {"token_set", !context.token.empty()}};
    list.push_back(object);
    if (session.format() == OutputFormat::kJsonl) PrintJson(session, object);
    if (session.format() == OutputFormat::kName) out << context.name << "\n";
  }
  if (session.format() == OutputFormat::kJson || session.format() == OutputFormat::kYaml) {
    PrintJson(session, list);
  } else {
    out << session.RenderListing(listing);
  }
  out << std::flush;
  if (session.is_table() && file.config.contexts.empty()) {
    session.Note(
        "No contexts yet. Make one: finetune context set NAME --server ADDRESS "
        "--token-file FILE");
  }
  return kExitOk;
}

absl::StatusOr<int> UseContext(Session& session, const std::string& name) {
  FT_ASSIGN_OR_RETURN(ConfigFile file, session.LoadConfigFile());
  if (file.config.Find(name) == nullptr) {
    std::vector<std::string> names;
    for (const Context& context : file.config.contexts) names.push_back(context.name);
    const std::vector<std::string> near = NearNames(name, names);
    return LocalError(absl::StatusCode::kNotFound,
                      absl::StrCat("There is no context `", name, "`",
                                   near.empty() ? "." : "; did you mean `" + near[0] + "`?"),
                      absl::StrCat(file.path, " does not have it."), "finetune context list");
  }
  file.config.current_context = name;
  FT_RETURN_IF_ERROR(SaveConfig(file.path, file.config));
  session.Note(absl::StrCat("Commands now use context ", name, "."));
  return kExitOk;
}

absl::StatusOr<int> SetContext(Session& session, const std::string& name) {
  FT_RETURN_IF_ERROR(CheckContextName(name));
  const ConnectionFlags& flags = session.connection_flags();
  if (flags.token.has_value() && flags.token_file.has_value()) {
    return UsageError("--token and --token-file are both given; give one.");
  }
  if (!flags.server && !flags.token && !flags.token_file && !flags.ca_file) {
    return UsageError("There is nothing to set: give --server, --token-file or --ca-file.",
                      absl::StrCat("finetune context set ", name, " --server ", kDefaultServer,
                                   " --token-file FILE"));
  }
  if (flags.server) FT_RETURN_IF_ERROR(IsLocalAddress(*flags.server).status());
  std::string token = flags.token.value_or("");
  if (flags.token_file) {
    FT_ASSIGN_OR_RETURN(token, ReadTokenFile(*flags.token_file));
  }
  FT_RETURN_IF_ERROR(CheckToken(token));

  FT_ASSIGN_OR_RETURN(ConfigFile file, session.LoadConfigFile());
  std::vector<Context>& contexts = file.config.contexts;
  auto context = std::find_if(contexts.begin(), contexts.end(),
                              [&name](const Context& each) { return each.name == name; });
  if (context == contexts.end()) {
    contexts.push_back({name, kDefaultServer, "", ""});
    context = std::prev(contexts.end());
  }
  if (flags.server) context->server = *flags.server;
  if (flags.token || flags.token_file) context->token = token;
  if (flags.ca_file) {
    context->ca_file = std::filesystem::absolute(*flags.ca_file).lexically_normal().string();
  }
  // The first one is meant to be used.
  if (file.config.current_context.empty()) file.config.current_context = name;
  const bool current = file.config.current_context == name;
  FT_RETURN_IF_ERROR(SaveConfig(file.path, file.config));
  session.Note(absl::StrCat("Context ", name, " is in ", file.path,
                            current ? " and is used." : ". Use it: finetune context use " + name));
  return kExitOk;
}

absl::StatusOr<int> ViewContext(Session& session, bool show_origin) {
  FT_RETURN_IF_ERROR(session.RequireFormat(
      {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  FT_ASSIGN_OR_RETURN(const Settings settings, session.ResolveConnection());
  for (const std::string& warning : settings.warnings) session.Note("warning: " + warning);
  // A token is never shown, only that there is one.
  const std::string token = settings.token.value.empty() ? "none" : "set";
  const std::string context = settings.context.value.empty() ? "none" : settings.context.value;
  Json object;
  KeyValues page;
  const auto add = [&](const char* key, const char* title, const std::string& value,
                       const std::string& origin) {
    object[key] = value;
    if (show_origin && !origin.empty()) {
      object[absl::StrCat(key, "_origin")] = origin;
    }
    page.Add(title,
             show_origin && !origin.empty() ? absl::StrCat(value, "   (", origin, ")") : value);
  };
  add("context", "Context", context, settings.context.origin);
  add("server", "Server", settings.server.value, settings.server.origin);
  add("token", "Token", token, settings.token.origin);
  if (!settings.ca_file.value.empty()) {
    add("ca_file", "Authorities", settings.ca_file.value, settings.ca_file.origin);
  }
  if (!PrintJson(session, object)) session.io().out << page.Render(session.color());
  session.io().out << std::flush;
  return kExitOk;
}

}  // namespace finetuned::cli
