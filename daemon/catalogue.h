#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace finetuned {

// The base models of this installation: folders `{organisation}/{model}` with a config.json under
// the model roots. Read once at start; immutable, so safe for concurrent use.
class Catalogue {
 public:
  struct Model {
    // max_position_embeddings of config.json.
    int context_length = 0;
    // Of config.json.
    std::string architecture;
    // Of catalogue.json, which a folder may have beside it.
    std::string description;
    int64_t parameter_count = 0;
    bool pretrained = true;
  };

  // INVALID_ARGUMENT for a root that cannot be read, or a config.json that is no JSON.
  static absl::StatusOr<Catalogue> Read(const std::vector<std::string>& roots);

  // Null when it is not there.
  const Model* Find(const std::string& name) const;
  std::vector<std::string> Names() const;
  // All, by name.
  const std::map<std::string, Model>& models() const { return models_; }

 private:
  std::map<std::string, Model> models_;
};

}  // namespace finetuned
