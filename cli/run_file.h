#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/io.h"
#include "finetuned/v1/run_service.pb.h"

namespace finetuned::cli {

// A file larger than this is not a run.
inline constexpr size_t kMaxRunFileBytes = 1 << 20;

// A run that was written in a file.
struct RunFile {
  // Of CreateRunRequest what the file says, everything else unset.
  v1::CreateRunRequest request;
  // Sentences for the person: what stands in the file and was passed over.
  std::vector<std::string> notes;
};

// Reads `run create -f`. Pure.
//
// At the top are the fields of RunSpec, of CreateRunRequest, `name`, `labels`; the same beneath
// `spec`, `run` and `parameters`. So the file is one that a person writes, what `run get -o yaml`
// prints (whose output-only fields are passed over with a note), the JSON of a request, or one of
// the product that this one replaces. Nothing in it is expanded. Relative paths of data are made
// absolute under `folder`. `title` names the file in what is said.
//
// Usage error with every mistake and its line; nothing is read halfway.
absl::StatusOr<RunFile> ParseRunFile(const std::string& yaml, const std::string& title,
                                     const std::string& folder);

// The same from a file, or from standard input for `-`, whose folder is the current one. Usage
// error for what cannot be read, or is above kMaxRunFileBytes.
absl::StatusOr<RunFile> ReadRunFile(const std::string& path, Io& io);

}  // namespace finetuned::cli
