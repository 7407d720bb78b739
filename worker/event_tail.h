#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace finetuned {

// Reads the lines that a trainer appends to its event file, from a given offset. Keeps no file open
// between calls and nothing but the offset, so it goes on after a restart where the journal says.
// Not safe for concurrent use.
class EventTail {
 public:
  struct Line {
    // Without the newline; valid UTF-8: bytes that are not are replaced by U+FFFD.
    std::string text;
    // Where the next line begins.
    int64_t end_offset = 0;
    // Whether the line was longer than kMaxLineBytes; `text` is its beginning then.
    bool truncated = false;
  };
  static constexpr size_t kMaxLineBytes = 64 * 1024;
  static constexpr size_t kMaxReadBytes = 1 << 20;

  EventTail(std::string path, int64_t offset) : path_(std::move(path)), offset_(offset) {}

  // The whole lines that follow, at most about kMaxReadBytes of them; empty when there is none yet.
  // Empty lines are passed over. A line without its newline stays for the next call, unless
  // `at_end` says that nobody will write it any more. The file may not exist yet. Errors:
  // FAILED_PRECONDITION or PERMISSION_DENIED for what is no file, or none that may be read; others
  // may pass. A file that has become shorter than the offset is read from its end.
  absl::StatusOr<std::vector<Line>> Read(bool at_end);

  int64_t offset() const { return offset_; }

 private:
  // One piece of the file; sets whether it reached the end.
  absl::StatusOr<std::vector<Line>> ReadPiece(bool at_end, bool* reached_end);

  const std::string path_;
  int64_t offset_;
};

// At most so many bytes from the front of valid UTF-8, not ending in the middle of a character.
std::string CutUtf8(std::string_view text, size_t max_bytes);

// Replaces what is not UTF-8, and NUL, by U+FFFD.
std::string ToValidUtf8(std::string_view text);

}  // namespace finetuned
