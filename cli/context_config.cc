#include "cli/context_config.h"

#include <sys/stat.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;
constexpr size_t kMaxTokenBytes = 8192;
constexpr size_t kMaxNameLength = 63;
constexpr char kTokenFileHelp[] =
    "the same command with a --token-file that holds a token, or finetune context list";
constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

absl::Status BadConfig(const std::string& path, const YAML::Mark& mark, const std::string& what) {
  return LocalError(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat(path, ", line ", mark.line + 1, ": ", what),
      "The file has `current_context`, and `contexts` with name, server, token and ca_file.",
      "edit the file, or remove it and use finetune context set");
}

absl::StatusOr<std::string> ScalarOf(const YAML::Node& node, const std::string& path) {
  if (!node.IsScalar()) return BadConfig(path, node.Mark(), "a text is expected here");
  return node.Scalar();
}

absl::StatusOr<Context> ParseContext(const YAML::Node& node, const std::string& path) {
  if (!node.IsMap()) return BadConfig(path, node.Mark(), "a context is a map");
  Context context;
  for (const auto& entry : node) {
    FT_ASSIGN_OR_RETURN(const std::string key, ScalarOf(entry.first, path));
    FT_ASSIGN_OR_RETURN(const std::string value, ScalarOf(entry.second, path));
    if (key == "name") {
      context.name = value;
    } else if (key == "server") {
      context.server = value;
    } else if (key == "token") {
      context.token = value;
    } else if (key == "ca_file") {
      context.ca_file = value;
    } else {
      return BadConfig(path, entry.first.Mark(), absl::StrCat("unknown key `", key, "`"));
    }
  }
  if (!CheckContextName(context.name).ok()) {
    return BadConfig(path, node.Mark(), "a context needs a name of letters, digits, `.`, `_`, `-`");
  }
  return context;
}

absl::StatusOr<Config> ParseRoot(const YAML::Node& root, const std::string& path) {
  Config config;
  if (root.IsNull()) return config;
  if (!root.IsMap()) return BadConfig(path, root.Mark(), "a map is expected here");
  for (const auto& entry : root) {
    FT_ASSIGN_OR_RETURN(const std::string key, ScalarOf(entry.first, path));
    if (key == "current_context") {
      FT_ASSIGN_OR_RETURN(config.current_context, ScalarOf(entry.second, path));
    } else if (key == "contexts") {
      if (entry.second.IsNull()) continue;
      if (!entry.second.IsSequence()) {
        return BadConfig(path, entry.second.Mark(), "a list is expected here");
      }
      for (const auto& item : entry.second) {
        FT_ASSIGN_OR_RETURN(Context context, ParseContext(item, path));
        if (config.Find(context.name) != nullptr) {
          return BadConfig(path, item.Mark(),
                           absl::StrCat("there are two contexts `", context.name, "`"));
        }
        config.contexts.push_back(std::move(context));
      }
    } else {
      return BadConfig(path, entry.first.Mark(), absl::StrCat("unknown key `", key, "`"));
    }
  }
  return config;
}

// Whether others than the owner may read the file.
bool OthersMayRead(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IRGRP | S_IROTH)) != 0;
}

absl::Status NoSuchContext(const std::string& name, const std::string& origin,
                           const ConfigFile& file) {
  std::vector<std::string> names;
  for (const Context& context : file.config.contexts) names.push_back(context.name);
  const std::vector<std::string> near = NearNames(name, names);
  return UsageError(absl::StrCat("There is no context `", name, "` (", origin, ") in ", file.path,
                                 near.empty() ? "." : ". Did you mean `" + near[0] + "`?"),
                    "finetune context list");
}

// The non-empty value of a variable.
std::optional<std::string> Variable(const Environment& env, const char* name) {
  auto value = env(name);
  return value.has_value() && !value->empty() ? value : std::nullopt;
}

}  // namespace

