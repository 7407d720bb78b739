#pragma once

#include <string>

namespace finetuned::cli {

// What a key of another tool's run file means here: of `mcli run -f` and of the fine-tuning files
// of the product that this one replaces. Keys that are called like ours are not among them.
struct ForeignKey {
  enum class Meaning {
    // `text` is the path of our field.
    kField,
    // A number of hours; `text` is the path of our field, a duration.
    kHours,
    // The opposite of our field.
    kOpposite,
    // Keys of its own lie beneath it.
    kGroup,
    // There is nothing like it; `text` says why, and what to do.
    kRefused,
  };

  const char* key;
  Meaning meaning;
  const char* text;
};

// By its path, `compute.cluster`; null for a key that is not known.
const ForeignKey* FindForeignKey(const std::string& path);

}  // namespace finetuned::cli
