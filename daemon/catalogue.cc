#include "daemon/catalogue.h"

#include <filesystem>
#include <type_traits>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/status.h"

namespace finetuned {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxJsonBytes = 1 << 20;

std::vector<fs::path> FoldersIn(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory(error)) folders.push_back(entry.path());
  }
  return folders;
}

absl::StatusOr<nlohmann::json> ReadObject(const fs::path& file) {
  FT_ASSIGN_OR_RETURN(const std::string text, ReadFile(file.string(), kMaxJsonBytes));
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) return json;
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG",
                   "model_roots: " + file.string() + " is not a JSON object");
}

// The value of a key, or nothing where it is absent or of another kind.
template <typename Value>
Value ValueOr(const nlohmann::json& object, const char* key, Value otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  const auto* value = found->get_ptr<const std::conditional_t<
      std::is_same_v<Value, std::string>, nlohmann::json::string_t,
      std::conditional_t<std::is_same_v<Value, bool>, nlohmann::json::boolean_t,
                         nlohmann::json::number_integer_t>>*>();
  return value == nullptr ? otherwise : static_cast<Value>(*value);
}

absl::StatusOr<Catalogue::Model> ReadModel(const fs::path& folder) {
  Catalogue::Model model;
  FT_ASSIGN_OR_RETURN(const nlohmann::json config, ReadObject(folder / "config.json"));
  model.context_length = ValueOr(config, "max_position_embeddings", 0);
  const auto architectures = config.find("architectures");
  if (architectures != config.end() && architectures->is_array() && !architectures->empty() &&
      architectures->front().is_string()) {
    model.architecture = architectures->front().get<std::string>();
  }
  if (!FileExists((folder / "catalogue.json").string())) return model;
  FT_ASSIGN_OR_RETURN(const nlohmann::json words, ReadObject(folder / "catalogue.json"));
  model.description = ValueOr(words, "description", std::string());
  model.parameter_count = ValueOr(words, "parameters", int64_t{0});
  model.pretrained = ValueOr(words, "pretrained", true);
  return model;
}

}  // namespace

absl::StatusOr<Catalogue> Catalogue::Read(const std::vector<std::string>& roots) {
  Catalogue catalogue;
  for (const std::string& root : roots) {
    if (!FileExists(root)) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG",
                       "model_roots: the folder " + root + " does not exist");
    }
    for (const fs::path& organisation : FoldersIn(root)) {
      for (const fs::path& model : FoldersIn(organisation)) {
        const std::string config = (model / "config.json").string();
        if (!FileExists(config)) continue;
        FT_ASSIGN_OR_RETURN(const Model entry, ReadModel(model));
        catalogue.models_.emplace(
            organisation.filename().string() + "/" + model.filename().string(), entry);
      }
    }
  }
  return catalogue;
}

const Catalogue::Model* Catalogue::Find(const std::string& name) const {
  const auto found = models_.find(name);
  return found == models_.end() ? nullptr : &found->second;
}

std::vector<std::string> Catalogue::Names() const {
  std::vector<std::string> names;
  for (const auto& entry : models_) names.push_back(entry.first);
  return names;
}

}  // namespace finetuned