const Context* Config::Find(const std::string& name) const {
  for (const Context& context : contexts) {
    if (context.name == name) return &context;
  }
  return nullptr;
}

absl::StatusOr<std::string> ConfigPath(const Environment& env) {
  if (auto path = Variable(env, "FINETUNE_CONFIG")) return *path;
  if (auto xdg = Variable(env, "XDG_CONFIG_HOME")) return *xdg + "/finetune/config.yaml";
  if (auto home = Variable(env, "HOME")) return *home + "/.config/finetune/config.yaml";
  return LocalError(absl::StatusCode::kFailedPrecondition,
                    "There is no place for the configuration file.",
                    "None of FINETUNE_CONFIG, XDG_CONFIG_HOME and HOME is set.",
                    "export FINETUNE_CONFIG=/path/to/config.yaml");
}

absl::StatusOr<Config> ParseConfig(const std::string& yaml, const std::string& path) {
  // yaml-cpp reports by exceptions; they end here.
  try {
    return ParseRoot(YAML::Load(yaml), path);
  } catch (const YAML::Exception& error) {
    return BadConfig(path, error.mark, error.msg);
  }
}

std::string FormatConfig(const Config& config) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  if (!config.current_context.empty()) {
    out << YAML::Key << "current_context" << YAML::Value << YAML::DoubleQuoted
        << config.current_context;
  }
  out << YAML::Key << "contexts" << YAML::Value << YAML::BeginSeq;
  for (const Context& context : config.contexts) {
    out << YAML::BeginMap;
    out << YAML::Key << "name" << YAML::Value << YAML::DoubleQuoted << context.name;
    out << YAML::Key << "server" << YAML::Value << YAML::DoubleQuoted << context.server;
    if (!context.token.empty()) {
      out << YAML::Key << "token" << YAML::Value << YAML::DoubleQuoted << context.token;
    }
    if (!context.ca_file.empty()) {
      out << YAML::Key << "ca_file" << YAML::Value << YAML::DoubleQuoted << context.ca_file;
    }
    out << YAML::EndMap;
  }
  out << YAML::EndSeq << YAML::EndMap;
  return absl::StrCat(out.c_str(), "\n");
}

absl::StatusOr<ConfigFile> LoadConfig(const std::string& path) {
  ConfigFile file;
  file.path = path;
  absl::StatusOr<std::string> content = ReadFile(path, kMaxConfigBytes);
  if (absl::IsNotFound(content.status())) return file;
  if (!content.ok()) {
    return LocalError(absl::StatusCode::kFailedPrecondition,
                      "The configuration file cannot be read.",
                      std::string(content.status().message()), "ls -l " + path);
  }
  file.exists = true;
  file.exposed = OthersMayRead(path);
  FT_ASSIGN_OR_RETURN(file.config, ParseConfig(*content, path));
  return file;
}

absl::Status SaveConfig(const std::string& path, const Config& config) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!folder.empty()) FT_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  return WriteFileAtomically(path, FormatConfig(config), 0600);
}

absl::StatusOr<std::string> ReadTokenFile(const std::string& path) {
  absl::StatusOr<std::string> content = ReadFile(path, kMaxTokenBytes + 64);
  if (!content.ok()) {
    return UsageError(absl::StrCat("The token file ", path,
                                   " cannot be read: ", std::string(content.status().message())),
                      kTokenFileHelp);
  }
  std::string token(absl::StripAsciiWhitespace(*content));
  if (token.empty()) {
    return UsageError(absl::StrCat("The token file ", path, " is empty."), kTokenFileHelp);
  }
  FT_RETURN_IF_ERROR(CheckToken(token));
  return token;
}

absl::Status CheckContextName(const std::string& name) {
  const bool good = !name.empty() && name.size() <= kMaxNameLength &&
                    name.find_first_not_of(absl::StrCat(kLetters, "._-")) == std::string::npos &&
                    std::string(kLetters).find(name[0]) != std::string::npos;
  if (good) return absl::OkStatus();
  return UsageError(absl::StrCat("`", name, "` cannot name a context; use up to ", kMaxNameLength,
                                 " letters, digits, `.`, `_` and `-`."));
}

