#include "cli/run_file.h"

#include <filesystem>
#include <istream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "base/time.h"
#include "cli/create_request.h"
#include "cli/errors.h"
#include "cli/foreign_keys.h"
#include "cli/utf8.h"
#include "cli/yaml_message.h"
#include "google/api/field_behavior.pb.h"

namespace finetuned::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr char kHelp[] = "finetune run create --help   (says what each key takes)";
// The top, `run` beneath it, `spec` beneath that.
constexpr int kMaxDepth = 3;

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char first = FirstUtf8(text);
    if (first.kind != Utf8Char::Kind::kValid) return false;
    text.remove_prefix(first.size);
  }
  return true;
}

// `spec.compute.gpu` as `compute.gpu`: the levels that only hold the others.
std::string WithoutWrappers(std::string path) {
  for (const char* wrapper : {"run.", "spec.", "parameters."}) {
    if (absl::StartsWith(path, wrapper)) path = path.substr(std::string(wrapper).size());
  }
  return path;
}

// Whether the service sets the field and reads it in no request.
bool IsOutputOnly(const FieldDescriptor* field) {
  const auto& behaviors = field->options();
  for (int i = 0; i < behaviors.ExtensionSize(google::api::field_behavior); ++i) {
    if (behaviors.GetExtension(google::api::field_behavior, i) == google::api::OUTPUT_ONLY) {
      return true;
    }
  }
  // Of the run that was read, and no other.
  return field->name() == "etag";
}

class Reader {
 public:
  Reader()
      : yaml_([this](const std::string& path, const YAML::Node& key, const YAML::Node& value) {
          return ReadForeign(path, key, value);
        }) {}

  RunFile Take() {
    if (!ignored_.empty()) {
      file_.notes.push_back(absl::StrCat(
          "Passed over, because the server sets it: ", absl::StrJoin(ignored_, ", "), "."));
    }
    return std::move(file_);
  }
  std::vector<std::string> Problems() const { return yaml_.Problems(); }

  // The top, or one of the levels that only hold the others.
  void ReadTop(const std::string& prefix, const YAML::Node& map, int depth) {
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) {
        yaml_.AddProblem(prefix + "?", entry.first, "is a key that is not a single word");
        continue;
      }
      ReadTopKey(prefix, SnakeCase(entry.first.Scalar()), entry.first, entry.second, depth);
    }
  }

 private:
  v1::Run& run() { return *file_.request.mutable_run(); }
  v1::RunSpec& spec() { return *run().mutable_spec(); }

  void ReadTopKey(const std::string& prefix, const std::string& name, const YAML::Node& key,
                  const YAML::Node& value, int depth) {
    const std::string path = prefix + name;
    if (name == "run" || name == "spec" || name == "parameters") {
      if (value.IsNull()) return;
      if (!value.IsMap() || depth == kMaxDepth) {
        yaml_.AddProblem(path, key, "holds the keys of a run; it is a map, beneath no other such");
        return;
      }
      ReadTop(path + ".", value, depth + 1);
    } else if (IsNameOfAnother(name, value)) {
      ignored_.push_back(path);
    } else if (const FieldDescriptor* field = FindField(spec().GetDescriptor(), Ours(name))) {
      yaml_.ReadField(path, key, value, field, &spec());
    } else if (const FieldDescriptor* of_request = OfRequest(name)) {
      yaml_.ReadField(path, key, value, of_request, &file_.request);
    } else if (const FieldDescriptor* of_run = FindField(run().GetDescriptor(), name)) {
      if (IsOutputOnly(of_run)) {
        ignored_.push_back(path);
      } else {
        yaml_.ReadField(path, key, value, of_run, &run());
      }
    } else if (!ReadForeign(path, key, value)) {
      yaml_.AddUnknownKey(path, key, Advice(prefix, name));
    }
  }

  // What `run get` shows as the resource names of a run and of its experiment.
  static bool IsNameOfAnother(const std::string& name, const YAML::Node& value) {
    return (name == "name" || name == "experiment") && value.IsScalar() &&
           (value.Scalar().empty() || absl::StartsWith(value.Scalar(), "workspaces/"));
  }
  // The flag is called --experiment.
  static std::string Ours(const std::string& name) {
    return name == "experiment" ? "experiment_path" : name;
  }
  const FieldDescriptor* OfRequest(const std::string& name) {
    return FindField(file_.request.GetDescriptor(), name == "name" ? "run_id" : name);
  }

  // A key of another tool; see foreign_keys.h.
  bool ReadForeign(const std::string& path, const YAML::Node& key, const YAML::Node& value) {
    const ForeignKey* known = FindForeignKey(WithoutWrappers(path));
    if (known == nullptr) return false;
    if (known->meaning == ForeignKey::Meaning::kRefused) {
      yaml_.AddProblem(path, key, absl::StrCat(known->text, "."));
      return true;
    }
    if (value.IsNull()) return true;
    if (known->meaning == ForeignKey::Meaning::kGroup) {
      ReadGroup(path, key, value);
      return true;
    }
    Message* message = nullptr;
    const FieldDescriptor* field = Resolve(known->text, &message);
    // Not assigned, which would change the document.
    YAML::Node meant(value);
    if (known->meaning == ForeignKey::Meaning::kHours) {
      double hours = 0;
      if (!value.IsScalar() || !absl::SimpleAtod(value.Scalar(), &hours)) {
        yaml_.AddProblem(path, key,
                         "must be a number of hours; or write scheduling.max_run_time, e.g. 2h");
        return true;
      }
      meant.reset(YAML::Node(absl::StrCat(value.Scalar(), "h")));
    } else if (known->meaning == ForeignKey::Meaning::kOpposite) {
      bool opposite = false;
      if (!YAML::convert<bool>::decode(value, opposite)) {
        yaml_.AddProblem(path, key, "must be true or false");
        return true;
      }
      meant.reset(YAML::Node(opposite ? "false" : "true"));
    }
    yaml_.ReadField(path, key, meant, field, message);
    return true;
  }

  void ReadGroup(const std::string& path, const YAML::Node& key, const YAML::Node& value) {
    if (!value.IsMap()) {
      yaml_.AddProblem(path, key, "must be a map");
      return;
    }
    for (const auto& entry : value) {
      const std::string name = entry.first.IsScalar() ? SnakeCase(entry.first.Scalar()) : "?";
      const std::string inner = absl::StrCat(path, ".", name);
      if (!ReadForeign(inner, entry.first, entry.second)) {
        yaml_.AddUnknownKey(inner, entry.first, "");
      }
    }
  }

  // The field at a path of ours, and the message that has it.
  const FieldDescriptor* Resolve(const std::string& path, Message** message) {
    const std::vector<std::string> names = absl::StrSplit(path, '.');
    *message = &spec();
    if (spec().GetDescriptor()->FindFieldByName(names[0]) == nullptr) *message = &run();
    for (size_t i = 0; i + 1 < names.size(); ++i) {
      const FieldDescriptor* field = (*message)->GetDescriptor()->FindFieldByName(names[i]);
      *message = (*message)->GetReflection()->MutableMessage(*message, field);
    }
    return (*message)->GetDescriptor()->FindFieldByName(names.back());
  }

  // What may have been meant: a key of this level, or one that lies deeper.
  std::string Advice(const std::string& prefix, const std::string& name) {
    std::vector<std::string> names = FieldNames(spec().GetDescriptor());
    names.insert(names.end(), {"name", "labels", "parent", "request_id", "validate_only"});
    const std::vector<std::string> near = NearNames(name, names);
    if (!near.empty()) return absl::StrCat(": did you mean `", prefix, near[0], "`?");
    const auto* type = spec().GetDescriptor();
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor* field = type->field(i);
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_repeated()) continue;
      if (field->message_type()->FindFieldByName(name) != nullptr) {
        return absl::StrCat(": it belongs beneath `", field->name(), "`");
      }
    }
    return "";
  }

  YamlReader yaml_;
  RunFile file_;
  std::vector<std::string> ignored_;
};

