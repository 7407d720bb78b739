#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "artifacts/artifact_store.h"

namespace finetuned {

// Keeps the two logs of a trainer, which it writes itself, within a limit: of one that takes more
// of the disk the beginning, which says how it was set up, and the end, which says what became of
// it, are kept. Not safe for concurrent use.
class LogBound {
 public:
  struct Limits {
    int64_t max_bytes = int64_t{1} << 30;
    // How often they are looked at.
    absl::Duration interval = absl::Seconds(10);
  };

  // `folder` is the attempt's, relative to the store's root.
  LogBound(const ArtifactStore* store, std::string folder, const Limits& limits)
      : store_(*store), folder_(std::move(folder)), limits_(limits) {}

  // Looks at them when it is time.
  void Check(absl::Duration since_boot);

 private:
  const ArtifactStore& store_;
  const std::string folder_;
  const Limits limits_;
  std::optional<absl::Duration> checked_;
  // The filesystem cannot free parts of a file; said once.
  bool told_ = false;
};

}  // namespace finetuned
