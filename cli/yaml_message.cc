#include "cli/yaml_message.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/time.h"
#include "cli/errors.h"
#include "cli/times.h"
#include "cli/units.h"

namespace finetuned::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// What people say for a value whose name is longer.
struct ShortWord {
  const char* type;
  const char* word;
  const char* name;
};
constexpr ShortWord kShortWords[] = {
    {"finetuned.v1.RunSpec.TaskType", "CHAT", "CHAT_COMPLETION"},
    {"finetuned.v1.RunSpec.TaskType", "INSTRUCTION", "INSTRUCTION_FINETUNE"},
    {"finetuned.v1.Recipe.Optimizer", "LION", "DECOUPLED_LION"},
};

bool IsDuration(const FieldDescriptor* field) {
  return field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field->message_type()->full_name() == "google.protobuf.Duration";
}

const char* KindOf(const YAML::Node& node) {
  if (node.IsSequence()) return "a list";
  return node.IsMap() ? "a map" : "a single value";
}

const EnumValueDescriptor* FindValue(const EnumDescriptor* type, const std::string& text) {
  std::string name = absl::AsciiStrToUpper(text);
  std::replace(name.begin(), name.end(), '-', '_');
  for (const ShortWord& word : kShortWords) {
    if (type->full_name() == word.type && name == word.word) name = word.name;
  }
  return type->FindValueByName(name);
}

std::string ValueNames(const EnumDescriptor* type) {
  std::vector<std::string> names;
  // The first is `not given`.
  for (int i = 1; i < type->value_count(); ++i) {
    names.push_back(absl::AsciiStrToLower(type->value(i)->name()));
  }
  return "one of " + absl::StrJoin(names, ", ");
}

std::optional<bool> ParseBool(const std::string& text) {
  const std::string word = absl::AsciiStrToLower(text);
  if (word == "true" || word == "yes" || word == "on") return true;
  if (word == "false" || word == "no" || word == "off") return false;
  return std::nullopt;
}

std::optional<int64_t> ParseInteger(const FieldDescriptor* field, const std::string& text) {
  int64_t value = 0;
  if (absl::SimpleAtoi(text, &value)) return value;
  if (absl::EndsWith(field->name(), "_bytes")) {
    if (const auto bytes = ParseBytes(text); bytes.ok()) return *bytes;
  }
  return std::nullopt;
}

// Sets the field, or adds to it where it is a list. Otherwise what should be written.
std::string SetScalar(const std::string& text, const FieldDescriptor* field, Message* message) {
  const Reflection& reflection = *message->GetReflection();
  const bool add = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      add ? reflection.AddString(message, field, text) : reflection.SetString(message, field, text);
      return "";
    case FieldDescriptor::CPPTYPE_BOOL: {
      const auto value = ParseBool(text);
      if (!value) return "true or false";
      add ? reflection.AddBool(message, field, *value) : reflection.SetBool(message, field, *value);
      return "";
    }
    case FieldDescriptor::CPPTYPE_INT32: {
      const auto value = ParseInteger(field, text);
      const auto narrow = static_cast<int32_t>(value.value_or(0));
      if (!value || narrow != *value) return "a whole number";
      add ? reflection.AddInt32(message, field, narrow)
          : reflection.SetInt32(message, field, narrow);
      return "";
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      const auto value = ParseInteger(field, text);
      if (!value) {
        return absl::EndsWith(field->name(), "_bytes") ? "an amount like 8GiB" : "a whole number";
      }
      add ? reflection.AddInt64(message, field, *value)
          : reflection.SetInt64(message, field, *value);
      return "";
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      if (!absl::SimpleAtod(text, &value)) return "a number";
      add ? reflection.AddDouble(message, field, value)
          : reflection.SetDouble(message, field, value);
      return "";
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumValueDescriptor* value = FindValue(field->enum_type(), text);
      if (value == nullptr) return ValueNames(field->enum_type());
      add ? reflection.AddEnum(message, field, value) : reflection.SetEnum(message, field, value);
      return "";
    }
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const auto duration = ParseDuration(text);
      if (!IsDuration(field) || !duration.ok()) return "a duration like 90s, 30m or 2h";
      reflection.MutableMessage(message, field)->CopyFrom(ToProtoDuration(*duration));
      return "";
    }
    default: return "nothing; it cannot be given in a file";
  }
}

}  // namespace

const FieldDescriptor* FindField(const Descriptor* type, const std::string& key) {
  const FieldDescriptor* field = type->FindFieldByName(key);
  return field != nullptr ? field : type->FindFieldByCamelcaseName(key);
}

std::string SnakeCase(const std::string& key) {
  std::string snake;
  for (const char c : key) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c))) {
      if (!snake.empty()) snake += '_';
      snake += absl::ascii_tolower(static_cast<unsigned char>(c));
    } else {
      snake += c;
    }
  }
  return snake;
}

