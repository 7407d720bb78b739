#include "artifacts/walk.h"

#include <algorithm>
#include <map>
#include <memory>

#include "artifacts/beneath.h"
#include "artifacts/manifest.h"
#include "base/hash.h"
#include "base/status.h"

namespace finetuned {
namespace {

std::string Join(const std::string& folder, const std::string& name) {
  if (folder.empty()) return name;
  return name.empty() ? folder : folder + "/" + name;
}

bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

std::string Key(const std::string& path, bool is_folder) { return is_folder ? path + "/" : path; }

// The hashes that a published folder's manifest has.
struct Hashes {
  // The published folder, relative to the top.
  std::string folder;
  std::map<std::string, std::string> by_path;

  std::string Of(const std::string& path) const {
    const size_t skip = folder.empty() ? 0 : folder.size() + 1;
    const auto found = by_path.find(path.substr(skip));
    return found == by_path.end() ? "" : found->second;
  }
};

class Walker {
 public:
  Walker(const ArtifactStore& store, const WalkOptions& options)
      : store_(store), options_(options) {}

  absl::StatusOr<std::vector<WalkEntry>> Run() {
    const std::string& path = options_.path;
    FT_RETURN_IF_ERROR(SplitArtifactPath(Join(options_.top, path)).status());
    FindHashesAbove(path);
    if (!path.empty()) {
      FT_ASSIGN_OR_RETURN(const ArtifactStore::Entry entry, store_.Head(Full(path)));
      if (!entry.is_folder) {
        if (options_.after < path) Add(path, entry);
        return std::move(found_);
      }
    }
    FT_RETURN_IF_ERROR(Visit(path, 0));
    return std::move(found_);
  }

 private:
  std::string Full(const std::string& path) const { return Join(options_.top, path); }

  // The manifest of the nearest folder above `path`, which is below what Visit reads itself.
  void FindHashesAbove(const std::string& path) {
    for (size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      ReadHashes(path.substr(0, slash));
    }
    if (!path.empty()) ReadHashes("");
  }

  void ReadHashes(const std::string& folder) {
    const auto text = store_.Get(Full(Join(folder, kManifestName)), kMaxManifestBytes);
    if (!text.ok()) return;
    const auto manifest = ManifestFromJson(*text);
    if (!manifest.ok()) return;
    auto hashes = std::make_shared<Hashes>();
    hashes->folder = folder;
    for (const Manifest::File& file : manifest->files) hashes->by_path[file.path] = file.sha256;
    hashes->by_path[kManifestName] = Sha256Hex(*text);
    hashes_ = std::move(hashes);
  }

  absl::Status Visit(const std::string& folder, int depth) {
    if (depth > kMaxFolderDepth) {
      return absl::InvalidArgumentError("folders are nested too deep: " + folder);
    }
    FT_ASSIGN_OR_RETURN(std::vector<ArtifactStore::Entry> entries, store_.List(Full(folder)));
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return Key(a.name, a.is_folder) < Key(b.name, b.is_folder);
    });
    const auto outer = hashes_;
    if (std::any_of(entries.begin(), entries.end(),
                    [](const auto& entry) { return entry.name == kManifestName; })) {
      ReadHashes(folder);
    }
    for (const ArtifactStore::Entry& entry : entries) {
      if (IsFull()) break;
      const std::string path = Join(folder, entry.name);
      const std::string key = Key(path, entry.is_folder);
      const bool descends = entry.is_folder && options_.recursive;
      // Of a folder that the last page ended in, the rest is still to come.
      if (options_.after >= key && !(descends && StartsWith(options_.after, key))) continue;
      if (descends) {
        const absl::Status status = Visit(path, depth + 1);
        // It may be deleted meanwhile.
        if (!status.ok() && !absl::IsNotFound(status)) return status;
      } else {
        Add(path, entry);
      }
    }
    hashes_ = outer;
    return absl::OkStatus();
  }

  bool IsFull() const { return static_cast<int>(found_.size()) >= options_.limit; }

  void Add(const std::string& path, const ArtifactStore::Entry& entry) {
    WalkEntry found;
    found.path = path;
    found.is_folder = entry.is_folder;
    found.size_bytes = entry.size_bytes;
    if (!entry.is_folder && hashes_ != nullptr) found.sha256 = hashes_->Of(path);
    found_.push_back(std::move(found));
  }

  const ArtifactStore& store_;
  const WalkOptions& options_;
  std::shared_ptr<const Hashes> hashes_;
  std::vector<WalkEntry> found_;
};

}  // namespace

std::string WalkKey(const WalkEntry& entry) { return Key(entry.path, entry.is_folder); }

absl::StatusOr<std::vector<WalkEntry>> Walk(const ArtifactStore& store,
                                            const WalkOptions& options) {
  return Walker(store, options).Run();
}

}  // namespace finetuned
