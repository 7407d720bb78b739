#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/style.h"

// Which server is asked, with which token, and who said so: flags, then the environment, then the
// file `~/.config/finetune/config.yaml`, then the default.

namespace finetuned::cli {

// Where a server of this machine listens (`finetuned serve` without configuration).
inline constexpr char kDefaultServer[] = "127.0.0.1:7070";

// A named server with how to speak to it.
struct Context {
  std::string name;
  std::string server;
  std::string token;
  // Authorities that the server's certificate is checked against; empty for those of the system.
  std::string ca_file;
};

// The file's content.
struct Config {
  // Name of the context used when nothing else is said; may be empty.
  std::string current_context;
  std::vector<Context> contexts;

  // Null when there is none of that name.
  const Context* Find(const std::string& name) const;
};

// The file as it was found.
struct ConfigFile {
  std::string path;
  bool exists = false;
  // Others than its owner may read it.
  bool exposed = false;
  Config config;
};

// Path of the file: FINETUNE_CONFIG, else under XDG_CONFIG_HOME, else under HOME.
// FAILED_PRECONDITION when the environment has none of them.
absl::StatusOr<std::string> ConfigPath(const Environment& env);

// Reads YAML. FAILED_PRECONDITION, with the line, for what is not this file's form: unknown keys
// are refused, because writing the file again would lose them.
absl::StatusOr<Config> ParseConfig(const std::string& yaml, const std::string& path);
std::string FormatConfig(const Config& config);

// A file that does not exist is an empty configuration.
absl::StatusOr<ConfigFile> LoadConfig(const std::string& path);
// Replaces the file atomically with mode 0600, in a folder of mode 0700.
absl::Status SaveConfig(const std::string& path, const Config& config);

// A value and where it came from, e.g. `flag --server`.
struct Setting {
  std::string value;
  std::string origin;
};

// What the command line said.
struct ConnectionFlags {
  std::optional<std::string> server;
  std::optional<std::string> token;
  std::optional<std::string> token_file;
  std::optional<std::string> context;
  std::optional<std::string> ca_file;
};

struct Settings {
  // Empty value: none is used.
  Setting context;
  Setting server;
  Setting token;
  // Empty value: a server of this machine is spoken to without TLS, others with the system's
  // authorities.
  Setting ca_file;
  // Sentences for standard error, e.g. about a token file that others may read.
  std::vector<std::string> warnings;
};

// Decides. A context named by a flag brings its server and token before those of the environment,
// so that one server's token is not sent to another. Usage error for a context that is not in the
// file, an unreadable token file, or both --token and --token-file; PERMISSION_DENIED when the
// token would come from a file that others may read.
absl::StatusOr<Settings> ResolveSettings(const ConnectionFlags& flags, const Environment& env,
                                         const ConfigFile& file);

// The token in a file, without the space around it. `-` is not supported: standard input is for
// answers.
absl::StatusOr<std::string> ReadTokenFile(const std::string& path);

// Context names: `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`. Usage error otherwise.
absl::Status CheckContextName(const std::string& name);

// A token travels in a header: printable ASCII without spaces, at most 8,192 characters. Usage
// error otherwise.
absl::Status CheckToken(const std::string& token);

}  // namespace finetuned::cli
