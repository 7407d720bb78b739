#include "daemon/metric_reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "artifacts/attempt_files.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr size_t kHeadBytes = kMaxFrameBytes + 8;

}  // namespace

std::string MetricReader::PathOf(int64_t epoch) const {
  return absl::StrCat(folder_, "/attempts/", epoch, "/", kMetricFileName);
}

absl::StatusOr<std::optional<ArtifactFile>> MetricReader::OpenFile(int64_t epoch) const {
  absl::StatusOr<ArtifactFile> file = ArtifactFile::Open(root_, PathOf(epoch));
  if (file.ok()) return std::optional<ArtifactFile>(*std::move(file));
  // Of a filesystem that is not mounted everything is absent.
  FT_RETURN_IF_ERROR(ArtifactStore(root_).CheckMounted());
  // A link, or something else that a trainer put there, counts as none.
  if (absl::IsNotFound(file.status()) || absl::IsInvalidArgument(file.status())) {
    return std::optional<ArtifactFile>();
  }
  return file.status();
}

absl::StatusOr<std::optional<MetricReader::Begin>> MetricReader::ReadBegin(int64_t epoch) {
  FT_ASSIGN_OR_RETURN(const std::optional<ArtifactFile> file, OpenFile(epoch));
  if (!file.has_value()) return std::nullopt;
  FT_ASSIGN_OR_RETURN(const std::string head, file->Read(0, kHeadBytes));
  std::optional<Begin> begin;
  MetricDecoder decoder;
  const auto taken =
      decoder.Take(head, 1, [&](int64_t step, int64_t, const std::string& name, double) {
        if (!begin.has_value()) begin = Begin{step, {}};
        if (step == begin->step) begin->names.insert(name);
      });
  // What is damaged is found again by Read.
  if (!taken.ok()) return std::nullopt;
  return begin;
}

absl::Status MetricReader::Update(const MetricFiles& files) {
  for (const MetricFiles::File& file : files.files) {
    Part& part = parts_[file.epoch];
    part.bytes = std::max(part.bytes, file.bytes);
    if (part.begin.has_value()) continue;
    FT_ASSIGN_OR_RETURN(part.begin, ReadBegin(file.epoch));
  }
  return absl::OkStatus();
}

bool MetricReader::Counts(int64_t step, const std::string& name) const {
  for (auto later = parts_.upper_bound(place_.epoch); later != parts_.end(); ++later) {
    const std::optional<Begin>& begin = later->second.begin;
    if (!begin.has_value() || step < begin->step) continue;
    if (step > begin->step || begin->names.count(name) != 0) return false;
  }
  return true;
}

bool MetricReader::NextPart() {
  const auto next = parts_.upper_bound(place_.epoch);
  if (next == parts_.end()) return false;
  const bool first = place_.epoch == 0;
  place_ = MetricPlace{next->first, 0, 0};
  decoded_.reset();
  const std::optional<Begin>& begin = next->second.begin;
  if (!first && begin.has_value() &&
      (goes_on_ || !greatest_step_ || *greatest_step_ >= begin->step)) {
    step_back_ = std::min(step_back_.value_or(begin->step), begin->step);
  }
  return true;
}

void MetricReader::GiveUpPart(int64_t bytes) {
  incomplete_ = true;
  place_.bytes = bytes;
  decoded_.reset();
}

absl::StatusOr<bool> MetricReader::Read(Visitor visitor) {
  auto part = parts_.find(place_.epoch);
  while (part == parts_.end() || place_.bytes >= part->second.bytes) {
    if (!NextPart()) return false;
    part = parts_.find(place_.epoch);
  }
  if (!decoded_.has_value()) {
    decoder_ = MetricDecoder();
    decoder_begin_ = place_.reset;
    decoded_ = place_.reset;
  }
  FT_ASSIGN_OR_RETURN(const std::optional<ArtifactFile> file, OpenFile(place_.epoch));
  absent_ = absent_ || !file.has_value();
  const int64_t there = file ? std::min(file->size_bytes(), part->second.bytes) : 0;
  std::string data;
  if (file && *decoded_ < there) {
    const auto limit = std::min<int64_t>(there - *decoded_, kPieceBytes + kHeadBytes);
    FT_ASSIGN_OR_RETURN(data, file->Read(*decoded_, static_cast<size_t>(limit)));
  }
  // What is read again up to the place ends with it.
  const int64_t again = place_.bytes - *decoded_;
  const size_t most = again > 0 ? static_cast<size_t>(again) : kPieceBytes;
  const auto taken = decoder_.Take(
      data, most, [&](int64_t step, int64_t time, const std::string& name, double value) {
        if (again > 0 || !Counts(step, name)) return;
        greatest_step_ = std::max(greatest_step_.value_or(step), step);
        visitor(name, MetricPoint{step, value, time});
      });
  if (!taken.ok() || *taken == 0) {
    // It is damaged, or shorter than it was: what comes behind cannot be told.
    GiveUpPart(part->second.bytes);
    return true;
  }
  *decoded_ += static_cast<int64_t>(*taken);
  place_.bytes = std::max(place_.bytes, *decoded_);
  place_.reset = decoder_begin_ + decoder_.reset_offset();
  incomplete_ = incomplete_ || (decoder_.flags() & (kNamesDropped | kFull)) != 0;
  return true;
}

}  // namespace finetuned
