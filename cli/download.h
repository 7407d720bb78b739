#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/client.h"
#include "cli/io.h"

namespace finetuned::cli {

// Fetches a file, or a folder with all that is in it, of what a run has left.
struct DownloadOptions {
  // As in ListArtifactsRequest.
  std::string parent;
  std::string path;
  // Where it goes: the folder for the content of a folder, which is made; the file for a file, or
  // an existing folder to put it in.
  std::string to;
  // Whether files that are there with other content are replaced.
  bool replace = false;
};

struct DownloadProgress {
  int files = 0;
  int total_files = 0;
  // What is there already counts.
  int64_t bytes = 0;
  int64_t total_bytes = 0;
  // The file that is being fetched.
  std::string path;
};

struct DownloadSummary {
  int files = 0;
  // Of them, those that were there already, with the right content.
  int kept = 0;
  int64_t bytes = 0;
  // Files whose content could not be checked, because the server knows no hash of theirs.
  int unchecked = 0;
};

// Content is written to `<file>.part`, checked against the server's SHA-256 and renamed, so a file
// with its own name is whole. What broke off, in an earlier call too, goes on where it stopped.
// A broken stream is begun again up to Client::kMaxTries times without progress. Errors of the
// service; NOT_FOUND when there is no file; ALREADY_EXISTS for other content without `replace`;
// DATA_LOSS when what arrives is not what was published; what the filesystem says.
absl::StatusOr<DownloadSummary> Download(
    Client& client, Io& io, const DownloadOptions& options,
    const std::function<void(const DownloadProgress&)>& progress);

}  // namespace finetuned::cli
