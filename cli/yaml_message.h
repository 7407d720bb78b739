#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/message.h"

namespace finetuned::cli {

// Reads YAML maps into messages of the API by reflection, so that a field which the API gains is
// read without a change here. Keys are the names of the fields, `like_this` or `likeThis`. What is
// wrong is collected, not returned, so that a person sees all of it at once. Null is like a key
// that is left out.
//
// Values are what people write: names of enums in any case, with `-` or `_`, and the short words of
// the flags (`chat`, `lion`); durations as `2h`; an amount of bytes as `8GiB`; numbers with or
// without quotes. Throws YAML::Exception only for a tree that was not parsed in full.
class YamlReader {
 public:
  // A key that is no field: whether it was something else that the caller knows. `path` is the key
  // behind those above it, `compute.cluster`.
  using OtherKey =
      std::function<bool(const std::string& path, const YAML::Node& key, const YAML::Node& value)>;

  explicit YamlReader(OtherKey other) : other_(std::move(other)) {}

  // Sets the fields that the map names. `path` stands before its keys in what is said: empty, or
  // `compute.`.
  void ReadMap(const std::string& path, const YAML::Node& map, google::protobuf::Message* message);
  // Sets one field from its value. A problem where the field was set before.
  void ReadField(const std::string& path, const YAML::Node& key, const YAML::Node& value,
                 const google::protobuf::FieldDescriptor* field,
                 google::protobuf::Message* message);

  // Something wrong with a key: "<what> `path` at line N<rest>".
  void AddUnknownKey(const std::string& path, const YAML::Node& key, const std::string& advice);
  void AddProblem(const std::string& path, const YAML::Node& key, const std::string& rest);
  // Sentences in the order of their lines.
  std::vector<std::string> Problems() const;

 private:
  void ReadMapField(const std::string& path, const YAML::Node& key, const YAML::Node& value,
                    const google::protobuf::FieldDescriptor* field,
                    google::protobuf::Message* message);

  const OtherKey other_;
  // Line of each field that was set.
  std::map<std::pair<const google::protobuf::Message*, const google::protobuf::FieldDescriptor*>,
           int>
      seen_;
  std::multimap<int, std::string> problems_;
};

// The field that a key names, `like_this` or `likeThis`; null when there is none.
const google::protobuf::FieldDescriptor* FindField(const google::protobuf::Descriptor* type,
                                                   const std::string& key);
// `trainDataPath` as `train_data_path`.
std::string SnakeCase(const std::string& key);
// The names of a message's fields.
std::vector<std::string> FieldNames(const google::protobuf::Descriptor* type);
// Line of a node, from 1.
int LineOf(const YAML::Node& node);

}  // namespace finetuned::cli
