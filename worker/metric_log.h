#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "artifacts/artifact_store.h"
#include "artifacts/metric_file.h"
#include "worker/event_tail.h"

namespace finetuned {

// Writes every number of a trainer's lines into the attempt's metric file, whatever becomes of the
// lines otherwise. It reads the event file on its own, so that an artifact root that cannot be
// written to holds up no event: the numbers come later. What stands behind position() in the metric
// file does not count and is written over. Not safe for concurrent use.
class MetricLog {
 public:
  // How far it has come, to go on from after a restart.
  struct Position {
    // Bytes of the event file that are in the metric file.
    int64_t lines_bytes = 0;
    // Bytes of the metric file.
    int64_t file_bytes = 0;
  };
  // Further numbers of the moment, for rows of progress.
  using Further = std::function<std::map<std::string, double>()>;

  static constexpr int64_t kMaxFileBytes = int64_t{1} << 30;

  // `path` is relative to the store's root.
  MetricLog(const ArtifactStore* store, std::string path, std::string event_file,
            const Position& from, int64_t max_file_bytes = kMaxFileBytes)
      : store_(*store),
        path_(std::move(path)),
        event_file_(std::move(event_file)),
        max_file_bytes_(max_file_bytes),
        position_(from) {}

  // Takes the whole lines that the trainer has written since, and makes their numbers durable.
  // After an error the position is that of what is durable, and the call may be repeated.
  absl::Status Advance(absl::Time now, const Further& further);

  const Position& position() const { return position_; }

 private:
  const ArtifactStore& store_;
  const std::string path_;
  const std::string event_file_;
  const int64_t max_file_bytes_;
  Position position_;
  MetricEncoder encoder_;
};

}  // namespace finetuned
