#include "daemon/catalogue.h"

#include <filesystem>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/status.h"

namespace finetuned {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> FoldersIn(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory(error)) folders.push_back(entry.path());
  }
  return folders;
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
        FT_ASSIGN_OR_RETURN(const std::string text, ReadFile(config, 1 << 20));
        const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
        if (!json.is_object()) {
          return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG",
                           "model_roots: " + config + " is not a JSON object");
        }
        Model entry;
        const auto length = json.find("max_position_embeddings");
        if (length != json.end() && length->is_number_integer()) {
          entry.context_length = length->get<int>();
        }
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
