#include "worker/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/crc32.h"
#include "base/file.h"
#include "base/logging.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr size_t kMaxJournalBytes = size_t{1} << 30;
constexpr size_t kMaxPayloadBytes = 1 << 20;
constexpr size_t kHeaderBytes = 8;
// Kinds of frames: a number, an offset, the facts and, in a kReport, the report; a kState sets
// number and ack.
enum Kind : uint8_t { kReport = 1, kFacts = 2, kAck = 3, kState = 4 };

void PutInt(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

bool TakeInt(std::string_view& in, int bytes, uint64_t& value) {
  if (in.size() < static_cast<size_t>(bytes)) return false;
  value = 0;
  for (int i = 0; i < bytes; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(in[static_cast<size_t>(i)])) << (8 * i);
  }
  in.remove_prefix(static_cast<size_t>(bytes));
  return true;
}

struct Frame {
  Kind kind = kFacts;
  int64_t number = 0;
  // With kState: what was acknowledged.
  int64_t acked = 0;
  int64_t offset = 0;
  std::string facts;
  std::string report;
};

std::string Encode(const Frame& frame) {
  std::string payload;
  PutInt(payload, frame.kind, 1);
  PutInt(payload, static_cast<uint64_t>(frame.number), 8);
  PutInt(payload, static_cast<uint64_t>(frame.acked), 8);
  PutInt(payload, static_cast<uint64_t>(frame.offset), 8);
  PutInt(payload, frame.facts.size(), 4);
  payload += frame.facts;
  payload += frame.report;
  std::string out;
  PutInt(out, payload.size(), 4);
  PutInt(out, Crc32(payload), 4);
  return out + payload;
}

// Takes one frame off the front; false when there is no whole, undamaged one.
bool Decode(std::string_view& in, Frame& frame) {
  std::string_view rest = in;
  uint64_t length = 0;
  uint64_t crc = 0;
  if (!TakeInt(rest, 4, length) || !TakeInt(rest, 4, crc)) return false;
  if (length > kMaxPayloadBytes || rest.size() < length) return false;
  std::string_view payload = rest.substr(0, length);
  if (Crc32(payload) != crc) return false;
  uint64_t kind = 0, number = 0, acked = 0, offset = 0, facts_bytes = 0;
  if (!TakeInt(payload, 1, kind) || !TakeInt(payload, 8, number) || !TakeInt(payload, 8, acked) ||
      !TakeInt(payload, 8, offset) || !TakeInt(payload, 4, facts_bytes) ||
      facts_bytes > payload.size() || kind < kReport || kind > kState) {
    return false;
  }
  frame.kind = static_cast<Kind>(kind);
  frame.number = static_cast<int64_t>(number);
  frame.acked = static_cast<int64_t>(acked);
  frame.offset = static_cast<int64_t>(offset);
  frame.facts = std::string(payload.substr(0, facts_bytes));
  frame.report = std::string(payload.substr(facts_bytes));
  in = rest.substr(length);
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(const std::string& path,
                                                       const Limits& limits) {
  std::unique_ptr<Journal> journal(new Journal(path, limits));
  MutexLock lock(journal->mutex_);
  FT_RETURN_IF_ERROR(journal->Load());
  return journal;
}

Journal::~Journal() {
  if (fd_ >= 0) close(fd_);
}

absl::Status Journal::EnsureOpen() {
  if (fd_ >= 0) return absl::OkStatus();
  fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) return ErrnoError(errno, "cannot open", path_);
  return absl::OkStatus();
}

bool Journal::IsReplaced() const {
  struct stat opened, there;
  if (fd_ < 0 || fstat(fd_, &opened) != 0 || stat(path_.c_str(), &there) != 0) return false;
  return opened.st_ino != there.st_ino || opened.st_dev != there.st_dev;
}

