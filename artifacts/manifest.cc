#include "artifacts/manifest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "artifacts/beneath.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace finetuned {
namespace {

using nlohmann::json;

absl::Status Visit(int folder, const std::string& prefix, int depth,
                   std::vector<Manifest::File>& files) {
  if (depth > kMaxFolderDepth) {
    return absl::ResourceExhaustedError("folders are nested too deep: " + prefix);
  }
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(folder));
  for (const std::string& name : names) {
    if (prefix.empty() && name == kManifestName) continue;
    const std::string path = prefix + name;
    OwnedFd fd(openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    if (!fd.valid()) {
      if (errno == ELOOP) {
        return absl::InvalidArgumentError("a symbolic link cannot be published: " + path);
      }
      return ErrnoError(errno, "cannot read", path);
    }
    struct stat info;
    if (fstat(fd.get(), &info) != 0) return ErrnoError(errno, "cannot read", path);
    if (S_ISDIR(info.st_mode)) {
      FT_RETURN_IF_ERROR(Visit(fd.get(), path + "/", depth + 1, files));
      continue;
    }
    if (!S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError("neither a file nor a folder: " + path);
    }
    if (files.size() >= kMaxFolderEntries) {
      return absl::ResourceExhaustedError("more files than can be published");
    }
    if (fsync(fd.get()) != 0) return ErrnoError(errno, "cannot sync", path);
    FT_ASSIGN_OR_RETURN(std::string sha256,
                        Sha256HexOfFile("/proc/self/fd/" + std::to_string(fd.get())));
    files.push_back({path, static_cast<int64_t>(info.st_size), std::move(sha256)});
  }
  if (fsync(folder) != 0) return ErrnoError(errno, "cannot sync", prefix);
  return absl::OkStatus();
}

}  // namespace

int64_t Manifest::SizeBytes() const {
  int64_t sum = 0;
  for (const File& file : files) sum += file.size_bytes;
  return sum;
}

std::string ManifestToJson(const Manifest& manifest) {
  json list = json::array();
  for (const Manifest::File& file : manifest.files) {
    list.push_back({{"path", file.path}, {"sha256", file.sha256}, {"size", file.size_bytes}});
  }
  const json document = {{"version", 1},
                         {"source", manifest.source},
                         {"epoch", manifest.epoch},
                         {"also", manifest.also},
                         {"files", std::move(list)}};
  // Invalid UTF-8 in a file name must not throw.
  return document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<Manifest> ManifestFromJson(std::string_view text) {
  const json document = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  const absl::Status bad = absl::InvalidArgumentError("not a manifest");
  if (!document.is_object() || !document.contains("files") || !document["files"].is_array()) {
    return bad;
  }
  Manifest manifest;
  if (document.contains("source") && document["source"].is_string()) {
    manifest.source = document["source"].get<std::string>();
  }
  if (document.contains("epoch") && document["epoch"].is_number_integer()) {
    manifest.epoch = document["epoch"].get<int64_t>();
  }
  if (document.contains("also") && document["also"].is_object()) {
    for (const auto& [key, value] : document["also"].items()) {
      if (!value.is_string()) return bad;
      manifest.also[key] = value.get<std::string>();
    }
  }
  for (const json& file : document["files"]) {
    if (!file.is_object() || !file.contains("path") || !file["path"].is_string() ||
        !file.contains("size") || !file["size"].is_number_integer() || !file.contains("sha256") ||
        !file["sha256"].is_string()) {
      return bad;
    }
    manifest.files.push_back({file["path"].get<std::string>(), file["size"].get<int64_t>(),
                              file["sha256"].get<std::string>()});
  }
  return manifest;
}

absl::StatusOr<std::vector<Manifest::File>> HashAndSyncTree(const std::string& root,
                                                            std::string_view path) {
  FT_ASSIGN_OR_RETURN(const OwnedFd folder, OpenFolderBeneath(root, path, false));
  std::vector<Manifest::File> files;
  FT_RETURN_IF_ERROR(Visit(folder.get(), "", 0, files));
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

}  // namespace finetuned
