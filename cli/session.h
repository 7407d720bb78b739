#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/client.h"
#include "cli/context_config.h"
#include "cli/io.h"
#include "cli/listing.h"
#include "cli/output.h"

namespace finetuned::cli {

// The flags that every command takes, as they were given.
struct GlobalFlags {
  ConnectionFlags connection;
  std::string output;
  std::string color;
  std::string timeout;
  // Of listings.
  std::vector<std::string> columns;
  std::string sort;
  bool no_headers = false;
};

// What one command works with: where it writes, how, and the server, which is reached when it is
// first needed. Not safe for concurrent use.
class Session {
 public:
  // Usage error for a global flag that makes no sense.
  static absl::StatusOr<std::unique_ptr<Session>> Create(Io& io, const GlobalFlags& flags);

  Io& io() const { return io_; }
  OutputFormat format() const { return format_; }
  // Whether standard output, and standard error, are coloured.
  bool color() const { return color_; }
  bool err_color() const { return err_color_; }
  // --timeout, where it was given.
  std::optional<absl::Duration> timeout() const { return timeout_; }
  const ConnectionFlags& connection_flags() const { return flags_.connection; }

  // The configuration file, and what it makes with the flags and the environment.
  absl::StatusOr<ConfigFile> LoadConfigFile() const;
  absl::StatusOr<Settings> ResolveConnection() const;

  // Errors of ResolveConnection() and Client::Create().
  absl::StatusOr<Client*> GetClient();

  // For an error that may follow: the words of the command, and the run or the experiment that it
  // is about.
  void set_command(const std::string& words) { command_ = words; }
  void set_run(const std::string& name) { run_ = name; }
  void set_experiment(const std::string& name) { experiment_ = name; }

  // Usage error unless the format is one of those that the command has.
  absl::Status RequireFormat(std::initializer_list<OutputFormat> formats) const;

  // Whether people, or spreadsheets, read the output.
  bool is_table() const;
  // Usage error for --columns that the listing does not have, or beside a format without columns.
  absl::Status CheckColumns(const Listing& listing) const;
  // A listing as the flags want it; with a width, its last column is cut. Empty in another format.
  std::string RenderListing(const Listing& listing, int width = 0) const;

  // Writes a message in the format json, jsonl or yaml. False in another.
  bool PrintMessage(const google::protobuf::Message& message);
  // A sentence for the person, on standard error.
  void Note(const std::string& text);

  // Says on standard error what went wrong and returns the exit status.
  int ReportError(const absl::Status& status);

 private:
  Session(Io& io, const GlobalFlags& flags) : io_(io), flags_(flags) {}

  // Names that exist and are like the one that does not.
  std::vector<std::string> Suggestions();

  Io& io_;
  const GlobalFlags flags_;
  OutputFormat format_ = OutputFormat::kTable;
  bool color_ = false;
  bool err_color_ = false;
  std::optional<absl::Duration> timeout_;
  // Set together, once the server is known.
  std::unique_ptr<Client> client_;
  std::string server_;
  bool token_sent_ = false;
  std::string command_;
  std::string run_;
  std::string experiment_;
};

}  // namespace finetuned::cli
