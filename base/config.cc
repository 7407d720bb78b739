#include "base/config.h"

#include <algorithm>

#include <yaml-cpp/yaml.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "base/time.h"

extern char** environ;

namespace finetuned {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

absl::Status BadValue(const std::string& where, const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG", where + ": " + what);
}

bool IsDuration(const FieldDescriptor* field) {
  return field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field->message_type()->full_name() == "google.protobuf.Duration";
}

// Sets one value, or adds one to a list.
absl::Status SetScalar(const std::string& where, const std::string& value,
                       const FieldDescriptor* field, Message* message) {
  const auto* reflection = message->GetReflection();
  const bool add = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      if (add) {
        reflection->AddString(message, field, value);
      } else {
        reflection->SetString(message, field, value);
      }
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_BOOL: {
      bool parsed;
      if (!absl::SimpleAtob(value, &parsed)) {
        return BadValue(where, "\"" + value + "\" is neither true nor false");
      }
      reflection->SetBool(message, field, parsed);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_INT32: {
      int32_t parsed;
      if (!absl::SimpleAtoi(value, &parsed)) {
        return BadValue(where, "\"" + value + "\" is not an integer");
      }
      reflection->SetInt32(message, field, parsed);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      int64_t parsed;
      if (!absl::SimpleAtoi(value, &parsed)) {
        return BadValue(where, "\"" + value + "\" is not an integer");
      }
      reflection->SetInt64(message, field, parsed);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      absl::Duration duration;
      if (!IsDuration(field) || !absl::ParseDuration(value, &duration)) {
        return BadValue(where, "\"" + value + "\" is not a duration such as 10s, 5m or 2h");
      }
      reflection->MutableMessage(message, field)->CopyFrom(ToProtoDuration(duration));
      return absl::OkStatus();
    }
    default: return BadValue(where, "cannot be set from a configuration");
  }
}

absl::Status ApplyYaml(const std::string& where, const YAML::Node& node, Message* message);

absl::Status ApplyYamlField(const std::string& where, const YAML::Node& node,
                            const FieldDescriptor* field, Message* message) {
  if (field->is_map()) {
    if (!node.IsMap()) return BadValue(where, "is a map of strings, `key: value`");
    for (const auto& entry : node) {
      if (!entry.second.IsScalar()) return BadValue(where, "has a value that is not a string");
      Message* pair = message->GetReflection()->AddMessage(message, field);
      const Descriptor* type = pair->GetDescriptor();
      pair->GetReflection()->SetString(pair, type->field(0), entry.first.Scalar());
      pair->GetReflection()->SetString(pair, type->field(1), entry.second.Scalar());
    }
    return absl::OkStatus();
  }
  if (field->is_repeated()) {
    if (!node.IsSequence()) return BadValue(where, "is a list, `- item`");
    message->GetReflection()->ClearField(message, field);
    for (const auto& item : node) {
      if (!item.IsScalar()) return BadValue(where, "has an item that is not a single value");
      FT_RETURN_IF_ERROR(SetScalar(where, item.Scalar(), field, message));
    }
    return absl::OkStatus();
  }
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !IsDuration(field)) {
    return ApplyYaml(where, node, message->GetReflection()->MutableMessage(message, field));
  }
  if (!node.IsScalar()) return BadValue(where, "is a single value");
  return SetScalar(where, node.Scalar(), field, message);
}

absl::Status ApplyYaml(const std::string& where, const YAML::Node& node, Message* message) {
  if (node.IsNull()) return absl::OkStatus();
  if (!node.IsMap()) return BadValue(where, "is a map, `field: value`");
  for (const auto& entry : node) {
    const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "?";
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(name);
    const std::string path =
        absl::StrCat(where, ", line ", entry.first.Mark().line + 1, ": ", name);
    if (field == nullptr) {
      std::vector<std::string> known;
      for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
        known.push_back(message->GetDescriptor()->field(i)->name());
      }
      return BadValue(path, "is not a field; there are " + absl::StrJoin(known, ", "));
    }
    FT_RETURN_IF_ERROR(ApplyYamlField(path, entry.second, field, message));
  }
  return absl::OkStatus();
}

absl::Status ApplyFile(const std::string& file, Message* config) {
  FT_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, 1 << 20));
  // yaml-cpp throws; its exceptions end here.
  try {
    return ApplyYaml(file, YAML::Load(text), config);
  } catch (const YAML::Exception& error) {
    return BadValue(file, absl::StrCat("line ", error.mark.line + 1, ": ", error.msg));
  }
}

absl::Status ApplyPath(const std::string& where, const std::string& path, const std::string& value,
                       Message* config) {
  Message* message = config;
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i < names.size(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(names[i]);
    if (field == nullptr || field->is_map()) return BadValue(where, "is not a field");
    if (i + 1 < names.size()) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || IsDuration(field)) {
        return BadValue(where, "is not a field");
      }
      message = message->GetReflection()->MutableMessage(message, field);
      continue;
    }
    if (!field->is_repeated()) return SetScalar(where, value, field, message);
    message->GetReflection()->ClearField(message, field);
    const std::vector<std::string> items = absl::StrSplit(value, ',', absl::SkipEmpty());
    for (const std::string& item : items) {
      FT_RETURN_IF_ERROR(SetScalar(where, item, field, message));
    }
  }
  return absl::OkStatus();
}

void CollectPaths(const std::string& prefix, const Descriptor* descriptor,
                  std::vector<std::string>* paths) {
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const std::string path = prefix + field->name();
    if (field->is_map()) continue;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !IsDuration(field)) {
      CollectPaths(path + ".", field->message_type(), paths);
    } else {
      paths->push_back(path);
    }
  }
}

}  // namespace

std::vector<std::string> ConfigPaths(const Descriptor* descriptor) {
  std::vector<std::string> paths;
  CollectPaths("", descriptor, &paths);
  return paths;
}

std::map<std::string, std::string> ProcessEnvironment() {
  std::map<std::string, std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) environment[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return environment;
}

absl::Status LoadConfig(const ConfigSources& sources, Message* config) {
  if (!sources.file.empty()) FT_RETURN_IF_ERROR(ApplyFile(sources.file, config));
  if (!sources.environment_prefix.empty()) {
    for (const std::string& path : ConfigPaths(config->GetDescriptor())) {
      const std::string variable = sources.environment_prefix +
                                   absl::AsciiStrToUpper(absl::StrReplaceAll(path, {{".", "_"}}));
      auto found = sources.environment.find(variable);
      if (found == sources.environment.end()) continue;
      FT_RETURN_IF_ERROR(ApplyPath(variable, path, found->second, config));
    }
  }
  for (const auto& [path, value] : sources.overrides) {
    FT_RETURN_IF_ERROR(ApplyPath(path, path, value, config));
  }
  return absl::OkStatus();
}

}  // namespace finetuned
