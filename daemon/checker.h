#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace finetuned {

// Collects what is wrong, field by field.
class Checker {
 public:
  void Add(const std::string& field, const std::string& description, const std::string& reason) {
    violations_.push_back({field, description, reason});
  }
  // The violations that an error has; other errors have none.
  void AddAll(const absl::Status& status) {
    for (FieldViolation& violation : Violations(status))
      violations_.push_back(std::move(violation));
  }
  void Require(bool good, const std::string& field, const std::string& description,
               const std::string& reason = "BAD_VALUE") {
    if (!good) Add(field, description, reason);
  }
  const std::vector<FieldViolation>& violations() const { return violations_; }

 private:
  std::vector<FieldViolation> violations_;
};

}  // namespace finetuned