absl::Status Journal::Load() {
  std::string content;
  if (FileExists(path_)) {
    FT_ASSIGN_OR_RETURN(content, ReadFile(path_, kMaxJournalBytes));
  }
  std::string_view rest = content;
  Frame frame;
  while (Decode(rest, frame)) {
    if (frame.kind == kAck) {
      acked_ = std::max(acked_, frame.number);
      file_bytes_ = content.size() - rest.size();
      continue;
    }
    Kept kept;
    if (frame.kind == kReport) {
      if (frame.number != last_number_ + 1 || !kept.report.ParseFromString(frame.report)) break;
      kept.bytes = frame.report.size();
      kept_bytes_ += kept.bytes;
      kept_.push_back(std::move(kept));
      last_number_ = frame.number;
    } else if (frame.kind == kState) {
      last_number_ = frame.number;
      acked_ = std::max(acked_, frame.acked);
    }
    offset_ = frame.offset;
    facts_ = FactsFromJson(frame.facts);
    file_bytes_ = content.size() - rest.size();
  }
  DropAcked();
  FT_RETURN_IF_ERROR(EnsureOpen());
  if (ftruncate(fd_, static_cast<off_t>(file_bytes_)) != 0) {
    return ErrnoError(errno, "cannot cut", path_);
  }
  if (fsync(fd_) != 0) return ErrnoError(errno, "cannot sync", path_);
  return SyncDirectory(path_.substr(0, path_.rfind('/')));
}

absl::Status Journal::Append(std::vector<Entry> entries) {
  MutexLock lock(mutex_);
  return AppendLocked(std::move(entries));
}

absl::Status Journal::AppendLocked(std::vector<Entry> entries) {
  // What was held back comes before what is new, unless something newer takes its place.
  std::vector<Entry> todo;
  std::optional<Entry> merged = merged_;
  for (Entry& entry : entries) {
    const bool is_update =
        entry.event.has_value() && entry.event->type() == v1::RunEvent::TRAIN_UPDATED;
    if (is_update && kept_.size() + todo.size() >= limits_.merge_above) {
      merged = std::move(entry);
      continue;
    }
    if (merged.has_value() && !is_update) todo.push_back(*std::move(merged));
    merged.reset();
    todo.push_back(std::move(entry));
  }
  std::string frames;
  std::vector<Kept> reports;
  int64_t number = last_number_;
  int64_t checkpoint_report = facts_.checkpoint_report;
  for (Entry& entry : todo) {
    Frame frame;
    frame.offset = entry.offset;
    if (entry.event.has_value()) {
      Kept kept;
      kept.report.set_number(++number);
      kept.report.set_metric_bytes(entry.facts.metric_file_bytes);
      *kept.report.mutable_event() = *std::move(entry.event);
      if (kept.report.event().type() == v1::RunEvent::CHECKPOINT_SAVED) checkpoint_report = number;
      frame.kind = kReport;
      frame.report = kept.report.SerializeAsString();
      kept.bytes = frame.report.size();
      reports.push_back(std::move(kept));
    }
    frame.number = number;
    entry.facts.checkpoint_report = checkpoint_report;
    frame.facts = FactsToJson(entry.facts);
    frames += Encode(frame);
  }
  if (!todo.empty()) {
    FT_RETURN_IF_ERROR(Write(frames));
    offset_ = todo.back().offset;
    facts_ = todo.back().facts;
  }
  for (Kept& kept : reports) {
    kept_bytes_ += kept.bytes;
    kept_.push_back(std::move(kept));
  }
  last_number_ = number;
  merged_ = std::move(merged);
  // What is appended is kept, whatever becomes of this; it is tried again with the next.
  if (file_bytes_ >= rewrite_at_) {
    const absl::Status status = RewriteIfWorthIt();
    if (!status.ok()) Log(LogLevel::kWarning, "cannot rewrite a journal", {{"error", status}});
  }
  return absl::OkStatus();
}

absl::Status Journal::Flush() {
  MutexLock lock(mutex_);
  if (!merged_.has_value()) return absl::OkStatus();
  // Facts alone are never held back, so this entry carries the merged one before it.
  Entry facts_only;
  facts_only.offset = merged_->offset;
  facts_only.facts = merged_->facts;
  std::vector<Entry> entries;
  entries.push_back(std::move(facts_only));
  return AppendLocked(std::move(entries));
}

