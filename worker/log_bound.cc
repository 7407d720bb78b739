#include "worker/log_bound.h"

#include "artifacts/attempt_files.h"
#include "base/logging.h"

namespace finetuned {

void LogBound::Check(absl::Duration since_boot) {
  if (checked_ && since_boot - *checked_ < limits_.interval) return;
  checked_ = since_boot;
  for (const char* log : kLogFileNames) {
    const std::string path = folder_ + "/" + log;
    const auto freed =
        store_.DropMiddle(path, limits_.max_bytes / 4, limits_.max_bytes / 2, limits_.max_bytes);
    if (freed.ok() && *freed > 0) {
      Log(LogLevel::kWarning, "a log is too large: its middle is dropped",
          {{"path", path}, {"bytes", *freed}});
    } else if (absl::IsUnimplemented(freed.status()) && !told_) {
      told_ = true;
      Log(LogLevel::kWarning, "a log is too large, and no part of it can be dropped",
          {{"path", path}, {"error", freed.status()}});
    }
  }
}

}  // namespace finetuned
