#include "cli/output.h"

#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/errors.h"
#include "cli/sanitize.h"

namespace finetuned::cli {
namespace {

// Whether a YAML reader takes the bare text for this very string.
bool IsPlainText(const std::string& text) {
  if (text.empty() || !absl::ascii_isalpha(static_cast<unsigned char>(text[0]))) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        std::string("_-./@").find(c) == std::string::npos) {
      return false;
    }
  }
  const std::string lower = absl::AsciiStrToLower(text);
  for (const char* word : {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}) {
    if (lower == word) return false;
  }
  return true;
}

void EmitNode(const YAML::Node& node, YAML::Emitter& out) {
  switch (node.Type()) {
    case YAML::NodeType::Map:
      if (node.size() == 0) {
        out << YAML::Flow;
      }
      out << YAML::BeginMap;
      for (const auto& entry : node) {
        out << YAML::Key;
        EmitNode(entry.first, out);
        out << YAML::Value;
        EmitNode(entry.second, out);
      }
      out << YAML::EndMap;
      return;
    case YAML::NodeType::Sequence:
      if (node.size() == 0) {
        out << YAML::Flow;
      }
      out << YAML::BeginSeq;
      for (const auto& item : node) EmitNode(item, out);
      out << YAML::EndSeq;
      return;
    case YAML::NodeType::Scalar:
      // The tag `!` marks what was quoted in the JSON: a string, whatever it looks like.
      if (node.Tag() == "!" && !IsPlainText(node.Scalar())) out << YAML::DoubleQuoted;
      out << node.Scalar();
      return;
    case YAML::NodeType::Null:
    case YAML::NodeType::Undefined: out << YAML::Null; return;
  }
}

}  // namespace

absl::StatusOr<OutputFormat> ParseOutputFormat(const std::string& text) {
  if (text.empty() || text == "table") return OutputFormat::kTable;
  if (text == "wide") return OutputFormat::kWide;
  if (text == "csv") return OutputFormat::kCsv;
  if (text == "json") return OutputFormat::kJson;
  if (text == "jsonl") return OutputFormat::kJsonl;
  if (text == "yaml") return OutputFormat::kYaml;
  if (text == "name") return OutputFormat::kName;
  return UsageError(
      absl::StrCat("--output is `", text, "`; give table, wide, csv, json, jsonl, yaml or name."));
}

std::string ToJson(const google::protobuf::Message& message, bool pretty) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  options.add_whitespace = pretty;
  std::string json;
  // Fails only for an Any of a type that this program does not know, or a time out of range; then
  // without a body.
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) return "{}";
  while (!json.empty() && json.back() == '\n') json.pop_back();
  return SanitizeJson(json);
}

std::string JsonToYaml(const std::string& json) {
  // yaml-cpp reports by exceptions. JSON is YAML, so only an escape that YAML does not have could
  // cause one.
  try {
    YAML::Emitter out;
    EmitNode(YAML::Load(json), out);
    return absl::StrCat(out.c_str(), "\n");
  } catch (const YAML::Exception&) {
    return json + "\n";
  }
}

std::string ToYaml(const google::protobuf::Message& message) {
  return JsonToYaml(ToJson(message, false));
}

}  // namespace finetuned::cli
