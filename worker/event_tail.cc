#include "worker/event_tail.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/file.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

// Length of the UTF-8 sequence at the front; 0 when it is none.
size_t SequenceLength(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char first = byte(0);
  if (first == 0) return 0;
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || s.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies above U+10FFFF.
  if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
      (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) {
    return 0;
  }
  return length;
}

}  // namespace

std::string ToValidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) {
      out += kReplacement;
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

std::string CutUtf8(std::string_view text, size_t max_bytes) {
  size_t end = std::min(text.size(), max_bytes);
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
    --end;
  }
  return std::string(text.substr(0, end));
}

absl::StatusOr<std::vector<EventTail::Line>> EventTail::Read(bool at_end) {
  for (;;) {
    bool reached_end = true;
    FT_ASSIGN_OR_RETURN(std::vector<Line> lines, ReadPiece(at_end, &reached_end));
    // Nothing but empty lines is no news, and there may be some behind it.
    if (!lines.empty() || reached_end) return lines;
  }
}

absl::StatusOr<std::vector<EventTail::Line>> EventTail::ReadPiece(bool at_end, bool* reached_end) {
  std::vector<Line> lines;
  const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT) return lines;
    if (errno == ELOOP) return absl::FailedPreconditionError(path_ + " is a symbolic link");
    return ErrnoError(errno, "cannot open", path_);
  }
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return absl::FailedPreconditionError(path_ + " is not a regular file");
  }
  if (info.st_size < offset_) offset_ = info.st_size;
  std::string data(kMaxReadBytes, '\0');
  size_t used = 0;
  while (used < data.size()) {
    const ssize_t count = pread(fd, data.data() + used, data.size() - used,
                                static_cast<off_t>(offset_) + static_cast<off_t>(used));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      close(fd);
      return ErrnoError(error, "cannot read", path_);
    }
    if (count == 0) break;
    used += static_cast<size_t>(count);
  }
  close(fd);
  data.resize(used);
  *reached_end = used < kMaxReadBytes;

  std::string_view rest = data;
  while (!rest.empty()) {
    const size_t newline = rest.find('\n');
    const bool whole = newline != std::string_view::npos;
    if (!whole) {
      // Still being written; or longer than a whole read, which is taken in pieces.
      const bool too_long = rest.size() >= kMaxReadBytes;
      if (!too_long && !(at_end && *reached_end)) break;
    }
    const std::string_view text = rest.substr(0, whole ? newline : rest.size());
    const size_t consumed = whole ? newline + 1 : rest.size();
    offset_ += static_cast<int64_t>(consumed);
    rest.remove_prefix(consumed);
    if (text.empty()) continue;
    Line line;
    line.text = ToValidUtf8(text.substr(0, kMaxLineBytes));
    line.truncated = text.size() > kMaxLineBytes;
    line.end_offset = offset_;
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace finetuned
