#include "tests/bench/peers.h"

#include <cstdlib>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "tests/bench/require.h"

namespace finetuned::bench {
namespace {

constexpr char kRiver[] = "/river";

// The folder with their packages; empty without.
std::string Folder() {
  const char* folder = std::getenv("FINETUNED_BENCH_PEERS");
  return folder == nullptr ? "" : folder;
}

// `name=value` words of an address as variables of libpq.
std::string Environment(const std::string& url) {
  static const std::map<std::string, std::string> kVariables = {
      {"host", "PGHOST"}, {"port", "PGPORT"}, {"user", "PGUSER"}, {"dbname", "PGDATABASE"}};
  std::string text;
  for (const absl::string_view word : absl::StrSplit(url, ' ', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(word, absl::MaxSplits('=', 1));
    const auto found = kVariables.find(pair.first);
    if (found != kVariables.end()) absl::StrAppend(&text, found->second, "='", pair.second, "' ");
  }
  return text;
}

}  // namespace

std::vector<std::string> Peer::Installed() {
  std::vector<std::string> names;
  if (Folder().empty()) return names;
  if (std::filesystem::exists(Folder() + "/node_modules")) names = {"graphile-worker", "pg-boss"};
  if (std::filesystem::exists(Folder() + kRiver)) names.push_back("River");
  return names;
}

Peer::Peer(std::string name)
    : name_(std::move(name)), database_(TestPostgres::Get().NewDatabase(/*empty=*/true)) {}

std::map<std::string, double> Peer::Run(const std::string& workload, int seconds, int number) {
  const std::string out = absl::StrCat(Folder(), "/", name_, "-", workload, ".out");
  const std::string program =
      name_ == "River"
          ? absl::StrCat("'", Folder(), kRiver, "'")
          : absl::StrCat("node '" FINETUNED_SOURCE_DIR "/tests/bench/peers/peer.mjs' ", name_);
  const std::string command =
      absl::StrCat("cd '", Folder(), "' && ", Environment(database_.admin_url), program, " ",
                   workload, " ", seconds, " ", number, " > '", out, "'");
  Require(std::system(command.c_str()) == 0, "a peer failed");
  const auto printed = ReadFile(out);
  Require(printed.ok(), "a peer said nothing");
  const auto document = nlohmann::json::parse(*printed, nullptr, /*allow_exceptions=*/false);
  Require(document.is_object(), "a peer said something else");
  return document.get<std::map<std::string, double>>();
}

}  // namespace finetuned::bench
