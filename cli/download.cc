#include "cli/download.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/backoff.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kFirstRetry = absl::Milliseconds(250);
constexpr absl::Duration kMaxRetry = absl::Seconds(5);
// More files than any checkpoint has; a listing beyond it is refused rather than held in memory.
constexpr int kMaxFiles = 100000;

// A server's path that stays in the folder it is put into.
bool IsSafe(const std::string& path) {
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..") return false;
  }
  return std::none_of(path.begin(), path.end(),
                      [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// What is already there of a file.
int64_t SizeOf(const std::string& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? -1 : static_cast<int64_t>(size);
}

// Whether a broken stream may go better from where it broke.
bool IsResumable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsInternal(status) || absl::IsUnknown(status) ||
         absl::IsCancelled(status) || absl::IsAborted(status);
}

// A `.part` file that grows, with the hash of what is in it.
class PartFile {
 public:
  explicit PartFile(std::string path) : path_(std::move(path)) {}

  // Takes over what an earlier call has left of a file of `size` bytes.
  absl::Status Open(int64_t size) {
    hash_ = std::make_unique<Sha256Stream>();
    file_.reset(fopen(path_.c_str(), "a+be"));
    if (file_ == nullptr) return ErrnoError(errno, "cannot write", path_);
    size_ = SizeOf(path_);
    if (size_ > size) return Restart();
    std::array<char, 256 * 1024> buffer;
    rewind(file_.get());
    size_t count;
    while ((count = fread(buffer.data(), 1, buffer.size(), file_.get())) > 0) {
      hash_->Add({buffer.data(), count});
    }
    if (ferror(file_.get()) != 0) return ErrnoError(errno, "cannot read", path_);
    return absl::OkStatus();
  }

  absl::Status Restart() {
    hash_ = std::make_unique<Sha256Stream>();
    file_.reset(fopen(path_.c_str(), "wbe"));
    if (file_ == nullptr) return ErrnoError(errno, "cannot write", path_);
    size_ = 0;
    return absl::OkStatus();
  }

  absl::Status Append(const std::string& data) {
    if (fwrite(data.data(), 1, data.size(), file_.get()) != data.size() ||
        fflush(file_.get()) != 0) {
      return ErrnoError(errno, "cannot write", path_);
    }
    hash_->Add(data);
    size_ += static_cast<int64_t>(data.size());
    return absl::OkStatus();
  }

  // The hash of all; nothing may follow but Restart and Become.
  std::string Hash() { return hash_->Hex(); }

  absl::Status Become(const std::string& target) {
    if (fclose(file_.release()) != 0) return ErrnoError(errno, "cannot write", path_);
    if (rename(path_.c_str(), target.c_str()) != 0) return ErrnoError(errno, "cannot make", target);
    return absl::OkStatus();
  }

  int64_t size() const { return size_; }

 private:
  struct Close {
    void operator()(FILE* file) const { fclose(file); }
  };

  const std::string path_;
  std::unique_ptr<FILE, Close> file_;
  std::unique_ptr<Sha256Stream> hash_;
  int64_t size_ = 0;
};

class Downloader {
 public:
  Downloader(Client& client, Io& io, const DownloadOptions& options,
             const std::function<void(const DownloadProgress&)>& progress)
      : client_(client), io_(io), options_(options), report_(progress) {}

  absl::StatusOr<DownloadSummary> Run() {
    FT_RETURN_IF_ERROR(List());
    for (const v1::Artifact& file : files_) {
      progress_.path = file.path();
      report_(progress_);
      FT_RETURN_IF_ERROR(Fetch(file));
      ++progress_.files;
      ++summary_.files;
      summary_.bytes += file.size_bytes();
      if (file.sha256().empty()) ++summary_.unchecked;
    }
    report_(progress_);
    return summary_;
  }

 private:
  absl::Status List() {
    v1::ListArtifactsRequest request;
    request.set_parent(options_.parent);
    request.set_path(options_.path);
    request.set_recursive(true);
    do {
      FT_ASSIGN_OR_RETURN(const v1::ListArtifactsResponse page, client_.ListArtifacts(request));
      for (const v1::Artifact& file : page.artifacts()) {
        if (!IsSafe(file.path())) {
          return absl::DataLossError(
              absl::StrCat("the server tells of a file with the path `", file.path(), "`"));
        }
        progress_.total_bytes += file.size_bytes();
        files_.push_back(file);
      }
      if (static_cast<int>(files_.size()) > kMaxFiles) {
        return LocalError(absl::StatusCode::kFailedPrecondition,
                          "There are more than 100000 files.", "They are not fetched in one go.",
                          "");
      }
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    if (files_.empty()) {
      return LocalError(absl::StatusCode::kNotFound, "There are no files to download.",
                        "The folder is empty, or the run has not left anything yet.",
                        absl::StrCat("finetune artifacts list ", options_.parent));
    }
    progress_.total_files = static_cast<int>(files_.size());
    FindFolder();
    return absl::OkStatus();
  }

  // What is cut from the front of every path. A file is listed alone, under its own path; a path as
  // checkpoints have it is longer than that.
  void FindFolder() {
    const std::string& first = files_[0].path();
    const std::string asked = options_.path.substr(0, options_.path.find_last_not_of('/') + 1);
    const auto ends_with = [&](const std::string& path) {
      return asked == path ||
             (asked.size() > path.size() &&
              asked.compare(asked.size() - path.size() - 1, std::string::npos, "/" + path) == 0);
    };
    single_ = files_.size() == 1 && !asked.empty() && ends_with(first);
    if (single_ || asked.empty()) return;
    // The longest folder of the first file that the asked path ends with.
    for (size_t slash = first.rfind('/'); slash != std::string::npos && slash > 0;
         slash = first.rfind('/', slash - 1)) {
      if (ends_with(first.substr(0, slash))) {
        skip_ = slash + 1;
        return;
      }
    }
  }

  std::string TargetOf(const v1::Artifact& file) const {
    if (!single_) return absl::StrCat(options_.to, "/", file.path().substr(skip_));
    std::error_code error;
    const std::string name = file.path().substr(file.path().rfind('/') + 1);
    return fs::is_directory(options_.to, error) ? absl::StrCat(options_.to, "/", name)
                                                : options_.to;
  }

  absl::Status Fetch(const v1::Artifact& file) {
    const std::string target = TargetOf(file);
    std::error_code error;
    const fs::path folder = fs::path(target).parent_path();
    if (!folder.empty()) fs::create_directories(folder, error);
    if (error) return ErrnoError(error.value(), "cannot make", folder.string());
    FT_ASSIGN_OR_RETURN(const bool there, IsThere(file, target));
    if (there) {
      ++summary_.kept;
      progress_.bytes += file.size_bytes();
      return absl::OkStatus();
    }
    PartFile part(target + ".part");
    FT_RETURN_IF_ERROR(part.Open(file.size_bytes()));
    // Nothing would tell what an earlier call has left of another file.
    if (file.sha256().empty()) FT_RETURN_IF_ERROR(part.Restart());
    const int64_t counted = progress_.bytes;
    // What an earlier call left may be of something else: once, all of it is fetched again.
    for (bool again = part.size() > 0;; again = false) {
      progress_.bytes = counted + part.size();
      FT_RETURN_IF_ERROR(FetchRest(file, part));
      if (file.sha256().empty() || part.Hash() == file.sha256()) return part.Become(target);
      FT_RETURN_IF_ERROR(part.Restart());
      if (!again) {
        return absl::DataLossError(
            absl::StrCat(file.path(),
                         " arrived, but is not what was published: its SHA-256 is not "
                         "that of the manifest"));
      }
    }
  }

  // Whether the file is there already and as it should be.
  absl::StatusOr<bool> IsThere(const v1::Artifact& file, const std::string& target) {
    const int64_t size = SizeOf(target);
    if (size < 0) return false;
    if (size == file.size_bytes() && !file.sha256().empty()) {
      FT_ASSIGN_OR_RETURN(const std::string hash, Sha256HexOfFile(target));
      if (hash == file.sha256()) return true;
    }
    if (options_.replace) return false;
    return LocalError(absl::StatusCode::kAlreadyExists,
                      absl::StrCat("The file ", target, " is there already, with other content."),
                      "Nothing is overwritten unless you say so.",
                      "the same command with --replace, or another --to");
  }

  absl::Status FetchRest(const v1::Artifact& file, PartFile& part) {
    Backoff backoff({kFirstRetry, kMaxRetry});
    for (int tries = 1; part.size() < file.size_bytes();) {
      const int64_t before = part.size();
      const absl::Status status = ReadStream(file, part);
      if (io_.interrupt.requested()) return InterruptedError();
      if (part.size() == file.size_bytes()) break;
      if (status.ok()) {
        return absl::DataLossError(absl::StrCat(file.path(), " ends after ", part.size(), " of ",
                                                file.size_bytes(), " bytes"));
      }
      if (!IsResumable(status)) return status;
      if (part.size() > before) {
        tries = 1;
        backoff.Reset();
      } else if (++tries > Client::kMaxTries) {
        return status;
      }
      io_.pause(std::max(backoff.Next(), RetryDelay(status)));
    }
    return absl::OkStatus();
  }

  absl::Status ReadStream(const v1::Artifact& file, PartFile& part) {
    v1::ReadArtifactRequest request;
    request.set_parent(options_.parent);
    request.set_path(file.path());
    request.set_offset(part.size());
    const auto stream = client_.ReadArtifact(request);
    v1::ReadArtifactResponse response;
    while (stream->Next(absl::InfiniteDuration(), &response)) {
      if (part.size() + static_cast<int64_t>(response.data().size()) > file.size_bytes()) {
        return absl::DataLossError(
            absl::StrCat(file.path(), " is longer than the ", file.size_bytes(), " bytes listed"));
      }
      FT_RETURN_IF_ERROR(part.Append(response.data()));
      progress_.bytes += static_cast<int64_t>(response.data().size());
      report_(progress_);
    }
    return stream->status();
  }

  Client& client_;
  Io& io_;
  const DownloadOptions& options_;
  const std::function<void(const DownloadProgress&)>& report_;
  std::vector<v1::Artifact> files_;
  // Whether one file was asked for by its own path.
  bool single_ = false;
  size_t skip_ = 0;
  DownloadProgress progress_;
  DownloadSummary summary_;
};

}  // namespace

absl::StatusOr<DownloadSummary> Download(
    Client& client, Io& io, const DownloadOptions& options,
    const std::function<void(const DownloadProgress&)>& progress) {
  return Downloader(client, io, options, progress).Run();
}

}  // namespace finetuned::cli