absl::Status Journal::Write(const std::string& frames) {
  FT_RETURN_IF_ERROR(EnsureOpen());
  size_t done = 0;
  while (done < frames.size()) {
    const ssize_t written = pwrite(fd_, frames.data() + done, frames.size() - done,
                                   static_cast<off_t>(file_bytes_ + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = errno;
      // What was half written is overwritten by the next try; a crash before it leaves a torn end.
      if (ftruncate(fd_, static_cast<off_t>(file_bytes_)) != 0)
        return ErrnoError(errno, "cannot cut", path_);
      return ErrnoError(error, "cannot write", path_);
    }
    done += static_cast<size_t>(written);
  }
  if (fdatasync(fd_) != 0) return ErrnoError(errno, "cannot sync", path_);
  file_bytes_ += frames.size();
  return absl::OkStatus();
}

absl::Status Journal::Ack(int64_t number) {
  MutexLock lock(mutex_);
  if (number <= acked_) return absl::OkStatus();
  acked_ = std::min(number, last_number_);
  DropAcked();
  if (merged_.has_value() && kept_.size() < limits_.merge_above) {
    FT_RETURN_IF_ERROR(AppendLocked({*merged_}));
  }
  if (file_bytes_ >= rewrite_at_) return RewriteIfWorthIt();
  FT_RETURN_IF_ERROR(EnsureOpen());
  // Not synced: a lost acknowledgement only costs sending again.
  Frame frame;
  frame.kind = kAck;
  frame.number = acked_;
  const std::string text = Encode(frame);
  const ssize_t written = pwrite(fd_, text.data(), text.size(), static_cast<off_t>(file_bytes_));
  if (written == static_cast<ssize_t>(text.size())) file_bytes_ += text.size();
  return absl::OkStatus();
}

absl::Status Journal::RewriteIfWorthIt() {
  const absl::Status status = Rewrite();
  if (status.ok()) rewrite_at_ = std::max(limits_.rewrite_bytes, 2 * file_bytes_);
  return status;
}

absl::Status Journal::Rewrite() {
  Frame state;
  state.kind = kState;
  // The first kept report is one behind what the state says.
  state.number = last_number_ - static_cast<int64_t>(kept_.size());
  state.acked = acked_;
  state.offset = offset_;
  state.facts = FactsToJson(facts_);
  std::string content = Encode(state);
  for (const Kept& kept : kept_) {
    // Offset and facts of the end: nothing between is ever returned to, because the file is
    // replaced whole.
    Frame frame;
    frame.kind = kReport;
    frame.number = kept.report.number();
    frame.offset = offset_;
    frame.facts = state.facts;
    frame.report = kept.report.SerializeAsString();
    content += Encode(frame);
  }
  const absl::Status written = WriteFileAtomically(path_, content);
  // It may fail after it has put the new file in place.
  if (written.ok() || IsReplaced()) {
    file_bytes_ = content.size();
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  FT_RETURN_IF_ERROR(written);
  return EnsureOpen();
}

void Journal::DropAcked() {
  while (!kept_.empty() && kept_.front().report.number() <= acked_) {
    kept_bytes_ -= kept_.front().bytes;
    kept_.pop_front();
  }
}

void Journal::Replace(int64_t number, const v1::RunEvent& event) {
  MutexLock lock(mutex_);
  for (Kept& kept : kept_) {
    if (kept.report.number() == number) *kept.report.mutable_event() = event;
  }
}

std::vector<v1::Report> Journal::Pending(size_t max_count, size_t max_bytes) const {
  MutexLock lock(mutex_);
  std::vector<v1::Report> reports;
  size_t bytes = 0;
  for (const Kept& kept : kept_) {
    bytes += kept.bytes;
    if (reports.size() >= max_count || (!reports.empty() && bytes > max_bytes)) break;
    reports.push_back(kept.report);
  }
  return reports;
}

bool Journal::full() const {
  MutexLock lock(mutex_);
  return kept_.size() >= limits_.full_reports || kept_bytes_ >= limits_.full_bytes;
}

int64_t Journal::last_number() const {
  MutexLock lock(mutex_);
  return last_number_;
}

int64_t Journal::acked() const {
  MutexLock lock(mutex_);
  return acked_;
}

int64_t Journal::offset() const {
  MutexLock lock(mutex_);
  return offset_;
}

AttemptFacts Journal::facts() const {
  MutexLock lock(mutex_);
  return facts_;
}

}  // namespace finetuned
