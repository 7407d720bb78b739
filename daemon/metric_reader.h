#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "artifacts/artifact_file.h"
#include "artifacts/artifact_store.h"
#include "artifacts/metric_file.h"
#include "daemon/downsample.h"
#include "db/reads.h"

namespace finetuned {

// Where in the metric files of a run's attempts a reader stands.
struct MetricPlace {
  int64_t epoch = 0;
  // Bytes of that attempt's file that have been read, and where it can be begun to get there.
  int64_t bytes = 0;
  int64_t reset = 0;
};

// Reads the metric files of a run's attempts one after the other, a piece at a time, and leaves out
// what later attempts did again. Not safe for concurrent use; blocks on the filesystem.
class MetricReader {
 public:
  using Visitor = absl::FunctionRef<void(const std::string& name, const MetricPoint& point)>;

  // How much of a file is read at a time.
  static constexpr size_t kPieceBytes = 64 << 10;

  // `folder` is the run's, relative to the root.
  MetricReader(std::string root, std::string folder, const MetricPlace& from)
      : root_(std::move(root)),
        folder_(std::move(folder)),
        place_(from),
        goes_on_(from.epoch != 0) {}

  // How much there is now. Errors are those of reading the heads of new files.
  absl::Status Update(const MetricFiles& files);

  // Shows the next piece; false when there is none. Within a piece all is of one attempt, that of
  // place().
  absl::StatusOr<bool> Read(Visitor visitor);

  const MetricPlace& place() const { return place_; }
  // The attempt of the last piece goes on from before what earlier ones had come to: from here, and
  // this is the first time that it is said.
  std::optional<int64_t> TakeStepBack() { return std::exchange(step_back_, std::nullopt); }
  // Something could not be read.
  bool incomplete() const { return incomplete_; }
  // The file of an attempt that has numbers is not there.
  bool absent() const { return absent_; }

 private:
  // The first step of an attempt, and what it says of that.
  struct Begin {
    int64_t step = 0;
    std::set<std::string> names;
  };
  struct Part {
    int64_t bytes = 0;
    std::optional<Begin> begin;
  };

  std::string PathOf(int64_t epoch) const;
  // Nothing where there is no such file. UNAVAILABLE where the root is not the one that was.
  absl::StatusOr<std::optional<ArtifactFile>> OpenFile(int64_t epoch) const;
  absl::StatusOr<std::optional<Begin>> ReadBegin(int64_t epoch);
  // Whether no later attempt did it again.
  bool Counts(int64_t step, const std::string& name) const;
  // Goes on to the attempt after the one that has been read; false when there is none.
  bool NextPart();
  // The rest of this attempt's file cannot be read.
  void GiveUpPart(int64_t bytes);

  const std::string root_;
  const std::string folder_;
  MetricPlace place_;
  // Another reader came to where this began, and what it showed is not known.
  const bool goes_on_;
  std::map<int64_t, Part> parts_;
  MetricDecoder decoder_;
  // Where in the file the decoder stands.
  std::optional<int64_t> decoded_;
  int64_t decoder_begin_ = 0;
  // The greatest step that was shown.
  std::optional<int64_t> greatest_step_;
  std::optional<int64_t> step_back_;
  bool incomplete_ = false;
  bool absent_ = false;
};

}  // namespace finetuned