absl::Status CheckToken(const std::string& token) {
  if (token.size() > kMaxTokenBytes) return UsageError("The token is too long to be one.");
  for (const char c : token) {
    if (c <= ' ' || c > '~') {
      return UsageError("The token has a space or a character that no token has.");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Settings> ResolveSettings(const ConnectionFlags& flags, const Environment& env,
                                         const ConfigFile& file) {
  if (flags.token.has_value() && flags.token_file.has_value()) {
    return UsageError("--token and --token-file are both given; give one.");
  }
  Settings settings;
  const auto env_context = Variable(env, "FINETUNED_CONTEXT");
  if (flags.context.has_value()) {
    settings.context = {*flags.context, "flag --context"};
  } else if (env_context.has_value()) {
    settings.context = {*env_context, "environment FINETUNED_CONTEXT"};
  } else if (!file.config.current_context.empty()) {
    settings.context = {file.config.current_context, "file " + file.path};
  }
  const Context* context = nullptr;
  if (!settings.context.value.empty()) {
    context = file.config.Find(settings.context.value);
    if (context == nullptr) {
      return NoSuchContext(settings.context.value, settings.context.origin, file);
    }
  }
  const std::string context_origin =
      absl::StrCat("file ", file.path, ", context ", settings.context.value);
  const bool context_first = flags.context.has_value();

  const auto env_server = Variable(env, "FINETUNED_SERVER");
  const bool context_has_server = context != nullptr && !context->server.empty();
  if (flags.server.has_value()) {
    settings.server = {*flags.server, "flag --server"};
  } else if (env_server.has_value() && !(context_first && context_has_server)) {
    settings.server = {*env_server, "environment FINETUNED_SERVER"};
  } else if (context_has_server) {
    settings.server = {context->server, context_origin};
  } else {
    settings.server = {kDefaultServer, "default"};
  }
  // The authorities of a server stand with it.
  const auto env_ca_file = Variable(env, "FINETUNED_CA_FILE");
  if (flags.ca_file.has_value()) {
    settings.ca_file = {*flags.ca_file, "flag --ca-file"};
  } else if (settings.server.origin == context_origin) {
    if (!context->ca_file.empty()) settings.ca_file = {context->ca_file, context_origin};
  } else if (env_ca_file.has_value()) {
    settings.ca_file = {*env_ca_file, "environment FINETUNED_CA_FILE"};
  }

  const auto env_token = Variable(env, "FINETUNED_TOKEN");
  const bool context_has_token = context != nullptr && !context->token.empty();
  if (flags.token.has_value()) {
    settings.token = {*flags.token, "flag --token"};
  } else if (flags.token_file.has_value()) {
    FT_ASSIGN_OR_RETURN(settings.token.value, ReadTokenFile(*flags.token_file));
    settings.token.origin = "flag --token-file " + *flags.token_file;
    if (OthersMayRead(*flags.token_file)) {
      settings.warnings.push_back(absl::StrCat("Others may read the token in ", *flags.token_file,
                                               "; close it with: chmod 600 ", *flags.token_file));
    }
  } else if (env_token.has_value() && !(context_first && context_has_token)) {
    settings.token = {*env_token, "environment FINETUNED_TOKEN"};
  } else if (context_has_token) {
    if (file.exposed) {
      return LocalError(absl::StatusCode::kPermissionDenied,
                        absl::StrCat("Others may read the tokens in ", file.path, "."),
                        "A token is as good as a password, so it is not used until this is closed.",
                        "chmod 600 " + file.path);
    }
    settings.token = {context->token, context_origin};
  }
  FT_RETURN_IF_ERROR(CheckToken(settings.token.value));
  return settings;
}

}  // namespace finetuned::cli