std::vector<std::string> FieldNames(const Descriptor* type) {
  std::vector<std::string> names;
  for (int i = 0; i < type->field_count(); ++i) names.push_back(type->field(i)->name());
  return names;
}

int LineOf(const YAML::Node& node) { return node.Mark().line + 1; }

void YamlReader::AddUnknownKey(const std::string& path, const YAML::Node& key,
                               const std::string& advice) {
  problems_.emplace(LineOf(key),
                    absl::StrCat("unknown key `", path, "` at line ", LineOf(key), advice));
}

void YamlReader::AddProblem(const std::string& path, const YAML::Node& key,
                            const std::string& rest) {
  problems_.emplace(LineOf(key), absl::StrCat("`", path, "` at line ", LineOf(key), " ", rest));
}

std::vector<std::string> YamlReader::Problems() const {
  std::vector<std::string> sentences;
  for (const auto& [line, sentence] : problems_) sentences.push_back(sentence);
  return sentences;
}

void YamlReader::ReadMap(const std::string& path, const YAML::Node& map, Message* message) {
  for (const auto& entry : map) {
    const YAML::Node& key = entry.first;
    if (!key.IsScalar()) {
      AddProblem(path + "?", key, "is a key that is not a single word");
      continue;
    }
    const std::string full = path + SnakeCase(key.Scalar());
    const FieldDescriptor* field = FindField(message->GetDescriptor(), key.Scalar());
    if (field != nullptr) {
      ReadField(full, key, entry.second, field, message);
    } else if (!other_(full, key, entry.second)) {
      const auto names = FieldNames(message->GetDescriptor());
      const auto near = NearNames(SnakeCase(key.Scalar()), names);
      AddUnknownKey(full, key,
                    near.empty() ? absl::StrCat("; here are ", absl::StrJoin(names, ", "))
                                 : absl::StrCat(": did you mean `", path, near[0], "`?"));
    }
  }
}

void YamlReader::ReadField(const std::string& path, const YAML::Node& key, const YAML::Node& value,
                           const FieldDescriptor* field, Message* message) {
  if (const auto [seen, is_new] = seen_.emplace(std::pair(message, field), LineOf(key)); !is_new) {
    AddProblem(path, key, absl::StrCat("was given at line ", seen->second, " already"));
    return;
  }
  if (value.IsNull()) return;
  if (field->is_map()) {
    ReadMapField(path, key, value, field, message);
  } else if (field->is_repeated()) {
    if (!value.IsSequence()) {
      AddProblem(path, key, absl::StrCat("is ", KindOf(value), "; write a list, `- item`"));
      return;
    }
    for (const auto& item : value) {
      if (!item.IsScalar()) {
        AddProblem(path, key, absl::StrCat("has ", KindOf(item), " in its list"));
        return;
      }
      if (const std::string wanted = SetScalar(item.Scalar(), field, message); !wanted.empty()) {
        AddProblem(path, key, absl::StrCat("has `", item.Scalar(), "`; write ", wanted));
      }
    }
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !IsDuration(field)) {
    if (!value.IsMap()) {
      AddProblem(path, key,
                 absl::StrCat("is ", KindOf(value), "; below it are ",
                              absl::StrJoin(FieldNames(field->message_type()), ", ")));
      return;
    }
    ReadMap(path + ".", value, message->GetReflection()->MutableMessage(message, field));
  } else if (!value.IsScalar()) {
    AddProblem(path, key, absl::StrCat("is ", KindOf(value), "; write a single value"));
  } else if (const std::string wanted = SetScalar(value.Scalar(), field, message);
             !wanted.empty()) {
    AddProblem(path, key, absl::StrCat("is `", value.Scalar(), "`; write ", wanted));
  }
}

void YamlReader::ReadMapField(const std::string& path, const YAML::Node& key,
                              const YAML::Node& value, const FieldDescriptor* field,
                              Message* message) {
  if (!value.IsMap()) {
    AddProblem(path, key, absl::StrCat("is ", KindOf(value), "; write a map, `key: text`"));
    return;
  }
  std::map<std::string, int> lines;
  const Descriptor* type = field->message_type();
  for (const auto& entry : value) {
    if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
      AddProblem(path, entry.first, "has an entry that is not `key: text`");
      continue;
    }
    const std::string& name = entry.first.Scalar();
    if (const auto [seen, is_new] = lines.emplace(name, LineOf(entry.first)); !is_new) {
      AddProblem(path + "." + name, entry.first,
                 absl::StrCat("was given at line ", seen->second, " already"));
      continue;
    }
    Message* pair = message->GetReflection()->AddMessage(message, field);
    pair->GetReflection()->SetString(pair, type->field(0), name);
    if (const std::string wanted = SetScalar(entry.second.Scalar(), type->field(1), pair);
        !wanted.empty()) {
      AddProblem(path + "." + name, entry.first, absl::StrCat("must be ", wanted));
    }
  }
}

}  // namespace finetuned::cli