absl::Status Mistakes(const std::string& title, const std::vector<std::string>& problems) {
  if (problems.size() == 1) return UsageError(absl::StrCat(title, ": ", problems[0]), kHelp);
  return UsageError(
      absl::StrCat(title, " has ", problems.size(), " mistakes; nothing was sent.\n  ",
                   absl::StrJoin(problems, "\n  ")),
      kHelp);
}

absl::StatusOr<RunFile> ParseRoot(const YAML::Node& root, const std::string& title,
                                  const std::string& folder) {
  if (!root.IsMap()) {
    return UsageError(absl::StrCat(title, " is not a map of keys, `model: organisation/name`."),
                      kHelp);
  }
  Reader reader;
  reader.ReadTop("", root, 1);
  if (const auto problems = reader.Problems(); !problems.empty()) return Mistakes(title, problems);
  RunFile file = reader.Take();
  v1::RunSpec& spec = *file.request.mutable_run()->mutable_spec();
  spec.set_train_data_path(AbsolutePath(spec.train_data_path(), folder));
  spec.set_eval_data_path(AbsolutePath(spec.eval_data_path(), folder));
  return file;
}

absl::Status TooLarge(const std::string& title) {
  return UsageError(
      absl::StrCat(title, " is larger than ", kMaxRunFileBytes, " bytes, which no run is."));
}

}  // namespace

absl::StatusOr<RunFile> ParseRunFile(const std::string& yaml, const std::string& title,
                                     const std::string& folder) {
  if (yaml.size() > kMaxRunFileBytes) return TooLarge(title);
  if (!IsUtf8(yaml)) return UsageError(absl::StrCat(title, " is not text in UTF-8."));
  // yaml-cpp reports by exceptions; they end here.
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(yaml);
    if (documents.size() > 1) {
      return UsageError(
          absl::StrCat(title, " has ", documents.size(), " documents; a file describes one run."));
    }
    return ParseRoot(documents.empty() ? YAML::Node() : documents[0], title, folder);
  } catch (const YAML::Exception& error) {
    return UsageError(
        absl::StrCat(title, " is not YAML: ", error.msg, " at line ", error.mark.line + 1, "."));
  }
}

absl::StatusOr<RunFile> ReadRunFile(const std::string& path, Io& io) {
  if (path == "-") {
    std::string text(kMaxRunFileBytes + 1, '\0');
    io.in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(io.in.gcount()));
    return ParseRunFile(text, "standard input", io.working_directory);
  }
  const std::filesystem::path file =
      (std::filesystem::path(io.working_directory) / path).lexically_normal();
  absl::StatusOr<std::string> text = ReadFile(file.string(), kMaxRunFileBytes);
  if (absl::IsOutOfRange(text.status())) return TooLarge(path);
  if (!text.ok()) {
    return UsageError(absl::StrCat("The file of the run cannot be read: ",
                                   std::string(text.status().message()), "."),
                      "finetune run create -f FILE   (or -f - for standard input)");
  }
  return ParseRunFile(*text, path, file.parent_path().string());
}

}  // namespace finetuned::cli
