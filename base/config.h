#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

// Configuration is a Protocol Buffers message. Its fields come, each overriding the ones before,
// from a YAML file, from environment variables `<PREFIX><FIELD>` in upper case with nested fields
// joined by `_`, and from flags. A field that does not exist, or a value of the wrong kind, is
// INVALID_ARGUMENT with the place and the remedy.
//
// Scalars are written as usual; a Duration as Abseil reads it (`10s`, `2h30m`); a list as a YAML
// list, or separated by commas in a variable or flag; a map of strings as a YAML map.

namespace finetuned {

struct ConfigSources {
  // YAML file; empty for none.
  std::string file;
  // Prefix of the variables, e.g. `FINETUNED_`; empty reads none.
  std::string environment_prefix;
  // The environment to read, name to value.
  std::map<std::string, std::string> environment;
  // Field path (`lease.grace_duration`) and value, from flags.
  std::vector<std::pair<std::string, std::string>> overrides;
};

absl::Status LoadConfig(const ConfigSources& sources, google::protobuf::Message* config);

// The environment of this process.
std::map<std::string, std::string> ProcessEnvironment();

// Every settable path of a message, e.g. `lease.grace_duration`, in the order of the proto; maps
// are left out.
std::vector<std::string> ConfigPaths(const google::protobuf::Descriptor* descriptor);

}  // namespace finetuned
