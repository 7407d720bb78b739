#include "worker/last_words.h"

#include <algorithm>

#include "base/file.h"
#include "worker/event_tail.h"

namespace finetuned {
namespace {

constexpr size_t kStderrTailBytes = 4096;
constexpr size_t kErrorFileBytes = 64 * 1024;

}  // namespace

LastWords ReadLastWords(const ArtifactStore& store, const std::string& stderr_path,
                        const AttemptDir& dir) {
  LastWords words;
  const absl::StatusOr<ArtifactStore::Entry> file = store.Head(stderr_path);
  if (file.ok()) {
    constexpr auto kTail = static_cast<int64_t>(kStderrTailBytes);
    const auto range =
        store.ReadRange(stderr_path, std::max<int64_t>(0, file->size_bytes - kTail), kTail);
    if (range.ok()) words.stderr_tail = ToValidUtf8(range->data);
    // Replacing bytes makes it longer.
    while (words.stderr_tail.size() > kStderrTailBytes) {
      size_t cut = words.stderr_tail.size() - kStderrTailBytes;
      while (cut < words.stderr_tail.size() && (words.stderr_tail[cut] & 0xC0) == 0x80) ++cut;
      words.stderr_tail.erase(0, cut);
    }
  }
  const absl::StatusOr<std::string> error = ReadFile(dir.File("error.json"), kErrorFileBytes);
  if (error.ok()) words.error_file = ToValidUtf8(*error);
  return words;
}

}  // namespace finetuned
