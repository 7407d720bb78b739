#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

// Messages of the API as text for programs. Pure.

namespace finetuned::cli {

enum class OutputFormat {
  // For people.
  kTable,
  // The same with more columns.
  kWide,
  // The same for spreadsheets.
  kCsv,
  kJson,
  // One JSON object a line.
  kJsonl,
  kYaml,
  // Names only, one a line.
  kName,
};

// Usage error for another word.
absl::StatusOr<OutputFormat> ParseOutputFormat(const std::string& text);

// The API's proto JSON, with the field names of the .proto files, and with fields that have their
// default value (so that a script finds `"runs": []` rather than nothing); absent messages and
// absent optional fields are left out, 64-bit integers are strings. On several lines or on one,
// without a newline at the end.
std::string ToJson(const google::protobuf::Message& message, bool pretty);

// The same content as YAML; strings that YAML would read as something else are quoted. Ends with a
// newline.
std::string ToYaml(const google::protobuf::Message& message);

// A JSON text as YAML.
std::string JsonToYaml(const std::string& json);

}  // namespace finetuned::cli
